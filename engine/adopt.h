/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A connection on its way from the thread that did its handshake to its loop. */

#ifndef WS_ENGINE_ADOPT_H
#define WS_ENGINE_ADOPT_H

#include "engine/conn.h"

typedef struct ws_adoption {
    ws_task task;
    int fd;
    SSL *ssl;
    int secure, relayed;
    ws_location *location;
    const ws_settings *settings;
    int version;
    int connecting;
    void *data;
    apr_pool_t *pool;
    ws_ticket *ticket;
    char *strings;
    ws_chain *chain; /**< or NULL */
    ws_bytes *early; /**< likewise */
    ws_hixie *hixie; /**< likewise */
} ws_adoption;

/** The task's fn: takes the connection in. */
void ws_adopt(ws_loop *loop, ws_task *task);

/** Release everything of a connection that nobody takes in. */
void ws_adoption_drop(ws_adoption *a);

/** One connection less. */
void ws_loop_left(ws_loop *loop);

#endif
