/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Ends connections. A connection is freed at the end of a turn, once no callback and no stream
 * operation refers to it.
 */

#include <stdlib.h>
#include <unistd.h>

#include "engine/callbacks.h"
#include "engine/conn.h"
#include "engine/extensions.h"
#include "engine/handoff.h"
#include "engine/output.h"
#include "engine/socket.h"

void ws_conn_watch(ws_conn *c)
{
    int events = 0;
    apr_status_t rv;
    if (c->freed) {
        return;
    }
    /* If a connection has used up its share of this turn (ws_conn_share_of_turn()), the poller
     * still watches it, which saves a system call. An asynchronous stream must stop receiving. */
    if (!(ws_stream_is_read(&c->source) ? c->held & ~WS_HELD_TURN : c->held) || c->discard_input) {
        events |= WS_READABLE;
    }
    if (c->source.async ? c->write_blocked : ws_send_queue_count(&c->out) || c->rare->cipher_out) {
        events |= WS_WRITABLE;
    }
    rv = ws_stream_watch(&c->loop->event, &c->source, (unsigned)events);
    if (rv != APR_SUCCESS) {
        ws_conn_end(c, "the socket cannot be watched");
    }
}

/* Free all buffers of a connection. Its queues are then empty. */
static void end_let_go_of_buffers(ws_conn *c)
{
    if (c->loop->lent == c) {
        c->loop->cork_len = 0;
    }
    ws_send_queue_clear(&c->out);
    ws_partial_free(c);
    ws_arrival_end(c);
    if (c->rare != &ws_rare_none) {
        ws_rare *rare = ws_rare_of(c);
        if (rare->deferred) {
            ws_send_queue_clear(rare->deferred);
            free(rare->deferred);
        }
        free(rare->rest);
        free(rare->cipher_out);
        rare->deferred = NULL;
        rare->rest = rare->cipher_out = NULL;
        /* callbacks may still ask whether the chain is of ws_chain_passing(), on other threads if the
         * handler is WS_BLOCKING */
        if (ws_chain_of(c) && !rare->jobs && !ws_chain_passes(rare->chain)) {
            ws_chain_free(rare->chain);
            rare->chain = NULL;
        }
    }
    c->resume = 0;
    ws_conn_note_queue(c);
}

void ws_conn_finish(ws_conn *c)
{
    c->write_shut = 1;
    ws_conn_ask(c);
    /* RFC 6455, section 7.1.1: the server closes first. The kernel has kept the last bytes back
     * (ws_socket_flags()), so callbacks must not delay the shutdown. */
    ws_socket_shutdown(c, !ws_is_client(c));
    ws_cb_set_state(c, WS_CLOSED);
    ws_resource_end(c);
    ws_cb_close(c);
    end_let_go_of_buffers(c);
    ws_conn_linger(c);
    ws_conn_watch(c);
}

/* Callbacks may use the tickets (ws_conn_ticket()), so call this only after a WS_BLOCKING handler's
 * last job has ended. */
static void end_release_tickets(ws_conn *c)
{
    ws_ticket *ticket = c->rare->ticket;
    if (ticket && ws_cb_over(c)) {
        ws_rare_of(c)->ticket = NULL;
        ws_tickets_release(ticket);
    }
}

static void end_free_rare(ws_conn *c)
{
    ws_rare *rare = ws_rare_of(c);
    if (c->rare == &ws_rare_none) {
        return;
    }
    if (c->framed) {
        free(rare->framer);
    }
    else {
        ws_chain_free(rare->chain);
    }
    free(rare->end_reason);
    if (rare->pool) {
        apr_pool_destroy(rare->pool);
    }
    c->rare = &ws_rare_none;
    free(rare);
}

/* Free a connection. @return 0: something still refers to it */
static int end_free(ws_loop *loop, ws_deferred *d)
{
    ws_conn *c = (ws_conn *)((char *)d - offsetof(ws_conn, deferred_free));
    int outgoing = ws_is_client(c);
    if (c->dirty || ws_stream_is_busy(&c->source) || !ws_cb_over(c)) {
        return 0;
    }
    end_release_tickets(c);
    ws_resource_free(c);
    ws_cb_free(c);
    free(c->strings);
    end_free_rare(c);
    if (outgoing) {
        ws_outgoing *o = (ws_outgoing *)c->location;
        if (o->ended) {
            o->ended(o, c);
        }
        ws_watchdog_free(loop->engine->watchdog, o);
    }
    ws_slab_give(&loop->slab, ws_id_slot(c->id));
    ws_loop_left(loop, outgoing);
    return 1;
}

static void end_count_end(ws_conn *c, const char *why)
{
    ws_loop *loop = c->loop;
    if (c->location->internal) {
        return;
    }
    ws_count(loop->counters, (ws_counter)(WS_COUNT_OPEN_DIRECT + c->transport), -1);
    ws_count(loop->counters, WS_COUNT_ABNORMAL, !c->end_code);
    if (loop->engine->options.on_end) {
        loop->engine->options.on_end(c, why);
    }
}

void ws_conn_end(ws_conn *c, const char *why)
{
    ws_loop *loop = c->loop;
    if (c->freed) {
        return;
    }
    c->freed = 1;
    ws_stream_settle(&loop->event, &c->source); /* must precede closing the socket */
    ws_cb_set_state(c, WS_CLOSED);
    if (c->rare->dropped) {
        ws_drop_over(c);
    }
    if (c->aborted) {
        why = "aborted by its handler (ws_abort())";
        ws_socket_reset(c);
    }
    ws_engine_log(loop->engine, WS_LOG_DEBUG, c, "end, code %d: %s",
                  c->end_code ? c->end_code : WS_CLOSE_ABNORMAL, why);
    ws_timer_wheel_clear(&loop->event.wheel, &c->alarm);
    ws_resource_end(c);
    ws_cb_close(c);
    if (c->ssl && !c->write_shut && !c->aborted) {
        ws_tls_shutdown(c); /* sends close_notify after the queued bytes: RFC 8446, section 6.1 */
    }
    end_let_go_of_buffers(c);
    end_count_end(c, why);
    ws_stream_close(&loop->event, &c->source);
    SSL_free(c->ssl);
    end_release_tickets(c); /* must precede close(): the peer may reconnect immediately */
    close(c->source.fd);
    LIST_REMOVE(c, of_location);
    c->deferred_free.release = end_free;
    ws_loop_defer(loop, &c->deferred_free);
}
