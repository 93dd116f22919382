/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reads a request's body as a message. [the request's thread] */

#ifndef WS_HTTPD_REQUEST_BODY_H
#define WS_HTTPD_REQUEST_BODY_H

#include <httpd.h>

#include "include/mod_websocket.h"

/** Get the type of a message from Content-Type. @return 0: text in an encoding other than UTF-8 */
ws_type ws_body_type(request_rec *r);

/**
 * Read the body, at most WebSocketMaxMessageSize and WS_PUBLISH_MAX bytes.
 * @param data  set to len bytes and a NUL, from the request's pool
 * @param why   set to the reason if the caller has to send the error; NULL: httpd sends it
 * @return OK; a status; AP_FILTER_ERROR: httpd's filter has already sent an error page
 */
int ws_body_read(request_rec *r, const char **data, apr_size_t *len, const char **why);

#endif
