/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * io_uring, for loops that are to use it: what comes on plain sockets is received by the kernel into
 * buffers of the ring before anybody asks, and what a turn of the loop has to send to all of them leaves
 * with the same system call that waits for the next. All other descriptors stay in the poller, which the
 * ring looks at as one more of them.
 *
 * Every send is made with MSG_DONTWAIT, so it is over, one way or the other, when the system call that
 * submits it returns: what it sends has to live until then and no longer, and nothing has to be cancelled
 * when a connection ends.
 *
 * For the loop's thread, but where said otherwise.
 */

#ifndef WS_ENGINE_RING_H
#define WS_ENGINE_RING_H

#include "engine/poller.h"

struct iovec;

typedef struct ws_ring ws_ring;

/** Room in front of what was received, bytes, which may be written to. */
#define WS_RING_HEADROOM 256

/** Entries of iov that one send takes. */
#define WS_RING_IOVECS 64

/**
 * A send is over.
 * @param what  whose
 * @param data  as given to ws_ring_send(); NULL: it was ws_ring_send_pieces()
 * @param len   bytes that were to be sent
 * @param done  bytes that were, or -errno
 */
typedef void ws_ring_sent_fn(void *what, const unsigned char *data, apr_size_t len, int done);

/** Whether the kernel has what it takes.  [any thread] @return ENOTIMPL (APR_ENOTIMPL): this was built
 *  without liburing; ENOSYS or EINVAL: the kernel is too old; EPERM: it is forbidden */
apr_status_t ws_ring_check(void);

/** Set one up, for this thread. poller: lives longer; room: of a ws_ring_room(), bytes. @return as
 *  ws_ring_check */
apr_status_t ws_ring_create(ws_ring **ring, ws_poller *poller, apr_size_t room,
                            ws_ring_sent_fn *sent);

/** [any thread, after the one that used it has ended] */
void ws_ring_destroy(ws_ring *r);

/**
 * Submit what there is, and wait until something has come. The beginning of ws_poller_wait(), where the
 * poller's descriptors are reported as by that, and WS_RECEIVED besides.
 */
int ws_ring_wait(ws_ring *r, ws_ready *ready, int max, int timeout);

/** What was received has been read: its buffer may be used again. To be called once for each WS_RECEIVED. */
void ws_ring_give_back(ws_ring *r, const ws_ready *ready);

/** Receive what comes on a socket, until a WS_RECEIVED without more. what: at an address that can be
 *  divided by 8 */
void ws_ring_receive(ws_ring *r, int fd, void *what);

/** Stop that; a last WS_RECEIVED, without more, is still to come. */
void ws_ring_stop(ws_ring *r, void *what);

/** Room for what is going to be sent. What was written to another room and not sent is lost. */
unsigned char *ws_ring_room(ws_ring *r);

/** Send the first len bytes of the room. For each what only one send can be on its way, but see
 *  ws_ring_is_last(). */
void ws_ring_send(ws_ring *r, int fd, void *what, const unsigned char *room, apr_size_t len);

/** Whether the last send was what's and from a room, so that another one may follow: they become one. */
int ws_ring_is_last(const ws_ring *r, const void *what);

/** Send pieces where they lie. n: at most WS_RING_IOVECS */
void ws_ring_send_pieces(ws_ring *r, int fd, void *what, const struct iovec *iov, int n);

/** Somebody waits for the end of a send: the next ws_ring_wait() is only to look. */
void ws_ring_hurry(ws_ring *r);

/** Submit what there is: all sends are over. */
void ws_ring_submit(ws_ring *r);

#endif
