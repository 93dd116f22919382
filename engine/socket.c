/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Reads, writes and closes a connection's socket; tls.c does so for TLS. A write never blocks.
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/conn.h"
#include "engine/socket.h"

/* The C library's recv() and send() are cancellation points. In a threaded process, each call
 * enables and disables cancellation, which takes a tenth of all instructions of a short echo. We
 * never cancel threads, so we use the system calls directly, except with AddressSanitizer, which
 * intercepts the library's functions. */
#if defined(SYS_recvfrom) && defined(SYS_sendto) && !defined(__SANITIZE_ADDRESS__)                 \
    && !defined(__SANITIZE_THREAD__)
#define RECV(fd, buf, size) syscall(SYS_recvfrom, fd, buf, size, 0, NULL, NULL)
#define SEND(fd, buf, size, flags) syscall(SYS_sendto, fd, buf, size, flags, NULL, 0)
#else
#define RECV(fd, buf, size) recv(fd, buf, size, 0)
#define SEND(fd, buf, size, flags) send(fd, buf, size, flags)
#endif

/* Number of unanswered probes after which the kernel gives up. On connections without pings, TCP
 * keepalive detects a dead peer. */
#define PROBES 3

static int socket_seconds(apr_uint32_t ms)
{
    return (int)((ms + 999) / 1000);
}

void ws_socket_keep_alive(int fd, const ws_settings *s)
{
    int on = 1, probes = PROBES, idle = socket_seconds(s->ping_interval),
        between = socket_seconds((s->ping_grace + PROBES - 1) / PROBES);
    unsigned unacknowledged = s->ping_interval + s->ping_grace;
    if (!s->ping_interval || !s->ping_grace) {
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    /* The kernel sends no probes while sent data is not acknowledged, for example a heartbeat of an
     * event stream. This timeout covers that case. */
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged, sizeof(unacknowledged));
}

apr_ssize_t ws_socket_read(ws_conn *c, void *buf, apr_size_t size, int *more)
{
    apr_ssize_t n;
    if (c->ssl) {
        return ws_tls_read(c, buf, size, more);
    }
    do {
        n = RECV(c->source.fd, buf, size);
    } while (n < 0 && errno == EINTR);
    *more = n == (apr_ssize_t)size;
    return n >= 0 ? n : errno == EAGAIN ? -1 : -2;
}

static __attribute__((noinline)) apr_ssize_t socket_write_pieces(const ws_conn *c,
                                                                 const struct iovec *iov, int n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (apr_size_t)n};
    return sendmsg(c->source.fd, &m, ws_socket_flags(c));
}

apr_ssize_t ws_socket_write(ws_conn *c, const struct iovec *iov, int n)
{
    apr_ssize_t sent;
    if (c->ssl) {
        return ws_tls_write(c, iov, n);
    }
    do {
        sent = n == 1 ? SEND(c->source.fd, iov->iov_base, iov->iov_len, ws_socket_flags(c))
                      : socket_write_pieces(c, iov, n);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0 ? sent : errno == EAGAIN ? 0 : -2;
}

int ws_socket_pending(ws_conn *c)
{
    return c->ssl ? ws_tls_pending(c) : 0;
}

int ws_socket_half_closed(const ws_conn *c)
{
    struct pollfd p = {.fd = c->source.fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

void ws_socket_shutdown(ws_conn *c, int whole)
{
    if (c->ssl) {
        ws_tls_shutdown(c);
    }
    if (whole) {
        shutdown(c->source.fd, SHUT_WR);
    }
}

void ws_socket_reset(ws_conn *c)
{
    struct linger reset = {1, 0};
    setsockopt(c->source.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}
