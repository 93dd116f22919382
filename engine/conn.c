/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Opening, closing and ending connections. A connection is freed at the end of a turn, once no
 * callback and no stream operation refers to it.
 */

#include "engine/conn.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/handoff.h"
#include "protocol/close.h"

static void conn_set_state(ws_conn *c, ws_state state)
{
    ws_state from = ws_state_of(c);
    __atomic_store_n(&c->state, (unsigned char)state, __ATOMIC_RELAXED);
    if (c->opened && from != state && c->location->handler->on_state) {
        ws_cb_state(c, from, state);
    }
}

static void conn_link_to_location(ws_conn *c)
{
    LIST_INSERT_HEAD(&c->loop->heads[c->location->index], c, of_location);
}

const ws_rare ws_rare_none;

ws_rare *ws_conn_rare(ws_conn *c)
{
    ws_rare *rare;
    if (c->rare == &ws_rare_none && (rare = calloc(1, sizeof(*rare)))) {
        ws_conn_init_parser(c, &rare->parser);
        c->rare = rare;
    }
    return c->rare == &ws_rare_none ? NULL : ws_rare_of(c);
}

void ws_conn_carry(ws_conn *c, ws_sum which, apr_uint32_t high)
{
    ws_rare *rare = ws_conn_rare(c);
    if (rare) {
        rare->high_sums[which] += high;
    }
}

void ws_conn_init_parser(const ws_conn *c, ws_parser *p)
{
    const ws_handler *h = c->location->handler;
    int any = h->on_frame && (h->flags & WS_ANY_SIZE);
    apr_uint64_t frame = any ? APR_INT64_MAX : c->settings->max_frame;
    apr_uint64_t message = any ? APR_INT64_MAX : c->settings->max_message;
    ws_parser_init(p, ws_is_client(c) ? WS_CLIENT : WS_SERVER, frame, message);
}

/* Fill the connection's ws_rare if it needs one; most connections do not. @return 0: out of
 * memory */
static int conn_init_rare(ws_conn *c, const ws_handoff *h)
{
    const ws_new_conn *n = &h->from;
    ws_rare *rare;
    if (!n->pool && !n->ticket && !n->chain && !h->framer && !h->early) {
        return 1;
    }
    if (!(rare = ws_conn_rare(c))) {
        return 0;
    }
    rare->pool = n->pool;
    rare->ticket = n->ticket;
    rare->rest = h->early;
    c->resume = h->early != NULL;
    if (h->framer) {
        rare->framer = h->framer;
        rare->framer->max = rare->parser.max_frame < rare->parser.max_message
                                ? rare->parser.max_frame
                                : rare->parser.max_message;
    }
    else if ((rare->chain = n->chain)) {
        ws_chain_adopt(c);
    }
    return 1;
}

/* Set plain_out and plain_in for the fast paths, which most connections can use. */
static void conn_note_plain(ws_conn *c)
{
    const ws_handler *h = c->location->handler;
    const ws_settings *s = c->settings;
    c->plain_out = !c->framed && !c->rare->chain && !ws_is_client(c) && !c->rare->meter
                   && !s->fragment && !s->trace;
    c->plain_in = c->plain_out && h->on_message && !h->on_frame && !c->rare->jobs;
}

void ws_conn_open(ws_conn *c)
{
    ws_loop *loop = c->loop;
    conn_set_state(c, WS_OPEN);
    ws_timer_wheel_clear(&loop->event.wheel, &c->alarm);
    if (c->framed) {
        ws_socket_keep_alive(c->source.fd,
                             c->settings); /* a relay sets it on the client's socket */
    }
    if (c->settings->ping_interval) {
        ws_conn_alarm_in(c, ws_loop_spread(loop, c->settings->ping_interval));
    }
    if (ws_cb_init(c) < 0 || ws_rate_limit_start(c) < 0) {
        ws_conn_fail(c, WS_CLOSE_INTERNAL, "out of memory");
    }
    else {
        conn_note_plain(c);
        ws_cb_open(c);
    }
    if (loop->close_code && !c->freed) {
        ws_conn_close(c, loop->close_code, loop->close_reason, strlen(loop->close_reason));
    }
}

