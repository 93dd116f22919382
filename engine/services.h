/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The part of the engine that channels/ uses, in addition to engine.h: connections as subscribers,
 * their loops, sending, and calling handlers. This header also includes frames, hashes and tasks
 * (ws_task_new(), ws_loop_post()). Connections and loops are opaque. Call these functions on the
 * connection's loop unless stated otherwise.
 */

#ifndef WS_ENGINE_SERVICES_H
#define WS_ENGINE_SERVICES_H

#include "engine/engine.h"
#include "engine/frames.h"
#include "engine/hash.h"
#include "event/loop.h"

/* ---- The engine and its loops ---- */

/** The options of ws_engine_create().  [any thread] */
const ws_engine_options *ws_engine_options_of(const ws_engine *engine);

/** A loop by its number, below ws_engine_loops().  [any thread] */
ws_loop *ws_engine_loop(ws_engine *engine, unsigned index);

/** The number of a loop.  [any thread] */
unsigned ws_loop_index(const ws_loop *loop);

/** Add to a counter of the loop.  [that loop] */
void ws_loop_count(ws_loop *loop, ws_counter which, apr_int64_t n);

/** ws_ticker_start() for one engine. */
ws_ticker *ws_engine_ticker(ws_engine *engine, apr_uint32_t delay, apr_uint32_t interval,
                            ws_ticker_fn fn, void *arg);

/** Write a line to the log. The text is formatted only if the level is enabled.  [any thread] */
void ws_engine_log(ws_engine *engine, ws_log_level level, const ws_conn *c, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** Count bytes against the share (WS_TURN_BYTES) of the connection whose input is being delivered.
 *  When the share is used up, the rest of the input waits for the next turn of the loop. */
void ws_loop_spend(ws_loop *loop, apr_size_t bytes);

/** The share of a connection: the number of bytes that one connection may cause the loop to handle
 * in a turn (one iteration of the loop). Input, inflated input, and data that handlers post are
 * counted. The rest follows in the next turn, after the other connections. */
#define WS_TURN_BYTES (512 * 1024)

/** How much a message to n receivers counts against its sender's share of a turn, in addition to
 *  its length, bytes. The loop writes to each receiver once per turn, for any number of messages.
 *  The result is therefore at most WS_TURN_BYTES / 64, so that a share is enough for about 64
 *  messages, whatever the number of their receivers. */
static inline apr_size_t ws_fan_out_work(apr_uint32_t n)
{
    apr_size_t entries = (apr_size_t)n * 16; /* bytes in the queues */
    return entries < WS_TURN_BYTES / 64 ? entries : WS_TURN_BYTES / 64;
}

/* ---- Connections ---- */

/** State of channels/ for a connection. */
typedef struct ws_subscriptions ws_subscriptions;

/** Find a connection of this loop by its id. @return NULL: it has ended */
ws_conn *ws_conn_find(ws_loop *loop, ws_id id);

/** Get the connection whose callback is running on this thread. @return NULL: none is running, or
 *  the thread is not a loop  [any thread] */
const ws_conn *ws_conn_in_callback(void);

/** A connection's loop, which never changes.  [any thread of its callbacks] */
ws_loop *ws_conn_loop(const ws_conn *c);

/** A connection's handler. [any thread of its callbacks] */
const ws_handler *ws_conn_handler(const ws_conn *c);

/** Whether a connection's callbacks run on the thread pool (WS_BLOCKING). */
int ws_conn_has_jobs(const ws_conn *c);

/** The subscriptions of a connection; NULL: none. */
ws_subscriptions *ws_conn_subscriptions(const ws_conn *c);

/** Set the result of ws_conn_subscriptions(). @return 0; -1: out of memory, which cannot happen if
 *  s is NULL */
int ws_conn_set_subscriptions(ws_conn *c, ws_subscriptions *s);

/** Fail the connection: RFC 6455, section 7.1.7. text is for the log and the Close frame. */
void ws_conn_fail(ws_conn *c, int code, const char *text);

/** Run fn on the connection's loop, unless it has ended.  [any thread of its callbacks] */
void ws_engine_on_conn(ws_conn *c, void (*fn)(ws_conn *c));

/* ---- Sending ---- */

/** Send a whole frame as ws_send_to() does: extensions transform it, and the connection's settings
 *  may fragment or drop it. Takes over the reference. After sending a frame to several connections,
 *  call ws_chain_forget_shared(). */
ws_status ws_conn_share(ws_conn *c, ws_frames *f);

/** ws_conn_share() from another thread. Takes over the reference. */
ws_status ws_conn_share_later(ws_id id, ws_frames *f);

/** ws_conn_share() for a message that the connection's handler did not send. Because of such a
 *  message, on_drain is called only if the queue has become too long: see ws_handler.on_drain. */
ws_status ws_conn_share_unasked(ws_conn *c, ws_frames *f);

/** Release the encoded form of the last sent frame. The extensions keep this form in order to send
 *  it to several connections. */
void ws_chain_forget_shared(ws_loop *loop);

/** Whether all sent data has been written. If not, the hook `drained` is called later. */
int ws_conn_drained(ws_conn *c);

/* ---- Calling handlers ---- */

/** Call on_channel. Not for WS_BLOCKING handlers. */
int ws_cb_channel(ws_conn *c, const ws_event *event);

/** Call fn as a callback of the connection, after the callbacks that are pending. If the connection
 *  has ended, fn gets NULL as c. */
void ws_cb_run(ws_conn *c, void (*fn)(ws_conn *c, void *arg), void *arg);

/** Close the connection if WS_CALLBACKS_MAX callbacks of a WS_BLOCKING handler are pending. Call
 *  this before a callback whose number has no other limit. @return 0: the connection has been
 *  closed */
int ws_cb_keeps_pace(ws_conn *c);

#endif
