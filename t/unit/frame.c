/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests parsing and writing valid frames (RFC 6455, section 5). */

#include "t/unit/random.h"
#include "t/unit/stream.h"

/* ---- Parsing ---- */

static void the_examples_of_the_rfc(void)
{
    static unsigned char payload[65536];
    static transcript expected;

    setup(WS_CLIENT, 1 << 20, 1 << 20);
    RAW("\x81\x05\x48\x65\x6c\x6c\x6f");
    is_taken_as("text \"Hello\".", "section 5.7: a single-frame unmasked text message");
    RAW("\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f");
    is_taken_as("text \"Hel\", + \"lo\".", "section 5.7: a fragmented unmasked text message");
    RAW("\x89\x05\x48\x65\x6c\x6c\x6f");
    is_taken_as("ping \"Hello\".", "section 5.7: an unmasked Ping request");

    setup(WS_SERVER, 1 << 20, 1 << 20);
    RAW("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    is_taken_as("text \"Hello\".", "section 5.7: a single-frame masked text message");
    RAW("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    is_taken_as("pong \"Hello\".", "section 5.7: a masked Ping response");

    setup(WS_CLIENT, 1 << 20, 1 << 20);
    random_bytes(payload, sizeof(payload));
    RAW("\x82\x7E\x01\x00");
    raw(payload, 256);
    expect(&expected, BINARY, payload, 256);
    is_taken_as(expected.text, "section 5.7: 256 bytes binary message in a single unmasked frame");
    expected.len = 0;
    RAW("\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00");
    raw(payload, 65536);
    expect(&expected, BINARY, payload, 65536);
    is_taken_as(expected.text, "section 5.7: 64KiB binary message in a single unmasked frame");
}

/* Frames with a length of 7, 16 and 64 bits, masked and unmasked. */
static void every_length(void)
{
    static const size_t lengths[] = {0, 1, 3, 124, 125, 126, 127, 255, 256, 65535, 65536, 65537};
    static unsigned char payload[65537];
    random_bytes(payload, sizeof(payload));
    for (int role = WS_SERVER; role <= WS_CLIENT; role++) {
        setup((ws_role)role, 1 << 20, 1 << 20);
        for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
            static transcript expected;
            char name[80];
            expected.len = 0;
            expect(&expected, BINARY, payload, lengths[i]);
            expect(&expected, PING, "next", 4);
            sprintf(name, "%zu bytes %s", lengths[i],
                    role == WS_SERVER ? "to a server" : "to a client");
            frame(FIN | BINARY, payload, lengths[i]);
            FRAME(FIN | PING, "next");
            is_taken_as(expected.text, name);
        }
    }
}

static void fragments(void)
{
    setup(WS_SERVER, 100, 100);
    FRAME(TEXT, "one");
    FRAME(CONT, "two");
    FRAME(FIN | CONT, "three");
    FRAME(FIN | BINARY, "next");
    is_taken_as("text \"one\", + \"two\", + \"three\". binary \"next\".",
                "a message in three frames");

    FRAME(BINARY, "");
    FRAME(CONT, "");
    FRAME(FIN | CONT, "");
    is_taken_as("binary \"\", + \"\", + \"\".", "empty fragments");

    FRAME(FIN | TEXT, "");
    FRAME(FIN | TEXT, "");
    is_taken_as("text \"\". text \"\".", "empty messages");

    FRAME(TEXT, "Hel");
    FRAME(FIN | PING, "in between");
    FRAME(CONT, "");
    FRAME(FIN | PONG, "");
    FRAME(FIN | CONT, "lo");
    FRAME(FIN | CLOSE, "\x03\xE8");
    is_taken_as(
        "text \"Hel\", ping \"in between\". + \"\", pong \"\". + \"lo\". close \"\\03\\e8\".",
        "section 5.4: control frames in the middle of a message");

    FRAME(TEXT, "Hel");
    FRAME(FIN | CONT, "lo, world");
    in_len -= 6;
    is_taken_as("text \"Hel\", + \"lo,\"...", "the incomplete payload of a frame is delivered");
}

