/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests encoding and decoding packets, in which child processes and servers exchange messages. */

#include "channels/packet.h"
#include "t/unit/tap.h"

#include <stdlib.h>
#include <string.h>

static const ws_packet whole = {.kind = WS_PACKET_MESSAGE,
                                .type = WS_TEXT,
                                .flags = WS_PACKET_STORED,
                                .from = {0x0102030405060708, 0x090A},
                                .request = 0x0B0C0D0E,
                                .id = 0x1112131415161718,
                                .position = {0x2122232425262728, 0x3132333435363738},
                                .channel = "news",
                                .channel_len = 4,
                                .data = "hello",
                                .len = 5};

static apr_size_t build(const ws_packet *p, unsigned char *out)
{
    apr_size_t n = ws_packet_head(p, out);
    memcpy(out + n, p->data, p->len);
    return n + p->len;
}

static void layout(void)
{
    static const unsigned char expected[] =
        "\x01\x01\x01\x02\x00\x00\x00\x3A\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x09\x0A"
        "\x0B\x0C\x0D\x0E\x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\x23\x24\x25\x26\x27\x28"
        "\x31\x32\x33\x34\x35\x36\x37\x38\x04newshello";
    unsigned char out[WS_PACKET_HEAD_MAX];
    apr_size_t n = build(&whole, out);
    is_int(n, sizeof(expected) - 1, "a packet has the length of its parts");
    is_int(n, ws_packet_size(&whole), "ws_packet_size() returns the same length");
    ok(!memcmp(out, expected, n), "a packet has the bytes that packet.h describes");
}

static void back_again(void)
{
    unsigned char out[WS_PACKET_HEAD_MAX];
    apr_size_t n = build(&whole, out);
    ws_packet p;
    is_int(ws_packet_decode(&p, out, n), n, "a packet is decoded");
    ok(p.kind == whole.kind && p.type == whole.type && p.flags == whole.flags
           && p.from.server == whole.from.server && p.from.process == whole.from.process
           && p.request == whole.request && p.id == whole.id
           && p.position.epoch == whole.position.epoch
           && p.position.offset == whole.position.offset,
       "the decoded numbers are the same");
    ok(p.channel_len == 4 && !memcmp(p.channel, "news", 4), "the decoded channel is the same");
    ok(p.len == 5 && !memcmp(p.data, "hello", 5), "the decoded data are the same");
    memcpy(out + n, out, n); /* add a second packet */
    is_int(ws_packet_decode(&p, out, 2 * n), n, "of two packets, the first is decoded");
}

static void pieces(void)
{
    unsigned char out[WS_PACKET_HEAD_MAX];
    apr_size_t n = build(&whole, out);
    int taken = 0;
    for (apr_size_t i = 0; i < n; i++) {
        /* has the exact size, so that a sanitizer reports reads beyond its end */
        unsigned char *piece = malloc(i ? i : 1);
        ws_packet p;
        memcpy(piece, out, i);
        taken += ws_packet_decode(&p, piece, i) != 0;
        free(piece);
    }
    is_int(taken, 0, "no part of a packet is decoded");
}

static void strangers(void)
{
    unsigned char out[WS_PACKET_HEAD_MAX];
    apr_size_t n = build(&whole, out);
    ws_packet p;
    out[0] = 2;
    is_int(ws_packet_decode(&p, out, n), n, "a packet of another version is skipped");
    is_int(p.kind, 0, "a packet of another version has no kind");
    out[0] = WS_PACKET_VERSION;
    out[1] = 99;
    is_int(ws_packet_decode(&p, out, n), n, "a packet of an unknown kind is skipped");
    is_int(p.kind, 0, "a packet of an unknown kind has no kind");
    out[1] = WS_PACKET_MESSAGE;
    out[2] = 7;
    ws_packet_decode(&p, out, n);
    is_int(p.kind, 0, "a message that is neither text nor binary is ignored");
    out[2] = 1;
    out[7] = WS_PACKET_HEAD - 1;
    is_int(ws_packet_decode(&p, out, n), 0, "a packet shorter than its head is invalid");
    out[7] = WS_PACKET_HEAD + 3;
    is_int(ws_packet_decode(&p, out, n), 0, "a packet shorter than its channel name is invalid");
    out[7] = 0;
    is_int(ws_packet_decode(&p, out, n), 0, "a packet without a length is invalid");
    out[7] = (unsigned char)n;
    out[1] = WS_PACKET_JOIN;
    out[WS_PACKET_HEAD] = ' ';
    ws_packet_decode(&p, out, n);
    is_int(p.kind, 0, "a packet with a blank in the channel name is ignored");
}

/* Encode and decode a packet that has one changed field. @return the decoded kind */
static int kind_of(ws_packet p)
{
    unsigned char out[WS_PACKET_HEAD_MAX + 2 * WS_MEMBER_MAX];
    ws_packet read;
    apr_size_t n = build(&p, out);
    is_int(ws_packet_decode(&read, out, n), n,
           "a packet with a changed field is decoded completely");
    return read.kind;
}

