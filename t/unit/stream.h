/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A stream of frames for tests of the parser, built with setup(), RAW() and FRAME(). is_taken_as()
 * passes it to the parser whole, one byte at a time, and in two pieces for every cut. Each time the
 * transcript must be the same:
 *
 *   text "Hel", + "lo". ping "x". 1002: opcode is reserved
 *
 * is a text message in two frames, a ping, and a failure. A comma follows a frame that is not its
 * message's last; "..." follows a frame with an incomplete payload.
 */

#ifndef WS_T_UNIT_STREAM_H
#define WS_T_UNIT_STREAM_H

#include "protocol/close.h"
#include "protocol/frame.h"

#include "t/unit/fence.h"
#include "t/unit/tap.h"

/* A test of another parser defines these macros, except STREAM_FRAMES. It builds its own frames and
 * initializes `fresh`. */
#ifndef STREAM_PARSER
#define STREAM_PARSER ws_parser
#define STREAM_NEXT ws_parser_next
#define STREAM_EMPTY_END 0 /* whether the last piece of a frame may be empty */
#define STREAM_FRAMES
#endif

enum { FIN = 0x80, CONT = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* ---- A stream to be parsed ---- */

static unsigned char in[FENCED_SIZE];
static size_t in_len;

static void raw(const void *bytes, size_t len)
{
    memcpy(in + in_len, bytes, len);
    in_len += len;
}

#define RAW(BYTES) raw(BYTES, sizeof(BYTES) - 1)

/* The initial state of the parser for the next streams. */
static STREAM_PARSER fresh;

#ifdef STREAM_FRAMES
static inline void setup(ws_role role, uint64_t max_frame, uint64_t max_message)
{
    ws_parser_init(&fresh, role, max_frame, max_message);
}

/* Add a frame as the parser's peer sends it. */
static void frame(unsigned first, const void *payload, size_t len)
{
    static unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    const unsigned char *p = payload;
    unsigned char masked = fresh.role == WS_SERVER ? 0x80 : 0;
    int bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;

    in[in_len++] = (unsigned char)first;
    in[in_len++] = masked | (unsigned char)(bytes == 0 ? len : bytes == 2 ? 126 : 127);
    for (int i = bytes - 1; i >= 0; i--) {
        in[in_len++] = (unsigned char)((uint64_t)len >> 8 * i);
    }
    if (masked) {
        raw(key, 4);
    }
    for (size_t i = 0; i < len; i++) {
        in[in_len++] = masked ? p[i] ^ key[i % 4] : p[i];
    }
    key[in_len % 4]++; /* use another key for the next frame */
}

#define FRAME(FIRST, PAYLOAD) frame(FIRST, PAYLOAD, sizeof(PAYLOAD) - 1)
#endif

/* ---- The transcript of the parser ---- */

typedef struct transcript {
    char text[1 << 16];
    size_t len;
} transcript;

__attribute__((format(printf, 2, 3))) static void say(transcript *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    t->len += (size_t)vsnprintf(t->text + t->len, sizeof(t->text) - t->len, format, args);
    va_end(args);
    if (t->len >= sizeof(t->text)) {
        bail_out("the transcript is too long");
    }
}

static void say_frame(transcript *t, unsigned opcode, unsigned rsv, unsigned flags,
                      const unsigned char *payload, size_t len)
{
    static const char *const names[16] = {"?", "text", "binary", [8] = "close", "ping", "pong"};
    say(t, "%s%s", t->len ? " " : "", flags & WS_MESSAGE_FIRST ? names[opcode & 15] : "+");
    say(t, "%s%s%s", rsv & WS_RSV1 ? " RSV1" : "", rsv & WS_RSV2 ? " RSV2" : "",
        rsv & WS_RSV3 ? " RSV3" : "");
    if (len > 30) {
        uint64_t sum = 14695981039346656037u;
        for (size_t i = 0; i < len; i++) {
            sum = (sum ^ payload[i]) * 1099511628211u;
        }
        say(t, " of %zu bytes, sum %016llx", len, (unsigned long long)sum);
    }
    else {
        say(t, " \"");
        for (size_t i = 0; i < len; i++) {
            say(t, payload[i] >= ' ' && payload[i] < 0x7F ? "%c" : "\\%02x", payload[i]);
        }
        say(t, "\"");
    }
    say(t, flags & WS_MESSAGE_LAST ? "." : flags & WS_FRAME_LAST ? "," : "...");
}

/* The frame whose pieces the parser is delivering. */
typedef struct assembly {
    unsigned char payload[FENCED_SIZE];
    size_t len, pieces;
    unsigned opcode, rsv, flags;
} assembly;

static void take_piece(transcript *t, assembly *a, const ws_piece *p)
{
    if (a->pieces == 0) {
        a->opcode = p->opcode;
        a->rsv = p->rsv;
        a->flags = p->flags;
    }
    else if (p->opcode != a->opcode || p->rsv != a->rsv || p->flags & WS_MESSAGE_FIRST) {
        say(t, " (a piece that belongs to another frame)");
    }
    if ((p->flags & WS_MESSAGE_LAST && !(p->flags & WS_FRAME_LAST))
        || (p->len == 0 && ((a->pieces && !STREAM_EMPTY_END) || !(p->flags & WS_FRAME_LAST)))) {
        say(t, " (a piece that should not be)");
    }
    memcpy(a->payload + a->len, p->data, p->len);
    a->len += p->len;
    a->pieces++;
    if (p->flags & WS_FRAME_LAST) {
        say_frame(t, a->opcode, a->rsv, a->flags | p->flags, a->payload, a->len);
        a->len = a->pieces = 0;
    }
}

/* Pass bytes to the parser until it needs more. @return the number of unused bytes; -1: it
 * failed */
static long long take_all(STREAM_PARSER *parser, unsigned char *data, size_t len, transcript *t,
                          assembly *a)
{
    while (len > 0) {
        unsigned char *end = data + len;
        ws_piece piece;
        ws_parse_error error;
        switch (STREAM_NEXT(parser, &data, &len, &piece, &error)) {
        case WS_PARSE_MORE:
            return (long long)len;
        case WS_PARSE_DATA:
            take_piece(t, a, &piece);
            break;
        case WS_PARSE_CONTROL:
            if (piece.flags != (WS_MESSAGE_FIRST | WS_MESSAGE_LAST | WS_FRAME_LAST)) {
                say(t, " (a control frame that is not whole)");
            }
            say_frame(t, piece.opcode, piece.rsv, piece.flags, piece.data, piece.len);
            break;
        case WS_PARSE_FAIL:
            say(t, "%s%d: %s", t->len ? " " : "", error.code, error.text);
            return -1;
        }
        if (data + len != end) {
            say(t, " (the input's end has moved)");
            return -1;
        }
    }
    return 0;
}

/* Parse the stream. @param first  size of the first chunk, bytes @param step  size of the others
 * @return the transcript */
static const char *parse(size_t first, size_t step)
{
    static transcript t;
    static assembly a;
    unsigned char rest[WS_HEADER_MAX + WS_CONTROL_MAX] = {0};
    size_t rest_len = 0, n = first;
    STREAM_PARSER parser = fresh;

    t.len = a.len = a.pieces = 0;
    *t.text = '\0';
    for (size_t done = 0; done < in_len; done += n, n = step) {
        unsigned char *chunk;
        long long left;
        n = n < in_len - done ? n : in_len - done;
        chunk = fenced_end(rest_len + n);
        memcpy(chunk, rest, rest_len);
        memcpy(chunk + rest_len, in + done, n);
        left = take_all(&parser, chunk, rest_len + n, &t, &a);
        if (left < 0) {
            return t.text;
        }
        if ((size_t)left > sizeof(rest)) {
            say(&t, " (%lld bytes were left)", left);
            return t.text;
        }
        rest_len = (size_t)left;
        memcpy(rest, fenced_end(rest_len), rest_len);
    }
    if (a.pieces) {
        say_frame(&t, a.opcode, a.rsv, a.flags, a.payload, a.len);
    }
    return t.text;
}

/* Add a whole message or control frame to an expected transcript. */
static inline void expect(transcript *t, unsigned opcode, const void *payload, size_t len)
{
    say_frame(t, opcode, 0, WS_MESSAGE_FIRST | WS_FRAME_LAST | WS_MESSAGE_LAST, payload, len);
}

/* Check the transcript of the stream for every cut, and start a new stream. */
static inline void is_taken_as(const char *expected, const char *name)
{
    const char *got = "";
    size_t cut, wrong = 0;
    is_str(parse(in_len, in_len), expected, "%s", name);
    is_str(parse(1, 1), expected, "%s: byte by byte", name);
    for (cut = 1; cut < in_len && !wrong; cut++) {
        if (cut == 300 && in_len > 600) {
            cut = in_len - 300; /* cuts inside a long payload are all alike */
        }
        got = parse(cut, in_len);
        wrong = strcmp(got, expected) ? cut : 0;
    }
    if (!is_int((long long)wrong, 0, "%s: the same for every cut into two pieces", name)) {
        diag("taken as: %s", got);
    }
    in_len = 0;
}

#endif
