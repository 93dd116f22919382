/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Threads for work that may block. apr_thread_pool is not suitable, because its push function
 * allocates, can fail after the task was queued, and creates a new thread for each burst of work.
 */

#ifndef WS_EVENT_THREAD_POOL_H
#define WS_EVENT_THREAD_POOL_H

#include <apr_errno.h>

#include "base/queue.h"

typedef struct ws_thread_pool ws_thread_pool;

/** A work item; the first member of the caller's struct. */
typedef struct ws_work ws_work;
struct ws_work {
    ws_queue_item link;
    void (*fn)(ws_work *w);
};

/** Create a pool. max: maximum number of threads, at least 1. This call creates the first thread,
 *  so that pushed work always runs. */
apr_status_t ws_thread_pool_create(ws_thread_pool **threads, unsigned max);

/** Call w->fn on one of the threads; items start in the order of the calls. Do not push w again
 *  before fn has been called.  [any thread] */
void ws_thread_pool_push(ws_thread_pool *threads, ws_work *w);

/** Wait until all pushed work has run, then end the threads. No thread may push work after this
 *  call. */
void ws_thread_pool_destroy(ws_thread_pool *threads);

#endif
