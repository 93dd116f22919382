/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sources whose bytes the loop moves. With io_uring, the loop receives into the ring's buffers and
 * reports WS_STREAM_RECEIVED. It collects sends, and the system call that waits for the next events
 * submits them; the loop then reports WS_STREAM_SENT. If a stream's input is bulky, its owner reads
 * it to its place, which saves a copy (ws_stream_adapt). With epoll, a stream is an ordinary source:
 * its owner reads and writes when it is ready. ws_source.async is set for the first case.
 *
 * Call all functions in the loop's thread. Those without a remark are for async streams only.
 */

#ifndef WS_EVENT_STREAM_H
#define WS_EVENT_STREAM_H

#include <sys/uio.h>

#include "event/loop.h"

/** Bytes before the received data that the owner may overwrite. */
#define WS_RECEIVE_HEADROOM 256

/** Size of a send buffer, bytes. */
#define WS_SEND_BUFFER (128 * 1024)

/** Maximum number of pieces in one send. */
#define WS_SEND_PIECES 64

/** Gathered bytes from this length on are sent immediately, bytes: until the end of the turn, others would
 *  take their place in the processor's cache, which costs more than the system call. */
#define WS_SEND_LATER_MAX (4 * 1024)

/** Let the loop move the source's bytes, if its backend supports it. [any stream] */
void ws_stream_init(ws_event_loop *loop, ws_source *s);

/** Watch for events. For async streams WS_READABLE starts and stops receiving. [any stream] */
apr_status_t ws_stream_watch(ws_event_loop *loop, ws_source *s, unsigned events);

/** Report that n bytes of input were received or read in one piece. The stream becomes direct if much
 *  arrives at a time, and is no longer direct after many short reads. A direct stream reports
 *  WS_READABLE instead of WS_STREAM_RECEIVED, and its owner reads the socket. */
void ws_stream_adapt(ws_event_loop *loop, ws_source *s, apr_size_t n);

/** Whether the owner reads the socket now: the stream is not async, or it is direct and all input
 *  that the loop received has been reported. [any stream] */
static inline int ws_stream_is_read(const ws_source *s)
{
    return !s->async || (s->polled && (s->poll_events & WS_READABLE));
}

/** Stop watching and receiving. Call it before you close the descriptor. [any stream] */
void ws_stream_close(ws_event_loop *loop, ws_source *s);

/** Whether the kernel still refers to the source. Then the source must not move or be freed.
 *  [any stream] */
static inline int ws_stream_is_busy(const ws_source *s)
{
    return s->receiving;
}

void ws_stream_next_buffer(ws_event_loop *loop, ws_source *s, int grows, unsigned char **buffer);

/** Start a buffer for the next send. grows: the data may join the previous send. *buffer:
 *  WS_SEND_BUFFER bytes, valid until the next call; unchanged if the stream is not async.
 *  [any stream] */
static inline void ws_stream_buffer(ws_event_loop *loop, ws_source *s, int grows,
                                    unsigned char **buffer)
{
    if (loop->ring) {
        ws_stream_next_buffer(loop, s, grows, buffer);
    }
}

/** Send the first len bytes of the current buffer, and start another buffer. */
void ws_stream_send_buffer(ws_event_loop *loop, ws_source *s, unsigned char **buffer,
                           apr_size_t len);

/** Whether another buffer of the stream can still join its last send. Both then leave as one send.
 * */
int ws_stream_grows(const ws_event_loop *loop, const ws_source *s);

/** Send pieces without copying them. They must not change until WS_STREAM_SENT. n: at most
 *  WS_SEND_PIECES. Call it from ws_loop_hooks.submit only. */
void ws_stream_send_pieces(ws_event_loop *loop, ws_source *s, const struct iovec *iov, int n);

/** Wait for the end of the stream's send. WS_STREAM_SENT is reported before this returns. */
void ws_stream_wait_for_send(ws_event_loop *loop);
static inline void ws_stream_settle(ws_event_loop *loop, const ws_source *s)
{
    if (s->sending) {
        ws_stream_wait_for_send(loop);
    }
}

/** Keep the loop from sleeping before the stream's send has ended. */
void ws_stream_hurry(ws_event_loop *loop);

#endif
