/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The functions of include/mod_websocket.h that need the loop. A call on the connection's loop
 * takes effect immediately. A call on another thread posts a task to that loop.
 */

#include <errno.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"
#include "protocol/close.h"

/* The engine of this process, for calls that name a connection by its id. */
static ws_engine *the_engine;

void ws_api_engine(ws_engine *engine)
{
    __atomic_store_n(&the_engine, engine, __ATOMIC_RELEASE);
}

ws_engine *ws_api_engine_now(void)
{
    return __atomic_load_n(&the_engine, __ATOMIC_ACQUIRE);
}

typedef struct api_task {
    ws_task task;
    ws_id id;
    apr_size_t cost; /* bytes added to loop->posted */
    ws_conn *own;    /* the sender, if it is in a WS_BLOCKING callback: for ws_cb_posted() */
    ws_frames *frames;
    unsigned broadcast_to; /**< location index */
    int code;
    ws_bytes *reason;
    void (*fn)(ws_conn *c, void *arg);
    void *arg;
} api_task;

/* Post a task to a loop, unless its pending tasks already hold WS_POSTED_MAX bytes. A task posted
 * by a connection's callback counts against that connection's share of the turn. cost: bytes that
 * the task holds. receivers: number of connections that it sends to */
static ws_status api_post_to(ws_loop *loop, api_task *t, apr_size_t cost, apr_uint32_t receivers)
{
    ws_loop *here = ws_loop_current();
    apr_size_t before = __atomic_fetch_add(&loop->posted, cost, __ATOMIC_RELAXED);
    t->cost = cost;
    if (before >= WS_POSTED_MAX && cost) {
        __atomic_sub_fetch(&loop->posted, cost, __ATOMIC_RELAXED);
        return WS_FULL;
    }
    if (here && cost) {
        ws_loop_spend(here, cost + ws_fan_out_work(receivers));
    }
    if (ws_loop_post(loop, &t->task) < 0) {
        __atomic_sub_fetch(&loop->posted, cost, __ATOMIC_RELAXED);
        return WS_GONE;
    }
    return WS_QUEUED;
}

/* Stop counting a task as posted, because the loop has taken it. */
static void api_arrived(ws_loop *loop, const api_task *t)
{
    __atomic_sub_fetch(&loop->posted, t->cost, __ATOMIC_RELAXED);
}

/* Post a task to the loop of an id. cost 0: post it even if WS_POSTED_MAX is reached.
 * @return WS_QUEUED: the loop owns the task; WS_GONE, WS_FULL: the caller still owns it */
static ws_status api_post(ws_id id, api_task *t, apr_size_t cost)
{
    ws_engine *e = ws_api_engine_now();
    ws_loop *loop = e ? ws_id_loop(e, id) : NULL;
    if (!t) {
        return WS_FULL;
    }
    t->id = id;
    return loop ? api_post_to(loop, t, cost, 1) : WS_GONE;
}

static int api_on_loop(const ws_conn *c)
{
    return ws_loop_current() == c->loop;
}

/* ---- Sending ---- */

/* Whether the framing has no such frame: versions 76 and 75 only have text messages and a closing
 * frame. */
static int api_unsupported(const ws_conn *c, unsigned first)
{
    return c->framed && !ws_framing_sends(c, first & 0xF);
}

/* Whether a frame has to wait for the last part of another message. */
static int api_must_wait(ws_conn *c, unsigned first)
{
    if (first & 0x8) { /* a control frame */
        return 0;
    }
    if (c->parting && (first & 0xF) != WS_OP_CONTINUATION) {
        return 1;
    }
    c->parting = !(first & WS_FIN);
    return 0;
}

/* Takes ownership of the reference. */
static ws_status api_send_later(ws_conn *c, ws_frames *f)
{
    ws_rare *rare = ws_conn_rare(c);
    if (!f || !rare
        || (!rare->deferred && !(rare->deferred = calloc(1, sizeof(*rare->deferred))))) {
        if (f) {
            ws_frames_unref(f);
        }
        return WS_FULL;
    }
    return ws_send_queue_push(c->rare->deferred, f, c->loop->event.now) < 0 ? WS_FULL : WS_QUEUED;
}

