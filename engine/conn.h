/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The connection, internal to the engine. Call from its loop's thread unless stated otherwise. */

#ifndef WS_ENGINE_CONN_H
#define WS_ENGINE_CONN_H

#include <string.h>

#include "engine/send_queue.h"
#include "engine/loop.h"
#include "engine/rate_limit.h"
#include "engine/services.h"
#include "protocol/frame.h"
#include "protocol/framing.h"
#include "protocol/utf8.h"

/** A separately allocated copy of bytes. */
typedef struct ws_bytes {
    apr_size_t len, size, pos;
    unsigned char data[];
} ws_bytes;

/** Reasons to stop reading the socket: bits of ws_conn.held. */
enum {
    WS_HELD_HANDLER = 0x1, /**< ws_pause() */
    WS_HELD_QUEUE = 0x2,   /**< the send queue is above ws_low_mark() */
    WS_HELD_JOBS = 0x4,    /**< too many jobs are pending for a WS_BLOCKING handler */
    WS_HELD_TURN = 0x8     /**< the connection has used up its share of this turn */
};

/** Copy len bytes. @return NULL: out of memory */
ws_bytes *ws_bytes_new(const void *data, apr_size_t len);

typedef struct ws_jobs ws_jobs;

/** An object of a handler that ends with its connection: first member of a timer or a watch. */
typedef struct ws_resource ws_resource;
struct ws_resource {
    ws_resource *next;
    /** Stop its events. on_close may still stop the resource itself. */
    void (*end)(ws_conn *c, ws_resource *o);
    /** Free it, after the connection's last callback. */
    void (*free)(ws_resource *o);
};

/** An outgoing connection's own location and settings; other connections share theirs. */
struct ws_outgoing {
    ws_location location; /**< first member: ws_conn.location points here */
    ws_settings settings;
    /** Called when the connection has ended, after its last callback. May be NULL. */
    void (*ended)(struct ws_outgoing *o, const ws_conn *c);
    void *owner; /**< for use by ended */
    char host[]; /**< for settings.vhost */
};

/** An incomplete message, see partial.c. */
typedef struct ws_partial {
    ws_alarm alarm; /**< first member */
    ws_conn *c;
    apr_uint32_t begun, moved; /**< when its timeout started, and when it last grew (loop time) */
    apr_uint64_t wire_in;      /**< bytes received when its timeout started */
    struct ws_partial *next;   /**< of the loop's spare buffers */
    apr_size_t len, size;
    unsigned char data[];
} ws_partial;

/** Totals of a connection; the first four are also counted by its loop. */
typedef enum {
    WS_SUM_MESSAGES_IN,
    WS_SUM_MESSAGES_OUT,
    WS_SUM_BYTES_IN,
    WS_SUM_BYTES_OUT,
    WS_SUM_WIRE_IN,
    WS_SUM_WIRE_OUT,
    WS_SUMS
} ws_sum;

/** State that an idle plain connection does not need. ws_conn_rare() allocates it at its first
 *  use. */
typedef struct ws_rare {
    ws_parser parser;    /**< without a ws_rare, there is no incomplete message */
    ws_partial *message; /**< an incomplete message, or NULL */
    ws_bytes *rest;      /**< input that is not parsed or not delivered yet */
    union {
        ws_chain *chain;   /**< extensions, or NULL; only valid if not framed: use ws_chain_of() */
        ws_framer *framer; /**< valid if framed */
    };
    ws_send_queue *deferred; /**< messages waiting for the last part of another; or NULL */
    apr_pool_t *pool;
    ws_resource *owned;         /**< timers, watches */
    ws_rate_limit *meter;       /**< NULL: the connection has no limits */
    ws_ticket *ticket;          /**< the tickets to release at the end, or NULL */
    ws_jobs *jobs;              /**< of a WS_BLOCKING handler */
    ws_subscriptions *channels; /**< NULL: no subscriptions */
    ws_bytes *end_reason;       /**< reason of the Close frame of end_code; NULL: empty */
    apr_uint32_t high_sums[WS_SUMS];
} ws_rare;

