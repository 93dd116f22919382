/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Threads for work that may block. Not apr_thread_pool: its push allocates, can fail after the task was
 * queued, and creates a new thread for each burst of work.
 */

#ifndef WS_EVENT_THREAD_POOL_H
#define WS_EVENT_THREAD_POOL_H

#include <apr_errno.h>

#include "base/queue.h"

typedef struct ws_thread_pool ws_thread_pool;

/** Something to do; the start of a struct of the caller. */
typedef struct ws_work ws_work;
struct ws_work {
    ws_queue_item link;
    void (*fn)(ws_work *w);
};

/** max: greatest number of threads, at least 1. One is created at once, so that pushed work is always done. */
apr_status_t ws_thread_pool_create(ws_thread_pool **threads, unsigned max);

/** Call w->fn on one of the threads, in order. w must not be pushed again before fn has been called.
 *  [any thread] */
void ws_thread_pool_push(ws_thread_pool *threads, ws_work *w);

/** Do what was pushed and end the threads. No thread may push any more. */
void ws_thread_pool_destroy(ws_thread_pool *threads);

#endif
