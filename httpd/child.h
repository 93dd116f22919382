/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The module's life in a child process: its engine and its handlers. */

#ifndef WS_HTTPD_CHILD_H
#define WS_HTTPD_CHILD_H

#include <httpd.h>

#include "engine/engine.h"

/** Greatest number of threads for WS_BLOCKING handlers. */
#define WS_BLOCKING_MAX 1024

/** register_hooks: child_init and child_stopping. */
void ws_child_register(apr_pool_t *p);

/** parent_init: whether module and mod_ssl have the same OpenSSL. */
apr_status_t ws_child_parent_init(apr_pool_t *ptemp, server_rec *s);

/** child_init, child_stop and child_exit of the engine. */
apr_status_t ws_child_engine_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);
int ws_child_engine_stop(void);
void ws_child_engine_exit(void);

/**
 * A relay keeps one of the threads that the MPM waits for when the child is to go; only then is it
 * the child's turn to end connections. So each relay calls this again and again, and when their time is
 * over, connections are closed.
 * @return 1 when the relay has to end now, whatever it has left to do
 */
int ws_child_check(void);

/** This child's engine; NULL if there is none, or no more. */
ws_engine *ws_child_engine(void);

#endif
