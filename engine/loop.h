/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * An event loop: a thread, the connections that it owns, and the tasks that other threads post to
 * it. Only the loop's thread may call these functions, except for ws_loop_post().
 */

#ifndef WS_ENGINE_LOOP_H
#define WS_ENGINE_LOOP_H

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

#include "engine/engine.h"
#include "engine/extensions.h"
#include "engine/mask_keys.h"
#include "engine/services.h"
#include "base/slab.h"
#include "event/loop.h"
#include "event/stream.h"
#include "event/thread_pool.h"
#include "engine/watchdog.h"

/** Size of a loop's receive buffer, bytes. */
#define WS_INPUT_SIZE (512 * 1024)

/** Maximum plaintext that is passed to OpenSSL in one call, bytes. It makes four records. */
#define WS_TLS_CHUNK (64 * 1024)

/** Maximum number of bytes that handlers have posted to a loop and that it has not handled yet. */
#define WS_POSTED_MAX (64 * 1024 * 1024)

/** The cork buffer gathers the output of the connection whose callback is running (output.c). The
 *  loop can lend it to one other connection. OVER: the buffer was lent during this callback, and
 *  cannot be lent again before the next callback. */
enum { WS_LENDING_NO, WS_LENDING_YES, WS_LENDING_OVER };

struct ws_loop {
    ws_event_loop event; /**< first member */
    ws_engine *engine;
    unsigned index;
    ws_counters *counters; /**< the loop's element of ws_engine_options.counters */
    apr_size_t posted;     /**< bytes held by tasks that handlers posted; atomic */

    apr_uint32_t count;    /**< incoming connections, including those being handed over; atomic */
    apr_uint32_t outgoing; /**< outgoing connections, not included in count; atomic */

    ws_slab slab;
    LIST_HEAD(ws_conn_list, ws_conn)
    *heads;           /**< connections by location; the last list contains outgoing ones */
    ws_conn *dirty;   /**< connections to write or settle at the end of the turn */
    ws_conn *senders; /**< async: connections whose queues are sent at the end of the turn */
    ws_mask_keys masks;
    int close_code; /**< close new connections with this code; 0: accept them */
    const char *close_reason;
    ws_alarm close_alarm; /**< set while the loop closes its connections over time */
    apr_uint32_t close_steps;

    unsigned char *input;    /**< WS_INPUT_SIZE */
    ws_call call;            /**< the running callback, for the watchdog */
    ws_conn *corked;         /**< connection whose callback is running */
    apr_uint32_t counted[4]; /**< the part of corked's totals that the counters already include */
    unsigned char *cork;     /**< WS_SEND_BUFFER bytes of gathered output; see ws_stream_buffer() */
    unsigned char *own_cork; /**< the engine's own buffer, if the event loop provides none */
    apr_size_t cork_len;
    apr_size_t cork_room;      /**< WS_SEND_BUFFER; 0 while it is lent */
    ws_conn *lent;             /**< the other connection that output is gathered for, or NULL */
    int lending;               /**< WS_LENDING_...; NO at the start of each callback */
    ws_conn *reading;          /**< connection whose input is being delivered, or NULL */
    apr_size_t spent;          /**< bytes of ws_conn_share_of_turn() that `reading` has used */
    ws_conn *later;            /**< connections to flush in the next turn: ws_conn_postpone() */
    struct ws_partial *spares; /**< unused buffers of large messages: partial.c */
    apr_size_t spare_bytes;
    ws_alarm spare_alarm;
    int last_input; /**< the message being delivered is the last one of the input */

    void *shared[WS_EXTENSIONS_MAX]; /**< shared state of extensions, by ws_extension_use.index */
    unsigned char *scratch;          /**< the extensions' output buffer */
    apr_size_t scratch_len, made_size;
    struct ws_frames *shared_from, *shared_made; /**< a broadcast message, and its encoded form */
    const ws_extension_use *shared_use;          /**< the extension that encoded it */
    apr_uint64_t shared_agreed;

    BIO *bio;                 /**< shared by the loop's SSL objects, like the fields below */
    unsigned char *cipher_in; /**< received records, WS_INPUT_SIZE */
    apr_size_t cipher_in_pos, cipher_in_len;
    unsigned char *cipher_out; /**< records to send */
    apr_size_t cipher_out_len, cipher_out_size;
    int renegotiates;     /**< the connection's peer has started a renegotiation */
    unsigned char *plain; /**< frames to encrypt, WS_TLS_CHUNK */
    struct {              /**< connections whose SSL objects keep their record buffers: tls.c */
        ws_id *ids;
        apr_uint32_t count, max;
        apr_uint32_t ms; /**< minimum time without messages before they release the buffers */
        ws_alarm alarm;
    } warm;
};

struct ws_engine {
    apr_pool_t *pool;
    ws_engine_options options;
    ws_counters *own_counters; /**< used if the options contain none */
    ws_loop *loops;
    ws_watchdog *watchdog;             /**< NULL: callbacks are not checked */
    ws_thread_pool *threads;           /**< runs WS_BLOCKING callbacks; created on first use */
    apr_thread_mutex_t *lock;          /**< protects threads and empty */
    apr_thread_cond_t *empty;          /**< signalled when a connection has ended */
    int stopping;                      /**< atomic */
    ws_ticker *tickers;                /**< protected by the lock */
    const ws_channels_hooks *channels; /**< or NULL */
};

apr_status_t ws_loop_init(ws_loop *loop, ws_engine *engine, unsigned index,
                          const ws_loop_hooks *hooks);
/** Call after the loop's thread has ended. */
void ws_loop_destroy(ws_loop *loop);

#endif
