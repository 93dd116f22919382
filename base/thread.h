/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Creates the module's threads. */

#ifndef WS_BASE_THREAD_H
#define WS_BASE_THREAD_H

#include <apr_thread_proc.h>

/**
 * apr_thread_create() with all signals blocked in the new thread, so that signals go to the threads
 * of httpd or of the program. No other thread may use the pool.
 * @param thread  set to NULL on failure
 */
apr_status_t ws_thread_create(apr_thread_t **thread, apr_thread_start_t run, void *arg,
                              apr_pool_t *pool);

#endif
