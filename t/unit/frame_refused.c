/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests that invalid frames are refused at the first byte that makes them invalid (RFC 6455,
 *  section 5). */

#include "t/unit/stream.h"

static const struct {
    const char *name;
    ws_role role;
    const char *bytes; /* the last byte is the invalid one */
    size_t len;
    const char *expected;
} refused[] = {
#define REFUSED(NAME, ROLE, BYTES, EXPECTED)                                                       \
    {                                                                                              \
        NAME, ROLE, BYTES, sizeof(BYTES) - 1, EXPECTED                                             \
    }
    REFUSED("RSV1", WS_SERVER, "\xC1", "1002: reserved bit without an extension"),
    REFUSED("RSV2", WS_SERVER, "\xA2", "1002: reserved bit without an extension"),
    REFUSED("RSV3", WS_CLIENT, "\x91", "1002: reserved bit without an extension"),
    REFUSED("RSV1 of a Ping", WS_SERVER, "\xC9", "1002: reserved bit in a control frame"),
    REFUSED("RSV3 of a Close", WS_SERVER, "\x98", "1002: reserved bit in a control frame"),
    REFUSED("a fragmented Close", WS_SERVER, "\x08", "1002: control frame is fragmented"),
    REFUSED("a fragmented Ping", WS_SERVER, "\x09", "1002: control frame is fragmented"),
    REFUSED("a fragmented Pong", WS_CLIENT, "\x0A", "1002: control frame is fragmented"),
    REFUSED("a continuation without a message", WS_SERVER, "\x00",
            "1002: continuation frame without a message"),
    REFUSED("a last frame without a message", WS_SERVER, "\x80",
            "1002: continuation frame without a message"),
    REFUSED("a continuation of a whole message", WS_CLIENT, "\x81\x01x\x80",
            "text \"x\". 1002: continuation frame without a message"),
    REFUSED("a text in a fragmented message", WS_CLIENT, "\x01\x01x\x81",
            "text \"x\", 1002: new message inside a fragmented one"),
    REFUSED("a binary fragment in a fragmented message", WS_CLIENT, "\x01\x01x\x00\x01y\x02",
            "text \"x\", + \"y\", 1002: new message inside a fragmented one"),
    REFUSED("a reserved bit of a continuation", WS_CLIENT, "\x01\x01x\xC0",
            "text \"x\", 1002: reserved bit in a continuation frame"),
    REFUSED("unmasked data to a server", WS_SERVER, "\x81\x05", "1002: frame is not masked"),
    REFUSED("an unmasked Close to a server", WS_SERVER, "\x88\x00", "1002: frame is not masked"),
    REFUSED("masked data to a client", WS_CLIENT, "\x81\x85", "1002: frame is masked"),
    REFUSED("a masked Ping to a client", WS_CLIENT, "\x89\x80", "1002: frame is masked"),
    REFUSED("a Ping of 126 bytes", WS_SERVER, "\x89\xFE",
            "1002: control frame is longer than 125 bytes"),
    REFUSED("a Close with a 64-bit length", WS_CLIENT, "\x88\x7F",
            "1002: control frame is longer than 125 bytes"),
    REFUSED("125 bytes, with a 16-bit length", WS_SERVER, "\x82\xFE\x00\x7D",
            "1002: frame length is not in its shortest form"),
    REFUSED("no bytes, with a 16-bit length", WS_CLIENT, "\x82\x7E\x00\x00",
            "1002: frame length is not in its shortest form"),
    REFUSED("65535 bytes, with a 64-bit length", WS_SERVER,
            "\x82\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF",
            "1002: frame length is not in its shortest form"),
    REFUSED("1 byte, with a 64-bit length", WS_CLIENT, "\x82\x7F\x00\x00\x00\x00\x00\x00\x00\x01",
            "1002: frame length is not in its shortest form"),
    REFUSED("a length with its highest bit set", WS_SERVER,
            "\x82\xFF\x80\x00\x00\x00\x00\x01\x00\x00",
            "1002: frame length has its highest bit set"),
    REFUSED("a length of 2^64-1", WS_CLIENT, "\x82\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
            "1002: frame length has its highest bit set"),
    REFUSED("a frame longer than the limit", WS_SERVER, "\x82\xFE\x03\xE9",
            "1009: frame is too big"),
    REFUSED("2^63-1 bytes", WS_SERVER, "\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
            "1009: frame is too big"),
};

