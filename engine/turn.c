/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Marks connections for the end of their loop's turn, when the loop writes their queues and
 *  resumes reading. */

#include "engine/conn.h"
#include "engine/output.h"

/* Minimum queue that ws_rare.most_queued records, bytes. Because of this minimum, a ping or a short
 * message does not make a connection allocate a ws_rare. */
#define QUEUE_NOTED 1024

void ws_conn_mark_dirty(ws_conn *c)
{
    if (!c->dirty) {
        c->dirty = 1;
        c->next_dirty = c->loop->dirty;
        c->loop->dirty = c;
    }
}

void ws_conn_postpone(ws_conn *c)
{
    if (!c->dirty) {
        c->dirty = 1;
        c->next_dirty = c->loop->later;
        c->loop->later = c;
    }
}

void ws_conn_note_queue(ws_conn *c)
{
    apr_size_t waiting = ws_send_queue_bytes(&c->out)
                         + (c->rare->deferred ? ws_send_queue_bytes(c->rare->deferred) : 0);
    apr_uint32_t now = waiting < 0xFFFFFFFFu ? (apr_uint32_t)waiting : 0xFFFFFFFFu;
    ws_rare *rare;
    if (now != c->queued) {
        ws_count(c->loop->counters, WS_COUNT_QUEUED, (apr_int64_t)now - c->queued);
        c->queued = now;
        if (now >= QUEUE_NOTED && now > c->rare->most_queued && (rare = ws_conn_rare(c))) {
            rare->most_queued = now;
        }
    }
}

void ws_conn_hold(ws_conn *c, unsigned why)
{
    if (why & ~c->held & WS_HELD_QUEUE) {
        ws_conn_count_as_taken(c);
    }
    c->held |= why;
}

void ws_conn_release(ws_conn *c, unsigned why)
{
    unsigned before = c->held;
    if (!(before & why)) {
        return;
    }
    c->held &= ~why;
    if ((before & ~WS_HELD_TURN) && !(c->held & ~WS_HELD_TURN)) {
        ws_arrival_resume(c);
    }
    if (!c->held && c->rare->rest) {
        c->resume = 1;
        ws_conn_mark_dirty(c);
    }
}

void ws_loop_spend(ws_loop *loop, apr_size_t bytes)
{
    loop->spent += bytes;
    if (loop->reading && loop->spent >= ws_conn_share_of_turn(loop->reading)) {
        ws_conn_hold(loop->reading, WS_HELD_TURN);
        ws_conn_postpone(loop->reading);
    }
}