/* Send the messages that waited for the last part. */
static void api_send_waiting(ws_conn *c)
{
    ws_send_queue *later = c->rare->deferred;
    ws_frames *f;
    if (c->parting || !later) {
        return;
    }
    ws_rare_of(c)->deferred = NULL;
    while ((f = ws_send_queue_shift(later))) {
        ws_conn_share(c, f);
    }
    ws_send_queue_clear(later);
    free(later);
}

/* Apply the policy for slow clients to a frame. If the first part of a message was dropped, drop
 * its other parts too. */
static inline ws_status api_admit(ws_conn *c, unsigned first)
{
    if (c->rare->meter && !(first & 0x8)) {
        ws_rate_limit_touch(c);
    }
    if ((first & 0xF) == WS_OP_CONTINUATION && !c->parting) {
        return WS_DROPPED;
    }
    return ws_send_queue_count(&c->out) || c->rare->deferred ? ws_backpressure_admit(c, first)
                                                             : WS_SENT;
}

/* Build the final frames of a message in a separate buffer, so that the queue can drop the whole
 * message. Takes over the reference. */
static ws_frames *api_shape(ws_conn *c, ws_frames *f)
{
    apr_size_t len, most = (apr_size_t)c->settings->fragment;
    unsigned first = f->data[0];
    const void *as_it_is = ws_frames_payload(f, &len), *payload = as_it_is;
    ws_frames *shaped;
    if (ws_chain_of(c) && ws_chain_send(c, &first, &payload, &len) < 0) {
        ws_frames_unref(f);
        return NULL;
    }
    shaped = c->framed ? ws_framing_build(c, first, payload, len)
             : (most && len > most) || payload != as_it_is || ws_is_client(c) ? ws_frames_build_cut(
                   first, payload, len, most, ws_is_client(c) ? &c->loop->masks : NULL)
                                                                              : ws_frames_ref(f);
    if (shaped && shaped != f) {
        shaped->key = f->key;
    }
    ws_frames_unref(f);
    return shaped;
}

static void api_trace_out(const ws_conn *c, unsigned first, const void *payload, apr_size_t len)
{
    if (c->settings->trace) {
        ws_trace_out(c, first, payload, len);
    }
}

/* Takes over the reference. */
static ws_status api_send_extended(ws_conn *c, ws_frames *f)
{
    ws_frames *made = ws_chain_shared(c, f);
    ws_status s;
    apr_size_t len;
    const unsigned char *payload = ws_frames_payload(made ? made : f, &len);
    if (made) {
        api_trace_out(c, made->data[0], payload, len);
        s = ws_conn_send_frames(c, made);
    }
    else {
        s = ws_conn_send_message(c, f->data[0], payload, len);
    }
    ws_frames_unref(f);
    return s;
}

ws_status ws_conn_share(ws_conn *c, ws_frames *f)
{
    ws_status s = WS_GONE;
    unsigned first = f->data[0];
    apr_size_t len;
    const unsigned char *payload = ws_frames_payload(f, &len);
    ws_send_queue *older;
    apr_uint32_t place;

    if (ws_state_of(c) != WS_OPEN) {
        ws_frames_unref(f);
        return WS_GONE;
    }
    if (api_unsupported(c, first)) {
        ws_engine_log(c->loop->engine, WS_LOG_DEBUG, c,
                      "dropped a message: version %d cannot transmit it", c->version);
        ws_frames_unref(f);
        return WS_UNSUPPORTED;
    }
    if (f->key && (older = ws_backpressure_find(c, f->key, &place))) {
        if (older == &c->out && !(f = api_shape(c, f))) {
            return WS_FULL;
        }
        ws_conn_count_sent(c, first, len);
        ws_count(c->loop->counters, WS_COUNT_DROPPED, 1);
        ws_send_queue_replace(older, place, f, c->loop->event.now);
        return WS_QUEUED;
    }
    if ((s = api_admit(c, first)) < 0) {
        ws_frames_unref(f);
        return s;
    }
    if (api_must_wait(c, first)) {
        return api_send_later(c, f);
    }
    ws_conn_count_sent(c, first, len);
    if (f->whole && ws_backpressure_drops(c)) {
        api_trace_out(c, first, payload, len);
        s = (f = api_shape(c, f)) ? ws_conn_send_frames(c, f) : WS_FULL;
    }
    else if (c->framed || ws_is_client(c)
             || (c->settings->fragment && len > c->settings->fragment)) {
        s = ws_conn_send_message(c, first, payload, len);
        ws_frames_unref(f);
    }
    else if (c->rare->chain && !(first & 0x8)) {
        s = api_send_extended(c, f);
    }
    else {
        api_trace_out(c, first, payload, len);
        s = ws_conn_send_frames(c, f);
    }
    api_send_waiting(c);
    return s;
}

