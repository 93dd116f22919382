/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Drops messages to a client that reads too slowly. A message is dropped only as a whole, and only
 * before its first byte is sent. Control frames that are already queued, and messages sent in
 * parts, are never dropped.
 */

#include "engine/conn.h"
#include "engine/output.h"

void ws_drop_count(ws_conn *c)
{
    ws_rare *rare = ws_conn_rare(c);
    ws_count(c->loop->counters, WS_COUNT_DROPPED, 1);
    if (rare && !rare->dropped++) {
        ws_engine_log(c->loop->engine, WS_LOG_INFO, c,
                      "messages are dropped: the client reads too slowly, %" APR_SIZE_T_FMT
                      " bytes wait to be sent (WebSocketSlowReader)",
                      ws_send_queue_bytes(&c->out));
    }
}

static void drop_message(ws_conn *c, ws_send_queue *q, apr_uint32_t i)
{
    ws_drop_count(c);
    ws_send_queue_remove(q, i);
}

int ws_drop_oldest(ws_conn *c)
{
    ws_send_queue *queues[] = {&c->out, c->rare->deferred};
    for (int n = 0; n < 2 && queues[n]; n++) {
        for (apr_uint32_t i = ws_send_queue_untouched(queues[n]);
             i < ws_send_queue_count(queues[n]); i++) {
            if (ws_send_queue_at(queues[n], i)->frames->whole) {
                drop_message(c, queues[n], i);
                return 1;
            }
        }
    }
    return 0;
}

void ws_drop_late(ws_conn *c)
{
    ws_send_queue *q = &c->out;
    apr_uint32_t i = ws_send_queue_untouched(q);
    if (ws_backpressure_policy(c) == WS_SLOW_DROP_NEWEST) {
        return;
    }
    while (i < ws_send_queue_count(q)) {
        const ws_frames *f = ws_send_queue_at(q, i)->frames;
        if (!f->whole || (f->key && ws_backpressure_policy(c) == WS_SLOW_KEEP_LATEST)) {
            i++; /* keep the latest message of a key, regardless of its age */
        }
        else if (ws_drop_age(c, q, i) > c->settings->max_delay) {
            drop_message(c, q, i);
        }
        else {
            break; /* later messages are newer */
        }
    }
}

void ws_drop_over(ws_conn *c)
{
    ws_engine_log(c->loop->engine, WS_LOG_INFO, c, "%u messages were dropped (WebSocketSlowReader)",
                  c->rare->dropped);
    ws_rare_of(c)->dropped = 0;
}
