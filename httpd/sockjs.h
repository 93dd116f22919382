/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * SockJS (protocol 0.3.3): WebSocketTransports sockjs. Its clients use the handlers of a Location
 * over HTTP. Sessions are in sockjs/session.h.
 */

#ifndef WS_HTTPD_SOCKJS_H
#define WS_HTTPD_SOCKJS_H

#include <httpd.h>

#include "engine/engine.h"
#include "httpd/sockjs_config.h"

/** pre_config: httpd is about to read a new configuration. */
void ws_sockjs_reset(apr_pool_t *pconf);

/** Create the handler line for WebSockets with SockJS frames.  [a directive's setter] */
void ws_sockjs_begin(apr_pool_t *pconf);

/** Whether a request's URL belongs to the protocol. Requires the location walk. */
int ws_sockjs_wanted(request_rec *r);

/** handler: answers these requests, and declines all others. */
int ws_sockjs_handler(request_rec *r);

/** The path that a handler sees: without the segments that the protocol appends for WebSockets. */
char *ws_sockjs_handler_uri(request_rec *r);

/** Whether a handshake is for a WebSocket with SockJS frames. */
int ws_sockjs_frames(request_rec *r);

/**
 * Wrap a WebSocket with SockJS frames. n becomes the connection that carries the frames, and a new
 * session gets the handler's connection that n was.
 * @return 0; -1: all resources of n are released, except its chain
 */
int ws_sockjs_wrap(request_rec *r, ws_new_conn *n);

#endif
