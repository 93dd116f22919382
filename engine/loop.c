/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "engine/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/wake.h"
#include "engine/conn.h"
#include "base/thread.h"

#define READY_MAX 256

/* Rounds of ws_loop_catch_up(): somebody may never stop to send. */
#define CATCH_UP_MAX 1000

/* At a place that is known when the module is loaded: to ask for it by a call, as a shared object does
 * otherwise, would cost each ws_send() more than its own checks. */
static __thread ws_loop *current __attribute__((tls_model("initial-exec")));

ws_loop *ws_loop_current(void)
{
    return current;
}

apr_uint32_t ws_loop_spread(ws_loop *loop, apr_uint32_t ms)
{
    loop->seed = loop->seed * 1664525u + 1013904223u;
    return ms - (apr_uint32_t)((apr_uint64_t)(ms / 2) * loop->seed >> 32);
}

void *ws_task_new(apr_size_t size, void (*fn)(ws_loop *loop, ws_task *task))
{
    ws_task *t = calloc(1, size);
    if (t) {
        t->fn = fn;
    }
    return t;
}

int ws_loop_post(ws_loop *loop, ws_task *task)
{
    int wake, closed;
    apr_thread_mutex_lock(loop->task_lock);
    closed = loop->closed;
    wake = !closed && !loop->woken && current != loop; /* its own thread looks before it waits */
    if (!closed) {
        task->next = NULL;
        *loop->tasks_end = task;
        loop->tasks_end = &task->next;
        loop->woken |= wake;
    }
    apr_thread_mutex_unlock(loop->task_lock);
    if (wake) {
        ws_wake(loop->wake_fd);
    }
    return closed ? -1 : 0;
}

/* @return the tasks that are there, in order */
static ws_task *take_tasks(ws_loop *loop)
{
    ws_task *tasks;
    apr_thread_mutex_lock(loop->task_lock);
    tasks = loop->tasks;
    loop->tasks = NULL;
    loop->tasks_end = &loop->tasks;
    loop->woken = 0;
    apr_thread_mutex_unlock(loop->task_lock);
    return tasks;
}

static int has_tasks(ws_loop *loop)
{
    int has;
    apr_thread_mutex_lock(loop->task_lock);
    has = loop->tasks != NULL;
    apr_thread_mutex_unlock(loop->task_lock);
    return has;
}

static void do_tasks(ws_loop *loop)
{
    ws_task *t = take_tasks(loop), *next;
    for (; t; t = next) {
        next = t->next;
        t->fn(loop, t);
    }
}

static void handle(ws_loop *loop, const ws_ready *r)
{
    ws_conn *c = r->what;
    if (r->events == WS_RECEIVED) {
        ws_conn_received(c, r);
        ws_ring_give_back(loop->ring, r);
        return;
    }
    if (ws_source_ready(r)) {
        return;
    }
    if (!c) { /* the wake-up */
        ws_woken(loop->wake_fd);
        return;
    }
    if (ws_watch_of(c)) {
        ws_watch_ready(ws_watch_of(c), r->events);
        return;
    }
    if (!c->freed && (r->events & WS_WRITABLE)) {
        ws_conn_writable(c);
    }
    if (!c->freed && (r->events & WS_READABLE)) {
        ws_conn_read(c);
    }
    /* What lies in a broken socket can still be read; reading it finds the end, turns later if it is
     * much. So it does where a ring reads. */
    if (!c->freed && (r->events & (WS_BROKEN | WS_READABLE)) == WS_BROKEN && !c->receiving) {
        ws_conn_end(c, "the connection broke");
    }
}

/* @return how often something was received by a ring */
static int wait_and_handle(ws_loop *loop, int timeout)
{
    ws_ready ready[READY_MAX];
    int n = loop->ring ? ws_ring_wait(loop->ring, ready, READY_MAX, timeout)
                       : ws_poller_wait(loop->poller, ready, READY_MAX, timeout);
    int received = 0;
    loop->now = ws_clock();
    for (int i = 0; i < n; i++) {
        received += ready[i].events == WS_RECEIVED;
        handle(loop, &ready[i]);
    }
    return received;
}