static void conn_ready(ws_source *s, const ws_ready *r)
{
    ws_conn *c = (ws_conn *)((char *)s - offsetof(ws_conn, source));
    switch (r->events) {
    case WS_READABLE:
        ws_conn_read(c);
        return;
    case WS_STREAM_RECEIVED:
        ws_conn_received(c, r);
        return;
    case WS_STREAM_SENT:
        ws_conn_sent(c, r);
        return;
    default:
        break;
    }
    if (r->events & WS_WRITABLE) {
        ws_conn_writable(c);
    }
    if (!c->freed && (r->events & WS_READABLE)) {
        ws_conn_read(c);
    }
    /* A broken socket may still hold input: ws_conn_read() ends the connection after it has read
     * everything, possibly some turns later. If the loop receives for the connection (io_uring),
     * the loop reports the end instead. */
    if (!c->freed && (r->events & (WS_BROKEN | WS_READABLE)) == WS_BROKEN
        && !ws_stream_is_busy(&c->source)) {
        ws_conn_end(c, "the connection broke");
    }
}

static void conn_init(ws_conn *c, const ws_handoff *h)
{
    const ws_new_conn *n = &h->from;
    c->location = n->outgoing ? &n->outgoing->location : n->location;
    c->settings = n->outgoing ? &n->outgoing->settings : n->settings;
    c->source.fd = n->fd;
    c->source.ready = conn_ready;
    c->source.watched = -1;
    c->ssl = n->ssl;
    c->secure = n->secure != 0;
    c->transport = (unsigned char)(n->outgoing  ? WS_TRANSPORT_OUTGOING
                                   : n->carrier ? WS_TRANSPORT_SOCKJS
                                   : n->relayed ? WS_TRANSPORT_RELAY
                                   : n->ssl     ? WS_TRANSPORT_TLS
                                                : WS_TRANSPORT_DIRECT);
    c->carrier = (unsigned char)n->carrier;
    c->start = apr_time_now();
    c->version = (unsigned char)n->version;
    c->data = n->data;
    c->strings = h->strings;
    c->framed = h->framer != NULL;
}

int ws_conn_create(ws_loop *loop, ws_handoff *h)
{
    apr_uint32_t place;
    ws_conn *c = ws_slab_take(&loop->slab, &place);
    ws_id id;

    if (!c) {
        ws_engine_log(loop->engine, WS_LOG_ERROR, NULL, "out of memory: a connection is dropped");
        return -1;
    }
    id = ws_id_make(loop, place, c->id);
    memset(c, 0, sizeof(*c));
    c->id = id;
    c->loop = loop;
    c->last_input = loop->event.now;
    c->alarm.fn = ws_conn_housekeeping;
    c->rare = &ws_rare_none;
    conn_init(c, h);
    if (!conn_init_rare(c, h)) {
        c->freed = 1;
        ws_slab_give(&loop->slab, place);
        ws_engine_log(loop->engine, WS_LOG_ERROR, NULL, "out of memory: a connection is dropped");
        return -1;
    }
    conn_link_to_location(c);
    if (!c->location->internal) {
        ws_count(loop->counters, (ws_counter)(WS_COUNT_OPEN_DIRECT + c->transport), 1);
        ws_count(loop->counters, (ws_counter)(WS_COUNT_TOTAL_DIRECT + c->transport), 1);
    }
    if (c->ssl) {
        ws_tls_adopt(c);
    }
    else {
        ws_stream_init(&loop->event, &c->source);
    }
    if (h->from.connecting) {
        ws_conn_alarm_in(c, c->settings->close_timeout);
    }
    else {
        ws_conn_open(c);
    }
    if (!c->freed && (c->resume || c->ssl)) {
        ws_conn_read(c); /* OpenSSL may hold records already */
    }
    if (!c->freed) {
        ws_conn_watch(c);
    }
    return 0;
}

void ws_conn_watch(ws_conn *c)
{
    int events = 0;
    apr_status_t rv;
    if (c->freed) {
        return;
    }
    /* A connection that has used up its share of this turn stays in the poller, which saves a
     * system call. An asynchronous stream must stop receiving. */
    if (!(ws_stream_is_read(&c->source) ? c->held & ~WS_HELD_TURN : c->held) || c->discard_input) {
        events |= WS_READABLE;
    }
    if (c->source.async ? c->write_blocked : ws_send_queue_count(&c->out) || c->cipher_out) {
        events |= WS_WRITABLE;
    }
    rv = ws_stream_watch(&c->loop->event, &c->source, (unsigned)events);
    if (rv != APR_SUCCESS) {
        ws_conn_end(c, "the socket cannot be watched");
    }
}

