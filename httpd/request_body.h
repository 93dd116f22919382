/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The body of a request that is a message. [the request's thread] */

#ifndef WS_HTTPD_REQUEST_BODY_H
#define WS_HTTPD_REQUEST_BODY_H

#include <httpd.h>

#include "include/mod_websocket.h"

/** The type of a message, by Content-Type. @return 0 for text in another encoding than UTF-8 */
ws_type ws_body_type(request_rec *r);

/**
 * Read the body, at most WebSocketMaxMessageSize and WS_PUBLISH_MAX bytes.
 * @param data  set, NUL-terminated beyond len, from the request's pool
 * @param why   set to the reason of a refusal that the caller answers; NULL: httpd answers
 * @return OK; a status; or AP_FILTER_ERROR when httpd's filter has answered
 */
int ws_body_read(request_rec *r, const char **data, apr_size_t *len, const char **why);

#endif
