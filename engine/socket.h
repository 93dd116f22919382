/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The socket of a connection, with or without TLS. */

#ifndef WS_ENGINE_SOCKET_H
#define WS_ENGINE_SOCKET_H

#include <sys/socket.h>

#include "engine/conn.h"

/** Read from the socket. *more is set if another read would return bytes without a system call.
 *  @return bytes read; 0: end of file; -1: nothing to read; -2: the socket is broken */
apr_ssize_t ws_socket_read(ws_conn *c, void *buf, apr_size_t size, int *more);

/** Write to the socket. @return bytes accepted; 0: no room; -2: the socket is broken */
apr_ssize_t ws_socket_write(ws_conn *c, const struct iovec *iov, int n);

/** Flags for a send. If shutdown() is to follow, the kernel keeps the last bytes back, and sends
 *  them in one packet with the end of the stream. */
static inline int ws_socket_flags(const ws_conn *c)
{
    return c->finish && !ws_is_client(c) ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
}

/** Write bytes that ws_socket_write() has accepted, but not yet passed to the socket.
 *  @return whether some remain; -2: the socket is broken */
int ws_socket_pending(ws_conn *c);

/** Whether the kernel knows that the peer has closed its side. */
int ws_socket_half_closed(const ws_conn *c);

/** Send close_notify if the connection uses TLS. whole: also close our side of the socket */
void ws_socket_shutdown(ws_conn *c, int whole);

/** Make close() reset the connection. */
void ws_socket_reset(ws_conn *c);

/** Get a number that changes when the peer receives data. *waiting: set to 1 if the kernel has data
 *  that is not acknowledged yet; otherwise unchanged. @return 0; -1: the socket is not TCP.
 *  Defined in timeouts.c */
int ws_socket_taken(int fd, apr_uint32_t *taken, int *waiting);

apr_status_t ws_tls_init(ws_loop *loop);
void ws_tls_destroy(ws_loop *loop);
/** Set the loop's BIOs in the SSL object. */
void ws_tls_adopt(ws_conn *c);
/** Set `renegotiates` of the running loop when the peer of this SSL object requests a
 *  renegotiation. */
void ws_tls_watch_handshakes(SSL *ssl);
apr_ssize_t ws_tls_read(ws_conn *c, void *buf, apr_size_t size, int *more);
apr_ssize_t ws_tls_write(ws_conn *c, const struct iovec *iov, int n);
int ws_tls_pending(ws_conn *c);
void ws_tls_shutdown(ws_conn *c);

#endif
