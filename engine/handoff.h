/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A connection on its way from the thread that did its handshake to its loop. */

#ifndef WS_ENGINE_HANDOFF_H
#define WS_ENGINE_HANDOFF_H

#include "engine/conn.h"

typedef struct ws_handoff {
    ws_task task;
    ws_new_conn from;  /**< its strings and early bytes are copied below, and not valid here */
    char *strings;     /**< packed */
    ws_bytes *early;   /**< or NULL */
    ws_framer *framer; /**< or NULL */
} ws_handoff;

/** Make a connection of it, and open it: conn.c. @return 0, and h holds nothing more; -1: there is no memory */
int ws_conn_create(ws_loop *loop, ws_handoff *h);

/** Accept a connection on its loop, where it has been counted already. @return as
 *  ws_engine_add */
apr_status_t ws_handoff_here(ws_loop *loop, const ws_new_conn *newcomer);

/** One connection more, and less; outgoing ones are counted apart.  [any thread] */
void ws_loop_entered(ws_loop *loop, int outgoing);
void ws_loop_left(ws_loop *loop, int outgoing);

/** All that ws_engine_wait waits for.  [any thread] */
apr_size_t ws_engine_count_all(ws_engine *engine);

#endif
