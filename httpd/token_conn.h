/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Checks the permissions and the expiry of tokens of open connections. [callback] */

#ifndef WS_HTTPD_TOKEN_CONN_H
#define WS_HTTPD_TOKEN_CONN_H

#include <httpd.h>

#include "engine/engine.h"
#include "httpd/token.h"

/** child_init: set the engine's callback that starts the timers of a connection's tokens. */
apr_status_t ws_token_conn_child_init(apr_pool_t *pchild, server_rec *s,
                                      ws_engine_options *options);

/**
 * Prepare the tokens of a connection before it opens, if its section has WebSocketTokenKey. Adds a
 * ticket to *tickets. @return OK, or the status with which to refuse the handshake  [the request's
 * thread]
 */
int ws_token_conn_attach(request_rec *r, const ws_settings *settings, ws_ticket **tickets);

/** Whether any token of the connection permits an action on a channel. */
int ws_token_conn_permits(ws_conn *c, ws_action action, const char *channel);

/** Like ws_use_token(). */
const char *ws_token_conn_use(ws_conn *c, const char *channel, const char *text);

#endif
