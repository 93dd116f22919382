/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A connection, as the engine's files know it. For its loop's thread, but where said otherwise. */

#ifndef WS_ENGINE_CONN_H
#define WS_ENGINE_CONN_H

#include "engine/send_queue.h"
#include "engine/loop.h"
#include "engine/rate_limit.h"
#include "protocol/frame.h"
#include "protocol/framing.h"
#include "protocol/utf8.h"

/** Bytes in a buffer of the connection's own. */
typedef struct ws_bytes {
    apr_size_t len, size, pos;
    unsigned char data[];
} ws_bytes;

/** Why the socket is not read: bits of ws_conn.held. */
enum {
    WS_HELD_HANDLER = 0x1, /**< ws_pause() */
    WS_HELD_QUEUE = 0x2,   /**< much waits to be sent */
    WS_HELD_JOBS = 0x4,    /**< much waits for a WS_BLOCKING handler */
    WS_HELD_TURN = 0x8     /**< it has had its share of this turn */
};

/** A copy of len bytes; NULL when there is no memory. */
ws_bytes *ws_bytes_new(const void *data, apr_size_t len);

typedef struct ws_jobs ws_jobs;

/** What a handler has made and what ends with its connection; the beginning of a timer, a watch. */
typedef struct ws_resource ws_resource;
struct ws_resource {
    ws_resource *next;
    /** Nothing comes of it any more; on_close may still stop it. */
    void (*end)(ws_conn *c, ws_resource *o);
    /** Behind the last of the connection's callbacks. */
    void (*free)(ws_resource *o);
};

/** What an outgoing connection has of its own where others share it. */
struct ws_outgoing {
    ws_location location; /**< first: ws_conn.location leads here */
    ws_settings settings;
    /** NULL, or called when the connection has gone, behind the last of its callbacks. */
    void (*ended)(struct ws_outgoing *o, const ws_conn *c);
    void *owner; /**< ended's own */
    char host[]; /**< for settings.vhost */
};

/** The beginning of a message: partial.c. */
typedef struct ws_partial {
    ws_alarm alarm; /**< first */
    ws_conn *c;
    apr_uint32_t begun, moved; /**< when its time began, and when it last grew: loop time */
    apr_uint64_t wire_in;      /**< what had come when its time began */
    apr_size_t len, size;
    unsigned char data[];
} ws_partial;

/** What channels/ keeps of a connection. */
typedef struct ws_subscriptions ws_subscriptions;

struct ws_conn {
    ws_loop *loop;
    ws_location *location;
    const ws_settings *settings;
    SSL *ssl;
    ws_source source; /**< its socket */
    ws_id id;         /**< 0 in a place that was never taken */
    ws_parser parser;
    ws_partial *message; /**< the beginning of a message, until it is whole */
    ws_bytes *rest;      /**< input that could not be parsed yet, or not delivered while held */
    union {
        ws_chain *chain;   /**< not framed: extensions, NULL if there are none; see ws_chain_of() */
        ws_framer *framer; /**< framed: messages are not framed by RFC 6455 */
    };
    ws_send_queue out;
    ws_send_queue *deferred; /**< messages that wait for the last part of another, NULL if none */
    ws_bytes *cipher_out;    /**< TLS records that the socket did not take */
    void *data;
    apr_pool_t *pool;
    char *strings;              /**< see ws_strings_pack */
    ws_alarm alarm;             /**< ping, close timeout; arg: keepalive.c */
    ws_resource *owned;         /**< timers, watches */
    ws_rate_limit *meter;       /**< if it has bounds */
    ws_ticket *ticket;          /**< of who counts it, or NULL */
    ws_jobs *jobs;              /**< of a WS_BLOCKING handler */
    ws_subscriptions *channels; /**< NULL: it is subscribed to nothing */
    union {
        LIST_ENTRY(ws_conn) of_location; /**< connections of the location in this loop */
        ws_deferred deferred_free;       /**< freed */
    };
    ws_conn *next_dirty;
    ws_tally tally;
    apr_uint32_t last_input; /**< loop time of the last input */
    apr_uint32_t dropped;    /**< messages, since the client began to be too slow */
    /* These four are used by the threads of WS_BLOCKING callbacks, too, so they stand apart from the
     * loop's small fields, which the compiler reads together. */
    unsigned char state; /**< ws_state; atomic */
    unsigned char version;
    unsigned char secure;
    unsigned char parts; /**< the handler has begun a message in parts; its callbacks' thread's */
    unsigned char transport; /**< ws_transport, never changed */
    unsigned char framed;    /**< never changed */
    apr_uint16_t since;      /**< when the peer was last asked for something, units of 256 ms */
    apr_uint16_t end_code;   /**< of the Close frame that came or went first, 0 if there was none */
    unsigned char held;      /**< WS_HELD_... */
    unsigned char carrier;   /**< ws_carrier, never changed */
    ws_utf8_state utf8;
    unsigned opened : 1; /**< on_open has been called, or is a job */
    unsigned dirty : 1;
    unsigned discard_input : 1; /**< input is read and forgotten: the connection is ending */
    unsigned finish : 1;        /**< to be ended as soon as everything has been written */
    unsigned write_shut : 1;    /**< our side of the socket is closed; waits for the peer's */
    unsigned pinged : 1;        /**< a ping waits for an answer */
    unsigned behind : 1;        /**< what the peer has to answer lay behind other bytes */
    unsigned peer_closed : 1;   /**< the peer's Close frame has come */
    unsigned aborted : 1;       /**< ws_abort() */
    unsigned write_blocked : 1; /**< the socket has not taken all that it was given */
    unsigned want_drain : 1;    /**< on_drain is owed */
    unsigned freed : 1;         /**< ended, to be freed at the end of the turn */
    unsigned closed_told : 1;   /**< on_close has been called, or is a job */
    unsigned broken : 1;        /**< a write failed inside a callback: to be ended behind it */
    unsigned parting : 1;       /**< a frame without FIN has been sent, its message goes on */
    unsigned resume : 1;        /**< c->rest is to be delivered at the end of the turn */
    unsigned missed : 1;        /**< a ping was not answered in time */
    unsigned closed_by : 2;     /**< ws_closed_by */
    ws_bytes *end_reason;       /**< of that frame, NULL if empty */
};

