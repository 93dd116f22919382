/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The functions of include/mod_websocket.h that send a message, and messages that several
 * connections share. If the caller is on the connection's loop, a call takes effect immediately. If
 * not, the call posts a task to that loop.
 */

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>

#include "engine/callbacks.h"
#include "engine/post.h"
#include "protocol/close.h"
#include "engine/output.h"

/* Whether the connection's framing cannot send a frame. first: its first byte. Versions 76 and 75
 * only have text messages and a closing frame. */
static int message_unsupported(const ws_conn *c, unsigned first)
{
    return c->framed && !ws_framing_sends(c, first & 0xF);
}

/* Whether a frame has to wait for the last part of another message. */
static int message_must_wait(ws_conn *c, unsigned first)
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

/* Hold back a message until the last part of another message has been sent. Takes over the
 * reference. */
static ws_status message_defer(ws_conn *c, ws_frames *f)
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
static void message_send_deferred(ws_conn *c)
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
static inline ws_status message_admit(ws_conn *c, unsigned first)
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
static ws_frames *message_shape(ws_conn *c, ws_frames *f)
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

static void message_trace_out(const ws_conn *c, unsigned first, const void *payload, apr_size_t len)
{
    if (c->settings->trace) {
        ws_trace_out(c, first, payload, len);
    }
}

/* Send a message in frames of at most WebSocketFragmentSize. @return as ws_conn_send() */
static ws_status message_send_cut(ws_conn *c, unsigned first, const void *payload, apr_size_t len)
{
    apr_size_t most = (apr_size_t)c->settings->fragment;
    const char *data;
    int bound = 0; /* if sending fails, the connection must end */
    ws_status s;
    if (ws_chain_of(c) && !(first & 0x8)) {
        s = c->broken ? WS_GONE : ws_chain_send(c, &first, &payload, &len);
        if (s < 0) {
            return s;
        }
        bound = 1; /* extensions may refer to this message when they encode later ones */
    }
    data = payload;
    if (most && !(first & 0x8)) {
        for (; len > most; data += most, len -= most) {
            if ((s = ws_conn_send(c, first & ~WS_FIN, data, most)) < 0) {
                c->broken = 1;
                ws_conn_mark_dirty(c);
                return s;
            }
            first = (first & WS_FIN) | WS_OP_CONTINUATION;
        }
    }
    s = ws_conn_send(c, first, data, len);
    if (s < 0 && bound) {
        c->broken = 1;
        ws_conn_mark_dirty(c);
    }
    return s;
}
/* Send a message through extensions. Takes over the reference. */
static ws_status message_send_extended(ws_conn *c, ws_frames *f)
{
    ws_frames *made = ws_chain_shared(c, f);
    ws_status s;
    apr_size_t len;
    const unsigned char *payload = ws_frames_payload(made ? made : f, &len);
    if (made) {
        message_trace_out(c, made->data[0], payload, len);
        s = ws_conn_send_frames(c, made);
    }
    else {
        s = message_send_cut(c, f->data[0], payload, len);
    }
    ws_frames_unref(f);
    return s;
}

/* Send a message that nothing holds back. Takes over the reference. */
static ws_status message_send_shared(ws_conn *c, ws_frames *f)
{
    unsigned first = f->data[0];
    apr_size_t len;
    const unsigned char *payload = ws_frames_payload(f, &len);
    ws_status s;

    ws_conn_count_sent(c, first, len);
    if (f->whole && ws_backpressure_drops(c)) {
        message_trace_out(c, first, payload, len);
        return (f = message_shape(c, f)) ? ws_conn_send_frames(c, f) : WS_FULL;
    }
    if (c->framed || ws_is_client(c) || (c->settings->fragment && len > c->settings->fragment)) {
        s = message_send_cut(c, first, payload, len);
        ws_frames_unref(f);
        return s;
    }
    if (c->rare->chain && !(first & 0x8)) {
        return message_send_extended(c, f);
    }
    message_trace_out(c, first, payload, len);
    return ws_conn_send_frames(c, f);
}

ws_status ws_conn_share(ws_conn *c, ws_frames *f)
{
    ws_status s = WS_GONE;
    unsigned first = f->data[0];
    apr_size_t len;
    ws_send_queue *older;
    apr_uint32_t index;

    if (ws_state_of(c) != WS_OPEN) {
        ws_frames_unref(f);
        return WS_GONE;
    }
    if (message_unsupported(c, first)) {
        ws_engine_log(c->loop->engine, WS_LOG_DEBUG, c,
                      "dropped a message: version %d cannot transmit it", c->version);
        ws_frames_unref(f);
        return WS_UNSUPPORTED;
    }
    if (f->key && (older = ws_backpressure_find(c, f->key, &index))) {
        ws_frames_payload(f, &len);
        if (older == &c->out && !(f = message_shape(c, f))) {
            return WS_FULL;
        }
        ws_conn_count_sent(c, first, len);
        ws_count(c->loop->counters, WS_COUNT_DROPPED, 1);
        ws_send_queue_replace(older, index, f, c->loop->event.now);
        return WS_QUEUED;
    }
    if ((s = message_admit(c, first)) < 0) {
        ws_frames_unref(f);
        return s;
    }
    if (message_must_wait(c, first)) {
        return message_defer(c, f);
    }
    s = message_send_shared(c, f);
    message_send_deferred(c);
    return s;
}

