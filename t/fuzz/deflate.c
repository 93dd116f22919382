/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This target inflates and deflates messages with permessage-deflate. Inflating a message gives
 * the same result however the message is cut into pieces, and never more bytes than the receiver
 * accepts. A receiver can inflate every message that we deflate. The input consists of two bytes of
 * settings, four bytes that determine the cuts, and the payload.
 */

#include "protocol/deflate.h"

#include <zlib.h>

#include "t/fuzz/fuzz.h"

#define CHUNK_MAX (32 * 1024)

/* One direction of a connection, and its output. */
typedef struct end {
    ws_extended x; /* must be the first field: the extension receives a pointer to it */
    unsigned char *out;
    size_t len, size, most;
    int last, stopped, code;
} end;

static uint64_t used;

static apr_uint64_t all_used(void)
{
    return used;
}

static int take_out(end *e, const void *data, size_t len, int last)
{
    MUST(!e->last && !e->stopped && len <= CHUNK_MAX);
    if (len > e->most - e->len) {
        e->stopped = 1;
        return -1;
    }
    if (e->size - e->len < len) {
        e->size = 2 * e->size + len;
        e->out = realloc(e->out, e->size);
        MUST(e->out);
    }
    if (len) {
        memcpy(e->out + e->len, data, len);
    }
    e->len += len;
    e->last = last != 0;
    return 0;
}

int ws_extension_deliver(ws_extended *x, unsigned char *data, apr_size_t len, int last)
{
    return take_out((end *)x, data, len, last);
}

int ws_extension_emit(ws_extended *x, const void *data, apr_size_t len, int last)
{
    return take_out((end *)x, data, len, last);
}

static void next_message(end *e)
{
    e->len = 0;
    e->last = e->stopped = e->code = 0;
}

/* Pass a message to the extension, in one piece or, if cuts are given, in several. */
static void pass(end *e, const unsigned char *data, size_t len, uint32_t *cuts, int sent)
{
    unsigned where = WS_FIRST;
    do {
        size_t n = cuts ? next_cut(cuts) : len;
        unsigned char *copy;
        n = n < len ? n : len;
        where |= n == len ? WS_LAST : 0;
        copy = copy_of(data, n);
        e->code = sent ? ws_deflate.send(&e->x, WS_BINARY, copy, n, where)
                       : ws_deflate.receive(&e->x, copy, n, where);
        free(copy);
        data += n;
        len -= n;
        where &= WS_LAST;
    } while (!where && !e->code && !e->stopped);
}

/* Pass a message to two connections in the same state: in one piece to the first, in several to
 * the second.
 * @return whether both stay open */
static int inflated_the_same(end *whole, end *cut, uint32_t *cuts, const unsigned char *data,
                             size_t len, int bits)
{
    size_t common;
    next_message(whole);
    next_message(cut);
    pass(whole, data, len, NULL, 0);
    pass(cut, data, len, cuts, 0);
    common = whole->len < cut->len ? whole->len : cut->len;
    MUST(common == 0 || !memcmp(whole->out, cut->out, common));
    if (whole->stopped || cut->stopped) { /* the output is too long; the excess may differ */
        return 0;
    }
    /* A reference beyond the window may still succeed inside a single piece of output. */
    MUST(whole->code == cut->code || (bits < 15 && cut->code == WS_CLOSE_BAD_DATA));
    MUST(whole->code == 0 || whole->code == WS_CLOSE_BAD_DATA);
    MUST(whole->code || whole->last);
    MUST(cut->code || (cut->last && whole->len == cut->len));
    return cut->code == 0;
}

/* Check that zlib inflates a single message to the same bytes. If a block has BFINAL, zlib stops
 * there, and nothing is checked. */
