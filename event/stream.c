/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Streams: sources that the loop can read and write. If the loop has a completion ring, the ring
 * receives and sends. The poller then reports when a stream is writable again. If much input
 * arrives on a stream, the stream becomes direct: the owner reads the socket, and the poller
 * reports when the socket is readable. While the ring does not receive on a stream, the poller also
 * reports a broken connection.
 */

#include "event/stream.h"

#include "event/loop.h"
#include "event/poller.h"
#include "event/ring.h"

/* Minimum input, bytes, that must arrive at a time to make a stream direct. For less input, reading
 * directly is not cheaper. */
#define DIRECT_MIN (8 * 1024)

/* A stream is no longer direct after this many consecutive reads that return less than DIRECT_MIN /
 * 2. Each change costs at least one system call. */
#define SMALL_MAX 16

void ws_stream_init(ws_event_loop *loop, ws_source *s)
{
    s->async = loop->ring != NULL;
}

static void stream_stop_receiving(ws_event_loop *loop, ws_source *s)
{
    if (s->receiving && !s->stopping) {
        ws_ring_stop(loop->ring, s);
        s->stopping = 1;
    }
}

/* Let the poller watch for events. events -1: do not watch at all, not even for a broken
 * connection */
static apr_status_t stream_poll(ws_event_loop *loop, ws_source *s, int events)
{
    int now = s->polled ? s->poll_events : -1;
    apr_status_t rv = APR_SUCCESS;
    if (events == now) {
        return APR_SUCCESS;
    }
    if (events < 0) {
        ws_poller_remove(loop->poller, s->fd);
    }
    else {
        rv = ws_poller_set(loop->poller, s->fd, s, now, (unsigned)events);
    }
    if (rv == APR_SUCCESS) {
        s->polled = events >= 0;
        s->poll_events = (unsigned char)events;
    }
    return rv;
}

static apr_status_t stream_watch_async(ws_event_loop *loop, ws_source *s, int events)
{
    if (!(events & WS_READABLE) || s->direct) {
        stream_stop_receiving(loop, s);
    }
    else if (!s->receiving) {
        ws_ring_receive(loop->ring, s->fd, s);
        s->receiving = 1;
    }
    if ((events & WS_READABLE) && s->direct && !s->receiving) {
        return stream_poll(loop, s, events);
    }
    return stream_poll(loop, s, events == WS_READABLE ? -1 : events & ~WS_READABLE);
}

apr_status_t ws_stream_watch(ws_event_loop *loop, ws_source *s, unsigned events)
{
    apr_status_t rv = APR_SUCCESS;
    if (!s->async) {
        return ws_source_watch(loop, s, s->fd, events);
    }
    if ((int)events != s->watched || !s->receiving != !(events & WS_READABLE)) {
        rv = stream_watch_async(loop, s, (int)events);
    }
    s->watched = rv == APR_SUCCESS ? (signed char)events : s->watched;
    return rv;
}

void ws_stream_adapt(ws_event_loop *loop, ws_source *s, apr_size_t n)
{
    unsigned direct = s->direct;
    if (n >= DIRECT_MIN) {
        s->small = 0;
        s->direct = 1;
    }
    else if (direct && n < DIRECT_MIN / 2 && ++s->small == SMALL_MAX) {
        s->direct = 0;
    }
    if (s->direct != direct && s->watched >= 0) {
        stream_watch_async(loop, s, s->watched);
    }
}

void ws_stream_close(ws_event_loop *loop, ws_source *s)
{
    if (!s->async) {
        ws_source_unwatch(loop, s);
        return;
    }
    stream_stop_receiving(loop, s);
    stream_poll(loop, s, -1);
    s->watched = -1;
}

void ws_stream_next_buffer(ws_event_loop *loop, ws_source *s, int grows, unsigned char **buffer)
{
    if (s->sending && !(grows && ws_stream_grows(loop, s))) {
        ws_ring_submit(loop->ring); /* a source can have only one send at a time */
    }
    *buffer = ws_ring_room(loop->ring);
}

void ws_stream_send_buffer(ws_event_loop *loop, ws_source *s, unsigned char **buffer,
                           apr_size_t len)
{
    ws_ring_send(loop->ring, s->fd, s, *buffer, len);
    s->sending = 1;
    *buffer = ws_ring_room(loop->ring);
}

int ws_stream_grows(const ws_event_loop *loop, const ws_source *s)
{
    return s->sending && ws_ring_is_last(loop->ring, s);
}

void ws_stream_send_pieces(ws_event_loop *loop, ws_source *s, const struct iovec *iov, int n)
{
    ws_ring_send_pieces(loop->ring, s->fd, s, iov, n);
    s->sending = 1;
}

void ws_stream_wait_for_send(ws_event_loop *loop)
{
    ws_ring_submit(loop->ring);
}

void ws_stream_hurry(ws_event_loop *loop)
{
    ws_ring_hurry(loop->ring);
}
