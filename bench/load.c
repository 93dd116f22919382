/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Loads an echo server on this machine and says what that costs the server: processor time for each
 * message, and memory for each idle connection. One thread; every echo is compared with what was sent.
 *
 *   load -P PIDFILE [-c CONNECTIONS] [-m IN_FLIGHT] [-s BYTES] [-t SECONDS] [-T] PORT [PATH]
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "protocol/frame.h"
#include "protocol/mask.h"

typedef struct peer {
    int fd;
    SSL *ssl;
    unsigned char *out; /**< what is not written yet, of the loop's batch */
    size_t out_len, out_pos;
    size_t expected; /**< bytes of the current echoed batch that are still to come */
    size_t seen;     /**< bytes of it that have come */
} peer;

static struct {
    int connections, in_flight, seconds, tls, port;
    size_t size;
    const char *path;
    long pid;
} opt = {.connections = 64, .in_flight = 1, .seconds = 5, .size = 20, .path = "/echo"};

static unsigned char *request,
    *reply; /* a batch of in_flight frames: masked, and as it comes back */
static size_t request_len, reply_len;
static SSL_CTX *tls;

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- The server's processes ---- */

static double cpu_of(long pid)
{
    char name[64], line[1024];
    unsigned long user = 0, system = 0;
    FILE *f;
    snprintf(name, sizeof(name), "/proc/%ld/stat", pid);
    if ((f = fopen(name, "r"))) {
        char *rest = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
        if (rest) {
            sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
        }
        fclose(f);
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* Proportional set size, KiB: what memory a process would give back. */
static double pss_of(long pid)
{
    char name[64], line[256];
    double kib = 0;
    FILE *f;
    snprintf(name, sizeof(name), "/proc/%ld/smaps_rollup", pid);
    if ((f = fopen(name, "r"))) {
        while (fgets(line, sizeof(line), f)) {
            sscanf(line, "Pss: %lf", &kib);
        }
        fclose(f);
    }
    return kib;
}

static double of_all(double (*value)(long pid))
{
    char name[64];
    double sum = value(opt.pid);
    long child;
    FILE *f;
    snprintf(name, sizeof(name), "/proc/%ld/task/%ld/children", opt.pid, opt.pid);
    if ((f = fopen(name, "r"))) {
        while (fscanf(f, "%ld", &child) == 1) {
            sum += value(child);
        }
        fclose(f);
    }
    return sum;
}

/* ---- Connections ---- */

static ssize_t take(peer *p, void *buf, size_t size)
{
    ssize_t n;
    if (!p->ssl) {
        n = read(p->fd, buf, size);
        return n < 0 && errno == EAGAIN ? 0 : n == 0 ? -1 : n;
    }
    n = SSL_read(p->ssl, buf, (int)size);
    return n > 0 ? n : SSL_get_error(p->ssl, (int)n) == SSL_ERROR_WANT_READ ? 0 : -1;
}

static void give(peer *p)
{
    while (p->out_pos < p->out_len) {
        ssize_t n = p->ssl ? SSL_write(p->ssl, p->out + p->out_pos, (int)(p->out_len - p->out_pos))
                           : write(p->fd, p->out + p->out_pos, p->out_len - p->out_pos);
        if (n <= 0) {
            if (p->ssl ? SSL_get_error(p->ssl, (int)n) == SSL_ERROR_WANT_WRITE : errno == EAGAIN) {
                return; /* tried again when the socket has room */
            }
            fail("write");
        }
        p->out_pos += (size_t)n;
    }
}

static void open_peer(peer *p)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)opt.port)};
    char text[1024];
    size_t len = 0;
    int one = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if ((p->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0
        || connect(p->fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        fail("connect");
    }
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (opt.tls) {
        p->ssl = SSL_new(tls);
        SSL_set_fd(p->ssl, p->fd);
        if (SSL_connect(p->ssl) != 1) {
            fail("TLS handshake");
        }
    }
    p->out = (unsigned char *)text;
    p->out_pos = 0;
    p->out_len = (size_t)snprintf(text, sizeof(text),
                                  "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                                  opt.path, opt.port);
    give(p);
    do { /* to the byte: what follows the headers is WebSocket */
        ssize_t n = take(p, text + len, 1);
        if (n < 0 || (len += (size_t)n) == sizeof(text)) {
            fail("handshake");
        }
    } while (len < 4 || memcmp(text + len - 4, "\r\n\r\n", 4));
    if (memcmp(text, "HTTP/1.1 101 ", 13)) {
        errno = 0;
        fail("handshake refused");
    }
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
}

static void start_batch(peer *p)
{
    p->out = request;
    p->out_len = request_len;
    p->out_pos = 0;
    p->expected = reply_len;
    p->seen = 0;
    give(p);
}

static void make_batch(void)
{
    static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char *payload = malloc(opt.size + 1);
    request = malloc((opt.size + WS_HEADER_MAX) * (size_t)opt.in_flight);
    reply = malloc((opt.size + WS_HEADER_MAX) * (size_t)opt.in_flight);
    for (int i = 0; i < opt.in_flight; i++) {
        unsigned char k[4];
        for (size_t j = 0; j < opt.size; j++) {
            payload[j] = (unsigned char)(j * 31 + (size_t)i * 7);
        }
        reply_len += ws_frame_header(reply + reply_len, WS_FIN | WS_OP_BINARY, opt.size, NULL);
        memcpy(reply + reply_len, payload, opt.size);
        reply_len += opt.size;
        request_len += ws_frame_header(request + request_len, WS_FIN | WS_OP_BINARY, opt.size, key);
        memcpy(request + request_len, payload, opt.size);
        memcpy(k, key, 4);
        ws_mask(request + request_len, opt.size, k);
        request_len += opt.size;
    }
    free(payload);
}

/* @return batches that came back */
static unsigned long run(peer *peers, int epoll, double until)
{
    static unsigned char buf[1 << 20];
    struct epoll_event events[256];
    unsigned long batches = 0;

    for (int i = 0; i < opt.connections; i++) {
        start_batch(&peers[i]);
    }
    for (int stop = 0, busy = opt.connections; busy > 0;) {
        int n = epoll_wait(epoll, events, 256, 10000);
        if (n == 0) {
            errno = ETIMEDOUT;
            fail("no echo for 10 s");
        }
        stop = now() >= until;
        for (int i = 0; i < n; i++) {
            peer *p = events[i].data.ptr;
            ssize_t got;
            give(p);
            while (p->expected > 0 && (got = take(p, buf, sizeof(buf))) != 0) {
                if (got < 0 || (size_t)got > p->expected
                    || memcmp(buf, reply + p->seen, (size_t)got)) {
                    errno = 0;
                    fail("the echo is not what was sent");
                }
                p->seen += (size_t)got;
                if ((p->expected -= (size_t)got) == 0) {
                    batches++;
                    if (stop) {
                        busy--;
                    }
                    else {
                        start_batch(p);
                    }
                }
                if (!p->ssl && (size_t)got < sizeof(buf)) {
                    break;
                }
            }
        }
    }
    return batches;
}

int main(int argc, char **argv)
{
    double before, after, cpu, start, seconds;
    unsigned long messages;
    peer *peers;
    int o, epoll;

    while ((o = getopt(argc, argv, "P:c:m:s:t:T")) != -1) {
        FILE *f;
        switch (o) {
        case 'P':
            if (!(f = fopen(optarg, "r")) || fscanf(f, "%ld", &opt.pid) != 1) {
                fail(optarg);
            }
            fclose(f);
            break;
        case 'c':
            opt.connections = atoi(optarg);
            break;
        case 'm':
            opt.in_flight = atoi(optarg);
            break;
        case 's':
            opt.size = strtoul(optarg, NULL, 10);
            break;
        case 't':
            opt.seconds = atoi(optarg);
            break;
        case 'T':
            opt.tls = 1;
            break;
        default:
            optind = argc;
        }
    }
    if (optind >= argc || !opt.pid || opt.connections < 1 || opt.in_flight < 1) {
        fprintf(stderr, "usage: load -P PIDFILE [-c CONNECTIONS] [-m IN_FLIGHT] [-s BYTES] "
                        "[-t SECONDS] [-T] PORT [PATH]\n");
        return 2;
    }
    opt.port = atoi(argv[optind]);
    if (optind + 1 < argc) {
        opt.path = argv[optind + 1];
    }
    tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                              | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    make_batch();
    peers = calloc((size_t)opt.connections, sizeof(*peers));
    epoll = epoll_create1(0);

    before = of_all(pss_of);
    for (int i = 0; i < opt.connections; i++) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &peers[i]};
        open_peer(&peers[i]);
        epoll_ctl(epoll, EPOLL_CTL_ADD, peers[i].fd, &e);
    }
    run(peers, epoll, 0); /* one echo each, so that nothing is there for the first time */
    cpu = of_all(cpu_of);
    start = now();
    messages = run(peers, epoll, start + opt.seconds) * (unsigned long)opt.in_flight;
    seconds = now() - start;
    cpu = of_all(cpu_of) - cpu;
    sleep(1);
    after = of_all(pss_of);

    printf("connections %d%s, %zu bytes, %d in flight: %lu echoes in %.1f s, %.0f/s; server %.2f "
           "us of processor time each, %.0f a processor second; memory %.0f KiB -> %.0f KiB, %.0f "
           "bytes a connection\n",
           opt.connections, opt.tls ? " TLS" : "", opt.size, opt.in_flight, messages, seconds,
           (double)messages / seconds, cpu / (double)messages * 1e6,
           cpu > 0 ? (double)messages / cpu : 0, before, after,
           (after - before) * 1024 / opt.connections);
    return 0;
}
