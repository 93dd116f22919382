/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The client's end of a connection, for tests of the engine. It sends bytes and masked frames, and
 * returns received frames as short texts such as `text "hello"` or `close 1000 "bye"`. It does not
 * use the framing code of protocol/, so that a test and the tested code cannot share a bug.
 */

#ifndef WS_T_UNIT_WIRE_H
#define WS_T_UNIT_WIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/unit/tap.h"

/** Factor for time limits on a loaded machine: the load per processor plus 1, at most 10. */
static inline int slowness(void)
{
    FILE *f = fopen("/proc/loadavg", "r");
    double load = 0;
    int running = 0, factor;
    if (f) {
        if (fscanf(f, "%lf %*s %*s %d", &load, &running) != 2) {
            load = 0;
        }
        fclose(f);
    }
    factor = (int)((load > running ? load : running) / (double)sysconf(_SC_NPROCESSORS_ONLN)) + 1;
    return factor > 10 ? 10 : factor;
}

/** Time limit for every wait, milliseconds; also long enough on a slow machine, see
 *  t/lib/Patience.pm. Computed at each call, because the load may have grown since the program
 *  started. */
static inline int patience_ms(void)
{
    const char *text = getenv("WS_TEST_DEADLINE");
    int given = text ? atoi(text) : 0, now = 60 * slowness();
    return 2000 * (given > now ? given : now);
}
#define PATIENCE patience_ms()

#define TEXT_SIZE 512

typedef struct wire {
    int fd;
    SSL *ssl;          /**< NULL: no TLS */
    unsigned char *in; /**< received bytes that are not consumed yet */
    size_t pos, len, size;
    int discard_input; /**< do not read while writing */
    const char *end;   /**< "eof", "reset" ... after the end of the input; otherwise NULL */
} wire;

