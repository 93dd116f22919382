/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * One event loop: a thread, the connections it owns, and the tasks that other threads give it.
 * Everything here but ws_loop_post is for the loop's own thread.
 */

#ifndef WS_ENGINE_LOOP_H
#define WS_ENGINE_LOOP_H

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

#include "engine/engine.h"
#include "engine/extensions.h"
#include "engine/mask_keys.h"
#include "base/slab.h"
#include "event/loop.h"
#include "event/stream.h"
#include "event/thread_pool.h"
#include "engine/watchdog.h"

/** Receive buffer of a loop, bytes. */
#define WS_INPUT_SIZE (512 * 1024)

/** Plaintext that goes into OpenSSL at a time, bytes: four records. */
#define WS_TLS_CHUNK (64 * 1024)

/** What one connection may cause to be handled in a turn before the others get theirs, bytes: what is read,
 *  what it is inflated to, what handlers post. */
#define WS_TURN_BYTES (512 * 1024)

/** What handlers may have posted to a loop that it has not handled yet, bytes. */
#define WS_POSTED_MAX (64 * 1024 * 1024)

/** Whether the cork buffer is lent to another connection; OVER: it has been, and is not lent again. */
enum { WS_LENDING_NO, WS_LENDING_YES, WS_LENDING_OVER };

struct ws_loop {
    ws_event_loop event; /**< first */
    ws_engine *engine;
    unsigned index;
    ws_counters *counters; /**< this loop's row */
    apr_size_t posted;     /**< bytes that handlers' tasks hold; atomic */

    apr_uint32_t count;    /**< connections, those on their way in included; atomic */
    apr_uint32_t outgoing; /**< likewise, of those made from here; not in count */

    ws_slab slab;
    LIST_HEAD(ws_conn_list, ws_conn)
    *heads;           /**< connections of each location; the last: outgoing ones */
    ws_conn *dirty;   /**< connections with something to write at the end of the turn */
    ws_conn *senders; /**< async: those whose queues are sent when the turn is over */
    ws_mask_keys masks;
    int close_code; /**< what newcomers are closed with, 0 while they are welcome */
    const char *close_reason;
    ws_alarm close_alarm; /**< while they are spread */
    apr_uint32_t close_steps;

    unsigned char *input;    /**< WS_INPUT_SIZE */
    ws_call call;            /**< the callback that runs */
    ws_conn *corked;         /**< whose callback runs */
    unsigned char *cork;     /**< WS_SEND_BUFFER bytes: what is gathered; see ws_stream_buffer() */
    unsigned char *own_cork; /**< of the engine's, where the loop has none */
    apr_size_t cork_len;
    apr_size_t cork_room; /**< WS_SEND_BUFFER; 0 while it is lent */
    ws_conn *lent;        /**< another connection, for which it gathers; or NULL */
    int lending;          /**< WS_LENDING_...; NO at the beginning of each callback */
    ws_conn *reading;     /**< whose input is delivered, or NULL */
    apr_size_t spent;     /**< bytes that it has caused to be handled in this turn */
    ws_conn *later;       /**< connections that have had their share: dirty in the next turn */
    int last_input;       /**< the message that its handler has is the last of what has come */

    void *shared[WS_EXTENSIONS_MAX]; /**< what extensions share, by ws_extension_use.index */
    unsigned char *scratch;          /**< where they put together what is sent */
    apr_size_t scratch_len, made_size;
    struct ws_frames *shared_from, *shared_made; /**< a broadcast message, and what became of it */
    const ws_extension_use *shared_use;          /**< by this */
    apr_uint64_t shared_agreed;

    BIO *bio;                 /**< shared by the loop's SSL objects; the fields below are theirs */
    unsigned char *cipher_in; /**< what the socket gave, WS_INPUT_SIZE */
    apr_size_t cipher_in_pos, cipher_in_len;
    unsigned char *cipher_out; /**< what the socket is to get */
    apr_size_t cipher_out_len, cipher_out_size;
    int renegotiates;     /**< the peer of the connection that is read has begun to */
    unsigned char *plain; /**< where frames are put together for OpenSSL, WS_TLS_CHUNK */
};

struct ws_engine {
    apr_pool_t *pool;
    ws_engine_options options;
    ws_counters *own_counters; /**< where the options bring none */
    ws_loop *loops;
    ws_watchdog *watchdog;             /**< or NULL */
    ws_thread_pool *threads;           /**< for WS_BLOCKING handlers, made with the first of them */
    apr_thread_mutex_t *lock;          /**< of threads and empty */
    apr_thread_cond_t *empty;          /**< a connection has gone */
    int stopping;                      /**< atomic */
    ws_ticker *tickers;                /**< under the lock */
    const ws_channels_hooks *channels; /**< or NULL */
};

apr_status_t ws_loop_init(ws_loop *loop, ws_engine *engine, unsigned index,
                          const ws_loop_hooks *hooks);
/** After its thread has ended. */
void ws_loop_destroy(ws_loop *loop);

/** The connection that is read has caused so many bytes to be handled. When it has had its share, the rest of
 *  its input waits for the next turn. */
void ws_loop_spend(ws_loop *loop, apr_size_t bytes);

/** A line for the log, made only if the level is on.  [any thread] */
void ws_engine_log(ws_engine *engine, ws_log_level level, const ws_conn *c, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