/** All zero. ws_conn.rare of a connection without a ws_rare points to it, so that readers need no
 *  check. */
extern const ws_rare ws_rare_none;

struct ws_conn {
    ws_loop *loop;
    ws_location *location;
    const ws_settings *settings;
    SSL *ssl;
    ws_source source; /**< its socket */
    ws_id id;         /**< 0 in a slab place that was never used */
    ws_send_queue out;
    const ws_rare
        *rare; /**< for writing, use ws_conn_rare() or ws_rare_of(). For a WS_BLOCKING handler,
                *   it is set before the first callback and never changes */
    ws_bytes *cipher_out; /**< TLS records that the socket has not accepted yet */
    void *data;
    char *strings;  /**< see ws_strings_pack */
    ws_alarm alarm; /**< ping, close timeout; arg: keepalive.c */
    union {
        LIST_ENTRY(ws_conn) of_location; /**< list of the location's connections in this loop */
        ws_deferred deferred_free;       /**< used once freed is set */
    };
    ws_conn *next_dirty;
    apr_time_t start;
    apr_uint32_t sums[WS_SUMS]; /**< the low words of its totals: ws_conn_add(), ws_conn_sum() */
    apr_uint32_t queued;        /**< bytes in the send queue, at most 4 GiB */
    apr_uint32_t most_queued;   /**< the greatest value of queued */
    apr_uint32_t last_input;    /**< loop time of the last input */
    apr_uint32_t dropped;       /**< messages dropped since the client became too slow */
    /* The fields from here to framed are also used by the threads of WS_BLOCKING callbacks. They
     * are separate from the loop's bit-fields, which the compiler loads and stores together. */
    unsigned char state; /**< ws_state; atomic */
    unsigned char version;
    unsigned char parts;         /**< ws_send_part() has begun a message; callback thread only */
    unsigned char transport : 3; /**< ws_transport; this field and the next three never change */
    unsigned char carrier : 3;   /**< ws_carrier */
    unsigned char secure : 1;    /**< the peer uses TLS */
    unsigned char framed : 1;    /**< messages are not framed by RFC 6455 */
    apr_uint16_t since;          /**< when a frame that needs an answer was sent; unit: 256 ms */
    apr_uint16_t end_code;       /**< code of the first Close frame of either side; 0: none */
    unsigned char held;          /**< WS_HELD_... */
    ws_utf8_state utf8;
    unsigned char
        large; /**< the last buffered message had at least 2^large bytes; 0: it was small */
    unsigned opened : 1; /**< on_open has been called, or is a job */
    unsigned dirty : 1;
    unsigned discard_input : 1; /**< input is read and discarded: the connection is ending */
    unsigned finish : 1;        /**< close our side once everything has been written */
    unsigned write_shut : 1;    /**< our side of the socket is closed; the peer's is awaited */
    unsigned pinged : 1;        /**< a ping has not been answered yet */
    unsigned ask_queued : 1;    /**< unsent bytes preceded the frame that needs an answer */
    unsigned peer_closed : 1;   /**< the peer's Close frame has been received */
    unsigned aborted : 1;       /**< ws_abort() */
    unsigned write_blocked : 1; /**< the socket did not accept all bytes */
    unsigned want_drain : 1;    /**< on_drain is to be called */
    unsigned freed : 1;         /**< ended; freed at the end of the turn */
    unsigned closed_told : 1;   /**< on_close has been called, or is a job */
    unsigned broken : 1;        /**< end after the current callback: write error or abort */
    unsigned parting : 1;       /**< a frame without FIN has been sent: the message is incomplete */
    unsigned resume : 1;        /**< deliver c->rest at the end of the turn */
    unsigned missed : 1;        /**< a ping was not answered in time */
    unsigned tls_warm : 1;      /**< the connection is in loop->warm */
    unsigned tls_used : 3;      /**< number of recent uses of TLS, at most WARM_USES (tls.c) */
    unsigned closed_by : 2;     /**< ws_closed_by */
    unsigned plain_in : 1;      /**< input.c can use its fast path; does not change once open */
    unsigned plain_out : 1;     /**< likewise for ws_conn_gather_plain() */
};