#define WITH(...)                                                                                  \
    ({                                                                                             \
        ws_packet p = whole;                                                                       \
        __VA_ARGS__;                                                                               \
        kind_of(p);                                                                                \
    })

/* Tries field values that a faulty or malicious server could send. */
static void fields(void)
{
    static const char text[] = "\xC3\xBC";
    char name[WS_PACKET_NAME_MAX + 1], member[WS_MEMBER_MAX + 1 + WS_USER_MAX + 1];
    memset(name, 'n', sizeof(name));
    memset(member, 'm', sizeof(member));
    is_int(WITH(p.data = text, p.len = 2), WS_PACKET_MESSAGE, "text that is UTF-8 is accepted");
    is_int(WITH(p.data = text, p.len = 1), 0, "text with half of a character is ignored");
    is_int(WITH(p.data = text, p.len = 1, p.type = WS_BINARY), WS_PACKET_MESSAGE,
           "binary data need not be UTF-8");
    is_int(WITH(p.from.process = 0x10000), 0, "a process number of more than 16 bits is ignored");
    is_int(WITH(p.position.offset = 0), 0, "an epoch without an offset is ignored");
    is_int(WITH(p.position.epoch = 0), 0, "an offset without an epoch is ignored");
    is_int(WITH(p.channel = name, p.channel_len = 201), 0,
           "a channel name of 201 bytes is ignored");
    is_int(WITH(p.channel = name, p.channel_len = 255, p.kind = WS_PACKET_BROADCAST),
           WS_PACKET_BROADCAST, "the key of a location may have 255 bytes");
    is_int(WITH(p.data = text, p.len = 1, p.kind = WS_PACKET_BROADCAST), 0,
           "text to a location that is not UTF-8 is ignored");
    is_int(WITH(p.data = text, p.len = 1, p.kind = WS_PACKET_SEND), 0,
           "text to a connection that is not UTF-8 is ignored");
    is_int(WITH(p.id = 0, p.kind = WS_PACKET_SEND), 0,
           "a message to a connection without an id is ignored");
    member[WS_MEMBER_MAX] = 0;
    is_int(WITH(p.data = member, p.len = sizeof(member) - 1, p.kind = WS_PACKET_JOIN),
           WS_PACKET_JOIN, "a member of 1024 bytes with a user of 255 bytes is accepted");
    is_int(WITH(p.data = member, p.len = sizeof(member), p.kind = WS_PACKET_JOIN), 0,
           "a user of more bytes is ignored");
    member[WS_MEMBER_MAX] = 'm';
    member[WS_MEMBER_MAX + 1] = 0;
    is_int(WITH(p.data = member, p.len = WS_MEMBER_MAX + 2, p.kind = WS_PACKET_JOIN), 0,
           "a member of more bytes is ignored");
    is_int(WITH(p.data = "a", p.len = 1, p.kind = WS_PACKET_JOIN), 0,
           "a member without a NUL before the user is ignored");
    is_int(WITH(p.data = "\xC3\0u", p.len = 3, p.kind = WS_PACKET_JOIN), 0,
           "a member that is not UTF-8 is ignored");
    is_int(WITH(p.data = "m\0\xC3", p.len = 3, p.kind = WS_PACKET_JOIN), 0,
           "a user that is not UTF-8 is ignored");
    is_int(WITH(p.data = "m\0u", p.len = 3, p.kind = WS_PACKET_JOIN, p.id = 0), 0,
           "a member without an id is ignored");
    is_int(WITH(p.id = 0, p.kind = WS_PACKET_LEAVE), 0,
           "a leaving member without an id is ignored");
}

