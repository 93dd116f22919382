/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Starts, closes and stops an engine. If a WS_BLOCKING callback does not return, ws_engine_stop()
 * fails after 5 s, and the engine is never freed.
 */

#include "engine/engine.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/handoff.h"
#include "engine/output.h"
#include "engine/ticker.h"
#include "protocol/hixie.h"

/* How long ws_engine_stop() waits for WS_BLOCKING callbacks that do not return, milliseconds. */
#define STOP_WAIT 5000

/* Time between two groups of Close frames that ws_engine_close_all() sends, milliseconds. */
#define CLOSE_STEP 100

static void engine_loop_started(ws_loop *loop, ws_backend backend, apr_status_t failure)
{
    char why[WS_BACKEND_TEXT];
    if (failure == APR_SUCCESS || (backend == WS_BACKEND_AUTO && loop->index)) {
        return; /* with `auto`, log one line for each child process, not for each loop */
    }
    ws_backend_explain(failure, why);
    ws_engine_log(loop->engine, backend == WS_BACKEND_AUTO ? WS_LOG_INFO : WS_LOG_WARNING, NULL,
                  "using epoll instead of io_uring (WebSocketBackend %s): %s",
                  ws_backend_name(backend), why);
}

static int engine_loop_pending(const ws_loop *loop)
{
    return loop->dirty != NULL;
}

static const ws_loop_hooks loop_hooks = {.started = engine_loop_started,
                                         .pending = engine_loop_pending,
                                         .turn = ws_conn_flush_dirty,
                                         .submit = ws_conn_send_queues};

static apr_status_t engine_set_up(ws_engine *e)
{
    apr_status_t rv;
    if ((rv = apr_thread_mutex_create(&e->lock, APR_THREAD_MUTEX_DEFAULT, e->pool)) != APR_SUCCESS
        || (rv = apr_thread_cond_create(&e->empty, e->pool)) != APR_SUCCESS) {
        return rv;
    }
    if (!(e->loops = calloc(e->options.loops, sizeof(*e->loops)))) {
        return APR_ENOMEM;
    }
    if (!e->options.counters) {
        apr_size_t size = e->options.loops * sizeof(ws_counters);
        if (!(e->own_counters = aligned_alloc(_Alignof(ws_counters), size))) {
            return APR_ENOMEM;
        }
        e->options.counters = memset(e->own_counters, 0, size);
    }
    for (unsigned i = 0; i < e->options.loops; i++) {
        if ((rv = ws_loop_init(&e->loops[i], e, i, &loop_hooks)) != APR_SUCCESS) {
            return rv;
        }
    }
    for (unsigned i = 0; i < e->options.loops; i++) {
        if ((rv = ws_event_loop_start(&e->loops[i].event, e->pool)) != APR_SUCCESS) {
            return rv;
        }
    }
    return e->options.watchdog
               ? ws_watchdog_start(&e->watchdog, e, e->options.watchdog, ws_engine_count_all)
               : APR_SUCCESS;
}

apr_status_t ws_engine_create(ws_engine **engine, const ws_engine_options *options,
                              apr_pool_t *pool)
{
    ws_engine *e = calloc(1, sizeof(*e));
    apr_status_t rv;
    if (!e) {
        return APR_ENOMEM;
    }
    e->options = *options;
    if ((rv = apr_pool_create(&e->pool, pool)) != APR_SUCCESS) {
        free(e);
        return rv;
    }
    for (unsigned i = 0; i < options->location_count; i++) {
        options->locations[i]->engine = e;
        options->locations[i]->index = i;
    }
    if ((rv = engine_set_up(e)) != APR_SUCCESS) {
        ws_engine_stop(e);
        ws_engine_destroy(e);
        return rv;
    }
    *engine = e;
    return APR_SUCCESS;
}

void ws_engine_channels(ws_engine *e, const ws_channels_hooks *hooks)
{
    e->channels = hooks;
}

typedef struct close_task {
    ws_task task;
    int code;
    const char *reason;
    apr_uint32_t spread;
} close_task;

/* Close up to `most` open connections of a loop. @return the number of connections that
 * were open before the call */
static apr_uint32_t engine_close_first(ws_loop *loop, apr_uint32_t most)
{
    apr_uint32_t open = 0;
    for (unsigned i = 0; i <= loop->engine->options.location_count; i++) {
        ws_conn *c;
        LIST_FOREACH(c, &loop->heads[i], of_location)
        {
            if (ws_state_of(c) == WS_OPEN && open++ < most) {
                ws_conn_close(c, loop->close_code, loop->close_reason, strlen(loop->close_reason));
            }
        }
    }
    return open;
}