static void api_do_send(ws_loop *loop, ws_task *task)
{
    api_task *t = (api_task *)task;
    ws_conn *c = ws_conn_find(loop, t->id);
    api_arrived(loop, t);
    if (t->own) {
        ws_cb_posted(t->own, -(apr_ssize_t)t->cost);
    }
    if (c) {
        ws_conn_share(c, t->frames);
    }
    else {
        ws_frames_unref(t->frames);
    }
    free(t);
}

/* Takes over the reference. */
static ws_status api_post_frames(ws_id id, ws_conn *own, ws_frames *f)
{
    api_task *t = ws_task_new(sizeof(*t), api_do_send);
    apr_size_t cost = sizeof(*t) + f->len;
    ws_status s;
    if (t) {
        t->frames = f;
        t->own = own;
    }
    if (own) {
        ws_cb_posted(own, (apr_ssize_t)cost);
    }
    if ((s = api_post(id, t, cost)) != WS_QUEUED) {
        if (own) {
            ws_cb_posted(own, -(apr_ssize_t)cost);
        }
        ws_frames_unref(f);
        free(t);
    }
    return s;
}

ws_status ws_conn_share_later(ws_id id, ws_frames *f)
{
    return api_post_frames(id, NULL, f);
}

typedef struct barrier {
    ws_task task;
    sem_t done;
} barrier;

static void api_pass_barrier(ws_loop *loop, ws_task *task)
{
    (void)loop;
    sem_post(&((barrier *)task)->done);
}

/* A WS_BLOCKING callback may post frames faster than the loop handles them. Wait until the loop has
 * queued them: only then does the limit of the send queue apply. This cannot deadlock, because the
 * loop never waits for callbacks. */
static void api_wait_for_loop(ws_conn *c)
{
    barrier b = {.task = {.fn = api_pass_barrier}};
    sem_init(&b.done, 0, 0);
    if (ws_loop_post(c->loop, &b.task) == 0) {
        while (sem_wait(&b.done) < 0 && errno == EINTR) {
        }
    }
    sem_destroy(&b.done);
}

static ws_status api_post_frame(ws_id id, ws_conn *own, unsigned first, const void *data,
                                apr_size_t len, apr_uint64_t key)
{
    ws_frames *f = ws_frames_build(first, data, len);
    if (!f) {
        return WS_FULL;
    }
    f->key = key;
    return api_post_frames(id, own, f);
}