/* Encodes and decodes the key, the event, the time to live and the source of a message. */
static void message_fields(void)
{
    const ws_message_fields all = {
        .expires = 0x0102030405060708, .event = "price", .key = "acme", .source = "news/a"};
    unsigned char bytes[WS_FIELDS_MAX], out[WS_PACKET_HEAD_MAX];
    ws_message_fields f;
    ws_fields_buffer buffer;
    apr_size_t len = ws_fields_encode(&all, bytes), n;
    ws_packet p = whole;
    is_int(len, 8 + 3 + 5 + 4 + 6, "encoded fields have the length of their parts");
    ok(ws_fields_decode(&f, bytes, len, &buffer) && f.expires == all.expires
           && !strcmp(f.event, "price") && !strcmp(f.key, "acme") && !strcmp(f.source, "news/a"),
       "decoded fields are the same");
    for (apr_size_t i = 1; i < len; i++) {
        ok(!ws_fields_decode(&f, bytes, i, &buffer), "incomplete fields are invalid");
    }
    bytes[9] = '\n';
    ok(!ws_fields_decode(&f, bytes, len, &buffer), "an event with a control character is invalid");
    bytes[9] = 0;
    ok(!ws_fields_decode(&f, bytes, len, &buffer), "an event with a NUL is invalid");
    ws_fields_encode(&all, bytes);
    bytes[0] = 0x80;
    ok(!ws_fields_decode(&f, bytes, len, &buffer), "a negative time is invalid");
    is_int(ws_fields_encode(&(ws_message_fields){.expires = 0}, bytes), 0,
           "no fields take no bytes");
    ok(ws_fields_decode(&f, "", 0, &buffer) && !f.key && !f.event,
       "no bytes are decoded as no fields");
    len = ws_fields_encode(&all, bytes);
    p.fields = bytes;
    p.fields_len = (unsigned)len;
    p.channel = "news/*";
    p.channel_len = 6;
    n = build(&p, out);
    is_int(n, ws_packet_size(&p), "ws_packet_size() includes the fields");
    is_int(out[1], WS_PACKET_FIELDS, "a message with fields has its own kind on the bus");
    is_int(ws_packet_decode(&p, out, n), n, "a packet with fields is decoded");
    ok(p.kind == WS_PACKET_MESSAGE && p.fields_len == len && p.len == 5
           && !memcmp(p.data, "hello", 5),
       "the packet is decoded as a message with fields");
    is_int(WITH(p.fields = bytes, p.fields_len = (unsigned)len), 0,
           "fields with a source but no wildcard are ignored");
    is_int(WITH(p.channel = "news/*", p.channel_len = 6), 0,
           "a wildcard without a source is ignored");
    out[WS_PACKET_HEAD + 6] = 0xFF;
    ws_packet_decode(&p, out, n);
    is_int(p.kind, 0, "fields longer than the packet are invalid");
}

static void patterns(void)
{
    static const char *const valid[] = {"*",    "a?c",  "[a-f]*", "[!a]", "[\\]a]", "[^a]",
                                        "[]a]", "a\\b", "[a-]b",  "**",   "!a",     "[[a]"};
    static const char *const invalid[] = {"",   "[z-a]", "[]",  "a]",   "a\\*", "\\",
                                          "a^", "[a",    "[]]", "[*?]", "a b",  "[^!-~]"};
    char longest[WS_CHANNEL_MAX + 4];
    for (size_t i = 0; i < sizeof(valid) / sizeof(*valid); i++) {
        ok(ws_channel_pattern_valid(valid[i]), "\"%s\" can match a name", valid[i]);
    }
    for (size_t i = 0; i < sizeof(invalid) / sizeof(*invalid); i++) {
        ok(!ws_channel_pattern_valid(invalid[i]), "\"%s\" matches no name", invalid[i]);
    }
    memset(longest, 'a', WS_CHANNEL_MAX);
    strcpy(longest + WS_CHANNEL_MAX, "**");
    ok(ws_channel_pattern_valid(longest), "a pattern of 200 characters and stars can match a name");
    strcpy(longest + WS_CHANNEL_MAX, "a*");
    ok(!ws_channel_pattern_valid(longest), "a pattern of 201 characters matches no name");
    ok(ws_channel_pattern_hidden("a", "*") && ws_channel_pattern_hidden("a*", "**")
           && ws_channel_pattern_hidden("a*", "a*"),
       "a pattern never applies after * and after the same pattern");
    ok(!ws_channel_pattern_hidden("*", "a*") && !ws_channel_pattern_hidden("a*", "a"),
       "a pattern applies after others");
}

static void names(void)
{
    char longest[WS_CHANNEL_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[WS_CHANNEL_MAX] = 0;
    ok(ws_channel_valid("a") && ws_channel_valid("Room-1_x.y~z:/@+=!"),
       "valid channel names are accepted");
    ok(ws_channel_valid(longest), "a channel name of 200 bytes is accepted");
    longest[WS_CHANNEL_MAX] = 'a';
    longest[WS_CHANNEL_MAX + 1] = 0;
    ok(!ws_channel_valid(longest), "a channel name of 201 bytes is refused");
    ok(!ws_channel_valid("") && !ws_channel_valid(NULL), "an empty channel name is refused");
    ok(!ws_channel_valid("a b") && !ws_channel_valid("a*") && !ws_channel_valid("a?")
           && !ws_channel_valid("a,b") && !ws_channel_valid("\xC3\xBC") && !ws_channel_valid("a\n")
           && !ws_channel_valid("%41"),
       "channel names with blanks, patterns, commas, controls or other bytes are refused");
    ok(!ws_channel_valid_len("a\0b", 3), "a channel name with a NUL is refused");
    patterns();
    ok(ws_channel_hash("a", 1) != ws_channel_hash("b", 1), "two names have different hashes");
    ok(ws_channel_hash("ab", 1) == ws_channel_hash("a", 1), "only the given length is hashed");
}

int main(void)
{
    layout();
    back_again();
    pieces();
    strangers();
    fields();
    message_fields();
    names();
    return done_testing();
}