static void as_zlib_inflates(const unsigned char *data, size_t len, int bits, const end *whole)
{
    size_t all = len + 4, size = whole->most + 1;
    unsigned char *in = malloc(all), *out = malloc(size);
    z_stream z = {0};
    int result;
    MUST(in && out && inflateInit2(&z, -bits) == Z_OK);
    if (len) {
        memcpy(in, data, len);
    }
    memcpy(in + len, "\x00\x00\xFF\xFF", 4);
    z.next_in = in;
    z.avail_in = (uInt)all;
    z.next_out = out;
    z.avail_out = (uInt)size;
    result = inflate(&z, Z_SYNC_FLUSH);
    if (result == Z_DATA_ERROR) {
        MUST(whole->code || whole->stopped);
    }
    else if (result == Z_OK && z.avail_in == 0 && z.avail_out && !whole->stopped && !whole->code) {
        MUST(z.total_out == whole->len);
        MUST(whole->len == 0 || !memcmp(out, whole->out, whole->len));
    }
    inflateEnd(&z);
    free(in);
    free(out);
}

static void close_end(end *e)
{
    ws_deflate.close(&e->x);
    MUST(!e->x.state);
    free(e->out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const size_t limits[] = {0, 10, 1000, 100 * 1000};
    static void *loop; /* compression states that the connections of a loop reuse */
    unsigned how = take_byte(&data, &len), more = take_byte(&data, &len);
    int bits = 8 + (int)(how & 7);
    ws_deflate_memory memory = {.limit = 1 << 30, .mine = &used, .used = all_used};
    ws_deflate_config conf = {.level = 1 + (int)(more & 7),
                              .window = bits,
                              .client_window = bits,
                              .takeover = how >> 3 & 1,
                              .threshold = more >> 3 & 4,
                              .memory = &memory};
    ws_parameter parameter = {.name = "client_max_window_bits"};
    ws_negotiation n[3] = {{.count = 1, .parameters = &parameter},
                           {.count = 1, .parameters = &parameter},
                           {.count = 1, .parameters = &parameter}};
    end whole = {.most = limits[how >> 4 & 3]}, cut = whole, out = {.most = SIZE_MAX};
    end *ends[3] = {&whole, &cut, &out};
    uint32_t cuts = 0;

    for (int i = 0; i < 4; i++) {
        cuts = cuts << 8 | take_byte(&data, &len);
    }
    for (int i = 0; i < 3; i++) {
        MUST(ws_deflate.negotiate(&n[i], &conf) == 1);
        ends[i]->x = (ws_extended){.config = &conf, .agreed = n[i].agreed, .shared = &loop};
    }
    /* Receive the same message twice, because the second one may refer to the first. */
    for (int i = 0, same = 1; i < 2 && same; i++) {
        same = inflated_the_same(&whole, &cut, &cuts, data, len, bits);
        if (i == 0) {
            as_zlib_inflates(data, len, bits, &whole);
        }
    }
    close_end(&whole);
    close_end(&cut);

    /* Also send the payload as a message, twice. The connection that receives it has not received
     * any message before. */
    whole = (end){.most = SIZE_MAX, .x = {.config = &conf, .shared = &loop}};
    MUST(ws_deflate.negotiate(&n[0], &conf) == 1);
    whole.x.agreed = n[0].agreed;
    for (int i = 0; i < 2; i++) {
        next_message(&out);
        next_message(&whole);
        pass(&out, data, len, how & 0x40 ? &cuts : NULL, 1);
        if (out.code == WS_PASS_BY) {
            MUST(out.len == 0);
            continue;
        }
        MUST(out.code == 0 && out.last);
        pass(&whole, out.out, out.len, how & 0x80 ? &cuts : NULL, 0);
        MUST(whole.code == 0 && whole.last && whole.len == len);
        MUST(len == 0 || !memcmp(whole.out, data, len));
    }
    close_end(&out);
    close_end(&whole);
    MUST(used < 16 << 20); /* only the states that wait for reuse use memory */
    if (loop && more & 0x80) {
        ws_deflate.end(loop);
        loop = NULL;
        used = 0;
    }
    return 0;
}
