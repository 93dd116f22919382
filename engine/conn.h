/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The connection, internal to the engine. Call these functions in the thread of the connection's
 *  loop unless stated otherwise. A turn is one iteration of the loop. */

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
    WS_HELD_QUEUE = 0x2,   /**< the send queue is too long: ws_conn_backs_up() */
    WS_HELD_JOBS = 0x4,    /**< too many jobs are pending for a WS_BLOCKING handler */
    WS_HELD_TURN = 0x8     /**< ws_conn_share_of_turn() is used up */
};

/** Copy len bytes. @return NULL: out of memory */
ws_bytes *ws_bytes_new(const void *data, apr_size_t len);

typedef struct ws_jobs ws_jobs;

/** A handler's object that ends with its connection: first member of a timer or a watch. */
typedef struct ws_resource ws_resource;
struct ws_resource {
    ws_resource *next;
    /** Stop the resource's events. on_close may still stop the resource itself. */
    void (*end)(ws_conn *c, ws_resource *o);
    /** Free the resource, after the connection's last callback. */
    void (*free)(ws_resource *o);
};

/** An outgoing connection's own location and settings; other connections share theirs. */
struct ws_outgoing {
    ws_location location; /**< first member: ws_conn.location points here */
    ws_settings settings;
    /** Called when the connection has ended, after its last callback. May be NULL. */
    void (*ended)(struct ws_outgoing *o, const ws_conn *c);
    void *owner; /**< argument for ended, set by the owner */
    char host[]; /**< the text of settings.vhost */
};

/** The payload of an incomplete message, see partial.c. */
typedef struct ws_partial {
    struct ws_partial *next; /**< next of the loop's spare buffers */
    apr_size_t len, size;
    unsigned char data[];
} ws_partial;

/** The time limit of an incomplete message or frame header, see arrival.c. */
typedef struct ws_arrival {
    ws_alarm alarm; /**< first member */
    ws_conn *c;
    apr_uint32_t begun, moved; /**< when the time started, and when payload came (loop time) */
    apr_uint64_t wire_in;      /**< bytes received when the time started */
    void (*late)(ws_conn *c);  /**< called when the time is over */
} ws_arrival;

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

/** State that most idle connections do not need. ws_conn_rare() allocates it at its first use. */
typedef struct ws_rare {
    ws_parser parser;    /**< parses received frames; without a ws_rare, no message is incomplete */
    ws_partial *message; /**< payload of an incomplete message, or NULL */
    ws_arrival *arrival; /**< time limit of an incomplete message or header, or NULL */
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
    ws_jobs *jobs;              /**< callbacks of a WS_BLOCKING handler; otherwise NULL */
    ws_subscriptions *channels; /**< NULL: no subscriptions */
    ws_bytes *end_reason;       /**< reason in the Close frame with end_code; NULL: empty */
    ws_bytes *cipher_out;       /**< TLS records that the socket has not accepted yet */
    apr_uint32_t high_sums[WS_SUMS];
    apr_uint32_t most_queued; /**< the greatest value of ws_conn.queued; 0: below 1 KiB */
    apr_uint32_t dropped;     /**< messages dropped since the client became too slow */
} ws_rare;

/** A ws_rare whose members are all zero. If a connection has no ws_rare, its pointer `rare` points
 *  to this one, so that readers need no check. */
extern const ws_rare ws_rare_none;

