/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Watches file descriptors of handlers on their connection's loop. Any thread that runs a callback
 * may create, change and stop a watch. Only the loop uses the poller. Other threads post tasks for
 * this, which run in the order of the posts.
 *
 * A thread of a WS_BLOCKING handler may close a descriptor before the loop stops watching it, and
 * the number may then be reused. For these handlers, the loop therefore watches a duplicate of the
 * descriptor. While a call to fn is pending, the loop does not watch the duplicate, because the
 * poller would report the same events again.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/callbacks.h"
#include "engine/conn.h"

struct ws_watch {
    ws_resource owned;
    ws_source source;
    ws_deferred deferred;
    ws_conn *c;
    int fd;        /**< the handler's descriptor, passed to fn */
    int duplicate; /**< the descriptor that the poller watches; -1: it watches fd */
    ws_watch_fn fn;
    void *arg;
    unsigned events; /**< events that the handler wants; loop thread only */
    int stopped;     /**< atomic: do not call fn again */
    int busy;        /**< fn is running, or is a pending job */
    int over;        /**< free the watch when it is no longer busy */
};

typedef struct watch_task {
    ws_task task;
    ws_watch *watch;
    unsigned events;
} watch_task;

static int watch_polled(const ws_watch *w)
{
    return w->duplicate >= 0 ? w->duplicate : w->fd;
}

/* Update the poller with the events wanted now. */
static apr_status_t watch_apply(ws_watch *w)
{
    ws_event_loop *loop = &w->c->loop->event;
    int waits = w->over || w->c->closed_told || (w->busy && w->c->rare->jobs);
    unsigned events = waits ? 0 : w->events;
    if (events) {
        return ws_source_watch(loop, &w->source, watch_polled(w), events);
    }
    ws_source_unwatch(loop, &w->source); /* a watch for no events would still report errors */
    return APR_SUCCESS;
}

static void watch_apply_or_end(ws_watch *w)
{
    ws_conn *c = w->c;
    apr_status_t rv = watch_apply(w);
    if (rv != APR_SUCCESS && !c->broken) {
        ws_engine_log(c->loop->engine, WS_LOG_ERROR, c, "cannot watch descriptor %d: %s", w->fd,
                      strerror(rv));
        c->broken = 1; /* the connection ends at the end of the turn: a callback may be running */
        ws_conn_mark_dirty(c);
    }
}

static void watch_end(ws_conn *c, ws_resource *o)
{
    ws_watch *w = (ws_watch *)o;
    ws_source_unwatch(&c->loop->event, &w->source);
}

static void watch_free(ws_resource *o)
{
    ws_watch *w = (ws_watch *)o;
    if (w->duplicate >= 0) {
        close(w->duplicate);
    }
    free(w);
}

static int watch_release(ws_loop *loop, ws_deferred *d)
{
    (void)loop;
    watch_free(&((ws_watch *)((char *)d - offsetof(ws_watch, deferred)))->owned);
    return 1;
}

/* Free the watch at the end of the turn, because events of this turn may still refer to it. */
static void watch_unlink(ws_watch *w)
{
    ws_resource_unlink(w->c, &w->owned);
    w->deferred.release = watch_release;
    ws_loop_defer(w->c->loop, &w->deferred);
}

static void watch_finish(ws_watch *w)
{
    if (w->over) {
        return;
    }
    w->over = 1;
    watch_apply(w);
    if (!w->busy) {
        watch_unlink(w);
    }
}

static void watch_settle(ws_watch *w)
{
    w->busy = 0;
    if (w->over) {
        watch_unlink(w);
    }
    else if (!w->c->freed) {
        watch_apply_or_end(w);
    }
}

static void watch_call(ws_conn *c, void *what, unsigned events)
{
    ws_watch *w = what;
    if (!__atomic_load_n(&w->stopped, __ATOMIC_ACQUIRE)) {
        w->fn(c, w->fd, events, w->arg);
    }
}

