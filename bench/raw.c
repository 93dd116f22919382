/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This server echoes all bytes without inspecting them. It shows the fastest echo that the kernel
 * and OpenSSL allow.
 *
 *   raw PORT TLS_PORT FAN_PORT CERTIFICATE KEY
 *
 * If the server receives bytes on a connection to FAN_PORT, it sends these bytes to all connections
 * on that port. It has one thread with one buffer, and allocates memory for a connection's data
 * only while the socket does not accept all data. Use `wsbench --raw` as its client.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum kind { ECHO, TLS, FAN };

typedef struct connection {
    int fd;
    enum kind kind;
    int listening;
    SSL *ssl;
    unsigned char *left; /**< data that the socket has not accepted yet, or NULL */
    size_t left_len, place;
} connection;

static unsigned char buffer[512 * 1024];
static connection **fan;
static size_t fan_count, fan_size;
static SSL_CTX *tls;
static int epoll;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(connection *c, unsigned events, int op)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, op, c->fd, &e) < 0) {
        fail("epoll_ctl");
    }
}

static void end(connection *c)
{
    if (c->kind == FAN) {
        fan[c->place] = fan[--fan_count];
        fan[c->place]->place = c->place;
    }
    SSL_free(c->ssl);
    close(c->fd);
    free(c->left);
    free(c);
}

/* Convert the result of reading or writing.
 * @return the number of bytes; 0 if no byte can be read or written now; -1 if the connection has
 * ended */
static ssize_t done(connection *c, ssize_t n)
{
    if (!c->ssl) {
        return n < 0 && errno == EAGAIN ? 0 : n == 0 ? -1 : n;
    }
    if (n <= 0) {
        int error = SSL_get_error(c->ssl, (int)n);
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    return n;
}

/* Write data, and store what the socket does not accept. @return 0, or -1 if the connection is
 * broken */
static int give(connection *c, const unsigned char *data, size_t len)
{
    while (len > 0 && !c->left) {
        ssize_t n = done(c, c->ssl ? SSL_write(c->ssl, data, (int)len)
                                   : send(c->fd, data, len, MSG_NOSIGNAL));
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        data += n;
        len -= (size_t)n;
    }
    if (len > 0) {
        if (!c->left) {
            watch(c, EPOLLOUT, EPOLL_CTL_MOD); /* stop reading until the stored data is written */
        }
        if (!(c->left = realloc(c->left, c->left_len + len))) {
            fail("realloc");
        }
        memcpy(c->left + c->left_len, data, len);
        c->left_len += len;
    }
    return 0;
}

static int give_left(connection *c)
{
    unsigned char *data = c->left;
    size_t len = c->left_len;
    int result;
    c->left = NULL;
    c->left_len = 0;
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
    result = give(c, data, len);
    free(data);
    return result;
}

/* Read the available data, at most as much as the buffer holds. @return the same as done() */
static ssize_t take(connection *c)
{
    size_t len = 0;
    ssize_t n;
    if (!c->ssl) {
        return done(c, recv(c->fd, buffer, sizeof(buffer), 0));
    }
    while (len < sizeof(buffer)) {
        n = done(c, SSL_read(c->ssl, buffer + len, (int)(sizeof(buffer) - len)));
        if (n <= 0) {
            return len > 0 ? (ssize_t)len : n;
        }
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static void event(connection *c)
{
    ssize_t n;
    if (c->left) {
        if (give_left(c) < 0) {
            end(c);
            return;
        }
        if (c->left) {
            return;
        }
    }
    do {
        n = take(c);
        for (size_t i = 0; n > 0 && c->kind == FAN && i < fan_count; i++) {
            give(fan[i], buffer, (size_t)n); /* if fan[i] is broken, its own event ends it */
        }
        if (n < 0 || (n > 0 && c->kind != FAN && give(c, buffer, (size_t)n) < 0)) {
            end(c);
            return;
        }
    } while (c->ssl && n > 0
             && !c->left); /* OpenSSL may have read more records than it has returned */
}

static connection *add(int fd, enum kind kind, int listening)
{
    connection *c = calloc(1, sizeof(*c));
    if (!c) {
        fail("calloc");
    }
    c->fd = fd;
    c->kind = kind;
    c->listening = listening;
    watch(c, EPOLLIN, EPOLL_CTL_ADD);
    return c;
}

static void welcome(const connection *listener)
{
    int one = 1, fd;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        connection *c = add(fd, listener->kind, 0);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (c->kind == TLS) {
            c->ssl = SSL_new(tls);
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);
        }
        if (c->kind == FAN) {
            if (fan_count == fan_size) {
                connection **more =
                    realloc(fan, (fan_size = fan_size ? 2 * fan_size : 1024) * sizeof(*fan));
                if (!more) {
                    fail("realloc");
                }
                fan = more;
            }
            c->place = fan_count;
            fan[fan_count++] = c;
        }
    }
}

static void listen_on(const char *port, enum kind kind)
{
    struct sockaddr_in here = {.sin_family = AF_INET,
                               .sin_port = htons((unsigned short)atoi(port)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(fd, 4096) < 0) {
        fail("listen");
    }
    add(fd, kind, 1);
}

int main(int argc, char **argv)
{
    struct epoll_event events[1024];
    if (argc != 6) {
        fputs("raw PORT TLS_PORT FAN_PORT CERTIFICATE KEY\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(0);
    tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                              | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(tls, 1);
    if (SSL_CTX_use_certificate_chain_file(tls, argv[4]) != 1
        || SSL_CTX_use_PrivateKey_file(tls, argv[5], SSL_FILETYPE_PEM) != 1) {
        fputs("raw: the certificate or its key cannot be read\n", stderr);
        return 1;
    }
    listen_on(argv[1], ECHO);
    listen_on(argv[2], TLS);
    listen_on(argv[3], FAN);
    for (;;) {
        int n = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            c->listening ? welcome(c) : event(c);
        }
    }
}