static void message_do_send(ws_loop *loop, ws_task *task)
{
    ws_api_task *t = (ws_api_task *)task;
    ws_conn *c = ws_conn_find(loop, t->id);
    ws_api_arrived(loop, t);
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

/* Post a message to the loop of a connection. own: the connection, if the sender is one of its
 * callbacks. Takes over the reference. */
static ws_status message_post_frames(ws_id id, ws_conn *own, ws_frames *f)
{
    ws_api_task *t = ws_task_new(sizeof(*t), message_do_send);
    apr_size_t cost = sizeof(*t) + f->len;
    ws_status s;
    if (t) {
        t->frames = f;
        t->own = own;
    }
    if (own) {
        ws_cb_posted(own, (apr_ssize_t)cost);
    }
    if ((s = ws_api_post(id, t, cost)) != WS_QUEUED) {
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
    return message_post_frames(id, NULL, f);
}

typedef struct barrier {
    ws_task task;
    sem_t done;
} barrier;

static void message_pass_barrier(ws_loop *loop, ws_task *task)
{
    (void)loop;
    sem_post(&((barrier *)task)->done);
}

/* A WS_BLOCKING callback may post frames faster than the loop handles them. Wait until the loop has
 * added them to the send queue, because the limit of the queue applies only then. The wait cannot
 * deadlock, because the loop never waits for callbacks. */
static void message_wait_for_loop(ws_conn *c)
{
    barrier b = {.task = {.fn = message_pass_barrier}};
    sem_init(&b.done, 0, 0);
    if (ws_loop_post(c->loop, &b.task) == 0) {
        while (sem_wait(&b.done) < 0 && errno == EINTR) {
        }
    }
    sem_destroy(&b.done);
}

static ws_status message_post_frame(ws_id id, ws_conn *own, unsigned first, const void *data,
                                    apr_size_t len, apr_uint64_t key)
{
    ws_frames *f = ws_frames_build(first, data, len);
    if (!f) {
        return WS_FULL;
    }
    f->key = key;
    return message_post_frames(id, own, f);
}

static ws_status message_send(ws_conn *c, unsigned first, const void *data, apr_size_t len,
                              apr_uint64_t key)
{
    ws_status s;
    if (ws_state_of(c) != WS_OPEN) {
        return WS_GONE;
    }
    if (message_unsupported(c, first)) {
        return WS_UNSUPPORTED;
    }
    if (!ws_api_on_loop(c)) {
        if (ws_cb_posted(c, 0) >= c->settings->send_queue) {
            message_wait_for_loop(c);
        }
        return message_post_frame(c->id, c, first, data, len, key);
    }
    if ((ws_send_queue_count(&c->out) || c->rare->deferred) && ws_backpressure_drops(c)
        && (first & WS_FIN) && !(first & 0x8) && (first & 0xF) != WS_OP_CONTINUATION) {
        ws_frames *f = ws_frames_build(first, data, len);
        if (f) {
            f->key = key;
        }
        return f ? ws_conn_share(c, f) : WS_FULL;
    }
    if ((s = message_admit(c, first)) < 0) {
        return s;
    }
    if (message_must_wait(c, first)) {
        return message_defer(c, ws_frames_build(first, data, len));
    }
    ws_conn_count_sent(c, first, len);
    /* without extensions and fragmentation, message_send_cut() is not needed */
    s = (c->rare->chain || c->settings->fragment ? message_send_cut : ws_conn_send)(c, first, data,
                                                                                    len);
    if (c->rare->deferred) {
        message_send_deferred(c);
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
    return message_send(c, WS_FIN | (unsigned)type, data, len, 0);
}

ws_status ws_send_keyed(ws_conn *c, ws_type type, const char *data, apr_size_t len,
                        apr_uint64_t key)
{
    return message_send(c, WS_FIN | (unsigned)type, data, len, key);
}

ws_status ws_send_part(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    unsigned first = where & WS_FIRST ? (unsigned)type : WS_OP_CONTINUATION;
    ws_status s;
    if (c->parts == !!(where & WS_FIRST)) {
        return WS_MISPLACED;
    }
    if ((where & (WS_FIRST | WS_COMPRESSED)) == (WS_FIRST | WS_COMPRESSED)) {
        const ws_chain *chain = ws_chain_of(c);
        if (!chain || !ws_chain_passes(chain)) {
            return WS_UNSUPPORTED;
        }
        first |= WS_RSV1;
    }
    s = message_send(c, (where & WS_LAST ? WS_FIN : 0) | first, data, len, 0);
    if (s >= 0) {
        c->parts = !(where & WS_LAST);
    }
    return s;
}

ws_status ws_ping(ws_conn *c, const char *data, apr_size_t len)
{
    return len > WS_CONTROL_MAX ? WS_TOO_BIG : message_send(c, WS_FIN | WS_OP_PING, data, len, 0);
}

apr_size_t ws_queued(ws_conn *c)
{
    return ws_send_queue_bytes(&c->out)
           + (ws_api_on_loop(c) && c->rare->deferred ? ws_send_queue_bytes(c->rare->deferred) : 0)
           + (ws_api_on_loop(c) ? ws_conn_gathered(c) : 0);
}

ws_status ws_send_to(ws_id id, ws_type type, const char *data, apr_size_t len)
{
    return message_post_frame(id, NULL, WS_FIN | (unsigned)type, data, len, 0);
}
