/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Threads for queued work. The pool creates a thread when work is queued and no thread is idle.
 *  Threads end only when the pool ends. */

#include "event/thread_pool.h"

#include <apr_pools.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "base/thread.h"

struct ws_thread_pool {
    ws_queue work;
    apr_thread_mutex_t *lock; /**< guards all fields below */
    unsigned count, max;
    apr_pool_t *pool;
    apr_thread_t *threads[];
};

static void *APR_THREAD_FUNC pool_run(apr_thread_t *thread, void *arg)
{
    ws_thread_pool *t = arg;
    ws_queue_item *item;
    (void)thread;
    while ((item = ws_queue_wait(&t->work))) {
        ws_work *w = (ws_work *)item;
        w->fn(w);
    }
    return NULL;
}

static apr_status_t pool_add_thread(ws_thread_pool *t)
{
    apr_status_t rv = APR_SUCCESS;
    apr_thread_mutex_lock(t->lock);
    if (t->count < t->max) {
        rv = ws_thread_create(&t->threads[t->count], pool_run, t, t->pool);
        t->count += rv == APR_SUCCESS;
    }
    apr_thread_mutex_unlock(t->lock);
    return rv;
}

apr_status_t ws_thread_pool_create(ws_thread_pool **threads, unsigned max)
{
    ws_thread_pool *t;
    apr_pool_t *own;
    apr_status_t rv;
    /* Any loop's thread can add a thread to the pool, so its APR pool must not be shared. */
    if ((rv = apr_pool_create_unmanaged(&own)) != APR_SUCCESS) {
        return rv;
    }
    t = apr_pcalloc(own, sizeof(*t) + max * sizeof(*t->threads));
    t->pool = own;
    t->max = max;
    ws_queue_init(&t->work);
    if ((rv = apr_thread_mutex_create(&t->lock, APR_THREAD_MUTEX_DEFAULT, own)) != APR_SUCCESS
        || (rv = pool_add_thread(t)) != APR_SUCCESS) {
        ws_queue_destroy(&t->work);
        apr_pool_destroy(own);
        return rv;
    }
    *threads = t;
    return APR_SUCCESS;
}

void ws_thread_pool_push(ws_thread_pool *t, ws_work *w)
{
    ws_queue_push(&t->work, &w->link);
    /* If no thread can be created, an existing one does the work later. */
    if (ws_queue_is_busy(&t->work)) {
        pool_add_thread(t);
    }
}

void ws_thread_pool_destroy(ws_thread_pool *t)
{
    apr_status_t rv;
    ws_queue_close(&t->work);
    for (unsigned i = 0; i < t->count; i++) {
        apr_thread_join(&rv, t->threads[i]);
    }
    ws_queue_destroy(&t->work);
    apr_pool_destroy(t->pool);
}
