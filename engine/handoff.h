/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A connection on its way from the thread that did its handshake to its loop. */

#ifndef WS_ENGINE_ADOPT_H
#define WS_ENGINE_ADOPT_H

#include "engine/conn.h"

typedef struct ws_handoff {
    ws_task task;
    int fd;
    SSL *ssl;
    int secure, relayed;
    ws_carrier carrier;
    ws_location *location;
    const ws_settings *settings;
    ws_outgoing *outgoing; /**< or NULL */
    int version;
    int connecting;
    void *data;
    apr_pool_t *pool;
    ws_ticket *ticket;
    char *strings;
    ws_chain *chain;   /**< or NULL */
    ws_bytes *early;   /**< likewise */
    ws_framer *framer; /**< likewise */
} ws_handoff;

/** The task's fn: takes the connection in. */
void ws_handoff_accept(ws_loop *loop, ws_task *task);

/** Release everything of a connection that nobody takes in. */
void ws_handoff_drop(ws_handoff *a);

/** Take a connection in at once: on its loop, where it has been counted already. @return as
 *  ws_engine_add */
apr_status_t ws_handoff_here(ws_loop *loop, const ws_new_conn *newcomer);

/** One connection more, and less; outgoing ones are counted apart.  [any thread] */
void ws_loop_entered(ws_loop *loop, int outgoing);
void ws_loop_left(ws_loop *loop, int outgoing);

/** All that ws_engine_wait waits for.  [any thread] */
apr_size_t ws_engine_count_all(ws_engine *engine);

#endif
