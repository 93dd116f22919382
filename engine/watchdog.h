/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Who holds up a loop. A loop notes which callback it is in, a few writes to memory of its own; a
 * thread of the engine looks at that now and then, and names in the log whose callback has not
 * returned for too long, while it still runs and when it has returned. WS_BLOCKING callbacks run on
 * other threads and delay no one.
 */

#ifndef WS_ENGINE_WATCHDOG_H
#define WS_ENGINE_WATCHDOG_H

#include "include/mod_websocket.h"

#include <apr_errno.h>

typedef struct ws_engine ws_engine;
typedef struct ws_watchdog ws_watchdog;

/** What a loop is in. Written by the loop, read by the watchdog; late by both. All atomic. */
typedef struct ws_call {
    const char *what;    /**< name of the callback, NULL: none */
    const ws_conn *c;    /**< places of connections are never given back while there are loops */
    apr_uint32_t number; /**< of the call */
    apr_uint32_t late;   /**< number of a call that was found to take too long, 0: none */
    apr_uint32_t since;  /**< when that one was first seen, ws_clock() */
} ws_call;

static inline void ws_cb_enter(ws_call *call, const ws_conn *c, const char *what)
{
    __atomic_store_n(&call->c, c, __ATOMIC_RELAXED);
    __atomic_store_n(&call->number, call->number + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&call->what, what, __ATOMIC_RELEASE);
}

/** A late call has returned: the log says so. */
void ws_cb_late(ws_call *call, ws_conn *c);

static inline void ws_cb_leave(ws_call *call, ws_conn *c)
{
    __atomic_store_n(&call->what, NULL, __ATOMIC_RELEASE);
    if (__atomic_load_n(&call->late, __ATOMIC_ACQUIRE)) {
        ws_cb_late(call, c);
    }
}

/** Start a thread that looks at the engine's loops. limit: milliseconds that a callback may take; count: the number of
 *  connections; at 0 the thread sleeps */
apr_status_t ws_watchdog_start(ws_watchdog **watchdog, ws_engine *engine, apr_uint32_t limit,
                               apr_size_t (*count)(ws_engine *engine));

/** A first connection has come: there is something to watch.  [any thread] */
void ws_watchdog_wake(ws_watchdog *watchdog);

/** End its thread; it may still be woken, in vain. NULL is none. */
void ws_watchdog_stop(ws_watchdog *watchdog);

#endif