/* conn.c: beginnings and ends */

/** The handshake is over: from now on there are messages. */
void ws_conn_open(ws_conn *c);

/* ids.c */

/** The id of a connection at a place of the slab. last: the id before, of the same place; 0: none */
ws_id ws_id_make(const ws_loop *loop, apr_uint32_t place, ws_id last);
apr_uint32_t ws_id_place(ws_id id);

/** The connection of an id in this loop, or NULL if it has gone. */
ws_conn *ws_conn_find(ws_loop *loop, ws_id id);

/** Which loop an id belongs to, NULL if it is not of this process.  [any thread] */
ws_loop *ws_id_loop(ws_engine *engine, ws_id id);

/** Send a Close frame (the peer's is awaited) and forbid all further sends. */
void ws_conn_close(ws_conn *c, int code, const char *reason, apr_size_t reason_len);

/** Fail the connection: RFC 6455, section 7.1.7. text is for the log and the Close frame. */
void ws_conn_fail(ws_conn *c, int code, const char *text);

/** The peer's Close frame. */
void ws_conn_closed_by_peer(ws_conn *c, int code, const char *reason, apr_size_t reason_len);

/** Everything has been written and c->finish is set: close our side of the socket. */
void ws_conn_finish(ws_conn *c);

/** The connection is broken or done: tell the handler, let go of everything. why is for the log. */
void ws_conn_end(ws_conn *c, const char *why);

/** Answer the peer's Close with its own code and reason, unless the handler has answered it. */
void ws_conn_answer_close(ws_conn *c);

/** Break the connection behind the callback that this may be in: nothing more is sent. */
void ws_conn_abort(ws_conn *c);

/* keepalive.c: what the peer has to do in time */

/** The connection's alarm: closing handshake, linger, pings. */
void ws_conn_housekeeping(ws_alarm *a);

/** It is due in so many milliseconds, or a little later. */
void ws_conn_alarm_in(ws_conn *c, apr_uint32_t ms);

/** Something is to be sent that the peer has to answer. */
void ws_conn_ask(ws_conn *c);

/** Our side is shut: the peer has some time to shut its own. */
void ws_conn_linger(ws_conn *c);

/** The time that the peer is given to take something begins now. */
void ws_conn_count_as_taken(ws_conn *c);

/** Something has come from a peer that was pinged: the next ping is due after an interval again. */
void ws_conn_answered(ws_conn *c);

/** Watch the socket for what the connection wants now. */
void ws_conn_watch(ws_conn *c);

