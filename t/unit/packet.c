/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The encoding of packets that a bus carries. */

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
    is_int(n, sizeof(expected) - 1, "a packet is as long as its parts");
    is_int(n, ws_packet_size(&whole), "and as ws_packet_size() says");
    ok(!memcmp(out, expected, n), "its bytes are those that packet.h describes");
}

static void back_again(void)
{
    unsigned char out[WS_PACKET_HEAD_MAX];
    apr_size_t n = build(&whole, out);
    ws_packet p;
    is_int(ws_packet_decode(&p, out, n), n, "it is read");
    ok(p.kind == whole.kind && p.type == whole.type && p.flags == whole.flags
           && p.from.server == whole.from.server && p.from.process == whole.from.process
           && p.request == whole.request && p.id == whole.id
           && p.position.epoch == whole.position.epoch
           && p.position.offset == whole.position.offset,
       "its numbers are what they were");
    ok(p.channel_len == 4 && !memcmp(p.channel, "news", 4), "so is the channel");
    ok(p.len == 5 && !memcmp(p.data, "hello", 5), "and the data");
    memcpy(out + n, out, n); /* followed by a second packet */
    is_int(ws_packet_decode(&p, out, 2 * n), n, "of two packets the first is read");
}

static void pieces(void)
{
    unsigned char out[WS_PACKET_HEAD_MAX];
    apr_size_t n = build(&whole, out);
    int taken = 0;
    for (apr_size_t i = 0; i < n; i++) {
        /* exact size, so that a sanitizer reports reads beyond its end */
        unsigned char *piece = malloc(i ? i : 1);
        ws_packet p;
        memcpy(piece, out, i);
        taken += ws_packet_decode(&p, piece, i) != 0;
        free(piece);
    }
    is_int(taken, 0, "no part of a packet is taken for one");
}

static void strangers(void)
{
    unsigned char out[WS_PACKET_HEAD_MAX];
    apr_size_t n = build(&whole, out);
    ws_packet p;
    out[0] = 2;
    is_int(ws_packet_decode(&p, out, n), n, "a packet of another version is skipped");
    is_int(p.kind, 0, "and has no kind");
    out[0] = WS_PACKET_VERSION;
    out[1] = 99;
    is_int(ws_packet_decode(&p, out, n), n, "so is one of an unknown kind");
    is_int(p.kind, 0, "which has none either");
    out[1] = WS_PACKET_MESSAGE;
    out[2] = 7;
    ws_packet_decode(&p, out, n);
    is_int(p.kind, 0, "a message is text or binary");
    out[2] = 1;
    out[7] = WS_PACKET_HEAD - 1;
    is_int(ws_packet_decode(&p, out, n), 0, "a packet that is shorter than its head is broken");
    out[7] = WS_PACKET_HEAD + 3;
    is_int(ws_packet_decode(&p, out, n), 0, "so is one that is shorter than its channel's name");
    out[7] = 0;
    is_int(ws_packet_decode(&p, out, n), 0, "and one without length");
    out[7] = (unsigned char)n;
    out[1] = WS_PACKET_JOIN;
    out[WS_PACKET_HEAD] = ' ';
    ws_packet_decode(&p, out, n);
    is_int(p.kind, 0, "a channel's name has no blanks");
}

/* Encode and decode a packet that has one changed field. @return the decoded kind */
static int kind_of(ws_packet p)
{
    unsigned char out[WS_PACKET_HEAD_MAX + 2 * WS_MEMBER_MAX];
    ws_packet read;
    apr_size_t n = build(&p, out);
    is_int(ws_packet_decode(&read, out, n), n, "a packet with odd fields is read whole");
    return read.kind;
}

#define WITH(...)                                                                                  \
    ({                                                                                             \
        ws_packet p = whole;                                                                       \
        __VA_ARGS__;                                                                               \
        kind_of(p);                                                                                \
    })

/* Values that another machine, or an attacker in its place, may put into a field. */
static void fields(void)
{
    static const char text[] = "\xC3\xBC";
    char name[WS_PACKET_NAME_MAX + 1], member[WS_MEMBER_MAX + 1 + WS_USER_MAX + 1];
    memset(name, 'n', sizeof(name));
    memset(member, 'm', sizeof(member));
    is_int(WITH(p.data = text, p.len = 2), WS_PACKET_MESSAGE, "text is UTF-8");
    is_int(WITH(p.data = text, p.len = 1), 0, "not half a character");
    is_int(WITH(p.data = text, p.len = 1, p.type = WS_BINARY), WS_PACKET_MESSAGE, "bytes are any");
    is_int(WITH(p.from.process = 0x10000), 0, "a process has 16 bits");
    is_int(WITH(p.position.offset = 0), 0, "an epoch has an offset");
    is_int(WITH(p.position.epoch = 0), 0, "an offset has an epoch");
    is_int(WITH(p.channel = name, p.channel_len = 201), 0, "a channel's name has 200 bytes");
    is_int(WITH(p.channel = name, p.channel_len = 255, p.kind = WS_PACKET_BROADCAST),
           WS_PACKET_BROADCAST, "a location's key has 255");
    is_int(WITH(p.data = text, p.len = 1, p.kind = WS_PACKET_BROADCAST), 0,
           "text for a location is UTF-8");
    is_int(WITH(p.data = text, p.len = 1, p.kind = WS_PACKET_SEND), 0,
           "text for a connection is UTF-8");
    is_int(WITH(p.id = 0, p.kind = WS_PACKET_SEND), 0, "a connection has an id");
    member[WS_MEMBER_MAX] = 0;
    is_int(WITH(p.data = member, p.len = sizeof(member) - 1, p.kind = WS_PACKET_JOIN),
           WS_PACKET_JOIN, "a member has 1024 bytes, and a user of 255");
    is_int(WITH(p.data = member, p.len = sizeof(member), p.kind = WS_PACKET_JOIN), 0,
           "a user has no more");
    member[WS_MEMBER_MAX] = 'm';
    member[WS_MEMBER_MAX + 1] = 0;
    is_int(WITH(p.data = member, p.len = WS_MEMBER_MAX + 2, p.kind = WS_PACKET_JOIN), 0,
           "nor has a member");
    is_int(WITH(p.data = "a", p.len = 1, p.kind = WS_PACKET_JOIN), 0, "the two have a NUL between");
    is_int(WITH(p.data = "\xC3\0u", p.len = 3, p.kind = WS_PACKET_JOIN), 0, "a member is UTF-8");
    is_int(WITH(p.data = "m\0\xC3", p.len = 3, p.kind = WS_PACKET_JOIN), 0, "so is its user");
    is_int(WITH(p.data = "m\0u", p.len = 3, p.kind = WS_PACKET_JOIN, p.id = 0), 0, "with an id");
    is_int(WITH(p.id = 0, p.kind = WS_PACKET_LEAVE), 0, "also when it leaves");
}