static ws_status api_send_frame(ws_conn *c, unsigned first, const void *data, apr_size_t len,
                                apr_uint64_t key)
{
    ws_status s;
    if (ws_state_of(c) != WS_OPEN) {
        return WS_GONE;
    }
    if (api_unsupported(c, first)) {
        return WS_UNSUPPORTED;
    }
    if (!api_on_loop(c)) {
        if (ws_cb_posted(c, 0) >= c->settings->send_queue) {
            api_wait_for_loop(c);
        }
        return api_post_frame(c->id, c, first, data, len, key);
    }
    if ((ws_send_queue_count(&c->out) || c->rare->deferred) && ws_backpressure_drops(c)
        && (first & WS_FIN) && !(first & 0x8) && (first & 0xF) != WS_OP_CONTINUATION) {
        ws_frames *f = ws_frames_build(first, data, len);
        if (f) {
            f->key = key;
        }
        return f ? ws_conn_share(c, f) : WS_FULL;
    }
    if ((s = api_admit(c, first)) < 0) {
        return s;
    }
    if (api_must_wait(c, first)) {
        return api_send_later(c, ws_frames_build(first, data, len));
    }
    ws_conn_count_sent(c, first, len);
    /* no extensions, no fragmentation: skip ws_conn_send_message() */
    s = (c->rare->chain || c->settings->fragment ? ws_conn_send_message : ws_conn_send)(c, first,
                                                                                        data, len);
    if (c->rare->deferred) {
        api_send_waiting(c);
    }
    return s;
}

ws_status ws_send(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    const ws_loop *here = ws_loop_current();
    if (here && here->corked == c && (type == WS_TEXT || type == WS_BINARY)
        && ws_conn_gather_plain(c, WS_FIN | (unsigned)type, data, len)) {
        return WS_SENT;
    }
    return api_send_frame(c, WS_FIN | (unsigned)type, data, len, 0);
}

ws_status ws_send_keyed(ws_conn *c, ws_type type, const char *data, apr_size_t len,
                        apr_uint64_t key)
{
    return api_send_frame(c, WS_FIN | (unsigned)type, data, len, key);
}

ws_status ws_send_part(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    unsigned first = where & WS_FIRST ? (unsigned)type : WS_OP_CONTINUATION;
    ws_status s;
    if (c->parts == !!(where & WS_FIRST)) {
        return WS_MISPLACED;
    }
    if ((where & (WS_FIRST | WS_COMPRESSED)) == (WS_FIRST | WS_COMPRESSED)) {
        if (!c->rare->chain || !ws_chain_passes(c->rare->chain)) {
            return WS_UNSUPPORTED;
        }
        first |= WS_RSV1;
    }
    s = api_send_frame(c, (where & WS_LAST ? WS_FIN : 0) | first, data, len, 0);
    if (s >= 0) {
        c->parts = !(where & WS_LAST);
    }
    return s;
}

ws_status ws_ping(ws_conn *c, const char *data, apr_size_t len)
{
    return len > WS_CONTROL_MAX ? WS_TOO_BIG : api_send_frame(c, WS_FIN | WS_OP_PING, data, len, 0);
}

apr_size_t ws_queued(ws_conn *c)
{
    return ws_send_queue_bytes(&c->out)
           + (api_on_loop(c) && c->rare->deferred ? ws_send_queue_bytes(c->rare->deferred) : 0)
           + (api_on_loop(c) ? ws_conn_gathered(c) : 0);
}

ws_status ws_send_to(ws_id id, ws_type type, const char *data, apr_size_t len)
{
    return api_post_frame(id, NULL, WS_FIN | (unsigned)type, data, len, 0);
}

/* ---- Closing ---- */

static void api_do_close(ws_loop *loop, ws_task *task)
{
    api_task *t = (api_task *)task;
    ws_conn *c = ws_conn_find(loop, t->id);
    if (c) {
        ws_conn_close(c, t->code, t->reason ? (char *)t->reason->data : NULL,
                      t->reason ? t->reason->len : 0);
    }
    free(t->reason);
    free(t);
}

