/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Starts and stops the handlers in a child process. */

#ifndef WS_HTTPD_HANDLERS_H
#define WS_HTTPD_HANDLERS_H

#include <httpd.h>

#include "engine/engine.h"

/**
 * child_init: call the start function of the handler of each WebSocketHandler line. If a start
 * function fails, the server answers handshakes for that line with 503.
 */
apr_status_t ws_handlers_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** child_exit: call the stop function of each handler that has started. By then, no callback is
 *  running. */
void ws_handlers_child_exit(void);

#endif