/* The following tasks contain a pointer to the watch. A watch is freed with its connection at the
 * latest, so the connection must not be freed before these tasks have run. This is ensured because
 * tasks run in the order of the posts: the last job of the connection posts one more task, and the
 * connection is freed after that task. */

static void watch_do_done(ws_loop *loop, ws_task *task)
{
    (void)loop;
    watch_settle(((watch_task *)task)->watch);
    free(task);
}

static void watch_do_stop(ws_loop *loop, ws_task *task)
{
    (void)loop;
    watch_finish(((watch_task *)task)->watch);
    free(task);
}

static void watch_do_set(ws_loop *loop, ws_task *task)
{
    watch_task *t = (watch_task *)task;
    (void)loop;
    t->watch->events = t->events;
    if (!t->watch->c->freed) {
        watch_apply_or_end(t->watch);
    }
    free(t);
}

static void watch_do_start(ws_loop *loop, ws_task *task)
{
    ws_watch *w = ((watch_task *)task)->watch;
    ws_resource_link(w->c, &w->owned);
    watch_do_set(loop, task);
}

/* Post a task for the watch to its loop. @return 0; -1: out of memory, or the loop has ended */
static int watch_post(ws_watch *w, void (*fn)(ws_loop *, ws_task *), unsigned events)
{
    watch_task *t = ws_task_new(sizeof(*t), fn);
    if (!t) {
        return -1;
    }
    t->watch = w;
    t->events = events;
    if (ws_loop_post(w->c->loop, &t->task) < 0) {
        free(t);
        return -1;
    }
    return 0;
}

static void watch_done(ws_conn *c, void *what)
{
    ws_watch *w = what;
    if (ws_loop_current() == c->loop) {
        watch_settle(w);
    }
    else {
        watch_post(w, watch_do_done, 0); /* if this fails, the watch is freed with the connection */
    }
}

static const ws_cb_resource calls = {"a watch's function", watch_call, watch_done};

static void watch_ready(ws_source *s, const ws_ready *r)
{
    ws_watch *w = (ws_watch *)((char *)s - offsetof(ws_watch, source));
    ws_conn *c = w->c;
    /* An earlier event in this turn may have stopped or changed the watch. */
    unsigned events = r->events & (w->events | WS_BROKEN);
    if (w->over || w->busy || c->freed || c->closed_told || !events) {
        return;
    }
    w->busy = 1;
    if (c->rare->jobs) {
        watch_apply(w);
    }
    ws_cb_call(c, &calls, w, events);
}

ws_watch *ws_watch_start(ws_conn *c, int fd, unsigned events, ws_watch_fn fn, void *arg)
{
    ws_watch *w = ws_state_of(c) == WS_CLOSED || !ws_conn_rare(c) ? NULL : calloc(1, sizeof(*w));
    if (!w) {
        return NULL;
    }
    w->owned.end = watch_end;
    w->owned.free = watch_free;
    w->source.ready = watch_ready;
    w->source.watched = -1;
    w->c = c;
    w->fd = fd;
    w->duplicate = -1;
    w->fn = fn;
    w->arg = arg;
    w->events = events & (WS_READABLE | WS_WRITABLE);
    if (ws_loop_current() == c->loop) {
        if (watch_apply(w) == APR_SUCCESS) {
            ws_resource_link(c, &w->owned);
            return w;
        }
    }
    else if ((w->duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 3)) >= 0
             && watch_post(w, watch_do_start, w->events) == 0) {
        return w;
    }
    watch_free(&w->owned);
    return NULL;
}

void ws_watch_set(ws_conn *c, ws_watch *w, unsigned events)
{
    events &= WS_READABLE | WS_WRITABLE;
    if (ws_loop_current() == c->loop) {
        w->events = events;
        watch_apply_or_end(w);
    }
    else {
        watch_post(w, watch_do_set, events);
    }
}

void ws_watch_stop(ws_conn *c, ws_watch *w)
{
    __atomic_store_n(&w->stopped, 1, __ATOMIC_RELEASE);
    if (ws_loop_current() == c->loop) {
        watch_finish(w);
    }
    else {
        watch_post(w, watch_do_stop, 0);
    }
}
