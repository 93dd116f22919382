/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sending: from ws_send() to the socket. While a connection's callback is running, the cork buffer
 * of the loop gathers that connection's frames; they are written together at the end of the
 * callback. Bytes that the socket does not accept are queued. Frames that callbacks of other
 * connections send are queued, too.
 */

#include <errno.h>
#include <string.h>

#include "engine/callbacks.h"
#include "engine/conn.h"
#include "engine/output.h"
#include "engine/socket.h"

/* Maximum average length of pieces that are joined before they are written, bytes. */
#define JOIN_MAX 1024

/* Queue the rest of iov after the first `done` bytes.
 * @return 0: no rest; 1: queued; -1: no memory */
static int output_keep(ws_conn *c, struct iovec *iov, int n, apr_size_t done)
{
    int cut = !ws_send_queue_count(&c->out) && done > 0;
    while (n > 0 && done >= iov->iov_len) {
        done -= iov->iov_len;
        iov++;
        n--;
    }
    if (n == 0) {
        return 0;
    }
    iov->iov_base = (char *)iov->iov_base + done;
    iov->iov_len -= done;
    if (ws_send_queue_append(&c->out, iov, n, c->loop->event.now) < 0) {
        return -1;
    }
    c->out.ring->partial |= cut;
    c->write_blocked = 1;
    c->want_drain = 1;
    return 1;
}

/* Write without delay; if the queue is not empty, append to it.
 * @return 0: everything was written; 1: some bytes are queued; -1: broken */
static int output_write_now(ws_conn *c, struct iovec *iov, int n)
{
    apr_ssize_t done;
    int rest;
    if (c->loop->corked == c) {
        ws_conn_count_corked(c); /* count before the peer can receive the bytes */
    }
    done = c->broken ? -1 : ws_send_queue_count(&c->out) ? 0 : ws_socket_write(c, iov, n);
    rest = done < 0 ? -1 : output_keep(c, iov, n, (apr_size_t)done);
    ws_conn_count_written(c, done > 0 ? done : 0);
    if (rest < 0) {
        c->broken = 1;
    }
    return rest;
}

/* Build a control frame in a new buffer. */
static ws_frames *output_frame_of(unsigned first, const unsigned char *head, size_t n,
                                  const void *payload, apr_size_t len)
{
    ws_frames *f = ws_frames_new(n + len);
    if (f) {
        memcpy(f->data, head, n);
        if (len) {
            memcpy(f->data + n, payload, len);
        }
        f->len = n + len;
        f->pong = (first & 0xF) == WS_OP_PONG;
    }
    return f;
}

/* ---- Lending the cork buffer ---- */

/*
 * A callback of one connection may send to another connection, as bridges do. If the cork buffer is
 * then empty, it is lent to the other connection: it gathers the frames for that connection until
 * the callback ends, which saves a queue entry. During a callback, the buffer is lent to one other
 * connection at most. Frames for further connections go to their queues.
 */

static void output_pull_cork(ws_conn *c);
static int output_settled(const ws_conn *c);

static void output_end_lending(ws_loop *loop)
{
    ws_conn *c = loop->lent;
    if (!c) {
        return;
    }
    loop->lent = NULL;
    loop->cork_room = WS_SEND_BUFFER;
    output_pull_cork(c);
    if (!output_settled(c)) {
        ws_conn_mark_dirty(c);
    }
}

/* End the loan of the cork buffer to another connection, before something is sent to c. */
static void output_take_back(ws_conn *c)
{
    ws_loop *loop = c->loop;
    if (loop->lent && loop->lent != c) {
        output_end_lending(loop);
        loop->lending = loop->corked == c ? WS_LENDING_NO : WS_LENDING_OVER;
    }
}

static int output_lends(const ws_conn *c)
{
    const ws_loop *loop = c->loop;
    return loop->corked && loop->corked != c && !loop->event.ring && ws_output_idle(c)
           && (loop->lent == c || (!loop->lending && !loop->cork_len));
}

static ws_status output_gather_lent(ws_conn *c, struct iovec iov[3])
{
    ws_loop *loop = c->loop;
    apr_size_t len = iov[2].iov_len;
    int rest;
    if (loop->cork_len + WS_HEADER_MAX + len <= WS_SEND_BUFFER
        && (len < WS_COPY_MAX || !loop->last_input || c->ssl)) {
        memcpy(loop->cork + loop->cork_len, iov[1].iov_base, iov[1].iov_len);
        loop->lent = c;
        loop->lending = WS_LENDING_YES;
        loop->cork_room = 0;
        return ws_output_cork(loop, iov[1].iov_len, iov[2].iov_base, len);
    }
    loop->lent = NULL;
    loop->lending = WS_LENDING_NO;
    loop->cork_room = WS_SEND_BUFFER;
    loop->cork_len = 0;
    rest = output_write_now(c, iov, 3);
    if (!output_settled(c)) {
        ws_conn_mark_dirty(c);
    }
    return rest < 0 ? WS_GONE : rest ? WS_QUEUED : WS_SENT;
}

