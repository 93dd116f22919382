/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The completion ring: io_uring, if the loop is to use it. The kernel receives into buffers of the ring as bytes
 * arrive, and all sends of a turn leave with the system call that waits for the next events. Other descriptors
 * stay in the poller, which is one more descriptor of the ring.
 *
 * Every send has MSG_DONTWAIT: it has ended, completely or not, when the system call that submits it returns. What
 * it sends has to stay until then and no longer, and no send has to be cancelled when a connection ends.
 *
 * For event/ only: others use stream.h. For the loop's thread, except where marked.
 */

#ifndef WS_EVENT_RING_H
#define WS_EVENT_RING_H

#include "event/poller.h"
#include "event/stream.h"

typedef struct ws_ring ws_ring;

/** Whether the kernel has what the ring needs.  [any thread] @return as ws_backend_check() */
apr_status_t ws_ring_check(void);

/** For this thread. poller: must stay longer. @return as ws_ring_check */
apr_status_t ws_ring_create(ws_ring **ring, ws_poller *poller);

/** [any thread, after the one that used it has ended] */
void ws_ring_destroy(ws_ring *r);

/** Submit what has been collected, and wait for events, as ws_poller_wait(); WS_STREAM_RECEIVED besides. WS_STREAM_SENT is
 *  reported by a call of the source. */
int ws_ring_wait(ws_ring *r, ws_ready *ready, int max, int timeout);

/** Reuse the buffer of a WS_STREAM_RECEIVED, which has been read. To be called once for each. */
void ws_ring_give_back(ws_ring *r, const ws_ready *ready);

/** Receive on a socket until a WS_STREAM_RECEIVED without more. The source's address must be divisible by 8. */
void ws_ring_receive(ws_ring *r, int fd, ws_source *source);

/** Stop receiving; a last WS_STREAM_RECEIVED, without more, still comes. */
void ws_ring_stop(ws_ring *r, ws_source *source);

/** A buffer of WS_SEND_BUFFER bytes. What was written to an earlier one and not sent is lost. */
unsigned char *ws_ring_room(ws_ring *r);

/** Send the first len bytes of the room. A source can have one send at a time; but see ws_ring_is_last(). */
void ws_ring_send(ws_ring *r, int fd, ws_source *source, const unsigned char *room, apr_size_t len);

/** Whether the last send was this source's and from a room, so that another one joins it. */
int ws_ring_is_last(const ws_ring *r, const ws_source *source);

/** Send pieces where they lie. n: at most WS_SEND_PIECES */
void ws_ring_send_pieces(ws_ring *r, int fd, ws_source *source, const struct iovec *iov, int n);

/** The next ws_ring_wait() must not sleep. */
void ws_ring_hurry(ws_ring *r);

/** Submit what has been collected: all sends end. */
void ws_ring_submit(ws_ring *r);

#endif