static void reserved_bits(void)
{
    setup(WS_SERVER, 100, 100);
    fresh.rsv_ok = WS_RSV1;
    FRAME(FIN | WS_RSV1 | TEXT, "x");
    FRAME(FIN | TEXT, "y");
    is_taken_as("text RSV1 \"x\". text \"y\".", "a reserved bit that an extension has claimed");
    FRAME(WS_RSV1 | BINARY, "a");
    FRAME(FIN | PING, "");
    FRAME(CONT, "b");
    FRAME(FIN | CONT, "c");
    is_taken_as("binary RSV1 \"a\", ping \"\". + RSV1 \"b\", + RSV1 \"c\".",
                "a reserved bit is reported with all pieces of its message");
    FRAME(FIN | WS_RSV2 | TEXT, "x");
    is_taken_as("1002: reserved bit without an extension", "another reserved bit is still refused");
    FRAME(FIN | WS_RSV1 | PING, "x");
    is_taken_as("1002: reserved bit in a control frame",
                "the reserved bit is still refused in control frames");
    FRAME(WS_RSV1 | TEXT, "x");
    FRAME(FIN | WS_RSV1 | CONT, "x");
    is_taken_as("text RSV1 \"x\", 1002: reserved bit in a continuation frame",
                "the reserved bit is still refused in continuation frames");
    fresh.rsv_ok = WS_RSV1 | WS_RSV2 | WS_RSV3;
    FRAME(FIN | WS_RSV1 | WS_RSV2 | WS_RSV3 | TEXT, "x");
    is_taken_as("text RSV1 RSV2 RSV3 \"x\".", "all three reserved bits may be claimed");
}

/* ---- Zero copy ---- */

static void a_whole_frame_is_one_piece_where_it_lies(void)
{
    enum { ALL = WS_MESSAGE_FIRST | WS_MESSAGE_LAST | WS_FRAME_LAST };
    unsigned char *data, *start;
    size_t len;
    ws_parser p;
    ws_piece piece;
    ws_parse_error error;

    setup(WS_SERVER, 100, 100);
    p = fresh;
    FRAME(FIN | TEXT, "twenty bytes of text");
    FRAME(FIN | PING, "ping");
    len = in_len;
    data = start = fenced_end(len);
    memcpy(data, in, len);
    is_int(ws_parser_next(&p, &data, &len, &piece, &error), WS_PARSE_DATA,
           "a frame in the input is parsed");
    ok(piece.data == start + 6 && piece.len == 20, "the payload is delivered without a copy");
    is_mem(piece.data, piece.len, "twenty bytes of text", 20, "the payload is unmasked in place");
    is_int(piece.flags, ALL, "the payload is one piece");
    ok(data == start + 26 && len == in_len - 26, "the frame is consumed");
    is_int(p.left, 0, "no payload is left");
    is_int(ws_parser_next(&p, &data, &len, &piece, &error), WS_PARSE_CONTROL,
           "a ping after the frame is parsed");
    ok(piece.data == start + 32 && piece.len == 4,
       "the ping's payload is delivered without a copy");
    is_int(ws_parser_next(&p, &data, &len, &piece, &error), WS_PARSE_MORE,
           "after the ping, more input is needed");
    in_len = 0;
}

static void pieces_come_as_soon_as_they_are_there(void)
{
    unsigned char *data = in;
    size_t len;
    ws_parser p;
    ws_piece piece;
    ws_parse_error error;

    setup(WS_SERVER, 100, 100);
    p = fresh;
    FRAME(FIN | TEXT, "0123456789");
    len = 6;
    is_int(ws_parser_next(&p, &data, &len, &piece, &error), WS_PARSE_MORE,
           "a header without payload needs more input");
    ok(data == in + 6 && len == 0, "the header is consumed");
    is_int(p.left, 10, "the header sets the length of the payload");
    len = 3;
    is_int(ws_parser_next(&p, &data, &len, &piece, &error), WS_PARSE_DATA,
           "3 of 10 bytes are parsed");
    is_mem(piece.data, piece.len, "012", 3, "the 3 bytes are a piece");
    is_int(piece.flags, WS_MESSAGE_FIRST, "the piece is the first of its message");
    is_int(p.left, 7, "7 bytes are left");
    len = 1;
    is_int(ws_parser_next(&p, &data, &len, &piece, &error), WS_PARSE_DATA, "1 more byte is parsed");
    is_mem(piece.data, piece.len, "3", 1, "the byte is a piece");
    is_int(piece.flags, 0, "the piece is neither first nor last");
    len = 6;
    is_int(ws_parser_next(&p, &data, &len, &piece, &error), WS_PARSE_DATA,
           "6 more bytes are parsed");
    is_mem(piece.data, piece.len, "456789", 6, "the 6 bytes are a piece");
    is_int(piece.flags, WS_MESSAGE_LAST | WS_FRAME_LAST, "the piece is the last of its message");
    in_len = 0;
}

