/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sources whose bytes the loop moves. If the loop's backend can (io_uring), it receives into buffers of its own
 * and reports WS_STREAM_RECEIVED; sends are collected and leave with the system call that waits for the next events,
 * which reports WS_STREAM_SENT. If it cannot (epoll), a stream is a source like any other, and its owner reads and
 * writes when it is ready. ws_source.async tells which.
 *
 * All functions are for the loop's thread, those without a remark for async streams only.
 */

#ifndef WS_EVENT_STREAM_H
#define WS_EVENT_STREAM_H

#include <sys/uio.h>

#include "event/loop.h"

/** Bytes before what was received, which the owner may overwrite. */
#define WS_RECEIVE_HEADROOM 256

/** Size of the buffer for sends, bytes. */
#define WS_SEND_BUFFER (128 * 1024)

/** Greatest number of pieces of one send. */
#define WS_SEND_PIECES 64

/** Let the loop move the source's bytes, if it can. [any stream] */
void ws_stream_init(ws_event_loop *loop, ws_source *s);

/** Watch for events. For async streams WS_READABLE starts and stops receiving. [any stream] */
apr_status_t ws_stream_watch(ws_event_loop *loop, ws_source *s, unsigned events);

/** Watch and receive no more, before the descriptor is closed. [any stream] */
void ws_stream_close(ws_event_loop *loop, ws_source *s);

/** Whether the kernel still refers to the source, which has to stay where it is. [any stream] */
static inline int ws_stream_is_busy(const ws_source *s)
{
    return s->receiving;
}

void ws_stream_next_buffer(ws_event_loop *loop, ws_source *s, int grows, unsigned char **buffer);

/** Start a buffer for what is sent next. grows: it may become part of the send before. *buffer: WS_SEND_BUFFER
 *  bytes until the next call; unchanged if the loop's backend needs no buffers of its own. [any stream] */
static inline void ws_stream_buffer(ws_event_loop *loop, ws_source *s, int grows,
                                    unsigned char **buffer)
{
    if (loop->ring) {
        ws_stream_next_buffer(loop, s, grows, buffer);
    }
}

/** Send the first len bytes of the current buffer, and start the next one. */
void ws_stream_send_buffer(ws_event_loop *loop, ws_source *s, unsigned char **buffer,
                           apr_size_t len);

/** Whether the stream's last send can still grow by another of its buffers: they leave as one. */
int ws_stream_grows(const ws_event_loop *loop, const ws_source *s);

/** Send pieces where they lie; until WS_STREAM_SENT they must not change. n: at most WS_SEND_PIECES. To be called by
 *  ws_loop_hooks.submit only. */
void ws_stream_send_pieces(ws_event_loop *loop, ws_source *s, const struct iovec *iov, int n);

/** Wait for the end of the stream's send, whose WS_STREAM_SENT is reported before this returns. */
void ws_stream_wait_for_send(ws_event_loop *loop);
static inline void ws_stream_settle(ws_event_loop *loop, const ws_source *s)
{
    if (s->sending) {
        ws_stream_wait_for_send(loop);
    }
}

/** The loop must not sleep before the stream's send has ended. */
void ws_stream_hurry(ws_event_loop *loop);

#endif
