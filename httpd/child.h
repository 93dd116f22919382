/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The module's life in a child process: its engine and its handlers. */

#ifndef WS_HTTPD_CHILD_H
#define WS_HTTPD_CHILD_H

#include <httpd.h>

#include "engine/engine.h"

/** Greatest number of threads for WS_BLOCKING handlers. */
#define WS_BLOCKING_MAX 1024

/** post_config, in the parent: what all children share. */
int ws_parent_init(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

/** child_init. */
void ws_child_init(apr_pool_t *pchild, server_rec *s);

/** child_stopping. */
void ws_child_stopping(apr_pool_t *pchild, int graceful);

/**
 * A relay keeps one of the threads that the MPM waits for when the child is to go; only then is it
 * the child's turn to end connections. So each relay calls this again and again, and when their time is
 * over, connections are closed.
 * @return 1 when the relay has to end now, whatever it has left to do
 */
int ws_child_check(void);

/** This child's engine; NULL if there is none, or no more. */
ws_engine *ws_child_engine(void);

/** Before the first ws_settings_of (config.c). */
apr_status_t ws_settings_init(apr_pool_t *pchild);

#endif