/* conn.c: opening and closing */

/** The connection's ws_rare, allocated if it has none. @return NULL: out of memory */
ws_rare *ws_conn_rare(ws_conn *c);

/** The same for a connection that has one, which a field other than zero shows. */
static inline ws_rare *ws_rare_of(ws_conn *c)
{
    return (ws_rare *)c->rare;
}

/** Initialize a parser for a connection that is between messages. */
void ws_conn_init_parser(const ws_conn *c, ws_parser *p);

/** The handshake is complete: open the connection for messages. */
void ws_conn_open(ws_conn *c);

/* ids.c */

/** Make the id of a connection at a place of the slab. last: the place's previous id; 0: none */
ws_id ws_id_make(const ws_loop *loop, apr_uint32_t place, ws_id last);
apr_uint32_t ws_id_place(ws_id id);

/** The loop of an id; NULL: the id is not from this process.  [any thread] */
ws_loop *ws_id_loop(ws_engine *engine, ws_id id);

/** Send a Close frame, refuse all further sends, and wait for the peer's Close frame. */
void ws_conn_close(ws_conn *c, int code, const char *reason, apr_size_t reason_len);

/** Handle the peer's Close frame. */
void ws_conn_closed_by_peer(ws_conn *c, int code, const char *reason, apr_size_t reason_len);

/** Everything has been written and c->finish is set: close our side of the socket. */
void ws_conn_finish(ws_conn *c);

/** End a broken or finished connection: call on_close, free its resources. why is for the log. */
void ws_conn_end(ws_conn *c, const char *why);

/** Answer the peer's Close with the same code and reason, unless the handler has answered it. */
void ws_conn_answer_close(ws_conn *c);

/** Reset the connection, after the current callback if there is one. Nothing more is sent. */
void ws_conn_abort(ws_conn *c);

/* keepalive.c: timeouts of the peer */

/** Handle the connection's alarm: closing handshake, linger, pings. */
void ws_conn_housekeeping(ws_alarm *a);

/** Set the alarm to fire after ms milliseconds, or up to 256 ms later than that. */
void ws_conn_alarm_in(ws_conn *c, apr_uint32_t ms);

/** Start the timeout for an answer. Call it before you send a frame that the peer has to answer. */
void ws_conn_ask(ws_conn *c);

/** Our side is closed: give the peer 2 s to close its side. */
void ws_conn_linger(ws_conn *c);

/** Restart the timeout in which the peer has to receive some bytes. */
void ws_conn_count_as_taken(ws_conn *c);

/** A pinged peer has sent something: schedule the next ping after one interval. */
void ws_conn_answered(ws_conn *c);

/** Watch the socket for the events that the connection needs now. */
void ws_conn_watch(ws_conn *c);

void ws_conn_hold(ws_conn *c, unsigned why);
void ws_conn_release(ws_conn *c, unsigned why);

/** State before WS_OPEN: version 76 waits for the client's third key. */
#define WS_CONNECTING ((ws_state)0)

/** Whether this side is the client. */
static inline int ws_is_client(const ws_conn *c)
{
    return c->transport == WS_TRANSPORT_OUTGOING;
}

static inline ws_state ws_state_of(const ws_conn *c)
{
    return (ws_state)__atomic_load_n(&c->state, __ATOMIC_RELAXED);
}

/** The connection's extensions, or NULL. */
static inline ws_chain *ws_chain_of(const ws_conn *c)
{
    return c->framed ? NULL : c->rare->chain;
}

