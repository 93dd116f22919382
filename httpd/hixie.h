/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The handshake of versions 76 and 75, as far as it is httpd's: headers. */

#ifndef WS_HTTPD_HIXIE_H
#define WS_HTTPD_HIXIE_H

#include <httpd.h>

/** Make a request's headers look like those of the other versions. */
void ws_hixie_request(request_rec *r);

/** The answer's headers, behind Upgrade and Connection; and its status line, which 75 demands. */
void ws_hixie_answer_headers(request_rec *r, int version, const char *protocol);

#endif
