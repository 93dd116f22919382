/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Plays a transcript's client over a socket pair, with the protocol code in protocol/. */

#include "tools/wshandler-test/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "include/mod_websocket.h"
#include "protocol/close.h"
#include "protocol/mask.h"

/* Accept messages of any size. */
#define ANY ((uint64_t)1 << 62)

static void client_append(ws_strbuf *b, const void *data, apr_size_t len)
{
    ws_strbuf_add(b, data, len);
    if (b->broken) {
        abort();
    }
}

static void client_consume(ws_strbuf *b, apr_size_t n)
{
    if (n) {
        b->len -= n;
        memmove(b->data, b->data + n, b->len);
    }
}

static void client_happens(ws_test_client *p, ws_say say, int code, const void *data,
                           apr_size_t len)
{
    ws_happening *e = calloc(1, sizeof(*e) + len + 1);
    if (!e) {
        abort();
    }
    e->say = say;
    e->code = code;
    e->len = len;
    if (len) {
        memcpy(e->data, data, len);
    }
    *p->last = e;
    p->last = &e->next;
}

void ws_test_client_open(ws_test_client *p, int fd)
{
    p->fd = fd;
    ws_parser_init(&p->parser, WS_CLIENT, ANY, ANY);
    p->hixie.base.max = ANY;
}

static void client_hang_up(ws_test_client *p)
{
    if (p->fd >= 0) {
        close(p->fd);
    }
    p->fd = -1;
    p->out.len = p->in.len = 0;
}

void ws_test_client_free(ws_test_client *p)
{
    ws_happening *e;
    client_hang_up(p);
    while ((e = ws_test_client_take(p))) {
        free(e);
    }
    ws_strbuf_free(&p->in);
    ws_strbuf_free(&p->out);
    ws_strbuf_free(&p->message);
}

/* ---- Sending ---- */

static void client_send_frame(ws_test_client *p, unsigned first, const void *data, apr_size_t len)
{
    /* Use a fixed masking key, which makes runs repeatable. It has no zero bytes, so that the test
     * detects missing unmasking. */
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char head[WS_HEADER_MAX] = {0};
    apr_size_t at;
    at = ws_frame_header(head, first, len, mask);
    client_append(&p->out, head, at);
    at = p->out.len;
    client_append(&p->out, data, len);
    for (apr_size_t i = 0; i < len; i++) {
        p->out.data[at + i] = (char)(p->out.data[at + i] ^ mask[i % 4]);
    }
}

static void client_send_old(ws_test_client *p, unsigned first, const void *data, apr_size_t len)
{
    if (first == (WS_FIN | WS_OP_CLOSE)) {
        client_append(&p->out, "\xff\x00", 2);
        return;
    }
    if (first & 0xF) {
        client_append(&p->out, "", 1);
    }
    client_append(&p->out, data, len);
    if (first & WS_FIN) {
        client_append(&p->out, "\xff", 1);
    }
}

static void client_send_close(ws_test_client *p, int code, const char *reason, apr_size_t len)
{
    unsigned char payload[WS_CONTROL_MAX];
    p->close_code = code;
    if (p->version == 75) {
        shutdown(p->fd, SHUT_WR); /* as in TCP, this is the only way to end the stream */
        return;
    }
    len = ws_close_build(payload, code, reason, len);
    (p->version > 13 ? client_send_old : client_send_frame)(p, WS_FIN | WS_OP_CLOSE, payload, len);
}

void ws_test_client_say(ws_test_client *p, const ws_step *s)
{
    unsigned first = s->say;
    switch (s->say) {
    case WS_SAY_TEXT:
    case WS_SAY_BINARY:
        first =
            (s->where & WS_FIRST ? first : WS_OP_CONTINUATION) | (s->where & WS_LAST ? WS_FIN : 0);
        (p->version > 13 ? client_send_old : client_send_frame)(p, first, s->data, s->len);
        break;
    case WS_SAY_PING:
    case WS_SAY_PONG:
        if (p->version <= 13) {
            client_send_frame(p, WS_FIN | first, s->data, s->len);
        }
        break;
    case WS_SAY_CLOSE:
        client_send_close(p, s->code, s->data, s->len);
        break;
    case WS_SAY_BREAK:
        client_hang_up(p);
        break;
    default:
        p->paused = s->say == WS_SAY_PAUSE;
        break;
    }
}

