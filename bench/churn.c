/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This program opens and closes connections of many kinds to an echo server, half of them over
 * TLS. Some clients send fragments, Pings, and small or large messages, compressed or not. Others
 * are idle, read slowly, disconnect with or without a Close frame, or send garbage. The program
 * compares every echo with the message.
 *
 *   churn [-c CONNECTIONS] [-r MESSAGES_A_SECOND] [-t SECONDS] [-k] PORT TLS_PORT [PATH]
 *
 * Use -k if child processes are killed while the program runs. It then counts a broken connection
 * as lost, and prints a line "lost TIME" with the time in seconds since 1970.
 *
 * The program prints errors and, at its end, a line of counts. The exit status is 0, or 1 after an
 * error.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "protocol/frame.h"
#include "protocol/mask.h"

typedef enum {
    TALKS,    /* sends messages, then closes with a closing handshake */
    PACKS,    /* as TALKS, but compresses its messages */
    IDLE,     /* sends nothing for seconds, then closes with a closing handshake */
    VANISHES, /* sends messages, then ends the stream without a Close frame */
    ABORTS,   /* sends messages, then resets the connection */
    SLOW,     /* sends many large messages, and reads their echoes seconds later */
    FLEES,    /* as SLOW, but resets the connection instead of reading */
    GARBAGE,  /* sends a handshake, then random bytes */
    NOISE,    /* sends random bytes instead of a handshake */
    HALF,     /* sends only the beginning of a handshake */
    KINDS
} kind;

/* Percentage of the clients of each kind, in the order above. */
static const int share[KINDS] = {34, 20, 8, 8, 8, 3, 3, 6, 5, 5};

typedef enum { NONE, HANDSHAKE, OPEN, CLOSING } stage;

/* Number and size of the messages of a SLOW or FLEES client. Together they are larger than the
 * buffers of the kernel. */
#define SLOW_MESSAGES 150
#define SLOW_SIZE 65536

/* @return the time limit for expected input, seconds (see t/lib/Patience.pm) */
static double patience(void)
{
    static double seconds;
    if (seconds <= 0) {
        const char *text = getenv("WS_TEST_DEADLINE");
        seconds = text && atoi(text) > 0 ? atoi(text) : 60;
    }
    return seconds;
}

typedef struct client {
    kind kind;
    stage stage;
    int fd, tls;
    int reads; /* 0 while the client does not read */
    SSL *ssl;
    double due; /* time of the next action, which is a message, the end or a timeout, seconds */
    unsigned char *out;
    size_t out_len, out_pos, out_size;
    unsigned char
        in[2048]; /* the response's head during the handshake, later an incomplete frame */
    size_t in_len;
    ws_parser parser;
    unsigned seed;     /* seed of the text of the message whose echo is expected */
    size_t size, seen; /* length of that message, and length of the part that has arrived, bytes */
    int expected;      /* number of echoes still expected */
    int left;          /* number of messages still to send */
    int packs;         /* whether permessage-deflate is in use */
    unsigned char *packed; /* received part of a compressed message */
    size_t packed_len;
} client;

static struct {
    int clients, rate, seconds, kills, port, tls_port;
    const char *path;
} opt = {.clients = 200, .rate = 2000, .seconds = 10, .path = "/"};

static client *clients;
static int epoll;
static SSL_CTX *tls;
static z_stream packer, unpacker;
static double ends;
static struct {
    unsigned long connections, messages, bytes, refused, restarted, lost, wrong;
} count;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static unsigned below(unsigned n)
{
    return (unsigned)random() % n;
}

static double seconds_up_to(double most)
{
    return most * (double)below(1000) / 1000;
}

