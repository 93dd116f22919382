/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Starts and stops the handlers in a child process. */

#ifndef WS_HTTPD_HANDLERS_H
#define WS_HTTPD_HANDLERS_H

#include <httpd.h>

#include "engine/engine.h"

/**
 * child_init: call start of each WebSocketHandler line. If it fails, handshakes for that line get
 * 503.
 */
apr_status_t ws_handlers_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** child_exit: call stop of each handler that has started. Callbacks are no longer running. */
void ws_handlers_child_exit(void);

#endif
