/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Writes the send queues at the end of a turn, which is one iteration of the loop. Then delivers
 * the input that was kept while reading was stopped, if reading may continue.
 */

#include <errno.h>

#include "engine/conn.h"
#include "engine/output.h"

/* Submit the sends. The loop makes the system call right after this function. Until then, buffers
 * in queues must not move. */
void ws_conn_send_queues(ws_loop *loop)
{
    struct iovec iov[WS_SEND_PIECES];
    ws_conn *c;
    while ((c = loop->senders)) {
        loop->senders = c->next_dirty;
        c->dirty = 0;
        ws_stream_settle(&loop->event, &c->source);
        if (c->freed) {
            continue;
        }
        if (c->broken || c->write_blocked || !ws_send_queue_count(&c->out)) {
            ws_conn_mark_dirty(c);
            continue;
        }
        ws_stream_send_pieces(&loop->event, &c->source, iov,
                              ws_send_queue_peek(&c->out, iov, WS_SEND_PIECES));
    }
}

/* The loop may call this function while it submits sends of other connections, so further work is
 * left to the end of the turn. */
void ws_conn_sent(ws_conn *c, const ws_ready *r)
{
    const unsigned char *data = r->data;
    apr_size_t len = r->len, n = r->result > 0 ? (apr_size_t)r->result : 0;
    if (c->freed || (data && n == len && !c->finish)) {
        return;
    }
    if (data) {
        ws_conn_count_written(c, (apr_ssize_t)n - (apr_ssize_t)len);
    }
    else {
        ws_send_queue_drop(&c->out, n);
        ws_conn_count_written(c, (apr_ssize_t)n);
    }
    if (n < len) {
        if ((r->result < 0 && r->result != -EAGAIN)
            || (data
                && ws_send_queue_prepend(&c->out, data + n, len - n, n > 0, c->loop->event.now)
                       < 0)) {
            c->broken = 1;
        }
        c->write_blocked = 1;
        c->want_drain |= data != NULL;
    }
    ws_conn_note_queue(c);
    ws_conn_mark_dirty(c);
}

void ws_conn_flush_dirty(ws_loop *loop)
{
    ws_conn *c;
    while ((c = loop->dirty)) {
        loop->dirty = c->next_dirty;
        c->dirty = 0;
        if (c->held & WS_HELD_TURN) {
            c->held &= ~WS_HELD_TURN;
            c->resume |= !c->held && c->rare->rest;
        }
        if (!c->freed) {
            ws_conn_flush(c);
        }
        if (!c->freed && c->resume && !c->held) {
            ws_conn_read(c);
        }
    }
    loop->dirty = loop->later;
    loop->later = NULL;
}