static int client_write_some(ws_test_client *p)
{
    int moved = 0;
    while (p->fd >= 0 && p->out.len) {
        ssize_t n = send(p->fd, p->out.data, p->out.len, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                p->out.len = 0; /* drop the output; the next read will report the error */
            }
            break;
        }
        client_consume(&p->out, (apr_size_t)n);
        moved = 1;
    }
    return moved;
}

/* ---- Receiving ---- */

static void client_on_close(ws_test_client *p, const ws_piece *piece)
{
    int code = 0;
    const char *reason = "";
    apr_size_t len = 0;
    ws_close_parse(piece->data, piece->len, &code, &reason, &len);
    p->close_told = 1;
    /* the module, not the handler, replies to the client's Close frames */
    if (!p->close_code) {
        client_happens(p, WS_SAY_CLOSE, code, reason, len);
        client_send_close(p, code, NULL, 0);
    }
    else if (code != p->close_code && p->version <= 13) {
        client_happens(p, WS_SAY_CLOSE, code, reason, len);
    }
}

static void client_on_piece(ws_test_client *p, ws_parse_result what, const ws_piece *piece)
{
    if (what == WS_PARSE_DATA) {
        client_append(&p->message, piece->data, piece->len);
        if (piece->flags & WS_MESSAGE_LAST) {
            client_happens(p, (ws_say)piece->opcode, 0, p->message.data, p->message.len);
            p->message.len = 0;
        }
        return;
    }
    if (piece->opcode == WS_OP_CLOSE) {
        client_on_close(p, piece);
        return;
    }
    client_happens(p, (ws_say)piece->opcode, 0, piece->data, piece->len);
    if (piece->opcode == WS_OP_PING && !p->mute && !p->close_code) {
        client_send_frame(p, WS_FIN | WS_OP_PONG, piece->data, piece->len);
    }
}

static void client_parse(ws_test_client *p)
{
    unsigned char *at = (unsigned char *)p->in.data;
    size_t len = p->in.len;
    ws_parse_error error;
    ws_piece piece;
    ws_parse_result r;
    while ((r = p->version > 13 ? ws_hixie_next(&p->hixie, &at, &len, &piece, &error)
                                : ws_parser_next(&p->parser, &at, &len, &piece, &error))
               == WS_PARSE_DATA
           || r == WS_PARSE_CONTROL) {
        client_on_piece(p, r, &piece);
    }
    if (r == WS_PARSE_FAIL) {
        client_happens(p, WS_SAY_BREAK, 0, error.text, strlen(error.text));
        client_hang_up(p);
        return;
    }
    client_consume(&p->in, p->in.len - len);
}

static int client_read_some(ws_test_client *p)
{
    unsigned char buf[65536];
    int moved = 0;
    while (p->fd >= 0 && !p->paused) {
        ssize_t n = recv(p->fd, buf, sizeof(buf), 0);
        if (n > 0) {
            client_append(&p->in, buf, (apr_size_t)n);
            client_parse(p);
            moved = 1;
        }
        else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            if (!p->close_told && p->version != 75) {
                client_happens(p, WS_SAY_BREAK, 0, "", 0);
            }
            else if (p->version == 75 && !p->close_code) {
                client_happens(p, WS_SAY_CLOSE, WS_CLOSE_NO_STATUS, "", 0);
            }
            client_hang_up(p);
            moved = 1;
        }
        else {
            break;
        }
    }
    return moved;
}

int ws_test_client_move(ws_test_client *p)
{
    int moved = client_write_some(p);
    moved |= client_read_some(p);
    return moved | client_write_some(p);
}

ws_happening *ws_test_client_take(ws_test_client *p)
{
    ws_happening *e = p->first;
    if (e && !(p->first = e->next)) {
        p->last = &p->first;
    }
    return e;
}
