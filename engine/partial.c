/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The buffers of incomplete messages. arrival.c limits the time of these messages. */

#include <stdlib.h>

#include "engine/conn.h"

/* Initial size of a message's buffer, bytes. The buffer doubles as payload arrives, so that a
 * header that announces a large payload does not allocate much memory. */
#define MESSAGE_MIN (4 * 1024)

/* If the last message was large, the buffer for the next one starts with room for a message of that
 * size. This is the maximum size of that room, bytes. */
#define RESERVE_MAX (4 * 1024 * 1024)

/* Minimum length of a large message, bytes: see ws_conn.large. */
#define LARGE_MIN (128 * 1024)

/* A loop keeps unused buffers of large messages: at most SPARE_MAX bytes, for SPARE_TIME
 * milliseconds. This saves time, because the kernel clears the pages of each new buffer. */
#define SPARE_MAX (4 * 1024 * 1024)
#define SPARE_TIME 1000

void ws_partial_free_spares(ws_loop *loop)
{
    ws_partial *m;
    while ((m = loop->spares)) {
        loop->spares = m->next;
        free(m);
    }
    loop->spare_bytes = 0;
}

static void partial_free_spares(ws_alarm *a)
{
    ws_partial_free_spares((ws_loop *)((char *)a - offsetof(ws_loop, spare_alarm)));
}

static void partial_give(ws_loop *loop, ws_partial *m)
{
    if (m->size < LARGE_MIN || loop->spare_bytes + m->size > SPARE_MAX) {
        free(m);
        return;
    }
    m->next = loop->spares;
    loop->spares = m;
    loop->spare_bytes += m->size;
    loop->spare_alarm.fn = partial_free_spares;
    ws_timer_wheel_set(&loop->event.wheel, &loop->spare_alarm, loop->event.now + SPARE_TIME);
}

/* Get a buffer of at least size bytes. A reused buffer is at most about twice as large. Sets the
 * size in the buffer. @return NULL: out of memory */
static ws_partial *partial_take(ws_loop *loop, apr_size_t size)
{
    ws_partial *m;
    for (ws_partial **p = &loop->spares; size >= LARGE_MIN && (m = *p); p = &m->next) {
        if (m->size >= size && m->size / 2 <= size) {
            *p = m->next;
            loop->spare_bytes -= m->size;
            return m;
        }
    }
    if ((m = malloc(sizeof(*m) + size))) {
        m->size = size;
    }
    return m;
}

/* Compute the new size of a buffer for a message that has len bytes and needs room for `more`.
 * total: bytes announced so far */
static apr_size_t partial_size(const ws_conn *c, apr_size_t len, apr_size_t more,
                               apr_uint64_t total)
{
    apr_size_t size = c->rare->message ? c->rare->message->size * 2 : MESSAGE_MIN;
    if (c->large && size < RESERVE_MAX) { /* expect another message of that size */
        apr_size_t known = (apr_size_t)2 << c->large;
        size = known < RESERVE_MAX ? known : RESERVE_MAX;
    }
    if (size < len + more) {
        size = len + more;
    }
    return size > total && total >= len + more ? (apr_size_t)total : size;
}

ws_partial *ws_partial_reserve(ws_conn *c, apr_size_t more, apr_uint64_t total)
{
    ws_partial *m = c->rare->message, *grown;
    apr_size_t len = m ? m->len : 0, size;
    if (m && m->size - len >= more) {
        return m;
    }
    size = partial_size(c, len, more, total);
    if (m) {
        grown = realloc(m, sizeof(*m) + size); /* if it fails, the connection still owns m */
        if (grown) {
            grown->size = size;
        }
    }
    else {
        grown = ws_conn_rare(c) ? partial_take(c->loop, size) : NULL;
    }
    if (grown) {
        grown->len = len;
        ws_rare_of(c)->message = grown;
    }
    return grown;
}

void ws_partial_free(ws_conn *c)
{
    ws_partial *m = c->rare->message;
    if (m) {
        ws_rare_of(c)->message = NULL;
        partial_give(c->loop, m);
    }
}

void ws_partial_note_large(ws_conn *c)
{
    apr_size_t len = c->rare->message->len;
    c->large = len < LARGE_MIN ? 0 : (unsigned char)(63 - __builtin_clzll(len));
}
