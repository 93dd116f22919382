/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Creates connections, and passes them the events of their sockets. */

#include "engine/conn.h"

#include <stdlib.h>
#include <string.h>

#include "engine/handoff.h"
#include "engine/output.h"
#include "engine/socket.h"

static void conn_link_to_location(ws_conn *c)
{
    LIST_INSERT_HEAD(&c->loop->heads[c->location->index], c, of_location);
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

/* Initialize c from h. The loop's thread allocates c->strings, as it does the connection. If the
 * handshake's thread allocated the strings, they would follow handoffs in the heap of that thread.
 * Handoffs are freed early, but the strings would prevent that heap from shrinking.
 * @return 0: out of memory */
static int conn_init(ws_conn *c, const ws_handoff *h)
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
    c->framed = h->framer != NULL;
    if (!(c->strings = malloc(h->strings_size))) {
        return 0;
    }
    memcpy(c->strings, h->strings, h->strings_size);
    return conn_init_rare(c, h);
}

int ws_conn_create(ws_loop *loop, ws_handoff *h)
{
    apr_uint32_t slot;
    ws_conn *c = ws_slab_take(&loop->slab, &slot);
    ws_id id;

    if (!c) {
        ws_engine_log(loop->engine, WS_LOG_ERROR, NULL, "out of memory: a connection is dropped");
        return -1;
    }
    id = ws_id_make(loop, slot, c->id);
    memset(c, 0, sizeof(*c));
    c->id = id;
    c->loop = loop;
    c->last_input = loop->event.now;
    c->alarm.fn = ws_conn_housekeeping;
    c->rare = &ws_rare_none;
    if (!conn_init(c, h)) {
        free(c->strings);
        c->freed = 1;
        ws_slab_give(&loop->slab, slot);
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