struct ws_conn {
    ws_loop *loop;
    ws_location *location;
    const ws_settings *settings;
    SSL *ssl;
    ws_source source; /**< the connection's socket */
    ws_id id;         /**< 0 in a slab slot that was never used */
    ws_send_queue out;
    const ws_rare
        *rare; /**< for writing, use ws_conn_rare() or ws_rare_of(). For a WS_BLOCKING handler,
                *   it is set before the first callback and never changes */
    void *data;
    char *strings;  /**< see ws_strings_pack */
    ws_alarm alarm; /**< for pings and the close timeout; timeouts.c uses its member arg */
    union {
        LIST_ENTRY(ws_conn) of_location; /**< list of the location's connections in this loop */
        ws_deferred deferred_free;       /**< used once freed is set */
    };
    ws_conn *next_dirty;
    apr_time_t start;
    apr_uint32_t sums[WS_SUMS]; /**< the low words of its totals: ws_conn_add(), ws_conn_sum() */
    apr_uint32_t queued;        /**< bytes in the send queue, at most 4 GiB */
    apr_uint32_t last_input;    /**< loop time of the last input */
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
    unsigned opened : 1; /**< on_open has been called, or its call is a pending job */
    unsigned dirty : 1;
    unsigned discard_input : 1; /**< input is read and discarded: the connection is ending */
    unsigned finish : 1;        /**< close our side once everything has been written */
    unsigned write_shut : 1;    /**< our side of the socket is closed; the peer's is awaited */
    unsigned pinged : 1;        /**< a ping has not been answered yet */
    unsigned ask_queued : 1;    /**< unacknowledged bytes preceded the frame that needs an answer */
    unsigned peer_closed : 1;   /**< the peer's Close frame has been received */
    unsigned aborted : 1;       /**< ws_abort() has been called */
    unsigned write_blocked : 1; /**< the socket did not accept all bytes */
    unsigned want_drain : 1;    /**< on_drain is to be called */
    unsigned freed : 1;         /**< ended; freed at the end of the turn */
    unsigned closed_told : 1;   /**< on_close has been called, or its call is a pending job */
    unsigned broken : 1;        /**< end after the current callback: write error or abort */
    unsigned parting : 1;       /**< a frame without FIN has been sent: the message is incomplete */
    unsigned resume : 1;        /**< deliver rare->rest at the end of the turn */
    unsigned missed : 1;        /**< a ping was not answered in time */
    unsigned tls_warm : 1;      /**< the connection is in loop->warm */
    unsigned tls_used : 3;      /**< number of recent uses of TLS, at most WARM_USES (tls.c) */
    unsigned closed_by : 2;     /**< ws_closed_by */
    unsigned program_closed : 1; /**< ws_close() has begun the closing handshake */
    unsigned plain_in : 1;       /**< input.c can use its fast path; does not change once open */
    unsigned plain_out : 1;   /**< ws_conn_gather_plain() can be used; does not change once open */
    unsigned char read_up_to; /**< bits 16 to 23 of the sum WIRE_OUT at the last Pong */
};

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

/* rare.c */

/** The connection's ws_rare, allocated if it has none. @return NULL: out of memory */
ws_rare *ws_conn_rare(ws_conn *c);

/** Get the ws_rare of a connection that has one. It has one if any field of *c->rare is set. */
static inline ws_rare *ws_rare_of(ws_conn *c)
{
    return (ws_rare *)c->rare;
}

/** Initialize a parser for a connection that is between messages. */
void ws_conn_init_parser(const ws_conn *c, ws_parser *p);

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

/** Add a small n to a total. Usually takes only two instructions. */
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

/* open.c */

/** Open the connection for messages, after its handshake. */
void ws_conn_open(ws_conn *c);

/** In state WS_CONNECTING: if the third key has arrived, answer it and open the connection.
 *  @return whether it is open */
int ws_hixie_shake(ws_conn *c, unsigned char **data, size_t *len);

/* closing.c */

/** Send a Close frame, refuse all further sends, and wait for the peer's Close frame. */
void ws_conn_close(ws_conn *c, int code, const char *reason, apr_size_t reason_len);

/** Handle the peer's Close frame. */
void ws_conn_closed_by_peer(ws_conn *c, int code, const char *reason, apr_size_t reason_len);

/** Answer the peer's Close with the same code and reason, unless the handler has answered it. */
void ws_conn_answer_close(ws_conn *c);

/** Reset the connection. If one of its callbacks is running, the reset follows the callback.
 *  Nothing more is sent. */
void ws_conn_abort(ws_conn *c);

/* end.c */

/** Watch the socket for the events that the connection needs now. */
void ws_conn_watch(ws_conn *c);

/** Close our side of the socket. Call when everything has been written and c->finish is set. */
void ws_conn_finish(ws_conn *c);

/** End a broken or finished connection: call on_close, free its resources. why is for the log. */
void ws_conn_end(ws_conn *c, const char *why);

/* keepalive.c */

/** Handle the connection's alarm: closing handshake, linger, pings. */
void ws_conn_housekeeping(ws_alarm *a);

/* timeouts.c: time limits for the peer's answers */

/* Time that the peer has to close its side of the socket once everything has been sent,
 * milliseconds. If the peer has sent more data, an immediate close would reset the connection,
 * and the reset could destroy our Close frame on its way. */
#define WS_LINGER 2000

/** Set the alarm to fire after ms milliseconds, or up to 256 ms later than that. */
void ws_conn_alarm_in(ws_conn *c, apr_uint32_t ms);