/** Whether received messages are delivered to the handler. */
static inline int ws_conn_accepts_input(const ws_conn *c)
{
    ws_state state = ws_state_of(c);
    return state == WS_OPEN
           || (state == WS_CLOSING && !c->discard_input
               && (c->location->handler->flags & WS_HEAR_OUT));
}

/* partial.c */

/**
 * Make room for `more` bytes at the end of the message. Starts a message if there is none.
 * @param total  bytes of the message announced so far
 * @return NULL: out of memory
 */
ws_partial *ws_partial_reserve(ws_conn *c, apr_size_t more, apr_uint64_t total);

/** Add len bytes that the caller has written to the room made by ws_partial_reserve(). */
void ws_partial_grow(ws_partial *m, apr_size_t len);

/** Reading has resumed: restart the message's timeout. */
void ws_partial_released(ws_partial *m);

/** Free the message, if there is one. */
void ws_partial_free(ws_conn *c);

/** The message is complete: record in c->large whether it was large. */
void ws_partial_note_large(ws_conn *c);

/** Free the buffers that the loop keeps for large messages. */
void ws_partial_free_spares(ws_loop *loop);

/* input.c */

/** Read and deliver input. Call when the socket is readable, or when c->rest or OpenSSL may hold
 *  input. */
void ws_conn_read(ws_conn *c);

/**
 * Deliver a piece of a message to the handler.
 * @param where  WS_FIRST, WS_LAST
 * @param total  largest length that the message can have, as far as known: limits its buffer
 */
void ws_conn_deliver(ws_conn *c, unsigned opcode, const unsigned char *data, apr_size_t len,
                     unsigned where, apr_uint64_t total);

/** Handle received bytes, or the end of receiving: WS_STREAM_RECEIVED, see stream.h. */
void ws_conn_received(ws_conn *c, const ws_ready *r);

/* output.c */

/** Queued bytes at which reading resumes and on_drain is called. */
static inline apr_size_t ws_low_mark(const ws_conn *c)
{
    return (apr_size_t)(c->settings->send_queue / 4);
}

/** Whether the send queue is so long that reading stops. A client never stops reading for this: if
 *  both ends stopped, they could deadlock. */
static inline int ws_conn_backs_up(const ws_conn *c)
{
    return !ws_is_client(c) && ws_send_queue_bytes(&c->out) > ws_low_mark(c);
}

