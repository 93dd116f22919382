/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests extensions: parsing offers, the answers of permessage-deflate, and messages that pass an
 *  engine. */

#include <zlib.h>

#include "protocol/deflate.h"
#include "protocol/extension_header.h"
#include "t/unit/random.h"
#include "t/unit/rig.h"

/* ---- Offers ---- */

/* Parse a header. @return "name a b=c | name", or "malformed" */
static const char *read_as(const char *header)
{
    static char text[4096];
    char list[1024], *at = list, *out = text;
    ws_offer offer;
    int result;
    *text = '\0';
    strcpy(list, header);
    while ((result = ws_offer_next(&at, &offer)) > 0) {
        out += sprintf(out, "%s%s", out == text ? "" : " | ", offer.name);
        for (apr_size_t i = 0; i < offer.count && i < WS_PARAMETERS_MAX; i++) {
            const ws_parameter *p = &offer.parameters[i];
            out += sprintf(out, p->value ? " %s=%s" : " %s", p->name, p->value);
        }
    }
    return result < 0 ? "malformed" : text;
}

static void offers(void)
{
    static const char *const cases[][2] = {
        {"", ""},
        {" , ,", ""},
        {"a", "a"},
        {"a,b", "a | b"},
        {" a ;\tb ; c = d ,,e;f=\"g\" ", "a b c=d | e f=g"},
        {"a;b=\"\\c\\d\"", "a b=cd"},
        {"a;b=\"c\";d", "a b=c d"},
        {"a;b=\"c\" , d", "a b=c | d"},
        {";", "malformed"},
        {"a;", "malformed"},
        {"a;;b", "malformed"},
        {"a;b=", "malformed"},
        {"a;b=\"", "malformed"},
        {"a;b=\"\"", "malformed"},
        {"a;b=\"c", "malformed"},
        {"a;b=\"c\\", "malformed"},
        {"a;b=\"c d\"", "malformed"},
        {"a;b=\"c\"d", "malformed"},
        {"a b", "malformed"},
        {"a=b", "malformed"},
        {"a, b c", "malformed"},
        {"a;b c", "malformed"},
        {"\"a\"", "malformed"},
        {"a;b=c=d", "malformed"},
        {"\x80", "malformed"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        is_str(read_as(cases[i][0]), cases[i][1], "offer: %s", cases[i][0]);
    }
}

/* ---- Memory that two processes use, of which this process is one ---- */

static apr_uint64_t mine, theirs;

static apr_uint64_t used(void)
{
    return __atomic_load_n(&mine, __ATOMIC_RELAXED) + __atomic_load_n(&theirs, __ATOMIC_RELAXED);
}

static const ws_deflate_memory memory = {4 << 20, &mine, used};

/* ---- A client of permessage-deflate ---- */

static ws_deflate_config config = {
    .level = 6, .window = 15, .client_window = 15, .threshold = 8, .memory = &memory};
static const ws_extension_use use = {&ws_deflate, WS_DEFLATE_NAME, &config, 0};
static const ws_extension *const all[] = {&ws_deflate};

typedef struct peer {
    wire w;
    z_stream in, out;
    int keeps; /* whether both sides keep their windows (context takeover) */
} peer;

static void join(peer *p, rig *r, const char *name, int takeover)
{
    int fd[2];
    ws_negotiation n = {0};
    ws_new_conn c;
    unix_pair(fd);
    c = rig_newcomer(r, fd[1], name);
    config.takeover = takeover;
    if (!ws_deflate.negotiate(&n, &config)) {
        bail_out("declined");
    }
    is_str(n.answer, takeover ? "" : "server_no_context_takeover; client_no_context_takeover",
           "the offer is answered");
    c.chain = ws_chain_new(1);
    ws_chain_add(c.chain, &use, &n);
    if (ws_engine_add(r->engine, &c) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    told_is(name, "open", "a connection");
    *p = (peer){.w = {.fd = fd[0]}, .keeps = takeover};
    deflateInit2(&p->out, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
    inflateInit2(&p->in, -15);
}

static void part(peer *p, const char *name)
{
    deflateEnd(&p->out);
    inflateEnd(&p->in);
    leave(&p->w, name);
}

/* Compress, and remove the tail 00 00 FF FF. @return the length */
static size_t squeeze(peer *p, const void *data, size_t len, unsigned char *out, size_t size)
{
    p->out.next_in = (unsigned char *)data;
    p->out.avail_in = (uInt)len;
    p->out.next_out = out;
    p->out.avail_out = (uInt)size;
    deflate(&p->out, Z_SYNC_FLUSH);
    size -= p->out.avail_out;
    if (!p->keeps) {
        deflateReset(&p->out);
    }
    return size - 4;
}

/* Read the next message, which must not be fragmented. @return the result of describe() */
static const char *next(peer *p)
{
    static char text[TEXT_SIZE];
    static unsigned char out[1 << 20], in[1 << 20];
    unsigned char *head;
    size_t len, at = 2;
    if (!wire_need(&p->w, 4)) {
        return "no frame";
    }
    head = p->w.in + p->w.pos;
    if ((head[0] & 0xB0) != 0x80) {
        return "a fragment, or a frame with a wrong bit";
    }
    len = head[1];
    if (len >= 126) {
        size_t n = len == 126 ? 2 : 8;
        wire_need(&p->w, 2 + n);
        head = p->w.in + p->w.pos;
        for (len = 0; n; n--) {
            len = len << 8 | head[at++];
        }
    }
    wire_need(&p->w, at + len);
    memcpy(in, p->w.in + p->w.pos + at, len);
    memcpy(in + len, "\0\0\xff\xff", 4);
    head = p->w.in + p->w.pos;
    p->w.pos += at + len;
    if (!(head[0] & 0x40)) { /* not compressed, because that would not have made it shorter */
        return p->keeps ? "a message that is not compressed"
                        : describe(text, head[0] & 0xF, in, len);
    }
    p->in.next_in = in;
    p->in.avail_in = (uInt)len + 4;
    p->in.next_out = out;
    p->in.avail_out = sizeof(out);
    if (inflate(&p->in, Z_SYNC_FLUSH) != Z_OK || p->in.avail_in) {
        return "data that cannot be inflated";
    }
    len = sizeof(out) - p->in.avail_out;
    if (!p->keeps) {
        inflateReset(&p->in);
    }
    return describe(text, head[0] & 0xF, out, len);
}

/* ---- Messages ---- */

static void messages(rig *r, int takeover)
{
    static unsigned char data[300 * 1024], z[512 * 1024];
    peer p;
    join(&p, r, "p", takeover);
    random_seed_printed();
    for (int i = 0; i < 60; i++) {
        char text[TEXT_SIZE];
        size_t len = i ? random_below(sizeof(data)) : sizeof(data), n, pos = 0;
        int first = 0x40 | BINARY;
        for (size_t j = 0; j < len; j++) { /* long repetitions and random bytes */
            data[j] = j > 5000 && random_below(50) ? data[j - 5000] : (unsigned char)random_bits();
        }
        n = squeeze(&p, data, len, z, sizeof(z));
        while (pos < n) { /* fragments of random sizes, each sent in pieces of random sizes */
            size_t cut = i % 2 ? n : 1 + random_below(n - pos);
            unsigned char *f = malloc(HEAD_MAX + cut);
            size_t size;
            cut = cut > n - pos ? n - pos : cut;
            size = frame_put(f, first | (pos + cut == n ? FIN : 0), z + pos, cut);
            for (size_t sent = 0; sent < size;) {
                size_t now = 1 + random_below(size - sent);
                wire_send(&p.w, f + sent, now);
                sent += now;
            }
            free(f);
            pos += cut;
            first = 0;
        }
        describe(text, BINARY, data, len);
        told_is("p", text, "message %d arrives", i);
        is_str(next(&p), text, "the same message is echoed");
    }
    part(&p, "p");
}

static void without_takeover(rig *r)
{
    messages(r, 0);
    nobody_is_left(r);
    ok(used() > 0, "the loop keeps states of zlib for reuse");
}

static void with_takeover(rig *r)
{
    apr_uint64_t before = used();
    messages(r, 1);
    nobody_is_left(r);
    is_int(used(), before, "a connection that has ended has freed its memory");
}

/* ---- Broadcasting ---- */

static void broadcast(rig *r)
{
    peer p[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    const char text[] = "to all of them, and to all of them, and to all of them";
    wire plain;
    for (int i = 0; i < 4; i++) {
        join(&p[i], r, names[i], i == 3);
    }
    plain = enter(r, "plain");
    for (int i = 0; i < 3; i++) {
        ws_broadcast(&r->location, WS_TEXT, text, sizeof(text) - 1, 0);
    }
    for (int i = 0; i < 15; i++) {
        char expected[TEXT_SIZE];
        const char *got = i < 12 ? next(&p[i % 4]) : wire_next(&plain);
        is_str(got, describe(expected, TEXT, text, sizeof(text) - 1),
               "each client gets the broadcast");
    }
    for (int i = 0; i < 4; i++) {
        part(&p[i], names[i]);
    }
    leave(&plain, "plain");
    nobody_is_left(r);
}

/* A connection that breaks inside a message must free all memory. */
static void broken(rig *r)
{
    for (int takeover = 0; takeover < 2; takeover++) {
        peer p;
        join(&p, r, "p", takeover);
        wire_frame(&p.w, 0x40 | BINARY, "\x2a", 1);
        wire_frame(&p.w, FIN | PING, "", 0);
        wire_next_is(&p.w, "pong", "the beginning of a message has been read");
        deflateEnd(&p.out);
        inflateEnd(&p.in);
        wire_free(&p.w);
        told_is("p", "close 1006 \"\"", "the connection ends inside the message");
        nobody_is_left(r);
    }
}

static void no_memory(rig *r)
{
    peer p;
    ws_negotiation n = {0};
    apr_uint64_t limit = memory.limit;
    join(&p, r, "p", 0);
    __atomic_store_n(&theirs, limit, __ATOMIC_RELAXED);
    config.takeover = 1;
    ok(!ws_deflate.negotiate(&n, &config), "when all memory is taken, compression is declined");
    __atomic_store_n(&theirs, limit * 3 / 4, __ATOMIC_RELAXED);
    ok(ws_deflate.negotiate(&n, &config) && n.stateless,
       "when three quarters are taken, takeover is declined");
    __atomic_store_n(&theirs, 0, __ATOMIC_RELAXED);
    part(&p, "p");
    nobody_is_left(r);
}

int main(void)
{
    static const ws_handler echo = {
        .on_open = rec_open, .on_message = rec_and_echo, .on_close = rec_close};
    static test *const tests[] = {without_takeover, with_takeover, broadcast,
                                  broken,           no_memory,     NULL};
    rig setup = {.extensions = all, .extension_count = 1};
    offers();
    rig_run(setup, &echo, 2, tests);
    return done_testing();
}
