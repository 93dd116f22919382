/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/conn.h"

apr_ssize_t ws_socket_read(ws_conn *c, void *buf, apr_size_t size, int *more)
{
    apr_ssize_t n;
    if (c->ssl) {
        return ws_tls_read(c, buf, size, more);
    }
    do {
        n = recv(c->fd, buf, size, 0);
    } while (n < 0 && errno == EINTR);
    *more = n == (apr_ssize_t)size;
    return n >= 0 ? n : errno == EAGAIN ? -1 : -2;
}

apr_ssize_t ws_socket_write(ws_conn *c, const struct iovec *iov, int n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (apr_size_t)n};
    apr_ssize_t sent;
    if (c->ssl) {
        return ws_tls_write(c, iov, n);
    }
    do {
        sent = n == 1 ? send(c->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                      : sendmsg(c->fd, &m, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0 ? sent : errno == EAGAIN ? 0 : -2;
}

int ws_socket_pending(ws_conn *c)
{
    return c->ssl ? ws_tls_pending(c) : 0;
}

void ws_socket_shutdown(ws_conn *c)
{
    if (c->ssl) {
        ws_tls_shutdown(c);
    }
    shutdown(c->fd, SHUT_WR);
}
