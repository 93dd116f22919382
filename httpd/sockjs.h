/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Clients of SockJS (protocol 0.3.3) reach the handlers of a Location by HTTP: WebSocketTransports sockjs.
 * The sessions are those of sockjs/session.h.
 */

#ifndef WS_HTTPD_SOCKJS_H
#define WS_HTTPD_SOCKJS_H

#include <httpd.h>

#include "engine/engine.h"
#include "httpd/sockjs_config.h"

/** pre_config: a new configuration is going to be read. */
void ws_sockjs_reset(apr_pool_t *pconf);

/** Make a handler line for WebSockets with SockJS frames.  [a directive's setter] */
void ws_sockjs_begin(apr_pool_t *pconf);

/** Whether a request's URL is one of the protocol's; its Locations are known. */
int ws_sockjs_wanted(request_rec *r);

/** handler: answers them, declines everything else. */
int ws_sockjs_handler(request_rec *r);

/** The path that a handler sees: without what the protocol appends for WebSockets. */
char *ws_sockjs_handler_uri(request_rec *r);

/** Whether a handshake is for a WebSocket with SockJS frames. */
int ws_sockjs_frames(request_rec *r);

/**
 * Make n the connection of a session's frames, and the connection that it was one of the session's.
 * @return 0; -1: all that n had is released, but its chain
 */
int ws_sockjs_wrap(request_rec *r, ws_new_conn *n);

#endif