static void a_cut_control_frame_is_not_touched(void)
{
    size_t wrong = 0;
    setup(WS_SERVER, 100, 100);
    FRAME(FIN | PING, "Hello");
    for (size_t n = 0; n < in_len; n++) {
        unsigned char *start = fenced_end(n), *data = start;
        size_t len = n;
        ws_parser p = fresh;
        ws_piece piece;
        ws_parse_error error;
        memcpy(start, in, n);
        wrong += ws_parser_next(&p, &data, &len, &piece, &error) != WS_PARSE_MORE || data != start
                 || len != n || memcmp(start, in, n) || memcmp(&p, &fresh, sizeof(p));
    }
    is_int((long long)wrong, 0,
           "an incomplete control frame is left in the input, wherever it is cut");
    in_len = 0;
}

/* ---- Random streams ---- */

/* Add a random control frame to the stream and to the expected transcript. */
static void random_control_frame(transcript *expected)
{
    unsigned char payload[WS_CONTROL_MAX];
    unsigned opcode = CLOSE + (unsigned)random_below(3);
    size_t len = random_below(sizeof(payload) + 1);
    random_bytes(payload, len);
    frame(FIN | opcode, payload, len);
    expect(expected, opcode, payload, len);
}

static void random_message(transcript *expected)
{
    static unsigned char payload[3000];
    unsigned opcode = TEXT + (unsigned)random_below(2), rsv = random_below(2) ? WS_RSV1 : 0;
    unsigned first = opcode | rsv, flags = WS_FRAME_LAST | WS_MESSAGE_FIRST;
    int last;
    do {
        size_t len = random_below(random_below(4) ? 40 : sizeof(payload));
        last = !random_below(2);
        if (last) {
            first |= FIN;
            flags |= WS_MESSAGE_LAST;
        }
        random_bytes(payload, len);
        frame(first, payload, len);
        say_frame(expected, opcode, rsv, flags, payload, len);
        while (!random_below(3)) {
            random_control_frame(expected);
        }
        first = CONT;
        flags = WS_FRAME_LAST;
    } while (!last);
}

static void random_streams(void)
{
    static transcript expected;
    int wrong = 0;
    for (int round = 0; round < 300; round++) {
        setup(round % 2 ? WS_SERVER : WS_CLIENT, UINT64_MAX, UINT64_MAX);
        fresh.rsv_ok = WS_RSV1;
        expected.len = in_len = 0;
        for (size_t messages = 1 + random_below(10); messages > 0; messages--) {
            random_message(&expected);
        }
        for (int cuts = 0; cuts < 10; cuts++) {
            size_t step = 1 + random_below(cuts % 2 ? 20 : in_len);
            const char *got = parse(1 + random_below(in_len), step);
            if (strcmp(got, expected.text)) {
                diag("round %d, steps of %zu: taken as %s", round, step, got);
                wrong++;
            }
        }
    }
    is_int(wrong, 0, "random streams in random pieces are parsed correctly");
    in_len = 0;
}

/* ---- Writing headers ---- */

static void headers(void)
{
    static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    static const struct {
        uint64_t len;
        const char *header;
        size_t size;
    } rows[] = {
#define HEADER(LEN, BYTES) {LEN, BYTES, sizeof(BYTES) - 1}
        HEADER(0, "\x81\x00"),
        HEADER(5, "\x81\x05"),
        HEADER(125, "\x81\x7D"),
        HEADER(126, "\x81\x7E\x00\x7E"),
        HEADER(256, "\x81\x7E\x01\x00"),
        HEADER(65535, "\x81\x7E\xFF\xFF"),
        HEADER(65536, "\x81\x7F\x00\x00\x00\x00\x00\x01\x00\x00"),
        HEADER(INT64_MAX, "\x81\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        unsigned char *out = fenced_end(WS_HEADER_MAX), masked[WS_HEADER_MAX];
        size_t size = rows[i].size;
        unsigned long long len = rows[i].len;
        is_mem(out, ws_frame_header(out, WS_FIN | WS_OP_TEXT, len, NULL), rows[i].header, size,
               "header of %llu bytes", len);
        memcpy(masked, rows[i].header, size);
        masked[1] |= 0x80;
        memcpy(masked + size, key, 4);
        is_mem(out, ws_frame_header(out, WS_FIN | WS_OP_TEXT, len, key), masked, size + 4,
               "a header of the same length with a masking key");
    }
    {
        unsigned char out[WS_HEADER_MAX];
        ws_frame_header(out, WS_OP_BINARY | WS_RSV1, 0, NULL);
        is_int(out[0], 0x42, "the first byte of the header is the caller's");
    }
}

int main(void)
{
    random_seed_printed();
    the_examples_of_the_rfc();
    every_length();
    fragments();
    reserved_bits();
    a_whole_frame_is_one_piece_where_it_lies();
    pieces_come_as_soon_as_they_are_there();
    a_cut_control_frame_is_not_touched();
    random_streams();
    headers();
    return done_testing();
}