void ws_conn_hold(ws_conn *c, unsigned why);
void ws_conn_release(ws_conn *c, unsigned why);

/** Before WS_OPEN: version 76 waits for the end of the handshake. */
#define WS_CONNECTING ((ws_state)0)

/** Whether we are the client. */
static inline int ws_is_client(const ws_conn *c)
{
    return c->transport == WS_TRANSPORT_OUTGOING;
}

static inline ws_state ws_state_of(const ws_conn *c)
{
    return (ws_state)__atomic_load_n(&c->state, __ATOMIC_RELAXED);
}

/** Its extensions, or NULL. */
static inline ws_chain *ws_chain_of(const ws_conn *c)
{
    return c->framed ? NULL : c->chain;
}

/** Whether messages that come are for the handler. */
static inline int ws_conn_accepts_input(const ws_conn *c)
{
    ws_state state = ws_state_of(c);
    return state == WS_OPEN
           || (state == WS_CLOSING && !c->discard_input
               && (c->location->handler->flags & WS_HEAR_OUT));
}

/* partial.c */

/** Room for more bytes at the end of the message, or of a new one; NULL when there is no memory. total: what
 *  the message has announced so far */
ws_partial *ws_partial_reserve(ws_conn *c, apr_size_t more, apr_uint64_t total);

/** So many bytes have been put there. */
void ws_partial_grow(ws_partial *m, apr_size_t len);

/** Its connection is read again: its time begins anew. */
void ws_partial_released(ws_partial *m);

/** Forget the message, if there is one. */
void ws_partial_free(ws_conn *c);

/* input.c */

/** The socket is readable, or there may be input in c->rest or in OpenSSL. */
void ws_conn_read(ws_conn *c);

/**
 * A piece of a message for the handler.
 * @param where  WS_FIRST, WS_LAST
 * @param total  how long the message may get as far as is known: no more room is made than that
 */
void ws_conn_deliver(ws_conn *c, unsigned opcode, const unsigned char *data, apr_size_t len,
                     unsigned where, apr_uint64_t total);

/** The loop has received something, or that has ended; see stream.h. */
void ws_conn_received(ws_conn *c, const ws_ready *r);

/* output.c */

/** Where reading goes on, and on_drain comes: bytes that wait to be sent. */
static inline apr_size_t ws_low_mark(const ws_conn *c)
{
    return (apr_size_t)(c->settings->send_queue / 4);
}

/** Whether so much waits that nothing more is to be read. Not where we are the client: if both ends did
 *  so, they could wait for each other for ever. */
static inline int ws_conn_backs_up(const ws_conn *c)
{
    return !ws_is_client(c) && ws_send_queue_bytes(&c->out) > ws_low_mark(c);
}