/* Set the reason of the end; it is empty if memory is exhausted. */
static void conn_set_reason(ws_conn *c, const void *reason, apr_size_t len)
{
    ws_rare *rare = len || c->rare->end_reason ? ws_conn_rare(c) : NULL;
    if (rare) {
        free(rare->end_reason);
        rare->end_reason = len ? ws_bytes_new(reason, len) : NULL;
    }
}

/* Discard further input, and end the connection once everything has been written. */
static void conn_end_after_writing(ws_conn *c)
{
    c->discard_input = 1;
    c->finish = 1;
}

void ws_conn_close(ws_conn *c, int code, const char *reason, apr_size_t reason_len)
{
    unsigned char payload[WS_CONTROL_MAX];
    size_t len;

    if (ws_state_of(c) != WS_OPEN) {
        return;
    }
    len = ws_close_build(payload, code, reason, reason_len);
    if (!c->end_code) {
        /* Record the code that is sent, which may differ from the requested one. */
        c->end_code = len ? (apr_uint16_t)(payload[0] << 8 | payload[1]) : WS_CLOSE_NO_STATUS;
        conn_set_reason(c, payload + 2, len > 2 ? len - 2 : 0);
        c->closed_by = ws_is_client(c) ? WS_CLOSED_BY_CLIENT : WS_CLOSED_BY_SERVER;
    }
    if (len && c->end_code != code && c->end_code == WS_CLOSE_INTERNAL) {
        ws_engine_log(c->loop->engine, WS_LOG_WARNING, c,
                      "handler %s closes with code %d, which must not be sent: sending 1011",
                      c->location->name, code);
    }
    ws_count(c->loop->counters,
             ws_counter_of_code(WS_COUNT_SENT_1000,
                                len ? payload[0] << 8 | payload[1] : WS_CLOSE_NO_STATUS),
             1);
    ws_conn_ask(c);
    ws_conn_send(c, WS_FIN | WS_OP_CLOSE, payload, len);
    conn_set_state(c, WS_CLOSING);
    if (!ws_conn_accepts_input(c)) {
        ws_conn_release(c, WS_HELD_HANDLER); /* resume reading, to receive the peer's Close */
    }
    if (c->peer_closed) {
        conn_end_after_writing(c);
    }
    ws_conn_alarm_in(c, c->settings->close_timeout);
}

void ws_conn_fail(ws_conn *c, int code, const char *text)
{
    ws_engine_log(c->loop->engine, WS_LOG_INFO, c, "failing the connection with %d: %s", code,
                  text);
    ws_conn_close(c, code, text, strlen(text));
    conn_end_after_writing(c);
}

static void conn_take_reason(ws_conn *c, int code, const char *reason, apr_size_t reason_len)
{
    c->closed_by = ws_is_client(c) ? WS_CLOSED_BY_SERVER : WS_CLOSED_BY_CLIENT;
    c->end_code = (apr_uint16_t)code;
    conn_set_reason(c, reason, reason_len);
}

/* RFC 6455, section 5.5.1, suggests to echo the code. Test suites of browsers also expect the
 * reason. */
void ws_conn_answer_close(ws_conn *c)
{
    const ws_bytes *reason = c->rare->end_reason;
    ws_conn_close(c, c->end_code, reason ? (const char *)reason->data : NULL,
                  reason ? reason->len : 0);
}

void ws_conn_closed_by_peer(ws_conn *c, int code, const char *reason, apr_size_t reason_len)
{
    ws_count(c->loop->counters, ws_counter_of_code(WS_COUNT_RECEIVED_1000, code), 1);
    c->peer_closed = 1;
    c->discard_input = 1;
    if (ws_state_of(c) == WS_OPEN) {
        conn_take_reason(c, code, reason, reason_len);
        c->pinged = 0;
        ws_conn_alarm_in(c, c->settings->close_timeout);
        ws_cb_closing(c);
        return;
    }
    if (c->location->handler->flags & WS_HEAR_OUT && code != c->end_code) {
        conn_take_reason(c, code, reason, reason_len); /* the peer closed first */
    }
    conn_end_after_writing(c);
}

