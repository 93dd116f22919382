/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Converts the HTTP headers of handshakes of hixie-76 and hixie-75, which are drafts of the
 *  protocol from before RFC 6455. */

#ifndef WS_HTTPD_HIXIE_H
#define WS_HTTPD_HIXIE_H

#include <httpd.h>

/** Copy the subprotocols of a request to Sec-WebSocket-Protocol, the header of later versions. */
void ws_hixie_request(request_rec *r);

/**
 * Add the response headers that follow Upgrade and Connection, and set the status line, whose text
 * hixie-75 requires.
 */
void ws_hixie_answer_headers(request_rec *r, int version, const char *protocol);

#endif