static void fail(const char *what)
{
    fprintf(stderr, "churn: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static void *grown(void *memory, size_t size)
{
    void *new = realloc(memory, size);
    if (!new) {
        fail("memory");
    }
    return new;
}

static const char *name_of(const client *c)
{
    static const char *names[] = {"talks", "packs", "idle",    "vanishes", "aborts",
                                  "slow",  "flees", "garbage", "noise",    "half"};
    return names[c->kind];
}

static void complain(const client *c, const char *what)
{
    if (count.wrong++ < 20) {
        printf("wrong: client %d (%s%s, stage %d, %zu of %zu bytes, %d expected): %s\n",
               (int)(c - clients), name_of(c), c->tls ? ", TLS" : "", c->stage, c->seen, c->size,
               c->expected, what);
    }
}

/* Report a connection that the server should not have ended. */
static void broken(const client *c, const char *what)
{
    struct timespec t;
    if (!opt.kills) {
        complain(c, what);
        return;
    }
    count.lost++;
    clock_gettime(CLOCK_REALTIME, &t);
    printf("lost %.3f\n", (double)t.tv_sec + (double)t.tv_nsec / 1e9);
    fflush(stdout);
}

/* ---- Sending ---- */

static void watch(client *c)
{
    struct epoll_event e = {.data.ptr = c};
    e.events = (c->reads ? EPOLLIN : 0u) | (c->out_pos < c->out_len ? EPOLLOUT : 0u);
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
}

/* Close a connection, with or without a reset. A new client will reuse the structure. */
static void leave(client *c, int reset)
{
    if (reset) {
        struct linger at_once = {.l_onoff = 1};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
    close(c->fd);
    SSL_free(c->ssl);
    free(c->out);
    free(c->packed);
    memset(c, 0, sizeof(*c));
    c->due = now() + seconds_up_to(0.1);
}

static void put(client *c, const void *data, size_t len)
{
    if (c->out_pos == c->out_len) {
        c->out_pos = c->out_len = 0;
    }
    if (c->out_len + len > c->out_size) {
        c->out_size = (c->out_len + len) * 2;
        c->out = grown(c->out, c->out_size);
    }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}

static void put_frame(client *c, unsigned first, const void *data, size_t len)
{
    unsigned char header[WS_HEADER_MAX], mask[4];
    unsigned key = (unsigned)random();
    size_t header_len;
    memcpy(mask, &key, sizeof(mask));
    header_len = ws_frame_header(header, first, len, mask);
    put(c, header, header_len);
    put(c, data, len);
    ws_mask(c->out + c->out_len - len, len, mask);
}

/* Write pending output as far as the socket accepts it. @return 0 if the connection is broken */
static int flush(client *c)
{
    while (c->out_pos < c->out_len) {
        size_t len = c->out_len - c->out_pos;
        ssize_t n = c->ssl ? SSL_write(c->ssl, c->out + c->out_pos, (int)len)
                           : send(c->fd, c->out + c->out_pos, len, MSG_NOSIGNAL);
        if (n <= 0) {
            if (c->ssl ? SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_WRITE : errno == EAGAIN) {
                break;
            }
            return 0;
        }
        c->out_pos += (size_t)n;
    }
    watch(c);
    return 1;
}

/* @return the byte at an offset of the compressible text that belongs to a seed */
static unsigned char byte_of(unsigned seed, size_t at)
{
    return (unsigned char)(' ' + (seed + at * (1 + at / 1000)) % 90);
}

/* Send a message of `size` bytes `times` times, in random fragments, with Pings between some of the
 * fragments. */
static void talk(client *c, size_t size, int times)
{
    static unsigned char *text, *packed;
    static size_t room;
    unsigned char *data;

    if (size > room) {
        room = size;
        text = grown(text, room);
        packed = grown(packed, room + room / 100 + 100);
    }
    c->seed = below(1000);
    c->size = size;
    c->seen = 0;
    c->expected = times;
    for (size_t i = 0; i < size; i++) {
        text[i] = byte_of(c->seed, i);
    }
    data = text;
    if (c->packs) {
        /* RFC 7692, section 7.2.1 */
        deflateReset(&packer);
        packer.next_in = text;
        packer.avail_in = (uInt)size;
        packer.next_out = packed;
        packer.avail_out = (uInt)(size + size / 100 + 100);
        deflate(&packer, Z_SYNC_FLUSH);
        size = packer.total_out - 4;
        data = packed;
    }
    while (times--) {
        unsigned op = WS_OP_TEXT | (c->packs ? WS_RSV1 : 0u);
        size_t at = 0;
        for (unsigned more = below(3); more && at < size; more--) {
            size_t part = below((unsigned)(size - at));
            put_frame(c, op, data + at, part);
            at += part;
            op = WS_OP_CONTINUATION;
            if (below(2)) {
                put_frame(c, WS_FIN | WS_OP_PING, "still there?", 12);
            }
        }
        put_frame(c, WS_FIN | op, data + at, size - at);
    }
    c->due = now() + patience();
}

static void close_all(client *c)
{
    static const unsigned char normal[] = {1000 >> 8, 1000 & 0xFF};
    put_frame(c, WS_FIN | WS_OP_CLOSE, normal, sizeof(normal));
    c->stage = CLOSING;
    c->due = now() + patience();
}

static void put_noise(client *c)
{
    unsigned char noise[256];
    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (unsigned char)random();
    }
    put(c, noise, 1 + below(sizeof(noise)));
}

/* ---- Receiving ---- */

/* Delay the client's next message, so that all clients together send at the configured rate. */
static void rest(client *c)
{
    c->due = now() + seconds_up_to(2.0 * opt.clients / opt.rate);
}

static int compare(client *c, const unsigned char *data, size_t len)
{
    if (len > c->size - c->seen) {
        complain(c, "more came back than was sent");
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        if (data[i] != byte_of(c->seed, c->seen + i)) {
            complain(c, "the echo differs from the message");
            return 0;
        }
    }
    c->seen += len;
    return 1;
}

static int unpack(client *c, const ws_piece *piece)
{
    static const unsigned char tail[] = {0, 0, 0xFF, 0xFF};
    unsigned char text[65536];
    int last = piece->flags & WS_MESSAGE_LAST;

    c->packed = grown(c->packed, c->packed_len + piece->len + sizeof(tail));
    memcpy(c->packed + c->packed_len, piece->data, piece->len);
    c->packed_len += piece->len;
    if (!last) {
        return 1;
    }
    memcpy(c->packed + c->packed_len, tail, sizeof(tail));
    inflateReset(&unpacker);
    unpacker.next_in = c->packed;
    unpacker.avail_in = (uInt)(c->packed_len + sizeof(tail));
    c->packed_len = 0;
    do {
        int rv;
        unpacker.next_out = text;
        unpacker.avail_out = sizeof(text);
        rv = inflate(&unpacker, Z_SYNC_FLUSH);
        if (rv != Z_OK && rv != Z_BUF_ERROR && rv != Z_STREAM_END) {
            complain(c, "an echo cannot be decompressed");
            return 0;
        }
        if (!compare(c, text, sizeof(text) - unpacker.avail_out)) {
            return 0;
        }
    } while (unpacker.avail_out == 0);
    return 1;
}

/* @return 0: the caller must close the connection */
static int on_data(client *c, const ws_piece *piece)
{
    if (!c->expected) {
        complain(c, "a message arrived, but no echo was expected");
        return 0;
    }
    if (!(piece->rsv & WS_RSV1 ? unpack(c, piece) : compare(c, piece->data, piece->len))) {
        return 0;
    }
    if (piece->flags & WS_MESSAGE_LAST) {
        if (c->seen != c->size) {
            complain(c, "less came back than was sent");
            return 0;
        }
        count.messages++;
        count.bytes += c->size;
        c->seen = 0;
        if (--c->expected == 0) {
            rest(c);
        }
    }
    return 1;
}

static int on_control(client *c, const ws_piece *piece)
{
    unsigned code;
    if (piece->opcode == WS_OP_PING) {
        put_frame(c, WS_FIN | WS_OP_PONG, piece->data, piece->len);
    }
    if (piece->opcode != WS_OP_CLOSE || c->stage == CLOSING) {
        return 1;
    }
    code = piece->len < 2 ? 1005 : (unsigned)piece->data[0] << 8 | piece->data[1];
    put_frame(c, WS_FIN | WS_OP_CLOSE, piece->data, piece->len < 2 ? 0 : 2);
    c->stage = CLOSING;
    c->due = now() + patience();
    if (code == 1012) {
        count.restarted++;
    }
    else if (c->kind != GARBAGE) {
        char text[64];
        snprintf(text, sizeof(text), "closed with %u", code);
        complain(c, text);
    }
    return 1;
}

static int on_frames(client *c, unsigned char *data, size_t len)
{
    ws_parse_error error;
    ws_piece piece;

    for (;;) {
        int go_on;
        switch (ws_parser_next(&c->parser, &data, &len, &piece, &error)) {
        case WS_PARSE_MORE:
            memmove(c->in, data, len);
            c->in_len = len;
            return 1;
        case WS_PARSE_DATA:
            /* Random bytes may happen to be a valid message. */
            go_on = c->stage == CLOSING || c->kind == GARBAGE || on_data(c, &piece);
            break;
        case WS_PARSE_CONTROL:
            go_on = on_control(c, &piece);
            break;
        default:
            complain(c, error.text);
            return 0;
        }
        if (!go_on) {
            return 0;
        }
    }
}

static void begin(client *c)
{
    c->stage = OPEN;
    c->left = 1 + (int)below(20);
    rest(c);
    switch (c->kind) {
    case IDLE:
        c->left = 0;
        c->due = now() + 1 + seconds_up_to(5);
        if (c->due > ends) {
            c->due = ends;
        }
        break;
    case SLOW:
    case FLEES:
        talk(c, SLOW_SIZE, SLOW_MESSAGES);
        c->left = 0;
        c->reads = 0;
        c->due = now() + 1 + seconds_up_to(2);
        break;
    case GARBAGE:
        put_noise(c);
        c->due = now() + 1;
        break;
    default:
        break;
    }
}

/* @return 0: the caller must close the connection */
static int on_answer(client *c, unsigned char *data, size_t len)
{
    size_t room = sizeof(c->in) - 1 - c->in_len, got = len < room ? len : room, head;
    char *end;

    memcpy(c->in + c->in_len, data, got);
    c->in[c->in_len + got] = 0;
    if (!(end = strstr((char *)c->in, "\r\n\r\n"))) {
        c->in_len += got;
        if (got < len) {
            complain(c, "the head of the handshake's answer is too long");
        }
        return got == len;
    }
    head = (size_t)(end + 4 - (char *)c->in) - c->in_len;
    *end = 0;
    c->in_len = 0;
    if (strncmp((char *)c->in, "HTTP/1.1 101", 12)) {
        if (!strncmp((char *)c->in, "HTTP/1.1 503", 12)) {
            count.refused++;
        }
        else {
            complain(c, (char *)c->in);
        }
        return 0;
    }
    ws_parser_init(&c->parser, WS_CLIENT, 1 << 30, 1 << 30);
    c->packs = c->kind == PACKS;
    if (c->packs) {
        c->parser.rsv_ok = WS_RSV1;
        if (!strstr((char *)c->in, "permessage-deflate")) {
            complain(c, "permessage-deflate was refused");
            return 0;
        }
    }
    count.connections++;
    begin(c);
    return on_frames(c, data + head, len - head);
}

/* @return 0: the caller must close the connection */
static int on_input(client *c)
{
    static unsigned char buf[65536 + sizeof(((client *)0)->in)];
    for (;;) {
        /* Put the new input behind the stored part of an incomplete frame. */
        size_t before = c->stage >= OPEN ? c->in_len : 0;
        ssize_t n;
        memcpy(buf, c->in, before);
        n = c->ssl ? SSL_read(c->ssl, buf + before, 65536) : read(c->fd, buf + before, 65536);
        if (n <= 0) {
            if (c->ssl ? SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ
                       : n < 0 && errno == EAGAIN) {
                return 1;
            }
            if (c->stage != CLOSING && c->kind != GARBAGE && c->kind != NOISE && c->kind != HALF) {
                broken(c, "the connection has broken");
            }
            return 0;
        }
        if (c->kind == NOISE || c->kind == HALF) {
            continue;
        }
        if (c->stage == HANDSHAKE ? !on_answer(c, buf, (size_t)n)
                                  : !on_frames(c, buf, before + (size_t)n)) {
            return 0;
        }
        if (!c->reads) {
            return 1;
        }
    }
}

/* ---- A client's actions ---- */

static void come(client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct epoll_event e = {.data.ptr = c};
    char text[1024];
    int one = 1, dice = (int)below(100), len;

    c->kind = 0;
    while ((dice -= share[c->kind]) >= 0) {
        c->kind++;
    }
    c->tls = (int)below(2);
    c->reads = 1;
    to.sin_port = htons((uint16_t)(c->tls ? opt.tls_port : opt.port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0
        || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        fail("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (c->tls) {
        c->ssl = SSL_new(tls);
        SSL_set_fd(c->ssl, c->fd);
        if (SSL_connect(c->ssl) != 1) {
            broken(c, "the TLS handshake has failed");
            leave(c, 1);
            return;
        }
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    c->stage = HANDSHAKE;
    c->due = now() + patience();
    len = snprintf(text, sizeof(text),
                   "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                   opt.path, c->tls ? opt.tls_port : opt.port,
                   c->kind == PACKS ? "Sec-WebSocket-Extensions: permessage-deflate; "
                                      "client_no_context_takeover; server_no_context_takeover\r\n"
                                    : "");
    if (c->kind == NOISE) {
        put_noise(c);
    }
    else {
        put(c, text, (size_t)(c->kind == HALF ? 1 + (int)below((unsigned)len - 4) : len));
    }
    if (c->kind == NOISE || c->kind == HALF) {
        c->due = now() + seconds_up_to(1);
    }
    if (!flush(c)) {
        leave(c, 1);
    }
}

/* @return a random size, bytes; most sizes are small, some are large */
static size_t some_size(void)
{
    unsigned dice = below(1000);
    return dice < 900 ? below(300) : dice < 990 ? below(20000) : below(900000);
}

/* Perform a client's next action. */
static void act(client *c)
{
    if (c->stage == NONE) {
        come(c);
        return;
    }
    if (c->kind == NOISE || c->kind == HALF || c->kind == GARBAGE || c->kind == FLEES) {
        leave(c, (int)below(2) || c->kind == FLEES);
        return;
    }
    if (!c->reads) {
        c->reads = 1;
        c->due = now() + patience();
    }
    else if (c->stage != OPEN || c->expected) {
        complain(c, "expected data did not arrive in time");
        leave(c, 1);
        return;
    }
    else if (c->left && now() < ends) {
        c->left--;
        talk(c, some_size(), 1);
    }
    else if (c->kind == VANISHES || c->kind == ABORTS) {
        leave(c, c->kind == ABORTS);
        return;
    }
    else {
        close_all(c);
    }
    if (!flush(c)) {
        if (c->stage != CLOSING) {
            broken(c, "writing to the connection has failed");
        }
        leave(c, 1);
    }
}

/* Perform all due actions. @return whether any client still has something to do */
static int look_after_all(void)
{
    double t = now();
    int some = 0;
    for (client *c = clients; c < clients + opt.clients; c++) {
        if (t >= c->due && (c->stage != NONE || t < ends)) {
            act(c);
        }
        some |= c->stage != NONE;
    }
    return some || t < ends;
}

static void run(void)
{
    struct epoll_event events[256];
    double looked = 0;
    for (;;) {
        int n = epoll_wait(epoll, events, 256, 10);
        for (int i = 0; i < n; i++) {
            client *c = events[i].data.ptr;
            if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !on_input(c)) || !flush(c)) {
                leave(c, 0);
            }
        }
        if (now() - looked >= 0.01) {
            looked = now();
            if (!look_after_all()) {
                return;
            }
        }
    }
}

int main(int argc, char **argv)
{
    int o;
    while ((o = getopt(argc, argv, "c:r:t:k")) != -1) {
        switch (o) {
        case 'c':
            opt.clients = atoi(optarg);
            break;
        case 'r':
            opt.rate = atoi(optarg);
            break;
        case 't':
            opt.seconds = atoi(optarg);
            break;
        case 'k':
            opt.kills = 1;
            break;
        default:
            argc = 0;
        }
    }
    if (argc - optind < 2 || opt.clients < 1 || opt.rate < 1) {
        fprintf(stderr,
                "usage: churn [-c CONNECTIONS] [-r MESSAGES_A_SECOND] [-t SECONDS] [-k] PORT "
                "TLS_PORT [PATH]\n");
        return 2;
    }
    opt.port = atoi(argv[optind]);
    opt.tls_port = atoi(argv[optind + 1]);
    if (argc - optind > 2) {
        opt.path = argv[optind + 2];
    }
    signal(SIGPIPE, SIG_IGN);
    srandom((unsigned)getpid());
    tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                              | SSL_MODE_RELEASE_BUFFERS);
    deflateInit2(&packer, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
    inflateInit2(&unpacker, -15);
    clients = calloc((size_t)opt.clients, sizeof(*clients));
    epoll = epoll_create1(0);
    ends = now() + opt.seconds;
    for (int i = 0; i < opt.clients; i++) {
        clients[i].due = now() + seconds_up_to(1);
    }
    run();
    printf("connections %lu, echoes %lu, MiB %lu, refused %lu, closed by restarts %lu, lost %lu, "
           "wrong %lu\n",
           count.connections, count.messages, count.bytes >> 20, count.refused, count.restarted,
           count.lost, count.wrong);
    return count.wrong != 0;
}