/* The parser must refuse a frame when it gets the invalid byte, before the next byte. */
static void refused_as_soon_as_it_is_wrong(void)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        const char *before;
        setup(refused[i].role, 1000, 2000);
        raw(refused[i].bytes, refused[i].len - 1);
        before = parse(in_len, in_len);
        ok(!strstr(before, "1002") && !strstr(before, "1009"),
           "%s: the bytes before the invalid one are accepted", refused[i].name);
        raw(refused[i].bytes + refused[i].len - 1, 1);
        is_taken_as(refused[i].expected, refused[i].name);
    }
}

static void reserved_opcodes(void)
{
    static const unsigned char reserved[] = {3, 4, 5, 6, 7, 11, 12, 13, 14, 15};
    for (size_t i = 0; i < sizeof(reserved); i++) {
        for (int fin = 0; fin <= FIN; fin += FIN) {
            char name[40];
            setup(i % 2 ? WS_SERVER : WS_CLIENT, 1000, 2000);
            in[in_len++] = (unsigned char)(fin | reserved[i]);
            sprintf(name, "opcode 0x%X%s", reserved[i], fin ? "" : ", fragmented");
            is_taken_as("1002: opcode is reserved", name);
        }
    }
}

static void limits(void)
{
    static const unsigned char longest[WS_CONTROL_MAX] = "a ping";
    static transcript expected;

    setup(WS_SERVER, 10, 20);
    FRAME(FIN | BINARY, "0123456789");
    FRAME(FIN | BINARY, "0123456789");
    FRAME(FIN | BINARY, "0123456789a");
    is_taken_as("binary \"0123456789\". binary \"0123456789\". 1009: frame is too big",
                "a frame as long as its limit is accepted, a longer one refused");
    FRAME(BINARY, "0123456789");
    FRAME(CONT, "abcdefghi");
    FRAME(FIN | PING, "does not count");
    FRAME(CONT, "j");
    FRAME(FIN | CONT, "");
    is_taken_as("binary \"0123456789\", + \"abcdefghi\", ping \"does not count\". + \"j\", + \"\".",
                "a message as long as its limit is accepted");
    FRAME(FIN | BINARY, "one");
    FRAME(BINARY, "0123456789");
    FRAME(FIN | CONT, "0123456789");
    is_taken_as("binary \"one\". binary \"0123456789\", + \"0123456789\".",
                "the limit applies to each message separately");
    FRAME(BINARY, "0123456789");
    FRAME(CONT, "0123456789");
    FRAME(FIN | CONT, "!");
    is_taken_as("binary \"0123456789\", + \"0123456789\", 1009: message is too big",
                "a message longer than its limit is refused");
    setup(WS_SERVER, 20, 10);
    FRAME(FIN | BINARY, "0123456789a");
    is_taken_as("1009: message is too big",
                "a message longer than its limit in one frame is refused");
    setup(WS_SERVER, 0, 0);
    frame(FIN | PING, longest, sizeof(longest));
    FRAME(FIN | TEXT, "");
    FRAME(FIN | TEXT, "x");
    expect(&expected, PING, longest, sizeof(longest));
    expect(&expected, TEXT, "", 0);
    say(&expected, " 1009: frame is too big");
    is_taken_as(expected.text, "the limits do not apply to control frames");

    setup(WS_CLIENT, INT64_MAX, INT64_MAX);
    RAW("\x02\x01x\x00\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
    is_taken_as("binary \"x\", 1009: message is too big", "a sum of lengths does not overflow");
    setup(WS_CLIENT, UINT64_MAX, UINT64_MAX);
    RAW("\x02\x01x\x00\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFFyz");
    is_taken_as("binary \"x\", + \"yz\"...", "without limits, any length is accepted");
}

int main(void)
{
    refused_as_soon_as_it_is_wrong();
    reserved_opcodes();
    limits();
    return done_testing();
}
