/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Passes a connection from the thread that did the handshake to the connection's loop. */

#ifndef WS_ENGINE_HANDOFF_H
#define WS_ENGINE_HANDOFF_H

#include "engine/conn.h"

typedef struct ws_handoff {
    ws_task task;
    ws_new_conn from;  /**< do not use from.strings and from.early, which are copied below */
    ws_bytes *early;   /**< copy of from.early; or NULL */
    ws_framer *framer; /**< the connection's framer; NULL: frames of RFC 6455 */
    apr_size_t strings_size;
    char strings[]; /**< packed by ws_strings_pack(); the connection gets a copy */
} ws_handoff;

/** Create a connection from h and open it: conn.c. @return 0: the connection owns the
 *  contents of h; -1: out of memory */
int ws_conn_create(ws_loop *loop, ws_handoff *h);

/** Accept a connection on its loop, after ws_loop_entered(). @return APR_SUCCESS; APR_ENOMEM:
 *  newcomer has been dropped, and ws_loop_left() has been called */
apr_status_t ws_handoff_here(ws_loop *loop, const ws_new_conn *newcomer);

/** Count a new connection of a loop, or the end of one. Outgoing connections are counted
 *  separately. [any thread] */
void ws_loop_entered(ws_loop *loop, int outgoing);
void ws_loop_left(ws_loop *loop, int outgoing);

/** The number of connections and attempts for which ws_engine_wait() waits.  [any thread] */
apr_size_t ws_engine_count_all(ws_engine *engine);

#endif