void ws_loop_catch_up(ws_loop *loop)
{
    for (int i = 0; loop->ring && i < CATCH_UP_MAX && wait_and_handle(loop, 0) > 0; i++) {
    }
}

/* In the loop's own thread, the only one that the kernel lets use it. */
static void make_ring(ws_loop *loop)
{
    char text[120];
    apr_status_t rv = ws_ring_create(&loop->ring, loop->poller, WS_CORK_SIZE, ws_conn_sent);
    if (rv != APR_SUCCESS) {
        ws_engine_log(loop->engine, WS_LOG_WARNING, NULL,
                      "io_uring cannot be used (%s), epoll is instead (WebSocketBackend)",
                      apr_strerror(rv, text, sizeof(text)));
        return;
    }
    free(loop->cork);
    loop->cork = ws_ring_room(loop->ring);
}

static void *APR_THREAD_FUNC run(apr_thread_t *thread, void *arg)
{
    ws_loop *loop = arg;

    (void)thread;
    current = loop;
    if (loop->engine->options.backend == WS_BACKEND_URING) {
        make_ring(loop);
    }
    while (loop->running) {
        int timeout =
            loop->dirty || has_tasks(loop) ? 0 : ws_timer_wheel_timeout(&loop->wheel, ws_clock());
        wait_and_handle(loop, ws_clock_patience(timeout));
        do_tasks(loop);
        ws_timer_wheel_run(&loop->wheel, loop->now);
        ws_conn_flush_dirty(loop);
        ws_conn_sweep(loop);
        ws_watches_sweep(loop);
        ws_sources_sweep(loop);
        ws_conn_send_queues(loop);
    }
    do_tasks(loop); /* that others have posted meanwhile: ws_run() has promised to call */
    ws_sources_sweep(loop);
    /* Not apr_thread_exit(), which leaves this frame without a return: AddressSanitizer then takes
     * what the thread's end does with the stack for an overflow. */
    return NULL;
}

apr_status_t ws_loop_init(ws_loop *loop, ws_engine *engine, unsigned index)
{
    apr_status_t rv;
    loop->engine = engine;
    loop->index = index;
    loop->counters = &engine->options.counters[index];
    loop->tasks_end = &loop->tasks;
    loop->now = ws_clock();
    loop->seed = loop->now * 2654435761u + index;
    loop->wake_fd = -1;
    ws_timer_wheel_init(&loop->wheel, loop->now);
    loop->input = malloc(WS_INPUT_SIZE);
    loop->cork = malloc(WS_CORK_SIZE);
    loop->heads = calloc(engine->options.location_count + 1, sizeof(*loop->heads));
    if (!loop->input || !loop->cork || !loop->heads
        || ws_slab_init(&loop->slab, sizeof(ws_conn)) < 0) {
        return APR_ENOMEM;
    }
    if ((rv = ws_wake_create(&loop->wake_fd)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = ws_poller_create(&loop->poller)) != APR_SUCCESS
        || (rv = ws_poller_set(loop->poller, loop->wake_fd, NULL, -1, WS_READABLE)) != APR_SUCCESS
        || (rv = apr_thread_mutex_create(&loop->task_lock, APR_THREAD_MUTEX_DEFAULT, engine->pool))
               != APR_SUCCESS) {
        return rv;
    }
    return ws_tls_init(loop);
}

apr_status_t ws_loop_start(ws_loop *loop)
{
    loop->running = 1;
    return ws_thread_create(&loop->thread, run, loop, loop->engine->pool);
}

void ws_loop_destroy(ws_loop *loop)
{
    if (loop->ring) {
        ws_ring_destroy(loop->ring);
    }
    else {
        free(loop->cork);
    }
    if (loop->poller) {
        ws_poller_destroy(loop->poller);
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    ws_watches_sweep(loop);
    ws_tls_destroy(loop);
    ws_chain_loop_end(loop);
    ws_slab_destroy(&loop->slab);
    free(loop->heads);
    free(loop->input);
}
