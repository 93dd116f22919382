/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements ws_ticker: timers that belong to no connection. */

#include "engine/ticker.h"

#include <stdlib.h>

#include "engine/loop.h"

struct ws_ticker {
    ws_alarm alarm;
    ws_loop *loop;
    ws_ticker *next, **link; /* links in the engine's list; protected by the engine's lock */
    ws_ticker_fn fn;
    void *arg;
    apr_uint32_t interval;
    int stopped; /* atomic */
};

typedef struct ticker_task {
    ws_task task;
    ws_ticker *t;
    apr_uint32_t due;
} ticker_task;

/* Call fn for the last time, on the loop or after the loop has ended. */
static void ticker_end(ws_ticker *t)
{
    ws_engine *e = t->loop->engine;
    apr_thread_mutex_lock(e->lock);
    *t->link = t->next;
    if (t->next) {
        t->next->link = t->link;
    }
    apr_thread_mutex_unlock(e->lock);
    t->fn(t->arg, 1);
    free(t);
}

static void ticker_fire(ws_alarm *a)
{
    ws_ticker *t = (ws_ticker *)((char *)a - offsetof(ws_ticker, alarm));
    ws_loop *loop = t->loop;
    if (__atomic_load_n(&t->stopped, __ATOMIC_ACQUIRE)) {
        return; /* the task that ws_ticker_stop() posted will end the ticker */
    }
    if (t->interval) { /* if the loop was blocked, skip the missed calls */
        apr_uint32_t due = a->due + t->interval;
        due = (apr_int32_t)(loop->event.now - due) > 0 ? loop->event.now + t->interval : due;
        ws_timer_wheel_set(&loop->event.wheel, a, due);
        t->fn(t->arg, 0);
    }
    else {
        __atomic_store_n(&t->stopped, 1, __ATOMIC_RELEASE);
        t->fn(t->arg, 0);
        ticker_end(t);
    }
}

static void ticker_do_set(ws_loop *loop, ws_task *task)
{
    ticker_task *tt = (ticker_task *)task;
    ws_timer_wheel_set(&loop->event.wheel, &tt->t->alarm, tt->due);
    free(tt);
}

static void ticker_do_stop(ws_loop *loop, ws_task *task)
{
    ticker_task *tt = (ticker_task *)task;
    ws_timer_wheel_clear(&loop->event.wheel, &tt->t->alarm);
    ticker_end(tt->t);
    free(tt);
}

/* Post a task for the ticker to its loop. @return 0; -1: out of memory, or the loop has ended */
static int ticker_post(ws_ticker *t, void (*fn)(ws_loop *, ws_task *), apr_uint32_t due)
{
    ticker_task *tt = ws_task_new(sizeof(*tt), fn);
    if (tt) {
        tt->t = t;
        tt->due = due;
    }
    if (!tt || ws_loop_post(t->loop, &tt->task) < 0) {
        free(tt);
        return -1;
    }
    return 0;
}

static void ticker_link(ws_engine *e, ws_ticker *t)
{
    apr_thread_mutex_lock(e->lock);
    t->next = e->tickers;
    t->link = &e->tickers;
    if (t->next) {
        t->next->link = &t->next;
    }
    e->tickers = t;
    apr_thread_mutex_unlock(e->lock);
}

ws_ticker *ws_engine_ticker(ws_engine *e, apr_uint32_t delay, apr_uint32_t interval,
                            ws_ticker_fn fn, void *arg)
{
    ws_ticker *t = calloc(1, sizeof(*t));
    if (!t) {
        return NULL;
    }
    t->alarm.fn = ticker_fire;
    t->loop = ws_engine_least_busy(e);
    t->fn = fn;
    t->arg = arg;
    t->interval = interval && interval < 10 ? 10 : interval;
    ticker_link(e, t);
    if (ticker_post(t, ticker_do_set, ws_clock() + delay) < 0) {
        apr_thread_mutex_lock(e->lock);
        *t->link = t->next;
        if (t->next) {
            t->next->link = t->link;
        }
        apr_thread_mutex_unlock(e->lock);
        free(t);
        return NULL;
    }
    return t;
}

ws_ticker *ws_ticker_start(apr_uint32_t delay, apr_uint32_t interval, ws_ticker_fn fn, void *arg)
{
    ws_engine *e = ws_api_engine_now();
    return e ? ws_engine_ticker(e, delay, interval, fn, arg) : NULL;
}

void ws_ticker_stop(ws_ticker *t)
{
    if (!__atomic_exchange_n(&t->stopped, 1, __ATOMIC_ACQ_REL)) {
        ticker_post(t, ticker_do_stop, 0); /* if that fails, the engine ends the ticker */
    }
}

void ws_tickers_end(ws_engine *e)
{
    while (e->tickers) {
        __atomic_store_n(&e->tickers->stopped, 1, __ATOMIC_RELEASE);
        ticker_end(e->tickers);
    }
}
