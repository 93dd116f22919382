/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What messages say. All are stretches of one pattern, each connection's next one a cell further on, so
 * that neither a message of another connection nor an older one passes for the right one. Each stretch of
 * text begins and ends between two characters, wherever it lies: cells have a boundary at the place
 * where a message can end.
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
#define DEFLATED 64u /**< those that are compressed in advance */

static unsigned char *pattern;
static struct {
    unsigned char *data;
    size_t len;
} deflated[DEFLATED];

/* A pool of random bytes is used up before the kernel is asked again. */
static unsigned char pool[8192];
static size_t pool_at = sizeof(pool);

static void draw(void *out, size_t len)
{
    if (pool_at + len > sizeof(pool)) {
        for (size_t i = 0; i < sizeof(pool); i += 256) { /* as much as is never cut short */
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

static unsigned draw_below(unsigned n)
{
    uint32_t number;
    draw(&number, sizeof(number));
    return number % n;
}

void payload_mask(unsigned char key[4])
{
    draw(key, 4);
}

void payload_forked(void)
{
    pool_at = sizeof(pool);
}

static size_t put_utf8(unsigned char *out, unsigned code)
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

/* len bytes of whole characters of every length; what is left over is ASCII. */
static void fill_utf8(unsigned char *out, size_t len)
{
    while (len > 0) {
        unsigned kind = draw_below(4);
        unsigned code = kind == 0   ? 'a' + draw_below(26)
                        : kind == 1 ? 0xA0 + draw_below(0x500)
                        : kind == 2 ? 0x4E00 + draw_below(0x5000)
                                    : 0x1F300 + draw_below(0x300);
        size_t n;
        if (len < 4 && kind >= len) {
            code = 'z';
        }
        n = put_utf8(out, code);
        out += n;
        len -= n;
    }
}

static void fill_bytes(unsigned char *out, size_t len, int text)
{
    static const char letters[65] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
    for (size_t i = 0; i < len; i++) {
        draw(out + i, 1);
        if (text) {
            out[i] = (unsigned char)letters[out[i] % 64];
        }
    }
}

/* As an interface would send it: the same names, changing values. */
static void fill_json(char *out, size_t len)
{
    static const char *const state[] = {"open", "closed", "waiting", "unknown"};
    char record[256];
    size_t at = 0;
    while (at < len) {
        int n = snprintf(record, sizeof(record),
                         "{\"id\":%u,\"sensor\":\"room-%u\",\"temperature\":%u.%u,\"humidity\":%u,"
                         "\"state\":\"%s\",\"time\":\"2030-01-%02uT%02u:%02u:%02uZ\"},",
                         draw_below(1000000), draw_below(40), 10 + draw_below(20), draw_below(10),
                         draw_below(100), state[draw_below(4)], 1 + draw_below(31), draw_below(24),
                         draw_below(60), draw_below(60));
        size_t take = (size_t)n < len - at ? (size_t)n : len - at;
        memcpy(out + at, record, take);
        at += take;
    }
}

/* Without the tail, as RFC 7692, section 7.2.1, has it. */
static void deflate_stretch(unsigned i)
{
    z_stream z = {0};
    size_t size = opt.size + opt.size / 1000 + 64;
    if (deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK
        || !(deflated[i].data = malloc(size))) {
        fputs("wsbench: out of memory\n", stderr);
        exit(1);
    }
    z.next_in = pattern + (size_t)i * CELL;
    z.avail_in = (uInt)opt.size;
    z.next_out = deflated[i].data;
    z.avail_out = (uInt)size;
    deflate(&z, Z_SYNC_FLUSH);
    deflated[i].len = size - z.avail_out - 4;
    deflateEnd(&z);
}

static unsigned stretches(void)
{
    return opt.deflate ? DEFLATED : STRETCHES;
}

void payload_make(void)
{
    size_t len = CELL * (size_t)STRETCHES + opt.size + CELL, tail = opt.size % CELL;
    if (!(pattern = malloc(len))) {
        fputs("wsbench: out of memory\n", stderr);
        exit(1);
    }
    if (opt.content == CONTENT_UTF8) {
        for (size_t at = 0; at + CELL <= len; at += CELL) {
            fill_utf8(pattern + at, tail);
            fill_utf8(pattern + at + tail, CELL - tail);
        }
    }
    else if (opt.content == CONTENT_JSON) {
        fill_json((char *)pattern, len);
    }
    else {
        fill_bytes(pattern, len, opt.content == CONTENT_TEXT);
    }
    for (unsigned i = 0; opt.deflate == DEFLATE_ON && i < DEFLATED; i++) {
        deflate_stretch(i);
    }
}

static unsigned stretch_of(unsigned connection, uint64_t message)
{
    return (unsigned)((connection * (uint64_t)37 + message) % stretches());
}

const unsigned char *payload_of(unsigned connection, uint64_t message)
{
    return pattern + (size_t)stretch_of(connection, message) * CELL;
}

const unsigned char *payload_deflated(unsigned connection, uint64_t message, size_t *len)
{
    unsigned i = stretch_of(connection, message);
    *len = deflated[i].len;
    return deflated[i].data;
}

unsigned payload_opcode(void)
{
    return opt.content == CONTENT_BINARY ? WS_OP_BINARY : WS_OP_TEXT;
}
