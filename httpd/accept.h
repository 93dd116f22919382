/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Balances connections between the event MPM's children, which do not accept them evenly. A
 * child whose descriptors run short leaves new connections to a child that has fewer connections.
 */

#ifndef WS_HTTPD_ACCEPT_H
#define WS_HTTPD_ACCEPT_H

#include <httpd.h>

#include "engine/engine.h"

/** child_init: prepare for ws_accept_spread(). */
apr_status_t ws_accept_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/**
 * Replace the accept function of the listeners. child_init cannot do this, since the MPM sets the
 * function afterwards. Called when descriptors run short for the first time.  [any thread in a
 * child]
 */
void ws_accept_spread(void);

#endif
