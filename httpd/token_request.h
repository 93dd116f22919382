/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tokens of requests: from the header, the query string or the subprotocols to the request's user. [the request's
 *  thread] */

#ifndef WS_HTTPD_TOKEN_REQUEST_H
#define WS_HTTPD_TOKEN_REQUEST_H

#include <httpd.h>

#include "httpd/token.h"

/** register_hooks: query strings lose their token before anything logs them. */
void ws_token_request_register(apr_pool_t *p);

/**
 * Check a request's token, if its section has WebSocketTokenKey. The token's user becomes the request's.
 * @param why  set to the reason of a refusal
 * @return OK; HTTP_UNAUTHORIZED, and the answer has WWW-Authenticate
 */
int ws_token_request_admit(request_rec *r, const char **why);

/** Whether the request's token permits this; 0 without a token, and for DELETE. */
int ws_token_request_permits(request_rec *r, ws_action action, const char *channel);

/** Whether the request's section has WebSocketTokenKey. */
int ws_token_request_wanted(request_rec *r);

/** The request's token, which belongs to the caller from now on; or NULL. */
ws_token *ws_token_request_take(request_rec *r);

#endif