/* Key, event, time to live and source of a message. */
static void message_fields(void)
{
    const ws_message_fields all = {
        .expires = 0x0102030405060708, .event = "price", .key = "acme", .source = "news/a"};
    unsigned char bytes[WS_FIELDS_MAX], out[WS_PACKET_HEAD_MAX];
    ws_message_fields f;
    ws_fields_buffer buffer;
    apr_size_t len = ws_fields_encode(&all, bytes), n;
    ws_packet p = whole;
    is_int(len, 8 + 3 + 5 + 4 + 6, "fields are as long as their parts");
    ok(ws_fields_decode(&f, bytes, len, &buffer) && f.expires == all.expires
           && !strcmp(f.event, "price") && !strcmp(f.key, "acme") && !strcmp(f.source, "news/a"),
       "and are read again");
    for (apr_size_t i = 1; i < len; i++) {
        ok(!ws_fields_decode(&f, bytes, i, &buffer), "cut off they are broken");
    }
    bytes[9] = '\n';
    ok(!ws_fields_decode(&f, bytes, len, &buffer), "an event has no control character");
    bytes[9] = 0;
    ok(!ws_fields_decode(&f, bytes, len, &buffer), "nor a NUL");
    ws_fields_encode(&all, bytes);
    bytes[0] = 0x80;
    ok(!ws_fields_decode(&f, bytes, len, &buffer), "a time is not negative");
    is_int(ws_fields_encode(&(ws_message_fields){.expires = 0}, bytes), 0, "none take no bytes");
    ok(ws_fields_decode(&f, "", 0, &buffer) && !f.key && !f.event, "which are read as none");
    len = ws_fields_encode(&all, bytes);
    p.fields = bytes;
    p.fields_len = (unsigned)len;
    p.channel = "news/*";
    p.channel_len = 6;
    n = build(&p, out);
    is_int(n, ws_packet_size(&p), "a packet with fields has its size");
    is_int(out[1], WS_PACKET_FIELDS, "and travels as another kind");
    is_int(ws_packet_decode(&p, out, n), n, "it is read");
    ok(p.kind == WS_PACKET_MESSAGE && p.fields_len == len && p.len == 5
           && !memcmp(p.data, "hello", 5),
       "as a message with fields");
    is_int(WITH(p.fields = bytes, p.fields_len = (unsigned)len), 0, "only a wildcard has a source");
    is_int(WITH(p.channel = "news/*", p.channel_len = 6), 0, "and always has one");
    out[WS_PACKET_HEAD + 6] = 0xFF;
    ws_packet_decode(&p, out, n);
    is_int(p.kind, 0, "fields longer than the packet are broken");
}

static void names(void)
{
    char longest[WS_CHANNEL_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[WS_CHANNEL_MAX] = 0;
    ok(ws_channel_valid("a") && ws_channel_valid("Room-1_x.y~z:/@+=!"), "names of channels");
    ok(ws_channel_valid(longest), "one of 200 bytes");
    longest[WS_CHANNEL_MAX] = 'a';
    longest[WS_CHANNEL_MAX + 1] = 0;
    ok(!ws_channel_valid(longest), "none of 201");
    ok(!ws_channel_valid("") && !ws_channel_valid(NULL), "none without a byte");
    ok(!ws_channel_valid("a b") && !ws_channel_valid("a*") && !ws_channel_valid("a?")
           && !ws_channel_valid("a,b") && !ws_channel_valid("\xC3\xBC") && !ws_channel_valid("a\n")
           && !ws_channel_valid("%41"),
       "none with blanks, patterns, bytes beyond ASCII, controls or escapes");
    ok(!ws_channel_valid_len("a\0b", 3), "none with a NUL");
    ok(ws_channel_hash("a", 1) != ws_channel_hash("b", 1), "two names have two hashes");
    ok(ws_channel_hash("ab", 1) == ws_channel_hash("a", 1), "of the bytes that are given");
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
