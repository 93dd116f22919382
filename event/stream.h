/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sources that the loop itself can read and write. With io_uring, a stream is async
 * (ws_source.async): the loop receives into the ring's buffers and reports WS_STREAM_RECEIVED. It
 * collects sends and submits them with the system call that waits for the next events. Then it
 * reports WS_STREAM_SENT. If much input arrives on a stream, the owner reads it directly into the
 * final buffer, which saves a copy (ws_stream_adapt). With epoll, a stream is an ordinary source:
 * the owner reads and writes when the stream is ready.
 *
 * Call all functions in the loop's thread. Functions not marked [any stream] are for async streams
 * only.
 */

#ifndef WS_EVENT_STREAM_H
#define WS_EVENT_STREAM_H

#include <sys/uio.h>

#include "event/loop.h"

/** Number of bytes before the received data that the owner may overwrite. */
#define WS_RECEIVE_HEADROOM 256

/** Size of a send buffer, bytes. */
#define WS_SEND_BUFFER (128 * 1024)

/** Maximum number of pieces in one send. */
#define WS_SEND_PIECES 64

/** Gathered data of at least this size, bytes, is sent immediately. At the end of the turn, it
 *  might no longer be in the processor's cache, which would cost more than the system call. */
#define WS_SEND_LATER_MAX (4 * 1024)

/** Make the stream async if the loop's backend supports that. [any stream] */
void ws_stream_init(ws_event_loop *loop, ws_source *s);

/** Watch for events. For async streams, the loop receives while WS_READABLE is set. [any stream] */
apr_status_t ws_stream_watch(ws_event_loop *loop, ws_source *s, unsigned events);

/** Report that n bytes of input were received or read at once. A large n makes the stream direct;
 *  many small ones make it indirect again. A direct stream reports WS_READABLE instead of
 *  WS_STREAM_RECEIVED, and its owner reads the socket. */
void ws_stream_adapt(ws_event_loop *loop, ws_source *s, apr_size_t n);

/** Whether the owner has to read the socket. It has to if the stream is not async, or if the stream
 *  is direct and the loop has reported all input that the loop had received. [any stream] */
static inline int ws_stream_is_read(const ws_source *s)
{
    return !s->async || (s->polled && (s->poll_events & WS_READABLE));
}

/** Stop watching and receiving. Call it before you close the descriptor. [any stream] */
void ws_stream_close(ws_event_loop *loop, ws_source *s);

/** Whether the kernel still refers to the source, which then must not be moved or freed.
 *  [any stream] */
static inline int ws_stream_is_busy(const ws_source *s)
{
    return s->receiving;
}

void ws_stream_next_buffer(ws_event_loop *loop, ws_source *s, int grows, unsigned char **buffer);

/** Provide a buffer for the next send.
 *  @param grows   whether the data may be added to the previous send
 *  @param buffer  set to a buffer of WS_SEND_BUFFER bytes, which is valid until the next call;
 *                 unchanged if the stream is not async  [any stream] */
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

/** Whether another of the stream's buffers can still be added to its last send. */
int ws_stream_grows(const ws_event_loop *loop, const ws_source *s);

/** Send pieces without copying them. They must not change until WS_STREAM_SENT. n: at most
 *  WS_SEND_PIECES. Call it from ws_loop_hooks.submit only. */
void ws_stream_send_pieces(ws_event_loop *loop, ws_source *s, const struct iovec *iov, int n);

/** Complete the stream's send. WS_STREAM_SENT is reported before this returns. */
void ws_stream_wait_for_send(ws_event_loop *loop);
static inline void ws_stream_settle(ws_event_loop *loop, const ws_source *s)
{
    if (s->sending) {
        ws_stream_wait_for_send(loop);
    }
}

/** Make the loop submit the stream's send without sleeping. */
void ws_stream_hurry(ws_event_loop *loop);

#endif