ws_status ws_output_gather(ws_conn *c, unsigned first, unsigned char *head, size_t n,
                           const void *payload, apr_size_t len)
{
    ws_loop *loop = c->loop;
    struct iovec iov[3] = {{loop->cork, 0}, {head, n}, {(void *)payload, len}};

    if (c->broken) {
        return WS_GONE;
    }
    output_take_back(c);
    iov[0].iov_len = loop->cork_len;
    if (output_lends(c)) {
        return output_gather_lent(c, iov);
    }
    if (ws_output_corks(c, len)) {
        memcpy(loop->cork + loop->cork_len, head, n);
        return ws_output_cork(loop, n, payload, len);
    }
    if (loop->corked == c && (ws_output_idle(c) || ws_output_joins(c))) {
        int rest;
        loop->cork_len = 0;
        ws_stream_settle(&loop->event, &c->source); /* may leave bytes in the queue */
        rest = output_write_now(c, iov, 3);
        return rest < 0 ? WS_GONE : rest ? WS_QUEUED : WS_SENT;
    }
    if ((first & 0x8) && ws_send_queue_count(&c->out) && (first & 0xF) != WS_OP_CLOSE) {
        ws_frames *f = output_frame_of(first, head, n, payload, len);
        if (!f || ws_send_queue_push_control(&c->out, f, loop->event.now) < 0) {
            return WS_FULL;
        }
    }
    else {
        if (ws_send_queue_append(&c->out, iov + 1, 2, loop->event.now) < 0) {
            return WS_FULL;
        }
        c->want_drain |= !(first & 0x8); /* on_drain does not report control frames */
    }
    ws_conn_mark_dirty(c);
    return WS_QUEUED;
}

/* Whether the loop sends len gathered bytes at the end of the turn instead of now. If c->finish is
 * set and nothing precedes the bytes, they are sent now: see ws_socket_flags(). */
static int output_sends_later(const ws_conn *c, apr_size_t len)
{
    return c->source.async
           && ((len < WS_SEND_LATER_MAX && !c->finish) || c->source.sending
               || ws_send_queue_count(&c->out));
}

static void output_send_later(ws_conn *c, struct iovec *iov)
{
    ws_loop *loop = c->loop;
    if (c->broken || !(ws_output_idle(c) || ws_output_joins(c))) {
        c->broken |= output_keep(c, iov, 1, 0) < 0;
        return;
    }
    ws_stream_send_buffer(&loop->event, &c->source, &loop->cork, iov->iov_len);
    ws_conn_count_written(c, (apr_ssize_t)iov->iov_len); /* ws_conn_sent() corrects the count */
}

/* Write the bytes in the cork buffer. */
static void output_pull_cork(ws_conn *c)
{
    ws_loop *loop = c->loop;
    struct iovec iov = {loop->cork, loop->cork_len};
    apr_ssize_t done;
    if (!iov.iov_len) {
        return;
    }
    loop->cork_len = 0;
    if (output_sends_later(c, iov.iov_len)) {
        output_send_later(c, &iov);
        return;
    }
    done = ws_socket_write(c, &iov, 1);
    ws_conn_count_written(c, done > 0 ? done : 0);
    if (done != (apr_ssize_t)iov.iov_len
        && (done < 0 || output_keep(c, &iov, 1, (apr_size_t)done) < 0)) {
        c->broken = 1;
    }
}

void ws_output_pull(ws_conn *c)
{
    output_end_lending(c->loop);
    if (c->loop->corked == c) {
        output_pull_cork(c);
    }
}

ws_status ws_conn_send_bytes(ws_conn *c, const void *bytes, apr_size_t len)
{
    unsigned char none[1];
    return ws_output_gather(c, WS_OP_TEXT, none, 0, bytes, len);
}

ws_status ws_conn_send_frames(ws_conn *c, ws_frames *f)
{
    ws_output_pull(c);
    if (c->broken) {
        ws_frames_unref(f);
        return WS_GONE;
    }
    if (ws_send_queue_push(&c->out, f, c->loop->event.now) < 0) {
        return WS_FULL;
    }
    c->want_drain = 1; /* WS_QUEUED promises a call to on_drain */
    ws_conn_mark_dirty(c);
    return WS_QUEUED;
}

static inline void output_note_counted(ws_conn *c)
{
    memcpy(c->loop->counted, c->sums, sizeof(c->loop->counted));
}