/** Send a message in frames of at most WebSocketFragmentSize. @return as ws_conn_send() */
ws_status ws_conn_send_message(ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/** Send an unshared frame of any opcode. Frames are gathered while a callback runs. Checks neither
 *  the connection's state nor the length of the send queue. @return as ws_send() */
ws_status ws_conn_send(ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/** Like ws_conn_send(), for bytes that are already framed. */
ws_status ws_conn_send_bytes(ws_conn *c, const void *bytes, apr_size_t len);

/** Send a shared frame. Takes over the reference. */
ws_status ws_conn_send_frames(ws_conn *c, ws_frames *f);

/** Between these two calls, sends to c are gathered. They do not nest: a loop corks one connection
 *  at a time. */
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

/** Flush at the end of this turn. */
void ws_conn_mark_dirty(ws_conn *c);

/** Flush at the end of the next turn. */
void ws_conn_postpone(ws_conn *c);

/** Like ws_conn_flush(), for use inside a callback. If the connection has to end or to resume
 *  reading, that happens after the callback. */
void ws_conn_write(ws_conn *c);

/** Flush the connections that were marked dirty during this turn. */
void ws_conn_flush_dirty(ws_loop *loop);

/** ws_loop_hooks.submit: send the queues of async streams. */
void ws_conn_send_queues(ws_loop *loop);

/** Handle the end of an asynchronous send: WS_STREAM_SENT. */
void ws_conn_sent(ws_conn *c, const ws_ready *r);

/** The socket has become writable. */
void ws_conn_writable(ws_conn *c);

/** Update the counters of queued bytes. */
void ws_conn_note_queue(ws_conn *c);

/** Add to the high word of a total. If no memory can be allocated for it, the total wraps at 4
 *  GiB. */
void ws_conn_carry(ws_conn *c, ws_sum which, apr_uint32_t high);

/** Add to a total; n < 0: subtract from it. */
static inline void ws_conn_add(ws_conn *c, ws_sum which, apr_int64_t n)
{
    apr_int64_t sum = (apr_int64_t)c->sums[which] + n;
    c->sums[which] = (apr_uint32_t)sum;
    if (sum >> 32) {
        ws_conn_carry(c, which, (apr_uint32_t)(sum >> 32));
    }
}

/** The same for a small n. Usually takes only two instructions. */
static inline void ws_conn_add_short(ws_conn *c, ws_sum which, apr_uint32_t n)
{
    if (__builtin_add_overflow(c->sums[which], n, &c->sums[which])) {
        ws_conn_carry(c, which, 1);
    }
}

static inline apr_uint64_t ws_conn_sum(const ws_conn *c, ws_sum which)
{
    return (apr_uint64_t)c->rare->high_sums[which] << 32 | c->sums[which];
}

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

/** A reply to the last message of the input is not copied if its payload has at least this size,
 *  bytes: one system call writes the gathered frames and the payload. Copying saves a system call
 *  only if more replies follow. */
#define WS_COPY_MAX (8 * 1024)

/**
 * Gather a message of the connection whose callback runs: the fast path of ws_send().
 * @param first  WS_FIN and WS_OP_TEXT or WS_OP_BINARY
 * @return 0: not possible; the caller must use the general path
 */
static inline int ws_conn_gather_plain(ws_conn *c, unsigned first, const void *payload,
                                       apr_size_t len)
{
    ws_loop *loop = c->loop;
    unsigned char *out = loop->cork + loop->cork_len;
    if (!c->plain_out || c->broken || c->parting || ws_state_of(c) != WS_OPEN
        || ws_send_queue_count(&c->out) || c->rare->deferred || c->cipher_out || c->source.sending
        || len >= WS_COPY_MAX || loop->cork_len + WS_HEADER_MAX + len > loop->cork_room) {
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

/* backpressure.c: clients that read too slowly */

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
ws_send_queue *ws_backpressure_find(ws_conn *c, apr_uint64_t key, apr_uint32_t *place);

/** Drop messages that have waited too long, if the policy allows it. */
void ws_backpressure_trim(ws_conn *c);

/** Log the number of dropped messages, when the queue is empty or the connection ends. */
void ws_backpressure_over(ws_conn *c);

/* hixie.c: version 76 */

/** In state WS_CONNECTING: if the third key has arrived, answer it and open the connection.
 *  @return whether it is open */
int ws_hixie_shake(ws_conn *c, unsigned char **data, size_t *len);

/* framing.c: connections with a framer */

/** ws_conn_send() for these connections. If the framing has no close frame, sending a Close ends
 *  the connection after all queued bytes. */
ws_status ws_framing_send(ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/** Build a message in a separate buffer. @return NULL: out of memory */
ws_frames *ws_framing_build(const ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/** Whether the framing can send frames of this opcode. */
int ws_framing_sends(const ws_conn *c, unsigned opcode);

/** The client has closed its side. In framings without a close handshake, this is a clean close. */
void ws_framing_ended(ws_conn *c);

/* trace.c: log lines for frames; call only if c->settings->trace is set */

/** Log a received piece. */
void ws_trace_in(const ws_conn *c, const ws_piece *p);

/** Log a frame that is sent or queued. first: its first byte */
void ws_trace_out(const ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/* socket.c and tls.c */

/** Read from the socket. *more is set if another read would return bytes without a system call.
 *  @return bytes read; 0: end of file; -1: nothing to read; -2: the socket is broken */
apr_ssize_t ws_socket_read(ws_conn *c, void *buf, apr_size_t size, int *more);

/** Write to the socket. @return bytes accepted; 0: no room; -2: the socket is broken */
apr_ssize_t ws_socket_write(ws_conn *c, const struct iovec *iov, int n);

/** Write bytes that ws_socket_write() has accepted, but not yet passed to the socket.
 *  @return whether some remain; -2: the socket is broken */
int ws_socket_pending(ws_conn *c);

/** Whether the kernel knows that the peer has closed its side. */
int ws_socket_half_closed(const ws_conn *c);

/** Send close_notify if the connection uses TLS; if whole, also close our side of the socket. */
void ws_socket_shutdown(ws_conn *c, int whole);

/** Make close() reset the connection. */
void ws_socket_reset(ws_conn *c);

apr_status_t ws_tls_init(ws_loop *loop);
void ws_tls_destroy(ws_loop *loop);
/** Set the loop's BIOs in the SSL object. */
void ws_tls_adopt(ws_conn *c);
apr_ssize_t ws_tls_read(ws_conn *c, void *buf, apr_size_t size, int *more);
apr_ssize_t ws_tls_write(ws_conn *c, const struct iovec *iov, int n);
int ws_tls_pending(ws_conn *c);
void ws_tls_shutdown(ws_conn *c);

/* callbacks.c: the handler's callbacks, on the loop or as jobs of the pool */

/** Call before the first callback. @return 0; -1: out of memory */
int ws_cb_init(ws_conn *c);
void ws_cb_open(ws_conn *c);
void ws_cb_message(ws_conn *c, ws_type type, const unsigned char *data, apr_size_t len);
/** on_frame; where: WS_FIRST, WS_LAST */
void ws_cb_frame(ws_conn *c, ws_type type, const unsigned char *data, apr_size_t len,
                 unsigned where);
void ws_cb_pong(ws_conn *c, const unsigned char *data, apr_size_t len);
void ws_cb_ping(ws_conn *c, const unsigned char *data, apr_size_t len);
void ws_cb_drain(ws_conn *c);
/** Call on_closing, then answer the peer's Close unless the handler answers later. */
void ws_cb_closing(ws_conn *c);
/** Call on_state, which must not be NULL. */
void ws_cb_state(ws_conn *c, ws_state from, ws_state to);
/** Call on_close, if on_open was called. A second call does nothing. */
void ws_cb_close(ws_conn *c);
/** End the connection's subscriptions. Call after on_close. */
static inline void ws_cb_leave_channels(ws_conn *c)
{
    if (c->rare->channels) {
        c->loop->engine->channels->leave(c);
    }
}
/** The functions of a kind of resource: a handler's callback, and its cleanup. */
typedef struct ws_cb_resource {
    const char *name; /**< for the log */
    void (*call)(ws_conn *c, void *what,
                 unsigned events);        /**< unless stopped [the handler's thread] */
    void (*done)(ws_conn *c, void *what); /**< after call, or instead of it  [likewise] */
} ws_cb_resource;
void ws_cb_call(ws_conn *c, const ws_cb_resource *r, void *what, unsigned events);
/** Count bytes that callbacks of a WS_BLOCKING handler have sent, but the loop has not handled yet.
 *  @return the new total, bytes; 0 for other handlers  [any thread of its callbacks] */
apr_size_t ws_cb_posted(ws_conn *c, apr_ssize_t change);
/** Whether no callback will follow, so that c may be freed. */
int ws_cb_over(const ws_conn *c);
void ws_cb_free(ws_conn *c);

/* Greatest number of pending callbacks of a WS_BLOCKING handler, per connection. */
#define WS_CALLBACKS_MAX 4096

/* resources.c */

void ws_resource_link(ws_conn *c, ws_resource *o);
/** Unlink a resource. Does nothing if it is not linked. */
void ws_resource_unlink(ws_conn *c, ws_resource *o);
/** End all resources of a connection; the second function frees them. */
void ws_resource_end(ws_conn *c);
void ws_resource_free(ws_conn *c);

/* strings.c */

/** Pack a connection's strings into one block. @return NULL: out of memory */
char *ws_strings_pack(const ws_strings *s);

#endif
