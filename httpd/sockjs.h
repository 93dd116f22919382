/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Serves SockJS (protocol 0.3.3) in sections with `WebSocketTransports sockjs`. SockJS clients use
 * the handlers of a Location over HTTP. Sessions are in sockjs/session.h.
 */

#ifndef WS_HTTPD_SOCKJS_H
#define WS_HTTPD_SOCKJS_H

#include <httpd.h>

#include "engine/engine.h"
#include "httpd/sockjs_config.h"

/** Whether a request's URL belongs to SockJS. httpd must have run the location walk. */
int ws_sockjs_wanted(request_rec *r);

/** The handler hook: answers requests for SockJS URLs, and declines all others. */
int ws_sockjs_handler(request_rec *r);

#endif
