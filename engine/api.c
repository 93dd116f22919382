/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The functions of include/mod_websocket.h that close or pause a connection, broadcast, or run a
 * function on a loop. If the caller is on the connection's loop, a call takes effect immediately.
 * If not, the call posts a task to that loop.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/post.h"
#include "protocol/close.h"

/* ---- Closing ---- */

static void api_close(ws_conn *c, int code, const char *reason, apr_size_t reason_len)
{
    c->program_closed |= ws_state_of(c) == WS_OPEN && !c->peer_closed;
    ws_conn_close(c, code, reason, reason_len);
}

static void api_do_close(ws_loop *loop, ws_task *task)
{
    ws_api_task *t = (ws_api_task *)task;
    ws_conn *c = ws_conn_find(loop, t->id);
    if (c) {
        api_close(c, t->code, t->reason ? (char *)t->reason->data : NULL,
                  t->reason ? t->reason->len : 0);
    }
    free(t->reason);
    free(t);
}

ws_status ws_close_id(ws_id id, int code, const char *reason)
{
    ws_api_task *t = ws_task_new(sizeof(*t), api_do_close);
    ws_status s;
    if (t) {
        t->code = code;
        t->reason = reason ? ws_bytes_new(reason, strlen(reason)) : NULL;
    }
    if ((s = ws_api_post(id, t, 0)) != WS_QUEUED && t) {
        free(t->reason);
        free(t);
    }
    return s;
}

ws_status ws_close(ws_conn *c, int code, const char *reason)
{
    if (ws_state_of(c) != WS_OPEN) {
        return WS_GONE;
    }
    if (!ws_api_on_loop(c)) {
        return ws_close_id(c->id, code, reason);
    }
    api_close(c, code, reason, reason ? strlen(reason) : 0);
    return WS_QUEUED;
}

ws_status ws_abort(ws_conn *c)
{
    if (ws_state_of(c) == WS_CLOSED) {
        return WS_GONE;
    }
    if (ws_api_on_loop(c)) {
        ws_conn_abort(c);
    }
    else {
        ws_engine_on_conn(c, ws_conn_abort);
    }
    return WS_QUEUED;
}

/* ---- Broadcast ---- */

static void api_do_broadcast(ws_loop *loop, ws_task *task)
{
    ws_api_task *t = (ws_api_task *)task;
    ws_api_arrived(loop, t);
    ws_conn *c;
    LIST_FOREACH(c, &loop->heads[t->broadcast_to], of_location)
    {
        if (c->id != t->id) {
            ws_conn_share(c, ws_frames_ref(t->frames));
        }
    }
    ws_chain_forget_shared(loop);
    ws_frames_unref(t->frames);
    free(t);
}

ws_status ws_broadcast(ws_location *here, ws_type type, const char *data, apr_size_t len,
                       ws_id except)
{
    return ws_broadcast_keyed(here, type, data, len, except, 0);
}

ws_status ws_broadcast_keyed(ws_location *here, ws_type type, const char *data, apr_size_t len,
                             ws_id except, apr_uint64_t key)
{
    ws_engine *e = here->engine;
    ws_frames *f = ws_frames_build(WS_FIN | (unsigned)type, data, len);
    ws_status s = f ? WS_QUEUED : WS_FULL, posted;
    apr_size_t cost = f ? sizeof(ws_api_task) + f->len : 0;
    if (f) {
        f->key = key;
    }
    for (unsigned i = 0; f && i < e->options.loops; i++) {
        ws_api_task *t = ws_task_new(sizeof(*t), api_do_broadcast);
        if (!t) {
            s = WS_FULL;
            break;
        }
        t->broadcast_to = here->index;
        t->id = except;
        t->frames = ws_frames_ref(f);
        if ((posted = ws_api_post_to(&e->loops[i], t, cost,
                                     __atomic_load_n(&e->loops[i].count, __ATOMIC_RELAXED)))
            != WS_QUEUED) {
            s = posted == WS_FULL ? WS_FULL : s;
            ws_frames_unref(f);
            free(t);
        }
    }
    if (f) {
        ws_frames_unref(f);
    }
    return s;
}

/* ---- Reading ---- */

static void api_hold(ws_conn *c, void *arg)
{
    if (!ws_conn_accepts_input(c)) {
        return;
    }
    if (arg) {
        ws_conn_hold(c, WS_HELD_HANDLER);
    }
    else {
        ws_conn_release(c, WS_HELD_HANDLER);
    }
}

static void api_do_hold(ws_loop *loop, ws_task *task)
{
    ws_api_task *t = (ws_api_task *)task;
    ws_conn *c = ws_conn_find(loop, t->id);
    if (c) {
        api_hold(c, t->arg);
        ws_conn_watch(c);
    }
    free(t);
}

static void api_pause_or_resume(ws_conn *c, void *paused)
{
    ws_api_task *t;
    if (ws_state_of(c) == WS_CLOSED) {
        return;
    }
    if (ws_api_on_loop(c)) {
        api_hold(c, paused); /* the socket's watch is updated when the callback ends */
        if (c->loop->corked != c) {
            ws_conn_mark_dirty(c); /* no callback of c is running: settle c later */
        }
        return;
    }
    if ((t = ws_task_new(sizeof(*t), api_do_hold))) {
        t->arg = paused;
        if (ws_api_post(c->id, t, 0) != WS_QUEUED) {
            free(t);
        }
    }
}

void ws_pause(ws_conn *c)
{
    api_pause_or_resume(c, c);
}

void ws_resume(ws_conn *c)
{
    api_pause_or_resume(c, NULL);
}

/* ---- Running on the loop ---- */

static void api_do_run(ws_loop *loop, ws_task *task)
{
    ws_api_task *t = (ws_api_task *)task;
    ws_conn *c = ws_conn_find(loop, t->id);
    ws_api_arrived(loop, t);
    if (c && !c->closed_told && ws_cb_keeps_pace(c)) {
        ws_cb_run(c, t->fn, t->arg);
    }
    else {
        t->fn(NULL, t->arg);
    }
    free(t);
}

ws_status ws_run(ws_id id, void (*fn)(ws_conn *c, void *arg), void *arg)
{
    ws_api_task *t = ws_task_new(sizeof(*t), api_do_run);
    ws_status s;
    if (t) {
        t->fn = fn;
        t->arg = arg;
    }
    if ((s = ws_api_post(id, t, sizeof(*t))) != WS_QUEUED) {
        free(t);
    }
    return s;
}

/* ---- The log ---- */

void ws_conn_log(ws_conn *c, ws_log_level level, const char *format, ...)
{
    ws_engine *e = c->loop->engine;
    char text[1024];
    va_list args;
    if (e->options.logs(level, c->settings)) {
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        e->options.log(level, c->settings, c, text);
    }
}

void ws_log(ws_log_level level, const char *format, ...)
{
    ws_engine *e = ws_api_engine_now();
    char text[1024];
    va_list args;
    if (e && e->options.logs(level, NULL)) {
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        e->options.log(level, NULL, NULL, text);
    }
}
