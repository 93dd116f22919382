/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Sending: frames, the send queue, and clients that read too slowly. */

#ifndef WS_ENGINE_OUTPUT_H
#define WS_ENGINE_OUTPUT_H

#include "engine/conn.h"

/* send.c */

/** Send an unshared frame of any opcode. Frames are gathered while a callback is running. Checks
 *  neither the connection's state nor the length of the send queue. @return as ws_send() */
ws_status ws_conn_send(ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/* output.c */

/** Whether the send queue is so long that reading stops. A client never stops reading for this
 *  reason, because both ends could deadlock if both stopped. */
static inline int ws_conn_backs_up(const ws_conn *c)
{
    return !ws_is_client(c) && ws_send_queue_bytes(&c->out) > ws_low_mark(c);
}

/** Like ws_conn_send(), for bytes that are already framed. */
ws_status ws_conn_send_bytes(ws_conn *c, const void *bytes, apr_size_t len);

/** Send a shared frame. Takes over the reference. */
ws_status ws_conn_send_frames(ws_conn *c, ws_frames *f);

/** ws_conn_cork() starts to gather what is sent to c, in a buffer of the loop (the cork buffer).
 *  ws_conn_uncork() writes it. The calls do not nest: a loop corks one connection at a time. */
void ws_conn_cork(ws_conn *c);
void ws_conn_uncork(ws_conn *c);

/** Bytes gathered for c that are not in its queue yet. */
static inline apr_size_t ws_conn_gathered(const ws_conn *c)
{
    const ws_loop *loop = c->loop;
    return (loop->lent ? loop->lent : loop->corked) == c ? loop->cork_len : 0;
}

/** Write queued bytes until the socket blocks. */
void ws_conn_flush(ws_conn *c);

/** Like ws_conn_flush(), for use inside a callback. If the connection has to end or to resume
 *  reading, that happens after the callback. */
void ws_conn_write(ws_conn *c);

/** Handle that the socket has become writable. */
void ws_conn_writable(ws_conn *c);

/** Count bytes that the socket has accepted. n < 0: subtract bytes that were counted, but not
 *  accepted. */
static inline void ws_conn_count_written(ws_conn *c, apr_ssize_t n)
{
    if (n) {
        ws_conn_add(c, WS_SUM_WIRE_OUT, n);
        ws_count(c->loop->counters, WS_COUNT_WIRE_OUT, n);
    }
}

/** Add to the loop's counters what the connection has received and sent since ws_conn_cork(), or
 *  since the last call. */
void ws_conn_count_corked(ws_conn *c);

/** Count a sent frame as the handler passed it, before extensions. first: its first byte */
static inline void ws_conn_count_sent(ws_conn *c, unsigned first, apr_size_t len)
{
    unsigned messages = (first & WS_FIN) != 0;
    if (first & 0x8) {
        return; /* a control frame */
    }
    ws_conn_add(c, WS_SUM_BYTES_OUT, (apr_int64_t)len);
    ws_conn_add_short(c, WS_SUM_MESSAGES_OUT, messages);
    if (c->loop->corked == c && !(len >> 31)) {
        return; /* ws_conn_count_corked() counts it */
    }
    ws_count(c->loop->counters, WS_COUNT_BYTES_OUT, (apr_int64_t)len);
    ws_count(c->loop->counters, WS_COUNT_MESSAGES_OUT, messages);
    if (c->loop->corked == c) { /* ws_conn_count_corked() does not see the high word */
        c->loop->counted[WS_SUM_BYTES_OUT] += (apr_uint32_t)len;
        c->loop->counted[WS_SUM_MESSAGES_OUT] += messages;
    }
}

/** Minimum payload, bytes, at which the reply to the last message of the input is not copied to the
 *  cork buffer. Instead, one system call writes the gathered frames and this payload. A copy would
 *  save a system call only if more replies followed. */
#define WS_COPY_MAX (8 * 1024)

/* For send.c. */

static inline int ws_output_idle(const ws_conn *c)
{
    return !ws_send_queue_count(&c->out) && !c->rare->cipher_out && !c->source.sending;
}

/** Whether gathered bytes may be appended to a send that the loop has not submitted yet. */
static inline int ws_output_joins(const ws_conn *c)
{
    return c->source.sending && !ws_send_queue_count(&c->out)
           && ws_stream_grows(&c->loop->event, &c->source);
}

/** Whether a frame with a payload of len bytes goes into the cork buffer. */
static inline int ws_output_corks(const ws_conn *c, apr_size_t len)
{
    const ws_loop *loop = c->loop;
    return loop->corked == c && !c->broken && (ws_output_idle(c) || ws_output_joins(c))
           && len < WS_SEND_BUFFER && loop->cork_len + WS_HEADER_MAX + len <= loop->cork_room
           && (len < WS_COPY_MAX || !loop->last_input || c->ssl || c->source.sending);
}

/** Append a payload to the cork buffer, after a header of n bytes that is already in place. */
static inline ws_status ws_output_cork(ws_loop *loop, size_t n, const void *payload, apr_size_t len)
{
    if (len) {
        memcpy(loop->cork + loop->cork_len + n, payload, len);
    }
    loop->cork_len += n + len;
    return WS_SENT;
}

/** Gather, write or queue a frame. n: bytes of its header */
ws_status ws_output_gather(ws_conn *c, unsigned first, unsigned char *head, size_t n,
                           const void *payload, apr_size_t len);

/** Write the gathered bytes before something is queued for c, to keep the order. */
void ws_output_pull(ws_conn *c);

/**
 * Gather a message of the connection whose callback is running: the fast path of ws_send().
 * @param first  WS_FIN and WS_OP_TEXT or WS_OP_BINARY
 * @return 0: not possible; the caller must use the general path
 */
static inline int ws_conn_gather_plain(ws_conn *c, unsigned first, const void *payload,
                                       apr_size_t len)
{
    ws_loop *loop = c->loop;
    unsigned char *out = loop->cork + loop->cork_len;
    if (!c->plain_out || c->broken || c->parting || ws_state_of(c) != WS_OPEN
        || ws_send_queue_count(&c->out) || c->rare->deferred || c->rare->cipher_out
        || c->source.sending || len >= WS_COPY_MAX
        || loop->cork_len + WS_HEADER_MAX + len > loop->cork_room) {
        return 0;
    }
    ws_conn_add_short(c, WS_SUM_MESSAGES_OUT, 1);
    ws_conn_add_short(c, WS_SUM_BYTES_OUT, (apr_uint32_t)len);
    *out++ = (unsigned char)first;
    if (len < 126) {
        *out++ = (unsigned char)len;
    }
    else {
        *out++ = 126;
        *out++ = (unsigned char)(len >> 8);
        *out++ = (unsigned char)len;
    }
    if (len - 16 <= 16) { /* two copies, which may overlap, need no function call */
        memcpy(out + len - 16, (const char *)payload + len - 16, 16);
        memcpy(out, payload, 16);
    }
    else if (len) {
        memcpy(out, payload, len);
    }
    loop->cork_len = (apr_size_t)(out - loop->cork) + len;
    return 1;
}

/* flush.c */

/** Flush the connections that were marked dirty during this turn. */
void ws_conn_flush_dirty(ws_loop *loop);

/** ws_loop_hooks.submit: send the queues of async streams. */
void ws_conn_send_queues(ws_loop *loop);

/** Handle the end of an asynchronous send: WS_STREAM_SENT. */
void ws_conn_sent(ws_conn *c, const ws_ready *r);

/* backpressure.c and drop.c: clients that read too slowly */

static inline ws_slow ws_backpressure_policy(const ws_conn *c)
{
    return c->location->handler->flags & WS_LOSSLESS ? WS_SLOW_CLOSE : (ws_slow)c->settings->slow;
}

/** Whether the policy drops messages to a slow client instead of closing the connection. */
static inline int ws_backpressure_drops(const ws_conn *c)
{
    return ws_backpressure_policy(c) != WS_SLOW_CLOSE;
}

/**
 * Apply the policy for slow clients before a frame is appended to a non-empty queue.
 * @return WS_SENT: the frame may be sent; WS_FULL: the connection is being closed; WS_DROPPED
 */
ws_status ws_backpressure_admit(ws_conn *c, unsigned first);

/** Find a queued message that a newer one with this key replaces. @return its queue, or NULL */
ws_send_queue *ws_backpressure_find(ws_conn *c, apr_uint64_t key, apr_uint32_t *index);

/** How long a queued message has waited, milliseconds. */
static inline apr_uint32_t ws_drop_age(const ws_conn *c, const ws_send_queue *q, apr_uint32_t i)
{
    return c->loop->event.now - ws_send_queue_at(q, i)->since;
}

/** Count a dropped message, and log the first one. */
void ws_drop_count(ws_conn *c);

/** Drop the oldest message. @return whether there was one that may be dropped */
int ws_drop_oldest(ws_conn *c);

/** Drop messages that have waited too long, if the policy allows it. */
void ws_drop_late(ws_conn *c);

/** Log the number of dropped messages, when the queue is empty or the connection ends. */
void ws_drop_over(ws_conn *c);

/* framing.c: connections with a framer */

/** Build a message in a separate buffer. @return NULL: out of memory */
ws_frames *ws_framing_build(const ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/** Whether the framing can send frames of this opcode. */
int ws_framing_sends(const ws_conn *c, unsigned opcode);

/** Whether no incoming message or frame of a connection with a framer is incomplete. */
int ws_framing_is_between(const ws_conn *c);

/** Handle that the client has closed its side. In framings without a close handshake, this is a
 *  clean close. */
void ws_framing_ended(ws_conn *c);

/* trace.c: log lines for frames; call only if c->settings->trace is set */

/** Log a received piece. */
void ws_trace_in(const ws_conn *c, const ws_piece *p);

/** Log a frame that is sent or queued. first: its first byte */
void ws_trace_out(const ws_conn *c, unsigned first, const void *payload, apr_size_t len);

#endif
