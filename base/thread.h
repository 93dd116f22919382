/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Threads of the module. */

#ifndef WS_BASE_THREAD_H
#define WS_BASE_THREAD_H

#include <apr_thread_proc.h>

/** apr_thread_create() with all signals blocked: those are for the threads of whoever drives the
 *  engine. The pool must be in use by no other thread. */
apr_status_t ws_thread_create(apr_thread_t **thread, apr_thread_start_t run, void *arg,
                              apr_pool_t *pool);

#endif