static void engine_close_step(ws_alarm *a)
{
    ws_loop *loop = (ws_loop *)((char *)a - offsetof(ws_loop, close_alarm));
    apr_uint32_t steps = loop->close_steps--;
    engine_close_first(loop, (engine_close_first(loop, 0) + steps - 1) / steps);
    if (loop->close_steps) {
        ws_timer_wheel_set(&loop->event.wheel, a, loop->event.now + CLOSE_STEP);
    }
}

static void engine_close_all(ws_loop *loop, ws_task *task)
{
    close_task *t = (close_task *)task;
    loop->close_code = t->code;
    loop->close_reason = t->reason;
    loop->close_steps = t->spread / CLOSE_STEP + 1;
    loop->close_alarm.fn = engine_close_step;
    ws_timer_wheel_clear(&loop->event.wheel, &loop->close_alarm);
    engine_close_step(&loop->close_alarm);
    free(t);
}

void ws_engine_close_all(ws_engine *e, int code, const char *reason, apr_uint32_t spread)
{
    for (unsigned i = 0; i < e->options.loops; i++) {
        close_task *t = ws_task_new(sizeof(*t), engine_close_all);
        if (t) {
            t->code = code;
            t->reason = reason;
            t->spread = spread;
            if (ws_loop_post(&e->loops[i], &t->task) < 0) {
                free(t);
            }
        }
    }
}

int ws_engine_wait(ws_engine *e, apr_uint32_t timeout)
{
    apr_time_t until = apr_time_now() + apr_time_from_msec(timeout);
    apr_size_t left;
    apr_thread_mutex_lock(e->lock);
    while ((left = ws_engine_count_all(e)) > 0) {
        apr_interval_time_t rest = until - apr_time_now();
        if (rest <= 0 || APR_STATUS_IS_TIMEUP(apr_thread_cond_timedwait(e->empty, e->lock, rest))) {
            left = ws_engine_count_all(e);
            break;
        }
    }
    apr_thread_mutex_unlock(e->lock);
    return left == 0;
}

static void engine_break_all(ws_loop *loop, ws_task *task)
{
    ws_handles_stop(loop);
    for (unsigned i = 0; i <= loop->engine->options.location_count; i++) {
        while (!LIST_EMPTY(&loop->heads[i])) {
            ws_conn_end(LIST_FIRST(&loop->heads[i]), "the server stops");
        }
    }
    free(task);
}

static void engine_stop_running(ws_loop *loop, ws_task *task)
{
    ws_event_loop_stop(&loop->event);
    free(task);
}

static void engine_post_all(ws_engine *e, void (*fn)(ws_loop *loop, ws_task *task))
{
    for (unsigned i = 0; i < e->options.loops; i++) {
        ws_task *t = e->loops[i].event.thread ? ws_task_new(sizeof(*t), fn) : NULL;
        if (t && ws_loop_post(&e->loops[i], t) < 0) {
            free(t);
        }
    }
}

int ws_engine_stop(ws_engine *e)
{
    __atomic_store_n(&e->stopping, 1, __ATOMIC_RELEASE);
    if (!e->loops) {
        return 1;
    }
    engine_post_all(e, engine_break_all);
    if (!ws_engine_wait(e, STOP_WAIT)) {
        ws_engine_log(e, WS_LOG_ERROR, NULL,
                      "a WS_BLOCKING handler does not return from a callback");
        return 0;
    }
    engine_post_all(e, engine_stop_running);
    for (unsigned i = 0; i < e->options.loops; i++) {
        ws_event_loop_join(&e->loops[i].event);
    }
    ws_watchdog_stop(e->watchdog);
    if (e->threads) {
        ws_thread_pool_destroy(e->threads);
        e->threads = NULL;
    }
    ws_tickers_end(e);
    return 1;
}

void ws_engine_destroy(ws_engine *e)
{
    if (e->loops) {
        for (unsigned i = 0; i < e->options.loops; i++) {
            ws_chain_loop_end(&e->loops[i]);
            ws_partial_free_spares(&e->loops[i]);
            ws_loop_destroy(&e->loops[i]);
        }
        free(e->loops);
    }
    free(e->own_counters);
    apr_pool_destroy(e->pool);
    free(e);
}
