/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Reports callbacks that block an event loop. A loop records the callback that it runs, with a few
 * writes to its own memory. A thread of the engine, the watchdog, checks these records. If a
 * callback exceeds the time limit, the engine logs it twice: while the callback is running, and
 * when it has returned. WS_BLOCKING callbacks are not recorded, because they run on other threads.
 */

#ifndef WS_ENGINE_WATCHDOG_H
#define WS_ENGINE_WATCHDOG_H

#include "include/mod_websocket.h"

#include <apr_errno.h>

typedef struct ws_engine ws_engine;
typedef struct ws_watchdog ws_watchdog;

/** The callback that a loop is running. The loop writes this struct and the watchdog reads it, so
 *  all fields are atomic. The watchdog also writes the fields `late` and `since`. */
typedef struct ws_call {
    const char *what;    /**< name of the callback, NULL: none runs */
    const ws_conn *c;    /**< valid to read: slab memory stays allocated while loops are running */
    apr_uint32_t number; /**< number of the call */
    apr_uint32_t late;   /**< number of a call that exceeded the limit, 0: none */
    apr_uint32_t since;  /**< when the watchdog first saw that call, ws_clock() */
} ws_call;

static inline void ws_cb_enter(ws_call *call, const ws_conn *c, const char *what)
{
    __atomic_store_n(&call->c, c, __ATOMIC_RELAXED);
    __atomic_store_n(&call->number, call->number + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&call->what, what, __ATOMIC_RELEASE);
}

/** Log that a late call, which the watchdog has logged, has returned. */
void ws_cb_late(ws_call *call, ws_conn *c);

static inline void ws_cb_leave(ws_call *call, ws_conn *c)
{
    __atomic_store_n(&call->what, NULL, __ATOMIC_RELEASE);
    if (__atomic_load_n(&call->late, __ATOMIC_ACQUIRE)) {
        ws_cb_late(call, c);
    }
}

/** Start a thread that checks the engine's loops. limit: milliseconds that a callback may take.
 * count: returns the number of connections; while it is 0, the thread sleeps. */
apr_status_t ws_watchdog_start(ws_watchdog **watchdog, ws_engine *engine, apr_uint32_t limit,
                               apr_size_t (*count)(ws_engine *engine));

/** Start checking, because the first connection has been opened.  [any thread] */
void ws_watchdog_wake(ws_watchdog *watchdog);

/** Free the memory of a location or of settings that only one connection uses. Waits until the
 *  watchdog does not read this memory. @param watchdog  NULL: do not wait */
void ws_watchdog_free(ws_watchdog *watchdog, void *memory);

/** End the thread. Later calls to ws_watchdog_wake() have no effect. NULL is ignored. */
void ws_watchdog_stop(ws_watchdog *watchdog);

#endif