static inline void output_count_corked(ws_conn *c)
{
    const apr_uint32_t *before = c->loop->counted;
    ws_counters *row = c->loop->counters;
#define COUNT(ID)                                                                                  \
    ws_count(row, WS_COUNT_##ID, (apr_uint32_t)(c->sums[WS_SUM_##ID] - before[WS_SUM_##ID]))
    COUNT(MESSAGES_IN);
    COUNT(MESSAGES_OUT);
    COUNT(BYTES_IN);
    COUNT(BYTES_OUT);
#undef COUNT
}

void ws_conn_count_corked(ws_conn *c)
{
    output_count_corked(c);
    output_note_counted(c);
}

void ws_conn_cork(ws_conn *c)
{
    ws_loop *loop = c->loop;
    if (!loop->cork_len) {
        ws_stream_buffer(&loop->event, &c->source, !ws_send_queue_count(&c->out), &loop->cork);
    }
    loop->last_input = 0;
    loop->corked = c;
    output_note_counted(c);
}

/* React to the length of the queue: end the connection, pause or resume reading, and watch the
 * socket. */
static void output_settle(ws_conn *c)
{
    if (c->freed) {
        return;
    }
    if (c->broken) {
        ws_conn_end(c, "the socket cannot be written to");
        return;
    }
    if (ws_output_idle(c) && c->finish && !c->write_shut) {
        ws_conn_finish(c);
        return;
    }
    if (c->source.sending && c->finish) {
        ws_stream_hurry(&c->loop->event); /* ws_conn_sent() marks c dirty again */
    }
    ws_conn_note_queue(c);
    if (ws_conn_backs_up(c)) {
        ws_conn_hold(c, WS_HELD_QUEUE);
    }
    else {
        ws_conn_release(c, WS_HELD_QUEUE);
    }
    ws_conn_watch(c);
}

/* Whether output_settle() has nothing to do: the queue is empty, and was empty before. */
static int output_settled(const ws_conn *c)
{
    return c->source.watched == WS_READABLE && !ws_send_queue_count(&c->out) && !c->rare->cipher_out
           && !c->rare->deferred && !c->queued && !c->held && !c->freed && !c->broken && !c->finish;
}

void ws_conn_uncork(ws_conn *c)
{
    output_count_corked(c);
    if (c->loop->lending) {
        output_end_lending(c->loop);
        c->loop->lending = WS_LENDING_NO;
    }
    output_pull_cork(c);
    c->loop->corked = NULL;
    if (!output_settled(c)) {
        output_settle(c);
    }
}

/* Join small pieces, because one copy costs less than the kernel's work for many pieces. */
static int output_join(ws_loop *loop, struct iovec *iov, int n, apr_size_t len)
{
    apr_size_t at = 0;
    if (n < 3 || len > (apr_size_t)n * JOIN_MAX || len > WS_SEND_BUFFER || loop->cork_len) {
        return n;
    }
    for (int i = 0; i < n; i++) {
        memcpy(loop->cork + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    iov->iov_base = loop->cork;
    iov->iov_len = len;
    return 1;
}

void ws_conn_write(ws_conn *c)
{
    struct iovec iov[WS_SEND_PIECES];
    int state;
    ws_stream_settle(&c->loop->event, &c->source);
    state = c->freed || c->broken ? 0 : ws_socket_pending(c);
    ws_conn_note_queue(c);
    while (state == 0 && ws_send_queue_count(&c->out) && !c->broken) {
        int n = ws_send_queue_peek(&c->out, iov, WS_SEND_PIECES);
        apr_size_t len = 0;
        apr_ssize_t done;
        for (int i = 0; i < n; i++) {
            len += iov[i].iov_len;
        }
        done = ws_socket_write(c, iov, output_join(c->loop, iov, n, len));
        if (done < 0) {
            state = -1;
            break;
        }
        ws_send_queue_drop(&c->out, (apr_size_t)done);
        ws_conn_count_written(c, done);
        if ((apr_size_t)done < len || c->rare->cipher_out) {
            break;
        }
    }
    if (state < 0) {
        c->broken = 1;
    }
    c->write_blocked = !ws_output_idle(c);
}

void ws_conn_flush(ws_conn *c)
{
    if (ws_send_queue_count(&c->out) && c->settings->max_delay && ws_backpressure_drops(c)) {
        ws_drop_late(c);
    }
    if (!c->source.async) {
        ws_conn_write(c);
    }
    else if (ws_send_queue_count(&c->out) && !c->write_blocked && !c->broken) {
        c->dirty = 1;
        c->next_dirty = c->loop->senders;
        c->loop->senders = c;
        return; /* ws_conn_sent() marks c dirty again */
    }
    if (c->rare->dropped && !ws_send_queue_count(&c->out)) {
        ws_drop_over(c);
    }
    output_settle(c);
    if (!c->freed && c->want_drain && ws_send_queue_bytes(&c->out) <= ws_low_mark(c)) {
        c->want_drain = 0;
        if (c->rare->channels) {
            c->loop->engine->channels->drained(c);
        }
        ws_cb_drain(c);
    }
}

void ws_conn_writable(ws_conn *c)
{
    c->write_blocked = 0;
    if (c->source.async) {
        ws_conn_mark_dirty(c);
    }
    else {
        ws_conn_flush(c);
    }
}
