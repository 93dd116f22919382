/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Finds the token of a request in the Authorization header, the query string or the subprotocols,
 *  and sets the request's user. [the request's thread] */

#ifndef WS_HTTPD_TOKEN_REQUEST_H
#define WS_HTTPD_TOKEN_REQUEST_H

#include <httpd.h>

#include "httpd/token.h"

/** register_hooks: register a hook that removes tokens from query strings before modules log
 *  them. */
void ws_token_request_register(apr_pool_t *p);

/**
 * Check a request's token, if its section has WebSocketTokenKey. Sets the request's user to the
 * user in the token.
 * @param why  set to the reason for a refusal
 * @return OK; HTTP_UNAUTHORIZED, with WWW-Authenticate set
 */
int ws_token_request_admit(request_rec *r, const char **why);

/**
 * Set the request's user from its token, which may have expired. This is for later requests of a
 * session. The session itself ends when the token that opened it, or a newer token, expires.
 * @return the same as ws_token_request_admit()
 */
int ws_token_request_identify(request_rec *r);

/** Whether the request's token permits an action on a channel. Returns 0 if the request has no
 *  token or its method is DELETE. */
int ws_token_request_permits(request_rec *r, ws_action action, const char *channel);

/** Whether the request's section has WebSocketTokenKey. */
int ws_token_request_wanted(request_rec *r);

/** Take the request's token out of the request. @return the token, which the caller must free; or
 *  NULL */
ws_token *ws_token_request_take(request_rec *r);

#endif
