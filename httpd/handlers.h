/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The handlers' start and stop in a child process. */

#ifndef WS_HTTPD_HANDLERS_H
#define WS_HTTPD_HANDLERS_H

#include <httpd.h>

#include "engine/engine.h"

/** child_init: start of each WebSocketHandler line. Handshakes of one that fails are answered 503. */
apr_status_t ws_handlers_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** child_exit: stop of those that have started. No callback runs any more. */
void ws_handlers_child_exit(void);

#endif
