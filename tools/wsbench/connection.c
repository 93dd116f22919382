/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Handles a worker's connections: connects, sends messages, and compares the received ones. Never
 * blocks. A failed connection is reported once and not reopened.
 */

#include "tools/wsbench/connection.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/close.h"
#include "protocol/mask.h"
#include "protocol/printable.h"
#include "tools/wsbench/handshake.h"

/* ---- Closing ---- */

static void connection_release(worker *w, peer *p)
{
    int was_open = p->state == PEER_OPEN || p->state == PEER_CLOSING;
    ws_tls_close(p->ssl);
    p->ssl = NULL;
    if (p->fd >= 0) {
        close(p->fd);
        p->fd = -1;
    }
    if (p->windows) {
        inflateEnd(&p->windows->in);
        deflateEnd(&p->windows->out);
        free(p->windows->packed);
        free(p->windows);
        p->windows = NULL;
    }
    free(p->times);
    free(p->pending);
    free(p->rest);
    p->times = NULL;
    p->pending = p->rest = NULL;
    p->times_size = 0;
    p->pending_len = p->pending_at = p->rest_len = 0;
    p->state = PEER_GONE;
    measure_gone(w, p, was_open);
}

/* Count a failed connection, and report the first one. */
static void connection_fail(worker *w, peer *p, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void connection_fail(worker *w, peer *p, const char *format, ...)
{
    if (!w->board->problem[0]) {
        char text[sizeof(w->board->problem)];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        /* the text quotes server data and may be printed to a terminal, so make it printable */
        ws_printable(w->board->problem, sizeof(w->board->problem), text, strlen(text), "");
    }
    if (p->state == PEER_OPEN || p->state == PEER_CLOSING) {
        w->board->lost++;
    }
    else {
        w->board->failed++;
    }
    connection_release(w, p);
}

/* ---- Sending messages ---- */

/* @return 0, or -1: the connection has been released */
static int connection_send_bytes(worker *w, peer *p, const unsigned char *data, size_t len)
{
    if (socket_send(p, data, len) < 0) {
        connection_fail(w, p, "write: %s", socket_reason(p));
        return -1;
    }
    return 0;
}

/* Compress the next message with the connection's window. */
static const unsigned char *connection_pack(peer *p, size_t *len)
{
    peer_windows *x = p->windows;
    if (p->sent_bytes == 0) {
        x->packed_size = opt.size + opt.size / 1000 + 64;
        x->packed = x->packed ? x->packed : memory_must(malloc(x->packed_size));
        x->out.next_in = (unsigned char *)payload_of(p->number, p->sent);
        x->out.avail_in = (uInt)opt.size;
        x->out.next_out = x->packed;
        x->out.avail_out = (uInt)x->packed_size;
        deflate(&x->out, Z_SYNC_FLUSH);
        x->packed_len = x->packed_size - x->out.avail_out - 4;
        if (p->forget) {
            deflateReset(&x->out);
        }
    }
    *len = x->packed_len;
    return x->packed;
}

/* Get the payload of the next frame, compressed if negotiated. */
static const unsigned char *connection_contents(peer *p, size_t *len)
{
    *len = opt.size;
    return p->deflate == DEFLATE_ON         ? payload_deflated(p->number, p->sent, len)
           : p->deflate == DEFLATE_TAKEOVER ? connection_pack(p, len)
                                            : payload_of(p->number, p->sent);
}

/* Write frames of due messages to the worker's buffer. The last frame may be incomplete. @return
 * number of bytes */
static size_t connection_compose(worker *w, peer *p)
{
    size_t len = 0;
    while (p->sent < p->due && WORKER_BUFFER - len > WS_HEADER_MAX) {
        size_t size, piece, room;
        const unsigned char *payload = connection_contents(p, &size);
        if (p->sent_bytes == 0) {
            payload_mask(p->mask);
            len += ws_frame_header(w->out + len,
                                   WS_FIN | payload_opcode() | (p->deflate ? WS_RSV1 : 0), size,
                                   p->mask);
        }
        room = WORKER_BUFFER - len;
        piece = size - p->sent_bytes < room ? size - p->sent_bytes : room;
        memcpy(w->out + len, payload + p->sent_bytes, piece);
        ws_mask(w->out + len, piece, p->mask);
        len += piece;
        p->sent_bytes += piece;
        if (p->sent_bytes == size) {
            p->sent_bytes = 0;
            p->sent++;
        }
    }
    return len;
}

void connection_write(worker *w, peer *p)
{
    if (socket_flush(p) < 0) {
        connection_fail(w, p, "write: %s", socket_reason(p));
        return;
    }
    while (!p->pending && p->sent < p->due && p->state == PEER_OPEN) {
        if (connection_send_bytes(w, p, w->out, connection_compose(w, p)) < 0) {
            return;
        }
    }
}

/* Send a control frame. If a pong would interrupt a frame, it is dropped, since a later pong
 * replaces it (RFC 6455, section 5.5.3). @return as connection_send_bytes() */
static int connection_send_frame(worker *w, peer *p, unsigned opcode, const void *data, size_t len)
{
    unsigned char key[4];
    size_t size;
    if (p->sent_bytes > 0) {
        return 0;
    }
    payload_mask(key);
    size = ws_frame_header(w->out, WS_FIN | opcode, len, key);
    memcpy(w->out + size, data, len);
    ws_mask(w->out + size, len, key);
    return connection_send_bytes(w, p, w->out, size + len);
}

void connection_close(worker *w, peer *p)
{
    static const unsigned char normal[2] = {1000 >> 8, 1000 & 0xFF};
    if (p->state == PEER_OPEN) {
        p->state = PEER_CLOSING;
        connection_send_frame(w, p, WS_OP_CLOSE, normal, sizeof(normal));
    }
}

/* ---- Receiving messages ---- */

/* Compare a decompressed piece with the message that was sent. */
static void connection_compare(peer *p, const unsigned char *data, size_t len)
{
    const unsigned char *wanted =
        opt.mode == MODE_FAN ? payload_of(0, p->got) : payload_of(p->number, p->got);
    if (p->bad || p->publisher || p->skip) {
        return;
    }
    if (len > opt.size - p->got_bytes || memcmp(data, wanted + p->got_bytes, len)) {
        p->bad = 1;
    }
    p->got_bytes += len;
}

/* Decompress a piece. @return 0; 1: a block had the final bit; -1: the data is invalid */
static int connection_inflate_piece(worker *w, peer *p, const unsigned char *data, size_t len)
{
    z_stream *z = p->windows ? &p->windows->in : &w->inflater;
    int ended = 0;
    z->next_in = (unsigned char *)data;
    z->avail_in = (uInt)len;
    for (;;) {
        int result;
        z->next_out = w->inflated;
        z->avail_out = (uInt)WORKER_BUFFER;
        result = inflate(z, Z_SYNC_FLUSH);
        connection_compare(p, w->inflated, WORKER_BUFFER - z->avail_out);
        if (result == Z_STREAM_END) {
            /* after the final bit, keep the window, to which later data may refer (RFC 7692,
             * section 7.2.3.4) */
            result = inflateResetKeep(z);
            ended = z->avail_in == 0;
        }
        if (result != Z_OK && result != Z_BUF_ERROR) {
            return -1;
        }
        if (z->avail_in == 0 && z->avail_out > 0) {
            return ended;
        }
    }
}

static void connection_end_message(worker *w, peer *p, unsigned opcode)
{
    if (p->publisher) {
        return;
    }
    if (p->skip) {
        p->skip--;
        return;
    }
    if (p->bad || p->got_bytes != opt.size || opcode != payload_opcode()) {
        if (!w->board->problem[0]) {
            snprintf(w->board->problem, sizeof(w->board->problem),
                     "message %llu of connection %u is not what was sent",
                     (unsigned long long)p->got + 1, p->number);
        }
        w->board->wrong++;
    }
    p->bad = 0;
    p->got_bytes = 0;
    measure_message(w, p);
    p->got++;
}

/* @return as connection_send_bytes() */
static int connection_take_data(worker *w, peer *p, const ws_piece *piece)
{
    static const unsigned char tail[4] = {0, 0, 0xFF, 0xFF};
    int last = (piece->flags & WS_MESSAGE_LAST) != 0;
    if (piece->rsv & WS_RSV1) {
        int ended = piece->len ? connection_inflate_piece(w, p, piece->data, piece->len) : p->ended;
        p->ended = ended > 0 && !last;
        if (ended < 0
            || (last && !ended && connection_inflate_piece(w, p, tail, sizeof(tail)) < 0)) {
            connection_fail(w, p, "the server's compressed data is invalid");
            return -1;
        }
        if (last && !p->windows) {
            inflateReset(&w->inflater);
        }
    }
    else {
        connection_compare(p, piece->data, piece->len);
    }
    if (last) {
        connection_end_message(w, p, piece->opcode);
    }
    return p->state == PEER_GONE ? -1 : 0;
}

static int connection_take_control(worker *w, peer *p, const ws_piece *piece)
{
    const char *why;
    size_t why_len;
    int code;
    switch (piece->opcode) {
    case WS_OP_PING:
        return connection_send_frame(w, p, WS_OP_PONG, piece->data, piece->len);
    case WS_OP_CLOSE:
        if (p->state == PEER_CLOSING) {
            /* Wait, because the server closes the socket first (RFC 6455, section 7.1.1) */
            return 0;
        }
        if (ws_close_parse(piece->data, piece->len, &code, &why, &why_len) == 0) {
            connection_fail(w, p, "the server closed a connection: %d %.*s", code, (int)why_len,
                            why);
        }
        else {
            connection_fail(w, p, "the server sent an invalid Close frame");
        }
        return -1;
    default:
        return 0;
    }
}

/* @return as connection_send_bytes() */
static int connection_parse(worker *w, peer *p, unsigned char *data, size_t len)
{
    ws_parse_error error;
    ws_piece piece;
    for (;;) {
        switch (ws_parser_next(&p->parser, &data, &len, &piece, &error)) {
        case WS_PARSE_DATA:
            if (connection_take_data(w, p, &piece) < 0) {
                return -1;
            }
            break;
        case WS_PARSE_CONTROL:
            if (connection_take_control(w, p, &piece) < 0) {
                return -1;
            }
            break;
        case WS_PARSE_MORE:
            if (len > 0) {
                p->rest = memory_must(realloc(p->rest, len));
                memmove(p->rest, data, len);
            }
            p->rest_len = len;
            return 0;
        default:
            connection_fail(w, p, "the server violated the protocol: %s", error.text);
            return -1;
        }
    }
}

/* Continue after the handshake. @return as connection_send_bytes() */
static int connection_begin(worker *w, peer *p)
{
    if (p->deflate == DEFLATE_TAKEOVER) {
        p->windows = memory_must(calloc(1, sizeof(*p->windows)));
        memory_must_zlib(inflateInit2(&p->windows->in, -15));
        memory_must_zlib(deflateInit2(&p->windows->out, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY));
    }
    ws_parser_init(&p->parser, opt.raw ? WS_SERVER : WS_CLIENT, UINT64_MAX >> 1, UINT64_MAX >> 1);
    p->parser.rsv_ok = p->deflate ? WS_RSV1 : 0;
    p->skip = p->publisher ? 0 : opt.skip;
    p->state = PEER_OPEN;
    if (opt.hello && !p->publisher
        && connection_send_frame(w, p, WS_OP_TEXT, opt.hello, strlen(opt.hello)) < 0) {
        return -1;
    }
    measure_opened(w, p);
    if (opt.mode == MODE_CONNECT) {
        connection_close(w, p);
    }
    return p->state == PEER_GONE ? -1 : 0;
}

/* Read the response to the handshake, and data after it. @return as connection_send_bytes() */
static int connection_take_answer(worker *w, peer *p, unsigned char *data, size_t len)
{
    const char *wrong = NULL;
    size_t head = handshake_check(p, (char *)data, len, &wrong);
    if (wrong) {
        connection_fail(w, p, "handshake: %s", wrong);
        return -1;
    }
    if (!head) {
        p->rest = memory_must(realloc(p->rest, len + 1));
        memcpy(p->rest, data, len);
        p->rest_len = len;
        return 0;
    }
    return connection_begin(w, p) < 0 ? -1 : connection_parse(w, p, data + head, len - head);
}

/* Handle the end of a connection, after the server has closed the socket. */
static void connection_ended(worker *w, peer *p)
{
    if (p->state == PEER_CLOSING && (errno == 0 || errno == ECONNRESET)) {
        w->board->closed++;
        connection_release(w, p);
    }
    else if (p->state == PEER_OPEN) {
        connection_fail(w, p, "a connection was lost: %s", socket_reason(p));
    }
    else {
        connection_fail(w, p, "handshake: %s", socket_reason(p));
    }
}

/* Read until the socket is empty, as edge-triggered events require. After a short read, the socket
 * is empty, unless the peer has closed the connection. */
static void connection_read_all(worker *w, peer *p, int end)
{
    size_t room, rest;
    ssize_t n;
    do {
        rest = p->rest_len;
        room = WORKER_BUFFER - rest;
        if (rest > 0) {
            memcpy(w->in, p->rest, rest);
        }
        n = socket_read(p, w->in + rest, room);
        if (n < 0) {
            connection_ended(w, p);
            return;
        }
        if (n == 0) {
            return;
        }
        p->rest_len = 0;
        if ((p->state == PEER_HANDSHAKE ? connection_take_answer
                                        : connection_parse)(w, p, w->in, rest + (size_t)n)
            < 0) {
            return;
        }
        if (!p->rest_len) {
            free(p->rest);
            p->rest = NULL;
        }
    } while (end || p->ssl || (size_t)n == room);
}

/* ---- Connecting ---- */

/* Time limit for an address if other addresses can be tried, nanoseconds. */
#define ADDRESS_TIME SECOND

void connection_open(worker *w, peer *p)
{
    const char *failed;
    p->state = PEER_CONNECTING;
    p->deflate = DEFLATE_OFF;
    p->bad = p->ended = 0;
    p->due = p->sent = p->got = 0;
    p->sent_bytes = p->got_bytes = 0;
    p->started = nanoseconds();
    if ((failed = connect_start(w, p))) {
        connection_fail(w, p, "%s: %s", failed, strerror(errno));
    }
}

/* Continue after a failed connect(), with errno set. */
static void connection_try_others(worker *w, peer *p)
{
    const char *failed = connect_others(w, p, "connect");
    if (failed) {
        connection_fail(w, p, "%s: %s", failed, strerror(errno));
    }
}

int connection_next_address(worker *w, peer *p)
{
    if (p->state != PEER_CONNECTING || !connect_has_others(p)) {
        return 0;
    }
    if (w->now - p->tried_at > ADDRESS_TIME) {
        errno = ETIMEDOUT;
        connection_try_others(w, p);
    }
    return p->state == PEER_CONNECTING;
}

static void connection_start_handshake(worker *w, peer *p)
{
    if (opt.raw) {
        connection_begin(w, p);
        return;
    }
    p->state = PEER_HANDSHAKE;
    connection_send_bytes(w, p, (const unsigned char *)p->to->request, p->to->request_len);
}

static void connection_start_tls(worker *w, peer *p)
{
    if (!p->to->url.secure) {
        connection_start_handshake(w, p);
        return;
    }
    socket_start_tls(p);
    p->state = PEER_TLS;
}

static void connection_continue_tls(worker *w, peer *p)
{
    int done = socket_continue_tls(p);
    if (done > 0) {
        connection_start_handshake(w, p);
    }
    else if (done < 0) {
        connection_fail(w, p, "TLS handshake: %s", socket_reason(p));
    }
}

void connection_event(worker *w, peer *p, unsigned events)
{
    if (p->state == PEER_CONNECTING) {
        socklen_t size = sizeof(errno);
        int error = 0;
        getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            errno = error;
            connection_try_others(w, p);
            return;
        }
        if (!(events & EPOLLOUT)) {
            return; /* ignore the event, which is for an earlier address */
        }
        p->to->best = p->address;
        connection_start_tls(w, p);
    }
    if (p->state == PEER_TLS) {
        connection_continue_tls(w, p);
    }
    if (p->state >= PEER_HANDSHAKE && p->state <= PEER_CLOSING) {
        connection_read_all(w, p, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
    }
    if (p->state >= PEER_HANDSHAKE && p->state <= PEER_CLOSING) {
        connection_write(w, p);
    }
}