ws_status ws_close_id(ws_id id, int code, const char *reason)
{
    api_task *t = ws_task_new(sizeof(*t), api_do_close);
    ws_status s;
    if (t) {
        t->code = code;
        t->reason = reason ? ws_bytes_new(reason, strlen(reason)) : NULL;
    }
    if ((s = api_post(id, t, 0)) != WS_QUEUED && t) {
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
    if (!api_on_loop(c)) {
        return ws_close_id(c->id, code, reason);
    }
    ws_conn_close(c, code, reason, reason ? strlen(reason) : 0);
    return WS_QUEUED;
}

ws_status ws_abort(ws_conn *c)
{
    if (ws_state_of(c) == WS_CLOSED) {
        return WS_GONE;
    }
    if (api_on_loop(c)) {
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
    api_task *t = (api_task *)task;
    api_arrived(loop, t);
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
    apr_size_t cost = f ? sizeof(api_task) + f->len : 0;
    if (f) {
        f->key = key;
    }
    for (unsigned i = 0; f && i < e->options.loops; i++) {
        api_task *t = ws_task_new(sizeof(*t), api_do_broadcast);
        if (!t) {
            s = WS_FULL;
            break;
        }
        t->broadcast_to = here->index;
        t->id = except;
        t->frames = ws_frames_ref(f);
        if ((posted = api_post_to(&e->loops[i], t, cost,
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
    api_task *t = (api_task *)task;
    ws_conn *c = ws_conn_find(loop, t->id);
    if (c) {
        api_hold(c, t->arg);
        ws_conn_watch(c);
    }
    free(t);
}

static void api_pause_or_resume(ws_conn *c, void *paused)
{
    api_task *t;
    if (ws_state_of(c) == WS_CLOSED) {
        return;
    }
    if (api_on_loop(c)) {
        api_hold(c, paused); /* the watch of the socket is updated when the callback ends */
        if (c->loop->corked != c) {
            ws_conn_mark_dirty(c); /* not in a callback of c: settle it later */
        }
        return;
    }
    if ((t = ws_task_new(sizeof(*t), api_do_hold))) {
        t->arg = paused;
        if (api_post(c->id, t, 0) != WS_QUEUED) {
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
    api_task *t = (api_task *)task;
    ws_conn *c = ws_conn_find(loop, t->id);
    api_arrived(loop, t);
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
    api_task *t = ws_task_new(sizeof(*t), api_do_run);
    ws_status s;
    if (t) {
        t->fn = fn;
        t->arg = arg;
    }
    if ((s = api_post(id, t, sizeof(*t))) != WS_QUEUED) {
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

/* ---- Properties of a connection ---- */

ws_id ws_conn_id(const ws_conn *c)
{
    return c->id;
}

ws_state ws_conn_state(const ws_conn *c)
{
    return ws_state_of(c);
}

ws_ticket *ws_conn_ticket(const ws_conn *c)
{
    return c->rare->ticket;
}

const ws_settings *ws_conn_settings(const ws_conn *c)
{
    return c->settings;
}

ws_transport ws_conn_transport(const ws_conn *c)
{
    return (ws_transport)c->transport;
}

void *ws_data(const ws_conn *c)
{
    return c->data;
}

void ws_set_data(ws_conn *c, void *data)
{
    c->data = data;
}

void *ws_config(const ws_conn *c)
{
    return c->location->config;
}

ws_location *ws_conn_location(const ws_conn *c)
{
    return ws_is_client(c) ? NULL : c->location;
}

apr_pool_t *ws_pool(ws_conn *c)
{
    ws_rare *rare = ws_conn_rare(c);
    if (rare && !rare->pool && apr_pool_create_unmanaged(&rare->pool) != APR_SUCCESS) {
        rare->pool = NULL;
    }
    return rare ? rare->pool : NULL;
}

int ws_version(const ws_conn *c)
{
    return c->version;
}

const char *ws_vhost(const ws_conn *c)
{
    return c->settings->vhost;
}

const char *ws_carrier_name(unsigned carrier)
{
    static const char *const names[] = {"websocket",       "xhr",         "jsonp",
                                        "xhr-streaming",   "eventsource", "htmlfile",
                                        "sockjs-websocket"};
    return carrier < WS_CARRIERS ? names[carrier] : "";
}

const char *ws_transport_name(const ws_conn *c)
{
    return ws_carrier_name(c->carrier);
}

int ws_secure(const ws_conn *c)
{
    return c->secure;
}
