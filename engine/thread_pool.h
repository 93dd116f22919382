/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Threads for WS_BLOCKING handlers. Not apr_thread_pool: there a push allocates, can fail after the
 * task was queued, and makes a new thread for each burst of work.
 */

#ifndef WS_ENGINE_THREADS_H
#define WS_ENGINE_THREADS_H

#include <apr_errno.h>

typedef struct ws_thread_pool ws_thread_pool;

/** Something to do; part of what it belongs to. */
typedef struct ws_work ws_work;
struct ws_work {
    ws_work *next;
    void (*fn)(ws_work *w);
};

/** max: greatest number of threads. One is made at once, so that work given is work done. */
apr_status_t ws_thread_pool_create(ws_thread_pool **threads, unsigned max);

/** Have w->fn called on one of the threads, in order of giving. Must not be given again before fn has
 *  been called.  [any thread] */
void ws_thread_pool_push(ws_thread_pool *threads, ws_work *w);

/** Do what was given and end the threads. */
void ws_thread_pool_destroy(ws_thread_pool *threads);

#endif
