/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Handles clients that read too slowly. Checks the send queue's limits in bytes and in time, and
 *  applies the policy when a limit is reached. */

#include "engine/conn.h"
#include "engine/output.h"

/* Get the number of unsent bytes of the message that is being sent. This message can no longer be
 * dropped. Policies that drop messages do not count these bytes, because otherwise one long message
 * would cause all new ones to be dropped. */
static apr_size_t backpressure_in_transit(const ws_conn *c)
{
    const ws_send_queue *q = &c->out;
    return ws_send_queue_count(q)
                   && (ws_send_queue_untouched(q) || !ws_send_queue_at(q, 0)->frames->whole)
               ? ws_send_queue_at(q, 0)->frames->len - q->ring->sent
               : 0;
}

static apr_size_t backpressure_cost(const ws_send_queue *q)
{
    return ws_send_queue_bytes(q) + ws_send_queue_count(q) * WS_SEND_ENTRY_COST;
}

static int backpressure_full(const ws_conn *c)
{
    apr_size_t waiting =
        backpressure_cost(&c->out) + (c->rare->deferred ? backpressure_cost(c->rare->deferred) : 0);
    if (ws_backpressure_drops(c)) {
        waiting -= backpressure_in_transit(c);
    }
    return waiting >= c->settings->send_queue;
}

static int backpressure_late(const ws_conn *c)
{
    return c->settings->max_delay && ws_send_queue_count(&c->out)
           && ws_drop_age(c, &c->out, 0) > c->settings->max_delay;
}

ws_send_queue *ws_backpressure_find(ws_conn *c, apr_uint64_t key, apr_uint32_t *index)
{
    ws_send_queue *queues[] = {&c->out, c->rare->deferred};
    for (int n = 0; ws_backpressure_policy(c) == WS_SLOW_KEEP_LATEST && n < 2 && queues[n]; n++) {
        if ((*index = ws_send_queue_find(queues[n], key)) < ws_send_queue_count(queues[n])) {
            return queues[n];
        }
    }
    return NULL;
}

static ws_status backpressure_close(ws_conn *c)
{
    if (backpressure_late(c)) {
        ws_engine_log(c->loop->engine, WS_LOG_INFO, c,
                      "closing: the client reads too slowly, a message has waited for %u ms "
                      "(WebSocketSlowReader)",
                      ws_drop_age(c, &c->out, 0));
    }
    else {
        ws_engine_log(c->loop->engine, WS_LOG_INFO, c,
                      "closing: the %s reads too slowly, %" APR_SIZE_T_FMT
                      " bytes wait to be sent (WebSocketSendQueue)",
                      ws_is_client(c) ? "server" : "client", ws_send_queue_bytes(&c->out));
    }
    ws_count(c->loop->counters, WS_COUNT_SLOW_QUEUE, 1);
    ws_conn_close(c, WS_CLOSE_POLICY, "too slow", 8);
    return WS_FULL;
}

ws_status ws_backpressure_admit(ws_conn *c, unsigned first)
{
    int part = (first & 0xF) == WS_OP_CONTINUATION; /* never dropped: its message has begun */
    int full = backpressure_full(c);
    if (full && !c->write_blocked) {
        ws_conn_write(c); /* perhaps the queue is full only because it has not been written yet */
        full = backpressure_full(c);
    }
    if (first & 0x8) {
        return full ? WS_DROPPED : WS_SENT; /* a control frame never closes the connection */
    }
    switch (ws_backpressure_policy(c)) {
    case WS_SLOW_CLOSE:
        return full || backpressure_late(c) ? backpressure_close(c) : WS_SENT;
    case WS_SLOW_DROP_NEWEST:
        if (!full && !backpressure_late(c)) {
            return WS_SENT;
        }
        break;
    default:
        if (c->settings->max_delay) {
            ws_drop_late(c);
        }
        while (backpressure_full(c) && ws_drop_oldest(c)) {
        }
        if (!backpressure_full(c)) {
            return WS_SENT;
        }
    }
    if (part) {
        return backpressure_full(c) ? backpressure_close(c) : WS_SENT;
    }
    ws_drop_count(c);
    return WS_DROPPED;
}