/** Start the timeout for an answer. Call it before you send a frame that the peer has to answer. */
void ws_conn_ask(ws_conn *c);

/** Set the alarm for the end of WS_LINGER, because our side of the socket has been closed. */
void ws_conn_linger(ws_conn *c);

/** Make the next ws_conn_takes() return true, as if the peer had received data. */
void ws_conn_count_as_taken(ws_conn *c);

/** Handle that a pinged peer has sent something: schedule the next ping. */
void ws_conn_answered(ws_conn *c);

/** Check whether the peer has received data since the last call. *waiting: set if some data is not
 *  acknowledged yet. @return 1: the peer has received data; 0: it has not */
int ws_conn_takes(ws_conn *c, int *waiting);

/** Decide whether to extend a timeout that has expired. time: the usual extension, milliseconds.
 *  @return the extension, milliseconds; 0: none */
apr_uint32_t ws_conn_more_time(ws_conn *c, apr_uint32_t time);

/** Give the peer of an ending connection more time if it has received or sent something since the
 *  last check. It may have data to send before its own Close. @return 0: its time is over */
int ws_conn_extend(ws_conn *c, apr_uint32_t time);

/* turn.c */

/** Flush at the end of this turn. */
void ws_conn_mark_dirty(ws_conn *c);

/** Flush at the end of the next turn. */
void ws_conn_postpone(ws_conn *c);

/** Update the counters of queued bytes. */
void ws_conn_note_queue(ws_conn *c);

void ws_conn_hold(ws_conn *c, unsigned why);
void ws_conn_release(ws_conn *c, unsigned why);

/** Queued bytes at which reading resumes and on_drain is called. */
static inline apr_size_t ws_low_mark(const ws_conn *c)
{
    return (apr_size_t)(c->settings->send_queue / 4);
}

/** The maximum number of bytes that the loop handles for a connection in one turn. It is at most
 *  the queue's low mark, so that the replies to one turn's input do not exceed that mark before
 *  reading stops. */
static inline apr_size_t ws_conn_share_of_turn(const ws_conn *c)
{
    apr_size_t most = c->discard_input ? WS_TURN_BYTES : ws_low_mark(c);
    return most < WS_TURN_BYTES ? most : WS_TURN_BYTES;
}

/* partial.c */

/**
 * Make room for `more` bytes at the end of the message. Starts a message if the connection has
 * none. After writing bytes there, add their number to the message's len.
 * @param total  bytes of the message announced so far
 * @return NULL: out of memory
 */
ws_partial *ws_partial_reserve(ws_conn *c, apr_size_t more, apr_uint64_t total);

/** Free the incomplete message, if any. */
void ws_partial_free(ws_conn *c);

/** Record in c->large whether the message, which is complete, was large. */
void ws_partial_note_large(ws_conn *c);

/** Free the buffers that the loop keeps for large messages. */
void ws_partial_free_spares(ws_loop *loop);

/* arrival.c */

/** Start the time limit of an incomplete message or header, unless its Location has no limit.
 *  received: bytes of the message that have already been received. late: called when the time is
 *  over. @return -1: out of memory */
int ws_arrival_begin(ws_conn *c, apr_uint64_t received, void (*late)(ws_conn *c));

/** Restart the time limit, if any, because reading has resumed. */
void ws_arrival_resume(ws_conn *c);

/** End the time limit, if any. */
void ws_arrival_end(ws_conn *c);

/* input.c */

/** Read and deliver input. Call when the socket is readable, or when c->rare->rest or OpenSSL may
 *  hold input. */
void ws_conn_read(ws_conn *c);

/** Handle received bytes, or the end of receiving: WS_STREAM_RECEIVED, see stream.h. */
void ws_conn_received(ws_conn *c, const ws_ready *r);

/* ids.c */

/** Make the id of a connection at a slot of the slab. last: the slot's previous id; 0: none */
ws_id ws_id_make(const ws_loop *loop, apr_uint32_t slot, ws_id last);
apr_uint32_t ws_id_slot(ws_id id);

/** The loop that an id belongs to; NULL: the id is not from this process.  [any thread] */
ws_loop *ws_id_loop(ws_engine *engine, ws_id id);

/* strings.c */

/** The size of a block with a connection's strings, bytes.  [any thread] */
apr_size_t ws_strings_size(const ws_strings *s);

/** Pack a connection's strings into a block of ws_strings_size() bytes.  [any thread] */
void ws_strings_pack(char *block, const ws_strings *s);

#endif
