/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tasks with which the API reaches a connection's loop. */

#ifndef WS_ENGINE_POST_H
#define WS_ENGINE_POST_H

#include "engine/conn.h"

typedef struct ws_api_task {
    ws_task task;
    ws_id id;
    apr_size_t cost; /**< bytes added to loop->posted */
    ws_conn *own;    /**< the sending connection, if its WS_BLOCKING callback runs; else NULL */
    ws_frames *frames;
    unsigned broadcast_to; /**< location index */
    int code;
    ws_bytes *reason;
    void (*fn)(ws_conn *c, void *arg);
    void *arg;
} ws_api_task;

/** Post a task to a loop, unless the pending tasks of the loop already hold WS_POSTED_MAX bytes. If
 *  a connection's callback posts the task, the task counts against ws_conn_share_of_turn() of that
 *  connection. cost: bytes that the task holds. receivers: number of connections that the task
 *  sends to */
ws_status ws_api_post_to(ws_loop *loop, ws_api_task *t, apr_size_t cost, apr_uint32_t receivers);

/** Stop counting a task as posted, because the loop has taken it. */
void ws_api_arrived(ws_loop *loop, const ws_api_task *t);

/** Post a task to the loop that an id belongs to. cost 0: post it even if WS_POSTED_MAX is reached.
 * @return WS_QUEUED: the loop owns the task; WS_GONE, WS_FULL: the caller still owns it */
ws_status ws_api_post(ws_id id, ws_api_task *t, apr_size_t cost);

/** Whether this is the thread of the connection's loop. */
static inline int ws_api_on_loop(const ws_conn *c)
{
    return ws_loop_current() == c->loop;
}

#endif
