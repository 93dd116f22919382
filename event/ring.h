/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The completion ring: io_uring, for loops whose backend is WS_BACKEND_URING. The kernel receives
 * into the ring's buffers as bytes arrive. One system call submits all sends of a turn and waits
 * for the next events. The poller still watches all other descriptors; the ring polls the poller's
 * descriptor.
 *
 * Every send has MSG_DONTWAIT. Therefore it has ended when the system call that submits it returns,
 * whether or not all bytes were sent. Its data must stay valid only until then, and no send has to
 * be cancelled when a connection ends.
 *
 * For event/ only; other code uses stream.h. Call the functions in the loop's thread, except where
 * marked.
 */

#ifndef WS_EVENT_RING_H
#define WS_EVENT_RING_H

#include "event/poller.h"
#include "event/stream.h"

typedef struct ws_ring ws_ring;

/** Whether the kernel supports all features that the ring uses.  [any thread]
 *  @return the same as ws_backend_check() */
apr_status_t ws_ring_check(void);

/** Create a ring for this thread. poller: must outlive the ring.
 *  @return the same as ws_ring_check() */
apr_status_t ws_ring_create(ws_ring **ring, ws_poller *poller);

/** [any thread, after the ring's thread has ended] */
void ws_ring_destroy(ws_ring *r);

/** Submit the collected requests and wait for events, as ws_poller_wait() does. WS_STREAM_RECEIVED
 *  events are returned, too. WS_STREAM_SENT events are passed to the source directly. */
int ws_ring_wait(ws_ring *r, ws_ready *ready, int max, int timeout);

/** Return the buffer of a WS_STREAM_RECEIVED event to the ring. Call it once for each event, after
 *  you have read the data. */
void ws_ring_give_back(ws_ring *r, const ws_ready *ready);

/** Start receiving on a socket. Receiving ends with a WS_STREAM_RECEIVED event that has `more` set
 *  to 0. The source's address must be divisible by 8. */
void ws_ring_receive(ws_ring *r, int fd, ws_source *source);

/** Stop receiving. One last WS_STREAM_RECEIVED event follows, with `more` set to 0. */
void ws_ring_stop(ws_ring *r, ws_source *source);

/** Get a buffer of WS_SEND_BUFFER bytes for ws_ring_send(). It may overlap an earlier buffer that
 *  was not passed to ws_ring_send(). */
unsigned char *ws_ring_room(ws_ring *r);

/** Send the first len bytes of `room`, a buffer from ws_ring_room(). A source can have only one
 *  send at a time. If ws_ring_is_last() returns true, the bytes are added to that send. */
void ws_ring_send(ws_ring *r, int fd, ws_source *source, const unsigned char *room, apr_size_t len);

/** Whether the last collected send belongs to this source and uses a buffer from ws_ring_room(). If
 *  so, ws_ring_send() adds to it. */
int ws_ring_is_last(const ws_ring *r, const ws_source *source);

/** Send pieces without copying them. n: at most WS_SEND_PIECES */
void ws_ring_send_pieces(ws_ring *r, int fd, ws_source *source, const struct iovec *iov, int n);

/** Make the next ws_ring_wait() return without sleeping. */
void ws_ring_hurry(ws_ring *r);

/** Submit the collected requests. When this returns, all sends have ended. */
void ws_ring_submit(ws_ring *r);

#endif
