/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The event loop. Each iteration (turn) handles the events of sources, runs tasks, alarms and the
 *  user's hooks, and then waits. */

#include "event/loop.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "base/wake.h"
#include "event/poller.h"
#include "event/ring.h"

#define READY_MAX 256

/* Maximum number of rounds of ws_loop_catch_up(), because a peer may never stop sending. */
#define CATCH_UP_MAX 1000

/* The model initial-exec makes each access cheap. With the default model of a shared object, each
 * access is a function call, which costs more than all checks in ws_send(). */
static __thread ws_event_loop *current __attribute__((tls_model("initial-exec")));

ws_loop *ws_loop_current(void)
{
    return (ws_loop *)current;
}

static ws_loop *loop_user(ws_event_loop *loop)
{
    return (ws_loop *)loop;
}

static ws_event_loop *loop_of(ws_loop *loop)
{
    return (ws_event_loop *)loop;
}

apr_uint32_t ws_loop_spread(ws_loop *user, apr_uint32_t ms)
{
    ws_event_loop *loop = loop_of(user);
    loop->seed = loop->seed * 1664525u + 1013904223u;
    return ms - (apr_uint32_t)((apr_uint64_t)(ms / 2) * loop->seed >> 32);
}

/* ---- Tasks ---- */

void *ws_task_new(apr_size_t size, void (*fn)(ws_loop *loop, ws_task *task))
{
    ws_task *t = calloc(1, size);
    if (t) {
        t->fn = fn;
    }
    return t;
}

int ws_loop_post(ws_loop *user, ws_task *task)
{
    ws_event_loop *loop = loop_of(user);
    int first = ws_queue_push(&loop->tasks, &task->link);
    if (first > 0 && loop != current) { /* the loop's own thread checks the queue before it waits */
        ws_wake(loop->wake_fd);
    }
    return first < 0 ? -1 : 0;
}

static void loop_run_tasks(ws_event_loop *loop)
{
    ws_queue_items tasks;
    ws_queue_item *item;
    if (!ws_queue_count(&loop->tasks)) {
        return;
    }
    ws_queue_take(&loop->tasks, &tasks);
    while ((item = STAILQ_FIRST(&tasks))) {
        ws_task *t = (ws_task *)item;
        STAILQ_REMOVE_HEAD(&tasks, next);
        t->fn(loop_user(loop), t);
    }
}

/* ---- Deferred frees ---- */

void ws_loop_defer(ws_loop *loop, ws_deferred *d)
{
    STAILQ_INSERT_TAIL(&loop_of(loop)->deferred, d, next);
}

/* Release the deferred objects. Releasing an object may defer others, which are released in the
 * same turn. */
static void loop_release(ws_event_loop *loop)
{
    STAILQ_HEAD(ws_deferred_kept, ws_deferred) kept = STAILQ_HEAD_INITIALIZER(kept);
    ws_deferred *d;
    while ((d = STAILQ_FIRST(&loop->deferred))) {
        STAILQ_REMOVE_HEAD(&loop->deferred, next);
        if (!d->release(loop_user(loop), d)) {
            STAILQ_INSERT_TAIL(&kept, d, next);
        }
    }
    STAILQ_CONCAT(&loop->deferred, &kept);
}

/* ---- Handles ---- */

void ws_handle_open(ws_loop *loop, ws_handle *h)
{
    h->loop = loop;
    h->source.watched = -1;
    LIST_INSERT_HEAD(&loop_of(loop)->handles, h, of_loop);
}

void ws_handle_forget(ws_handle *h)
{
    LIST_REMOVE(h, of_loop);
    h->loop = NULL;
}

apr_status_t ws_handle_watch(ws_handle *h, int fd, unsigned events)
{
    return ws_source_watch(loop_of(h->loop), &h->source, fd, events);
}

void ws_handle_unwatch(ws_handle *h)
{
    ws_source_unwatch(loop_of(h->loop), &h->source);
}

static int handle_release(ws_loop *loop, ws_deferred *d)
{
    ws_handle *h = (ws_handle *)((char *)d - offsetof(ws_handle, deferred));
    (void)loop;
    h->release(h);
    return 1;
}

void ws_handle_close(ws_handle *h)
{
    ws_handle_unwatch(h);
    LIST_REMOVE(h, of_loop);
    h->deferred.release = handle_release;
    ws_loop_defer(h->loop, &h->deferred);
}

void ws_handles_stop(ws_loop *user)
{
    ws_handle *h;
    while ((h = LIST_FIRST(&loop_of(user)->handles))) {
        h->stop(h);
    }
}

/* ---- Turns ---- */

/* Wait for events and handle them. timeout: milliseconds; -1: no limit. @return the number of
 * WS_STREAM_RECEIVED events */
