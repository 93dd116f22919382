/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Incomplete messages. One can use much memory at little cost to the peer. It must therefore make
 * progress, and arrive at the minimum rate that WebSocketMessageTimeout sets.
 */

#include <stdlib.h>

#include "engine/conn.h"

/* First size of a message's buffer, bytes. It doubles as payload arrives: a header that
 * announces a large payload allocates no memory. */
#define MESSAGE_MIN (4 * 1024)

static void partial_begin_time(ws_partial *m)
{
    m->begun = m->moved = m->c->loop->event.now;
    m->wire_in = m->c->tally.wire_in;
}

/* Milliseconds that the message may take in total. */
static apr_uint64_t partial_allowed(const ws_partial *m)
{
    const ws_settings *s = m->c->settings;
    return s->message_timeout
           + (s->message_rate ? (m->c->tally.wire_in - m->wire_in) * 1000 / s->message_rate : 0);
}

static void partial_look(ws_alarm *a);

static void partial_set_alarm(ws_partial *m)
{
    ws_loop *loop = m->c->loop;
    apr_uint32_t timeout = m->c->settings->message_timeout;
    if (timeout) {
        m->alarm.fn = partial_look;
        ws_timer_wheel_set(&loop->event.wheel, &m->alarm, loop->event.now + timeout);
    }
}

static void partial_look(ws_alarm *a)
{
    ws_partial *m = (ws_partial *)a;
    ws_conn *c = m->c;
    apr_uint32_t now = c->loop->event.now, timeout = c->settings->message_timeout;
    if (c->held & ~WS_HELD_TURN) { /* the peer could not send */
        partial_begin_time(m);
    }
    if (now - m->moved < timeout
        && (!c->settings->message_rate || now - m->begun < partial_allowed(m))) {
        ws_timer_wheel_set(&c->loop->event.wheel, a, m->moved + timeout);
        return;
    }
    ws_conn_fail(c, WS_CLOSE_POLICY, "a message takes too long to arrive");
    ws_partial_free(c);
    ws_conn_mark_dirty(c);
}

ws_partial *ws_partial_reserve(ws_conn *c, apr_size_t more, apr_uint64_t total)
{
    ws_partial *m = c->message;
    apr_size_t len = m ? m->len : 0, size = m ? m->size : 0;
    if (m && size - len >= more) {
        return m;
    }
    size = size ? size * 2 : MESSAGE_MIN;
    if (size < len + more) {
        size = len + more;
    }
    if (size > total && total >= len + more) {
        size = (apr_size_t)total;
    }
    if (m) {
        ws_timer_wheel_clear(&c->loop->event.wheel, &m->alarm);
    }
    if (!(m = realloc(m, sizeof(*m) + size))) {
        return NULL;
    }
    if (!c->message) {
        *m = (ws_partial){.c = c};
        partial_begin_time(m);
        m->wire_in -= c->chain ? 0 : more; /* counted already by the read that delivered the first
                                            * bytes */
    }
    m->size = size;
    c->message = m;
    partial_set_alarm(m);
    return m;
}

void ws_partial_grow(ws_partial *m, apr_size_t len)
{
    m->len += len;
    m->moved = m->c->loop->event.now;
}

void ws_partial_released(ws_partial *m)
{
    partial_begin_time(m);
}

void ws_partial_free(ws_conn *c)
{
    if (c->message) {
        ws_timer_wheel_clear(&c->loop->event.wheel, &c->message->alarm);
        free(c->message);
        c->message = NULL;
    }
}
