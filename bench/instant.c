/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This HTTP application immediately echoes each message. It supports persistent connections, and
 * the requests that ws_http.so sends with style=form and with style=grip. It does nothing else, so
 * that a benchmark measures the cost of the server.
 *
 *   instant PORT
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 65536
#define CONNECTIONS_MAX 1024

/* A connection and its incomplete request. The index in the array below is the descriptor. */
typedef struct {
    char bytes[REQUEST_MAX + 1];
    size_t len;
} connection;

static connection *connections[CONNECTIONS_MAX];
static int epoll;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0) {
        fail("epoll_ctl");
    }
}

static int listen_on(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((unsigned short)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 512) < 0) {
        fail("listen");
    }
    return fd;
}

static int hex(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* Decode the first message in the form data of a request. @return the end of the message in out */
static char *message(const char *body, char *out)
{
    const char *at = strstr(body, "data%5B%5D=");
    for (at = at ? at + 11 : ""; *at && *at != '&'; at++) {
        if (*at == '%') {
            *out++ = (char)(hex(at[1]) << 4 | hex(at[2]));
            at += 2;
        }
        else {
            *out++ = *at;
        }
    }
    return out;
}

static void answer(int fd, const char *head, char *body, size_t len)
{
    static char out[REQUEST_MAX + 256], echo[REQUEST_MAX];
    int grip = strcasestr(head, "websocket-events") != NULL, n;
    if (!grip) {
        len = (size_t)(message(body, echo) - echo);
        body = echo;
    }
    n = snprintf(out, 256, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                 grip ? "application/websocket-events" : "text/plain", len);
    memcpy(out + n, body, len);
    if (write(fd, out, (size_t)n + len) < 0) {
        perror("write");
    }
}

static void end(int fd)
{
    close(fd);
    free(connections[fd]);
    connections[fd] = NULL;
}

/* Answer the buffered request if it is complete. */
static void serve(int fd, connection *c)
{
    char *rest, *length, after;
    size_t len;
    c->bytes[c->len] = '\0';
    rest = strstr(c->bytes, "\r\n\r\n");
    if (!rest) {
        return;
    }
    *rest = '\0';
    length = strcasestr(c->bytes, "\r\nContent-Length:");
    len = length ? strtoul(length + 17, NULL, 10) : 0;
    if (c->len - (size_t)(rest + 4 - c->bytes) < len) {
        *rest = '\r';
        return;
    }
    after = rest[4 + len];
    rest[4 + len] = '\0';
    answer(fd, c->bytes, rest + 4, len);
    rest[4 + len] = after;
    c->len = 0;
}

static void receive(int fd)
{
    connection *c = connections[fd];
    ssize_t n = read(fd, c->bytes + c->len, REQUEST_MAX - c->len);
    if (n <= 0) {
        end(fd);
        return;
    }
    c->len += (size_t)n;
    serve(fd, c);
}

static void take(int listener)
{
    int fd = accept(listener, NULL, NULL), one = 1;
    if (fd < 0 || fd >= CONNECTIONS_MAX || !(connections[fd] = calloc(1, sizeof(connection)))) {
        fail("accept");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    watch(fd);
}

int main(int argc, char **argv)
{
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 0);
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(0);
    watch(listener);
    while (1) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            events[i].data.fd == listener ? take(listener) : receive(events[i].data.fd);
        }
    }
}