void ws_conn_abort(ws_conn *c)
{
    if (ws_state_of(c) == WS_CLOSED) {
        return;
    }
    c->aborted = c->broken = c->discard_input = 1; /* c ends after the callback that is running */
    if (ws_conn_gathered(c)) {
        c->loop->cork_len = 0;
    }
    conn_set_state(c, WS_CLOSED);
    ws_conn_mark_dirty(c);
}

static void conn_let_go_of_buffers(ws_conn *c)
{
    if (c->loop->lent == c) {
        c->loop->cork_len = 0;
    }
    ws_send_queue_clear(&c->out);
    ws_partial_free(c);
    free(c->cipher_out);
    c->cipher_out = NULL;
    if (c->rare != &ws_rare_none) {
        ws_rare *rare = ws_rare_of(c);
        if (rare->deferred) {
            ws_send_queue_clear(rare->deferred);
            free(rare->deferred);
        }
        free(rare->rest);
        rare->deferred = NULL;
        rare->rest = NULL;
        if (!c->framed) {
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
    conn_set_state(c, WS_CLOSED);
    ws_resource_end(c);
    ws_cb_close(c);
    conn_let_go_of_buffers(c);
    ws_conn_ask(c);
    ws_socket_shutdown(c, !ws_is_client(c)); /* RFC 6455, section 7.1.1: the server closes first */
    ws_conn_linger(c);
    ws_conn_watch(c);
}

/* Callbacks may use the tickets (ws_conn_ticket()), so call this only after a WS_BLOCKING handler's
 * last job has ended. */
static void conn_release_tickets(ws_conn *c)
{
    ws_ticket *ticket = c->rare->ticket;
    if (ticket && ws_cb_over(c)) {
        ws_rare_of(c)->ticket = NULL;
        ws_tickets_release(ticket);
    }
}

static void conn_free_rare(ws_conn *c)
{
    ws_rare *rare = ws_rare_of(c);
    if (c->rare == &ws_rare_none) {
        return;
    }
    if (c->framed) {
        free(rare->framer);
    }
    free(rare->end_reason);
    if (rare->pool) {
        apr_pool_destroy(rare->pool);
    }
    c->rare = &ws_rare_none;
    free(rare);
}

/* Free a connection. @return 0: something still refers to it */
static int conn_free(ws_loop *loop, ws_deferred *d)
{
    ws_conn *c = (ws_conn *)((char *)d - offsetof(ws_conn, deferred_free));
    int outgoing = ws_is_client(c);
    if (c->dirty || ws_stream_is_busy(&c->source) || !ws_cb_over(c)) {
        return 0;
    }
    conn_release_tickets(c);
    ws_resource_free(c);
    ws_cb_free(c);
    free(c->strings);
    conn_free_rare(c);
    if (outgoing) {
        ws_outgoing *o = (ws_outgoing *)c->location;
        if (o->ended) {
            o->ended(o, c);
        }
        free(o);
    }
    ws_slab_give(&loop->slab, ws_id_place(c->id));
    ws_loop_left(loop, outgoing);
    return 1;
}

static void conn_count_end(ws_conn *c, const char *why)
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
    ws_stream_settle(&loop->event, &c->source); /* before the socket is closed */
    conn_set_state(c, WS_CLOSED);
    if (c->dropped) {
        ws_backpressure_over(c);
    }
    if (c->aborted) {
        why = "aborted by its handler (ws_abort())";
        ws_socket_reset(c);
    }
    ws_engine_log(loop->engine, WS_LOG_DEBUG, c, "end, code %d: %s",
                  c->end_code ? c->end_code : WS_CLOSE_ABNORMAL, why);
    ws_timer_wheel_clear(&loop->event.wheel, &c->alarm);
    ws_rate_limit_end(c);
    ws_resource_end(c);
    ws_cb_close(c);
    if (c->ssl && !c->write_shut && !c->aborted) {
        ws_tls_shutdown(c); /* sends close_notify after the queued bytes: RFC 8446, section 6.1 */
    }
    conn_let_go_of_buffers(c);
    conn_count_end(c, why);
    ws_stream_close(&loop->event, &c->source);
    SSL_free(c->ssl);
    conn_release_tickets(c); /* before close(): the peer may reconnect immediately */
    close(c->source.fd);
    LIST_REMOVE(c, of_location);
    c->deferred_free.release = conn_free;
    ws_loop_defer(loop, &c->deferred_free);
}
