/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Handlers' timers. Any thread that runs a callback may create and stop a timer. Only the loop
 * sets, fires and frees timers. Other threads post tasks for this, which run in the order of the
 * posts.
 */

#include <stdlib.h>

#include "engine/callbacks.h"
#include "engine/conn.h"

struct ws_timer {
    ws_resource owned;
    ws_alarm alarm;
    ws_conn *c;
    ws_timer_fn fn;
    void *arg;
    apr_uint32_t interval;
    int stopped; /**< atomic: do not call fn again */
    int busy;    /**< the timer has fired and fn has not returned yet: do not free the timer */
    int over;    /**< free the timer when it is no longer busy */
};

typedef struct timer_task {
    ws_task task;
    ws_id id;
    ws_timer *timer;
    apr_uint32_t due;
} timer_task;

static void timer_unlink_and_free(ws_conn *c, ws_timer *t)
{
    ws_resource_unlink(c, &t->owned);
    free(t);
}

/* Free the timer now. If fn is running, free it when fn has returned. */
static void timer_let_go(ws_conn *c, ws_timer *t)
{
    ws_timer_wheel_clear(&c->loop->event.wheel, &t->alarm);
    t->over = 1;
    if (!t->busy) {
        timer_unlink_and_free(c, t);
    }
}

static void timer_call(ws_conn *c, void *what, unsigned events)
{
    ws_timer *t = what;
    (void)events;
    if (!__atomic_load_n(&t->stopped, __ATOMIC_ACQUIRE)) {
        t->fn(c, t->arg);
    }
}

static void timer_settle(ws_conn *c, ws_timer *t)
{
    t->busy = 0;
    if (t->over) {
        timer_unlink_and_free(c, t);
    }
}

/* The following tasks contain a pointer to the timer. A timer is freed with its connection at the
 * latest, so the connection must not be freed before these tasks have run. This is ensured because
 * tasks run in the order of the posts: the last job of the connection posts one more task, and the
 * connection is freed after that task. */

static void timer_do_done(ws_loop *loop, ws_task *task)
{
    timer_task *tt = (timer_task *)task;
    (void)loop;
    timer_settle(tt->timer->c, tt->timer);
    free(tt);
}

static void timer_do_stop(ws_loop *loop, ws_task *task)
{
    timer_task *tt = (timer_task *)task;
    (void)loop;
    timer_let_go(tt->timer->c, tt->timer);
    free(tt);
}

static void timer_set(ws_timer *t, apr_uint32_t due)
{
    ws_conn *c = t->c;
    ws_resource_link(c, &t->owned);
    if (!c->closed_told) {
        ws_timer_wheel_set(&c->loop->event.wheel, &t->alarm, due);
    }
}

static void timer_do_set(ws_loop *loop, ws_task *task)
{
    timer_task *tt = (timer_task *)task;
    (void)loop;
    timer_set(tt->timer, tt->due);
    free(tt);
}

/* Post a task for the timer to its loop. @return 0; -1: out of memory, or the loop has ended */
static int timer_post(ws_timer *t, void (*fn)(ws_loop *, ws_task *), apr_uint32_t due)
{
    timer_task *tt = ws_task_new(sizeof(*tt), fn);
    if (!tt) {
        return -1;
    }
    tt->timer = t;
    tt->due = due;
    if (ws_loop_post(t->c->loop, &tt->task) < 0) {
        free(tt);
        return -1;
    }
    return 0;
}

static void timer_done(ws_conn *c, void *what)
{
    ws_timer *t = what;
    if (ws_loop_current() == c->loop) {
        timer_settle(c, t);
    }
    else {
        timer_post(t, timer_do_done, 0); /* if this fails, the timer is freed with the connection */
    }
}

static const ws_cb_resource calls = {"a timer's function", timer_call, timer_done};

static void timer_fire(ws_alarm *a)
{
    ws_timer *t = (ws_timer *)((char *)a - offsetof(ws_timer, alarm));
    ws_conn *c = t->c;
    if (t->interval) {
        apr_uint32_t due = a->due + t->interval;
        /* If the loop was blocked, skip the missed calls. */
        if ((apr_int32_t)(c->loop->event.now - due) > 0) {
            due = c->loop->event.now + t->interval;
        }
        ws_timer_wheel_set(&c->loop->event.wheel, a, due);
        if (t->busy) {
            return; /* the previous call to fn has not returned */
        }
    }
    else {
        t->over = 1;
    }
    t->busy = 1;
    ws_cb_call(c, &calls, t, 0);
}

static void timer_end(ws_conn *c, ws_resource *o)
{
    ws_timer_wheel_clear(&c->loop->event.wheel, &((ws_timer *)o)->alarm);
}

static void timer_free_timer(ws_resource *o)
{
    free(o);
}

ws_timer *ws_timer_start(ws_conn *c, apr_uint32_t delay, apr_uint32_t interval, ws_timer_fn fn,
                         void *arg)
{
    ws_timer *t = ws_state_of(c) == WS_CLOSED || !ws_conn_rare(c) ? NULL : calloc(1, sizeof(*t));
    apr_uint32_t due;
    if (!t) {
        return NULL;
    }
    t->owned.end = timer_end;
    t->owned.free = timer_free_timer;
    t->alarm.fn = timer_fire;
    t->c = c;
    t->fn = fn;
    t->arg = arg;
    t->interval = interval && interval < 10 ? 10 : interval;
    due = ws_clock() + delay; /* event.now is the start of the turn, which is too early */
    if (ws_loop_current() == c->loop) {
        timer_set(t, due);
    }
    else if (timer_post(t, timer_do_set, due) < 0) {
        free(t);
        return NULL;
    }
    return t;
}

void ws_timer_stop(ws_conn *c, ws_timer *t)
{
    __atomic_store_n(&t->stopped, 1, __ATOMIC_RELEASE);
    if (ws_loop_current() == c->loop) {
        timer_let_go(c, t);
    }
    else {
        timer_post(t, timer_do_stop, 0);
    }
}