enum { FIN = 0x80, CONT = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* ---- Sockets ---- */

static inline void nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/** Create a pair of connected Unix sockets, both non-blocking. */
static inline void unix_pair(int fd[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0) {
        bail_out("socketpair: %s", strerror(errno));
    }
    nonblocking(fd[0]);
    nonblocking(fd[1]);
}

/** As unix_pair(), with TCP sockets over the loopback interface. */
static inline void tcp_pair(int fd[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(l, (struct sockaddr *)&a, len) < 0 || listen(l, 1) < 0
        || getsockname(l, (struct sockaddr *)&a, &len) < 0
        || connect(fd[0], (struct sockaddr *)&a, len) < 0 || (fd[1] = accept(l, NULL, NULL)) < 0) {
        bail_out("no TCP over loopback: %s", strerror(errno));
    }
    close(l);
    nonblocking(fd[0]);
    nonblocking(fd[1]);
}

/** Set small socket buffers, so that a peer that does not read soon blocks the writer. */
static inline void small_buffers(const int fd[2])
{
    int size = 4096;
    for (int i = 0; i < 2; i++) {
        setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        setsockopt(fd[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
}

/* ---- Bytes ---- */

/* Read available bytes. Sets w->end at the end of the input. @return their number; 0: none now */
static inline size_t wire_try_read(wire *w)
{
    ssize_t n;
    if (w->end) {
        return 0;
    }
    if (w->size - w->len < 65536) {
        w->size = w->size * 2 + 65536;
        if (!(w->in = realloc(w->in, w->size))) {
            bail_out("no memory");
        }
    }
    if (w->ssl) {
        ERR_clear_error();
        n = SSL_read(w->ssl, w->in + w->len, 65536);
        if (n <= 0) {
            switch (SSL_get_error(w->ssl, (int)n)) {
            case SSL_ERROR_WANT_READ:
            case SSL_ERROR_WANT_WRITE:
                return 0;
            case SSL_ERROR_ZERO_RETURN:
                w->end = "close_notify";
                return 0;
            default:
                w->end = "broken";
                return 0;
            }
        }
    }
    else {
        n = recv(w->fd, w->in + w->len, 65536, 0);
        if (n <= 0) {
            w->end = n == 0 ? "eof" : errno == EAGAIN || errno == EINTR ? NULL : "reset";
            return 0;
        }
    }
    w->len += (size_t)n;
    return (size_t)n;
}

static inline void wire_wait(const wire *w, short events)
{
    struct pollfd p = {.fd = w->fd, .events = events};
    if (poll(&p, 1, PATIENCE) == 0) {
        bail_out("nothing happens on a connection");
    }
}

/** Read until at least n bytes are available, or until the end of the input.
 *  @return whether n bytes are available */
static inline int wire_need(wire *w, size_t n)
{
    while (w->len - w->pos < n && !w->end) {
        if (!wire_try_read(w) && !w->end) {
            wire_wait(w, POLLIN);
        }
    }
    return w->len - w->pos >= n;
}

/** Send all bytes, and buffer the input that arrives meanwhile. On a broken connection the bytes
 *  are discarded. */
static inline void wire_send(wire *w, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n;
        if (w->ssl) {
            ERR_clear_error();
            n = SSL_write(w->ssl, p, len > 65536 ? 65536 : (int)len);
            if (n <= 0) {
                int error = SSL_get_error(w->ssl, (int)n);
                if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
                    return;
                }
            }
        }
        else {
            n = send(w->fd, p, len, MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN && errno != EINTR) {
                return;
            }
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            continue;
        }
        if (w->discard_input || w->end) {
            wire_wait(w, POLLOUT);
        }
        else if (!wire_try_read(w)) {
            wire_wait(w, w->end ? POLLOUT : POLLIN | POLLOUT);
        }
    }
}

static inline void wire_free(wire *w)
{
    if (w->ssl) {
        SSL_free(w->ssl);
    }
    free(w->in);
    if (w->fd >= 0) {
        close(w->fd);
    }
    memset(w, 0, sizeof(*w));
    w->fd = -1;
}

/** Close a TCP connection with a reset. */
static inline void wire_reset(wire *w)
{
    struct linger l = {1, 0};
    setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    wire_free(w);
}

/* ---- Sending frames ---- */

/** Maximum length of a client's frame header, bytes. */
#define HEAD_MAX 14

/** Write a client's frame to out (HEAD_MAX + len bytes): RFC 6455, section 5.2. @return its
 *  length */
static inline size_t frame_put(unsigned char *out, int first, const void *payload, size_t len)
{
    static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char *p = out;
    *p++ = (unsigned char)first;
    if (len < 126) {
        *p++ = (unsigned char)(0x80 | len);
    }
    else {
        int bytes = len < 65536 ? 2 : 8;
        *p++ = bytes == 2 ? 0xFE : 0xFF;
        for (int i = bytes - 1; i >= 0; i--) {
            *p++ = (unsigned char)(i < 8 ? (uint64_t)len >> (8 * i) : 0);
        }
    }
    memcpy(p, key, 4);
    p += 4;
    for (size_t i = 0; i < len; i++) {
        p[i] = ((const unsigned char *)payload)[i] ^ key[i & 3];
    }
    return (size_t)(p - out) + len;
}

static inline void wire_frame(wire *w, int first, const void *payload, size_t len)
{
    unsigned char *f = malloc(HEAD_MAX + len);
    wire_send(w, f, frame_put(f, first, payload, len));
    free(f);
}

static inline void wire_text(wire *w, const char *text)
{
    wire_frame(w, FIN | TEXT, text, strlen(text));
}

/** Send a Close frame; code 0: with an empty payload. */
static inline void wire_close(wire *w, int code, const char *reason)
{
    unsigned char p[125] = {(unsigned char)(code >> 8), (unsigned char)code};
    memcpy(p + 2, reason, strlen(reason));
    wire_frame(w, FIN | CLOSE, p, code ? 2 + strlen(reason) : 0);
}

/* ---- Receiving frames ---- */

/** Describe a message or control frame as a text: its opcode and its payload. For a payload of more
 *  than 125 bytes, its length and checksum instead. @param out  TEXT_SIZE bytes */
static inline const char *describe(char *out, int opcode, const void *payload, size_t len)
{
    static const char *const names[16] = {
        "continuation", "text", "binary", [8] = "close", "ping", "pong"};
    const unsigned char *p = payload;
    char *o = out + sprintf(out, "%s", names[opcode] ? names[opcode] : "reserved");
    if (opcode == CLOSE && len >= 2) {
        o += sprintf(o, " %d", p[0] << 8 | p[1]);
        p += 2;
        len -= 2;
    }
    if (len > 125) {
        uint64_t sum = 14695981039346656037u;
        for (size_t i = 0; i < len; i++) {
            sum = (sum ^ p[i]) * 1099511628211u;
        }
        sprintf(o, " of %zu bytes, sum %016llx", len, (unsigned long long)sum);
    }
    else if (len > 0) {
        o += sprintf(o, " \"");
        for (size_t i = 0; i < len; i++) {
            o += p[i] >= ' ' && p[i] < 0x7F ? sprintf(o, "%c", p[i]) : sprintf(o, "\\%02x", p[i]);
        }
        sprintf(o, "\"");
    }
    return out;
}

typedef struct frame {
    int opcode, fin;
    const unsigned char *payload; /**< valid until the next call */
    size_t len;
} frame;

/** Read a frame. @return NULL; or a description of the failure: "eof", "reset", "close_notify",
 *  "broken", or of an invalid frame */
static inline const char *wire_get(wire *w, frame *f)
{
    unsigned char *p;
    uint64_t len;
    size_t head = 2;

    if (w->pos == w->len) {
        w->pos = w->len = 0;
    }
    if (!wire_need(w, head)) {
        return w->len == w->pos ? w->end : "a cut frame";
    }
    p = w->in + w->pos;
    if (p[0] & 0x70 || p[1] & 0x80) {
        return "a frame that is masked or has reserved bits";
    }
    len = p[1];
    if (len >= 126) {
        head += len == 126 ? 2 : 8;
        if (!wire_need(w, head)) {
            return "a cut frame";
        }
        p = w->in + w->pos;
        len = 0;
        for (size_t i = 2; i < head; i++) {
            len = len << 8 | p[i];
        }
        if (len < (head == 4 ? 126 : 65536)) {
            return "a length that is not in its shortest form";
        }
    }
    if (!wire_need(w, head + len)) {
        return "a cut frame";
    }
    p = w->in + w->pos;
    *f = (frame){p[0] & 0xF, p[0] & FIN, p + head, len};
    w->pos += head + len;
    return NULL;
}

/** Describe the next frame, or the failure, see wire_get(). " +" follows a fragment that is not the
 *  message's last. Valid until the thread's next call. */
static inline const char *wire_next(wire *w)
{
    static __thread char text[TEXT_SIZE];
    frame f = {0};
    const char *problem = wire_get(w, &f);
    if (problem) {
        return problem;
    }
    describe(text, f.opcode, f.payload, f.len);
    return f.fin ? text : strcat(text, " +");
}

/** wire_next_is(w, text, name...): check the next frame. */
#define wire_next_is(W, ...) is_str(wire_next(W), __VA_ARGS__)

#endif