static int loop_wait(ws_event_loop *loop, int timeout)
{
    ws_ready ready[READY_MAX];
    int n = loop->ring ? ws_ring_wait(loop->ring, ready, READY_MAX, timeout)
                       : ws_poller_wait(loop->poller, ready, READY_MAX, timeout);
    int received = 0;
    loop->now = ws_clock();
    for (int i = 0; i < n; i++) {
        ws_ready *r = &ready[i];
        if (r->events == WS_STREAM_RECEIVED) {
            received++;
            r->source->receiving = r->more;
            r->source->stopping &= r->more;
            r->source->ready(r->source, r);
            ws_ring_give_back(loop->ring, r);
        }
        else if (r->source->watched >= 0) { /* an earlier event of this turn has not closed it */
            r->source->ready(r->source, r);
        }
    }
    return received;
}

void ws_loop_catch_up(ws_loop *user)
{
    ws_event_loop *loop = loop_of(user);
    for (int i = 0; loop->ring && i < CATCH_UP_MAX && loop_wait(loop, 0) > 0; i++) {
    }
}

/* Choose the backend. Runs in the loop's thread, because only the thread that creates the ring may
 * use it. */
static void loop_choose_backend(ws_event_loop *loop)
{
    apr_status_t rv = APR_SUCCESS;
    if (loop->backend != WS_BACKEND_EPOLL) {
        rv = ws_ring_create(&loop->ring, loop->poller);
    }
    loop->hooks->started(loop_user(loop), loop->backend, rv);
}

static void *APR_THREAD_FUNC loop_run(apr_thread_t *thread, void *arg)
{
    ws_event_loop *loop = arg;
    const ws_loop_hooks *hooks = loop->hooks;

    (void)thread;
    current = loop;
    loop_choose_backend(loop);
    while (loop->running) {
        int timeout = hooks->pending(loop_user(loop)) || ws_queue_count(&loop->tasks)
                          ? 0
                          : ws_timer_wheel_timeout(&loop->wheel, ws_clock());
        loop_wait(loop, ws_clock_patience(timeout));
        loop_run_tasks(loop);
        ws_timer_wheel_run(&loop->wheel, loop->now);
        hooks->turn(loop_user(loop));
        loop_release(loop);
        if (loop->ring) {
            hooks->submit(loop_user(loop));
        }
    }
    loop_run_tasks(loop); /* run the last tasks, because ws_run() guarantees that fn is called */
    loop_release(loop);
    /* Do not call apr_thread_exit(), which ends the thread without returning from this frame.
     * AddressSanitizer would report the thread's cleanup on this stack as an overflow. */
    return NULL;
}

/* ---- Start and stop ---- */

static void loop_woken(ws_source *s, const ws_ready *r)
{
    (void)r;
    ws_woken(s->fd);
}

apr_status_t ws_event_loop_init(ws_event_loop *loop, const ws_loop_hooks *hooks, ws_backend backend,
                                unsigned seed)
{
    apr_status_t rv;
    memset(loop, 0, sizeof(*loop));
    loop->hooks = hooks;
    loop->backend = backend;
    loop->now = ws_clock();
    loop->seed = loop->now * 2654435761u + seed;
    loop->wake_fd = -1;
    loop->wake = (ws_source){.ready = loop_woken, .watched = -1};
    ws_queue_init(&loop->tasks);
    STAILQ_INIT(&loop->deferred);
    LIST_INIT(&loop->handles);
    ws_timer_wheel_init(&loop->wheel, loop->now);
    if ((rv = ws_wake_create(&loop->wake_fd)) != APR_SUCCESS
        || (rv = ws_poller_create(&loop->poller)) != APR_SUCCESS) {
        return rv;
    }
    return ws_source_watch(loop, &loop->wake, loop->wake_fd, WS_READABLE);
}

apr_status_t ws_event_loop_start(ws_event_loop *loop, apr_pool_t *pool)
{
    loop->running = 1;
    return ws_thread_create(&loop->thread, loop_run, loop, pool);
}

void ws_event_loop_stop(ws_event_loop *loop)
{
    loop->running = 0;
    ws_queue_close(&loop->tasks);
}

void ws_event_loop_join(ws_event_loop *loop)
{
    apr_status_t rv;
    if (loop->thread) {
        apr_thread_join(&rv, loop->thread);
        loop->thread = NULL;
    }
}

void ws_event_loop_destroy(ws_event_loop *loop)
{
    if (!loop->hooks) { /* ws_event_loop_init() was never called */
        return;
    }
    if (loop->ring) {
        ws_ring_destroy(loop->ring);
    }
    if (loop->poller) {
        ws_poller_destroy(loop->poller);
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    loop_release(loop);
    ws_queue_destroy(&loop->tasks);
}