/** A message, cut into frames of WebSocketFragmentSize. Returns as ws_conn_send. */
ws_status ws_conn_send_message(ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/** A frame of the connection's own. Gathered while its callback runs. @return as ws_send, for any
 *  opcode, whatever waits already; state is not looked at */
ws_status ws_conn_send(ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/** Bytes of whatever framing, as ws_conn_send. */
ws_status ws_conn_send_bytes(ws_conn *c, const void *bytes, apr_size_t len);

/** A shared frame; takes over the reference. */
ws_status ws_conn_send_frames(ws_conn *c, ws_frames *f);

/** Send a whole frame as ws_send_to() does: transformed, cut or dropped as the connection wants it. Who
 *  sends it to many calls ws_chain_forget_shared() behind the last. Takes over the reference. */
ws_status ws_conn_share(ws_conn *c, ws_frames *f);

/** Run fn for the connection on its loop, unless it has gone.  [any thread of its callbacks] */
void ws_engine_on_conn(ws_conn *c, void (*fn)(ws_conn *c));

/** ws_conn_share() from another thread. Takes over the reference. */
ws_status ws_conn_share_later(ws_id id, ws_frames *f);

/** Between the two, sends to c are gathered. They nest not; there is one corked connection. */
void ws_conn_cork(ws_conn *c);
void ws_conn_uncork(ws_conn *c);

/** Bytes that are gathered for c, and not in its queue yet. */
static inline apr_size_t ws_conn_gathered(const ws_conn *c)
{
    const ws_loop *loop = c->loop;
    return (loop->lent ? loop->lent : loop->corked) == c ? loop->cork_len : 0;
}

/** Write what waits, as far as the socket takes it. */
void ws_conn_flush(ws_conn *c);

/** Flush at the end of this turn. */
void ws_conn_mark_dirty(ws_conn *c);

/** At the end of the next one. */
void ws_conn_postpone(ws_conn *c);

/** The same inside a callback: what follows from it is seen to at its end. */
void ws_conn_write(ws_conn *c);

/** Flush what was queued during this turn. */
void ws_conn_flush_dirty(ws_loop *loop);

/** ws_loop_hooks.submit: send what is queued on async streams. */
void ws_conn_send_queues(ws_loop *loop);

/** A send has ended: WS_STREAM_SENT. */
void ws_conn_sent(ws_conn *c, const ws_ready *r);

/** The socket takes something again. */
void ws_conn_writable(ws_conn *c);

/** Note how much waits to be sent now. */
void ws_conn_note_queue(ws_conn *c);

/** Count bytes that the socket has taken; below 0: that it has not. */
static inline void ws_conn_count_written(ws_conn *c, apr_ssize_t n)
{
    if (n) {
        c->tally.wire_out += (apr_uint64_t)n;
        ws_count(c->loop->counters, WS_COUNT_WIRE_OUT, n);
    }
}

/** Count a frame of a message that is sent, as its handler gave it. first: its first byte */
static inline void ws_conn_count_sent(ws_conn *c, unsigned first, apr_size_t len)
{
    if (first & 0x8) {
        return; /* a control frame */
    }
    c->tally.bytes_out += len;
    ws_count(c->loop->counters, WS_COUNT_BYTES_OUT, (apr_int64_t)len);
    if (first & WS_FIN) {
        c->tally.messages_out++;
        ws_count(c->loop->counters, WS_COUNT_MESSAGES_OUT, 1);
    }
}

/* backpressure.c: clients that read too slowly */

static inline ws_slow ws_backpressure_policy(const ws_conn *c)
{
    return c->location->handler->flags & WS_LOSSLESS ? WS_SLOW_CLOSE : (ws_slow)c->settings->slow;
}

/** Whether messages to such a client are dropped, not the client. */
static inline int ws_backpressure_drops(const ws_conn *c)
{
    return ws_backpressure_policy(c) != WS_SLOW_CLOSE;
}

/**
 * A frame is to be sent behind what waits: do what the Location says about a client that is too slow.
 * @return WS_SENT: it may be sent; WS_FULL: the connection is being closed; WS_DROPPED
 */
ws_status ws_backpressure_admit(ws_conn *c, unsigned first);

/** Where a message with this key waits that a newer one is to replace, or NULL. */
ws_send_queue *ws_backpressure_find(ws_conn *c, apr_uint64_t key, apr_uint32_t *place);

/** Drop what has waited too long. */
void ws_backpressure_trim(ws_conn *c);

/** Nothing waits any more, or the connection is gone: the log says what it has cost. */
void ws_backpressure_over(ws_conn *c);

/* hixie.c: version 76 */

/** Before c->state is WS_OPEN: take the third key, if it is there, answer it, and open the connection.
 *  @return whether it is open */
int ws_hixie_shake(ws_conn *c, unsigned char **data, size_t *len);

/* framing.c: connections with a framer */

/** ws_conn_send() for them. A framing without a close of its own ends the connection after all that waits. */
ws_status ws_framing_send(ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/** A message in a buffer of its own; NULL when there is no memory. */
ws_frames *ws_framing_build(const ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/** Whether the framing can send frames of this opcode. */
int ws_framing_sends(const ws_conn *c, unsigned opcode);

/** The client has closed its side: for most framings that is the close. */
void ws_framing_ended(ws_conn *c);

/* trace.c: lines for who looks on; to be called only if c->settings->trace is set */

/** A piece that was received. */
void ws_trace_in(const ws_conn *c, const ws_piece *p);

/** A frame that is sent, or waits to be. first: its first byte */
void ws_trace_out(const ws_conn *c, unsigned first, const void *payload, apr_size_t len);

/* socket.c and tls.c */

/** Bytes read; 0 at the end; -1 when there is nothing to read; -2 when it is broken. *more is set
 *  if another read would give bytes without asking the socket. */
apr_ssize_t ws_socket_read(ws_conn *c, void *buf, apr_size_t size, int *more);

/** Bytes taken, 0 if there is no room; -2 when it is broken. */
apr_ssize_t ws_socket_write(ws_conn *c, const struct iovec *iov, int n);

/** Whether bytes that ws_socket_write took still wait to be given to the socket; tries it.
 *  -2 when it is broken. */
int ws_socket_pending(ws_conn *c);

/** Whether the peer has closed its side, as far as that has come through. */
int ws_socket_half_closed(const ws_conn *c);

/** With TLS, send close_notify; close our side of the socket, too, if whole. */
void ws_socket_shutdown(ws_conn *c, int whole);

/** Closing the socket is to reset the connection. */
void ws_socket_reset(ws_conn *c);

apr_status_t ws_tls_init(ws_loop *loop);
void ws_tls_destroy(ws_loop *loop);
/** Give the SSL the loop's BIOs. */
void ws_tls_adopt(ws_conn *c);
apr_ssize_t ws_tls_read(ws_conn *c, void *buf, apr_size_t size, int *more);
apr_ssize_t ws_tls_write(ws_conn *c, const struct iovec *iov, int n);
int ws_tls_pending(ws_conn *c);
void ws_tls_shutdown(ws_conn *c);

/* callbacks.c: the handler's callbacks, on the loop or as jobs of the pool */

/** Before the first of them. @return 0, or -1 when there is no memory */
int ws_cb_init(ws_conn *c);
void ws_cb_open(ws_conn *c);
void ws_cb_message(ws_conn *c, ws_type type, const unsigned char *data, apr_size_t len);
/** on_frame; where: WS_FIRST, WS_LAST */
void ws_cb_frame(ws_conn *c, ws_type type, const unsigned char *data, apr_size_t len,
                 unsigned where);
void ws_cb_pong(ws_conn *c, const unsigned char *data, apr_size_t len);
void ws_cb_ping(ws_conn *c, const unsigned char *data, apr_size_t len);
void ws_cb_drain(ws_conn *c);
/** on_closing, and the answer to the peer's Close if that does not keep it for later. */
void ws_cb_closing(ws_conn *c);
/** on_state, which the handler has. */
void ws_cb_state(ws_conn *c, ws_state from, ws_state to);
/** On_close, if on_open was called; a second call does nothing. */
void ws_cb_close(ws_conn *c);
/** on_channel, for all but WS_BLOCKING handlers. */
int ws_cb_channel(ws_conn *c, const ws_event *event);
/** Its on_close has been called. */
static inline void ws_cb_leave_channels(ws_conn *c)
{
    if (c->channels) {
        c->loop->engine->channels->leave(c);
    }
}
void ws_cb_run(ws_conn *c, void (*fn)(ws_conn *c, void *arg), void *arg);
/** A function of the handler's that belongs to a resource. */
typedef struct ws_cb_resource {
    const char *name; /**< for the log */
    void (*call)(ws_conn *c, void *what,
                 unsigned events);        /**< unless it was stopped  [the handler's thread] */
    void (*done)(ws_conn *c, void *what); /**< after it, or if it cannot be  [likewise] */
} ws_cb_resource;
void ws_cb_call(ws_conn *c, const ws_cb_resource *r, void *what, unsigned events);
/** Count what a WS_BLOCKING handler's callbacks have sent and the loop has not handled. @return bytes
 *  [any thread of its callbacks] */
apr_size_t ws_cb_posted(ws_conn *c, apr_ssize_t change);
/** Before ws_cb_run(), for what others may call without an end. A WS_BLOCKING handler for which
 *  WS_CALLBACKS_MAX callbacks wait does not keep pace: its connection is closed. @return whether it does */
int ws_cb_keeps_pace(ws_conn *c);
/** The pool has called on_close (or there is none): c may be freed. */
int ws_cb_over(const ws_conn *c);
void ws_cb_free(ws_conn *c);

/* Callbacks of a WS_BLOCKING handler that may wait, for each connection. */
#define WS_CALLBACKS_MAX 4096

/* resources.c */

void ws_resource_link(ws_conn *c, ws_resource *o);
/** Whether it is linked or not. */
void ws_resource_unlink(ws_conn *c, ws_resource *o);
/** End, and free, all of a connection's. */
void ws_resource_end(ws_conn *c);
void ws_resource_free(ws_conn *c);

/* strings.c */

/** Pack a connection's strings into one block; NULL when there is no memory. */
char *ws_strings_pack(const ws_strings *s);

#endif
