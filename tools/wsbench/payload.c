/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Generates payloads. Each message is a slice of one long pattern. The slice of a connection's next
 * message begins CELL bytes after that of the previous message, so that a wrong or old message is
 * not mistaken for the right one. Text is valid UTF-8 in every slice, because no character crosses
 * an offset where a slice can begin or end.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zlib.h>

#include "protocol/frame.h"
#include "tools/wsbench/wsbench.h"

#define CELL 64u
#define STRETCHES 1024u
#define DEFLATED 64u /**< number of precompressed slices */

static unsigned char *pattern;
static struct {
    unsigned char *data;
    size_t len;
} deflated[DEFLATED];

/* Random bytes that have been read in advance, to save system calls. */
static unsigned char pool[8192];
static size_t pool_at = sizeof(pool);

static void payload_draw(void *out, size_t len)
{
    if (pool_at + len > sizeof(pool)) {
        /* For up to 256 bytes, getrandom() never returns fewer bytes. */
        for (size_t i = 0; i < sizeof(pool); i += 256) {
            if (getrandom(pool + i, 256, 0) != 256) {
                perror("wsbench: getrandom");
                exit(1);
            }
        }
        pool_at = 0;
    }
    memcpy(out, pool + pool_at, len);
    pool_at += len;
}

static unsigned payload_draw_below(unsigned n)
{
    uint32_t number;
    payload_draw(&number, sizeof(number));
    return number % n;
}

void payload_mask(unsigned char key[4])
{
    payload_draw(key, 4);
}

void payload_forked(void)
{
    pool_at = sizeof(pool);
}

static size_t payload_put_utf8(unsigned char *out, unsigned code)
{
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1;) {
        out[i] = (unsigned char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (unsigned char)(lead[n] | code);
    return n;
}

/* Fill the buffer with characters of all lengths. The remainder is ASCII. */
static void payload_fill_utf8(unsigned char *out, size_t len)
{
    while (len > 0) {
        unsigned kind = payload_draw_below(4);
        unsigned code = kind == 0   ? 'a' + payload_draw_below(26)
                        : kind == 1 ? 0xA0 + payload_draw_below(0x500)
                        : kind == 2 ? 0x4E00 + payload_draw_below(0x5000)
                                    : 0x1F300 + payload_draw_below(0x300);
        size_t n;
        if (len < 4 && kind >= len) {
            code = 'z';
        }
        n = payload_put_utf8(out, code);
        out += n;
        len -= n;
    }
}

static void payload_fill_bytes(unsigned char *out, size_t len, int text)
{
    static const char letters[65] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
    for (size_t i = 0; i < len; i++) {
        payload_draw(out + i, 1);
        if (text) {
            out[i] = (unsigned char)letters[out[i] % 64];
        }
    }
}

/* Generate data like the JSON of an API, with constant names and changing values. */
static void payload_fill_json(char *out, size_t len)
{
    static const char *const state[] = {"open", "closed", "waiting", "unknown"};
    char record[256];
    size_t at = 0;
    while (at < len) {
        int n =
            snprintf(record, sizeof(record),
                     "{\"id\":%u,\"sensor\":\"room-%u\",\"temperature\":%u.%u,\"humidity\":%u,"
                     "\"state\":\"%s\",\"time\":\"2030-01-%02uT%02u:%02u:%02uZ\"},",
                     payload_draw_below(1000000), payload_draw_below(40),
                     10 + payload_draw_below(20), payload_draw_below(10), payload_draw_below(100),
                     state[payload_draw_below(4)], 1 + payload_draw_below(31),
                     payload_draw_below(24), payload_draw_below(60), payload_draw_below(60));
        size_t take = (size_t)n < len - at ? (size_t)n : len - at;
        memcpy(out + at, record, take);
        at += take;
    }
}

/* Compress a slice, and omit the tail (RFC 7692, section 7.2.1). */
static void payload_deflate_stretch(unsigned i)
{
    z_stream z = {0};
    size_t size = opt.size + opt.size / 1000 + 64;
    memory_must_zlib(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY));
    deflated[i].data = memory_must(malloc(size));
    z.next_in = pattern + (size_t)i * CELL;
    z.avail_in = (uInt)opt.size;
    z.next_out = deflated[i].data;
    z.avail_out = (uInt)size;
    deflate(&z, Z_SYNC_FLUSH);
    deflated[i].len = size - z.avail_out - 4;
    deflateEnd(&z);
}

static unsigned payload_stretches(void)
{
    return opt.deflate ? DEFLATED : STRETCHES;
}

void payload_make(void)
{
    size_t len = CELL * (size_t)STRETCHES + opt.size + CELL, tail = opt.size % CELL;
    pattern = memory_must(malloc(len));
    if (opt.content == CONTENT_UTF8) {
        for (size_t at = 0; at + CELL <= len; at += CELL) {
            payload_fill_utf8(pattern + at, tail);
            payload_fill_utf8(pattern + at + tail, CELL - tail);
        }
    }
    else if (opt.content == CONTENT_JSON) {
        payload_fill_json((char *)pattern, len);
    }
    else {
        payload_fill_bytes(pattern, len, opt.content == CONTENT_TEXT);
    }
    for (unsigned i = 0; opt.deflate == DEFLATE_ON && i < DEFLATED; i++) {
        payload_deflate_stretch(i);
    }
}

static unsigned payload_stretch_of(unsigned connection, uint64_t message)
{
    return (unsigned)((connection * (uint64_t)37 + message) % payload_stretches());
}

const unsigned char *payload_of(unsigned connection, uint64_t message)
{
    return pattern + (size_t)payload_stretch_of(connection, message) * CELL;
}

const unsigned char *payload_deflated(unsigned connection, uint64_t message, size_t *len)
{
    unsigned i = payload_stretch_of(connection, message);
    *len = deflated[i].len;
    return deflated[i].data;
}

unsigned payload_opcode(void)
{
    return opt.content == CONTENT_BINARY ? WS_OP_BINARY : WS_OP_TEXT;
}
