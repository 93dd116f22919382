/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements TLS to a server inside the TLS connection to a proxy. On the loop, it copies bytes
 * between the proxy's connection and one of a pair of sockets. The connection to the server uses
 * the other socket. Each direction has a buffer of fixed size.
 */

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/connector.h"
#include "client/tls.h"

#define BUFFER (32 * 1024)

/* The buffer for one direction. */
typedef struct flow {
    apr_size_t len, pos;
    int over; /* 1: end of stream */
    char data[BUFFER];
} flow;

typedef struct tunnel {
    ws_handle net, pair; /* net must be first */
    SSL *ssl;
    int fd, pair_fd;
    int write_wants; /* events on fd for which an incomplete SSL_write() is waiting, or 0 */
    int references;
    flow up, down; /* up: to the proxy; down: from the proxy */
} tunnel;

static tunnel *tunnel_of_pair(void *pair)
{
    return (tunnel *)((char *)pair - offsetof(tunnel, pair));
}

static void tunnel_free(tunnel *u)
{
    if (--u->references == 0) {
        free(u);
    }
}

static void tunnel_net_release(ws_handle *h)
{
    tunnel_free((tunnel *)h);
}

static void tunnel_pair_release(ws_handle *h)
{
    tunnel_free(tunnel_of_pair(h));
}

static void tunnel_end(tunnel *u)
{
    if (u->fd < 0) {
        return;
    }
    ws_handle_close(&u->net);
    ws_handle_close(&u->pair);
    ws_tls_close(u->ssl);
    close(u->fd);
    close(u->pair_fd);
    u->fd = -1;
}

static int tunnel_would_block(int error)
{
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

/* Read from the proxy. @return 1: progress; 0: no data yet; -1: failed */
static int tunnel_read_net(tunnel *u)
{
    int n;
    if (u->down.len > 0 || u->down.over) {
        return 0;
    }
    ERR_clear_error();
    if ((n = SSL_read(u->ssl, u->down.data, BUFFER)) > 0) {
        u->down.len = (apr_size_t)n;
        return 1;
    }
    if (tunnel_would_block(SSL_get_error(u->ssl, n))) {
        return 0;
    }
    u->down.over = 1;
    return 1;
}

static int tunnel_write_net(tunnel *u)
{
    int n, error;
    u->write_wants = 0;
    if (u->up.len == 0) {
        return 0;
    }
    ERR_clear_error();
    if ((n = SSL_write(u->ssl, u->up.data + u->up.pos, (int)u->up.len)) > 0) {
        u->up.pos += (apr_size_t)n;
        u->up.len -= (apr_size_t)n;
        return 1;
    }
    error = SSL_get_error(u->ssl, n);
    u->write_wants = error == SSL_ERROR_WANT_WRITE ? WS_WRITABLE : WS_READABLE;
    return tunnel_would_block(error) ? 0 : -1;
}

static int tunnel_read_pair(tunnel *u)
{
    ssize_t n;
    if (u->up.len > 0 || u->up.over) {
        return 0;
    }
    u->up.pos = 0;
    n = recv(u->pair_fd, u->up.data, BUFFER, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    u->up.over = n <= 0;
    u->up.len = n > 0 ? (apr_size_t)n : 0;
    return 1;
}

static int tunnel_write_pair(tunnel *u)
{
    ssize_t n;
    if (u->down.len == 0) {
        return 0;
    }
    n = send(u->pair_fd, u->down.data + u->down.pos, u->down.len, MSG_NOSIGNAL);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    u->down.pos += (apr_size_t)n;
    u->down.len -= (apr_size_t)n;
    u->down.pos = u->down.len ? u->down.pos : 0;
    return 1;
}

static void tunnel_watch(ws_handle *h, int fd, unsigned events)
{
    if (events) {
        ws_handle_watch(h, fd, events);
    }
    else {
        ws_handle_unwatch(h);
    }
}

static void tunnel_pump(tunnel *u)
{
    int did;
    do {
        int a = tunnel_read_net(u), b = tunnel_write_pair(u), c = tunnel_read_pair(u),
            d = tunnel_write_net(u);
        if (a < 0 || b < 0 || c < 0 || d < 0) {
            tunnel_end(u);
            return;
        }
        did = a || b || c || d;
    } while (did);
    if (u->up.over && u->up.len == 0) { /* the proxied connection has been closed */
        tunnel_end(u);
        return;
    }
    if (u->down.over && u->down.len == 0) {
        shutdown(u->pair_fd, SHUT_WR);
    }
    tunnel_watch(&u->net, u->fd,
                 (unsigned)u->write_wants | (u->down.len || u->down.over ? 0 : WS_READABLE));
    tunnel_watch(&u->pair, u->pair_fd,
                 (u->up.len ? 0 : WS_READABLE) | (u->down.len ? WS_WRITABLE : 0));
}

static void tunnel_net_ready(ws_source *s, const ws_ready *r)
{
    (void)r;
    tunnel_pump((tunnel *)s);
}

static void tunnel_pair_ready(ws_source *s, const ws_ready *r)
{
    (void)r;
    tunnel_pump(tunnel_of_pair(s));
}

static void tunnel_net_stop(ws_handle *h)
{
    tunnel_end((tunnel *)h);
}

static void tunnel_pair_stop(ws_handle *h)
{
    tunnel_end(tunnel_of_pair(h));
}

int ws_tunnel_start(ws_loop *loop, int fd, SSL *ssl)
{
    int pair[2];
    tunnel *u = calloc(1, sizeof(*u));
    if (!u || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        free(u);
        return -1;
    }
    u->net = (ws_handle){
        .source.ready = tunnel_net_ready, .stop = tunnel_net_stop, .release = tunnel_net_release};
    u->pair = (ws_handle){.source.ready = tunnel_pair_ready,
                          .stop = tunnel_pair_stop,
                          .release = tunnel_pair_release};
    u->references = 2;
    u->ssl = ssl;
    u->fd = fd;
    u->pair_fd = pair[0];
    ws_handle_open(loop, &u->net);
    ws_handle_open(loop, &u->pair);
    tunnel_pump(u);
    return pair[1];
}
