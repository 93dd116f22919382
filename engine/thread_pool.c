/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "engine/thread_pool.h"

#include <apr_pools.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "base/thread.h"

struct ws_thread_pool {
    apr_thread_mutex_t *lock; /**< of everything below */
    apr_thread_cond_t *work;
    ws_work *first, **last;
    unsigned waiting; /**< works that no thread has taken */
    unsigned idle;    /**< threads that wait for work */
    unsigned count, max;
    int stopping;
    apr_pool_t *pool;
    apr_thread_t *threads[];
};

static void *APR_THREAD_FUNC run(apr_thread_t *thread, void *arg)
{
    ws_thread_pool *t = arg;
    (void)thread;
    apr_thread_mutex_lock(t->lock);
    for (;;) {
        ws_work *w;
        while (!(w = t->first) && !t->stopping) {
            t->idle++;
            apr_thread_cond_wait(t->work, t->lock);
            t->idle--;
        }
        if (!w) {
            break;
        }
        if (!(t->first = w->next)) {
            t->last = &t->first;
        }
        t->waiting--;
        apr_thread_mutex_unlock(t->lock);
        w->fn(w);
        apr_thread_mutex_lock(t->lock);
    }
    apr_thread_mutex_unlock(t->lock);
    return NULL;
}

/* Under the lock. Threads are kept until the end. */
static apr_status_t add_thread(ws_thread_pool *t)
{
    apr_status_t rv = ws_thread_create(&t->threads[t->count], run, t, t->pool);
    t->count += rv == APR_SUCCESS;
    return rv;
}

apr_status_t ws_thread_pool_create(ws_thread_pool **threads, unsigned max)
{
    ws_thread_pool *t;
    apr_pool_t *own;
    apr_status_t rv;
    /* Threads are added by any loop, so the pool must be nobody else's. */
    if ((rv = apr_pool_create_unmanaged(&own)) != APR_SUCCESS) {
        return rv;
    }
    t = apr_pcalloc(own, sizeof(*t) + max * sizeof(*t->threads));
    t->pool = own;
    t->max = max;
    t->last = &t->first;
    if ((rv = apr_thread_mutex_create(&t->lock, APR_THREAD_MUTEX_DEFAULT, own)) != APR_SUCCESS
        || (rv = apr_thread_cond_create(&t->work, own)) != APR_SUCCESS
        || (rv = add_thread(t)) != APR_SUCCESS) {
        apr_pool_destroy(own);
        return rv;
    }
    *threads = t;
    return APR_SUCCESS;
}

void ws_thread_pool_push(ws_thread_pool *t, ws_work *w)
{
    apr_thread_mutex_lock(t->lock);
    w->next = NULL;
    *t->last = w;
    t->last = &w->next;
    t->waiting++;
    /* A thread that was woken but does not run yet still counts as idle, its work as waiting. If no
     * thread can be made, those that are there do it later. */
    if (t->waiting > t->idle && t->count < t->max) {
        add_thread(t);
    }
    apr_thread_cond_signal(t->work);
    apr_thread_mutex_unlock(t->lock);
}

void ws_thread_pool_destroy(ws_thread_pool *t)
{
    apr_status_t rv;
    apr_thread_mutex_lock(t->lock);
    t->stopping = 1;
    apr_thread_cond_broadcast(t->work);
    apr_thread_mutex_unlock(t->lock);
    for (unsigned i = 0; i < t->count; i++) {
        apr_thread_join(&rv, t->threads[i]);
    }
    apr_pool_destroy(t->pool);
}
