/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** permessage-deflate (RFC 7692) with zlib. Each zlib state counts against a memory limit; when memory is
 * scarce, connections lose context takeover first, then compression. */

#include "protocol/deflate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "protocol/extension_header.h"

/* Size of the output buffers, bytes. */
#define CHUNK (32 * 1024)

/* The end of the empty stored block of a flush, which senders omit: section 7.2.1. */
static const unsigned char tail[] = {0x00, 0x00, 0xFF, 0xFF};

/* A zlib state for one direction. */
typedef struct stream stream;
struct stream {
    z_stream z;
    stream *next;
    apr_size_t cost; /* bytes */
    int level, bits; /* its parameters */
    int ended;       /* the input so far ends with a block that has BFINAL */
};

/* Per event loop. */
typedef struct shared {
    stream *inflaters, *deflaters; /* unused ones */
    unsigned char inflated[CHUNK], deflated[CHUNK];
} shared;

/* Per connection; exists while at least one of the two does. */
typedef struct state {
    stream *in, *out;
} state;

/* Unused states that a loop keeps per direction; one while memory is scarce. */
#define SPARE 4

/* ---- The agreed parameters, in 64 bits ---- */

enum { SERVER_TAKEOVER = 0x100, CLIENT_TAKEOVER = 0x200 };

static int pmd_server_bits(const ws_extended *x)
{
    return (int)(x->agreed & 0xF);
}

static int pmd_client_bits(const ws_extended *x)
{
    return (int)(x->agreed >> 4 & 0xF);
}

/* ---- Memory ---- */

/* zlib's deflate does not support a window of 256 bytes (it uses 512). But it never looks back further than
 * its window less 262 bytes, so a window of 512 stays within 256. */
static int pmd_bits(int bits)
{
    return bits < 9 ? 9 : bits;
}

static int pmd_memory_level(int bits)
{
    return bits < 10 ? 3 : bits > 15 ? 8 : bits - 7;
}

/* zconf.h: (1 << (windowBits + 2)) + (1 << (memLevel + 9)), plus the state itself. */
static apr_size_t deflate_cost(int bits)
{
    return ((apr_size_t)1 << (pmd_bits(bits) + 2)) + ((apr_size_t)1 << (pmd_memory_level(bits) + 9))
           + 6 * 1024;
}

static apr_size_t pmd_inflate_cost(int bits)
{
    return ((apr_size_t)1 << bits) + 7 * 1024;
}

/* Reserve memory. @return 0, or -1 if that would exceed the limit */
static int pmd_take(const ws_deflate_memory *m, apr_size_t cost, apr_uint64_t limit)
{
    if (m && cost) {
        __atomic_add_fetch(m->mine, cost, __ATOMIC_RELAXED);
        if (m->used() > limit) {
            __atomic_sub_fetch(m->mine, cost, __ATOMIC_RELAXED);
            return -1;
        }
    }
    return 0;
}

static void pmd_give_back(const ws_deflate_memory *m, apr_size_t cost)
{
    if (m && cost) {
        __atomic_sub_fetch(m->mine, cost, __ATOMIC_RELAXED);
    }
}

/* Memory reserved for a connection's lifetime, bytes. */
static apr_size_t pmd_promised(apr_uint64_t agreed)
{
    return (agreed & SERVER_TAKEOVER ? deflate_cost((int)(agreed & 0xF)) : 0)
           + (agreed & CLIENT_TAKEOVER ? pmd_inflate_cost((int)(agreed >> 4 & 0xF)) : 0);
}

static const ws_deflate_memory *pmd_memory_of(const ws_extended *x)
{
    return ((const ws_deflate_config *)x->config)->memory;
}

/* ---- Negotiation: section 7.1 ---- */

typedef struct offer {
    int server_no_takeover, client_no_takeover;
    int server_bits; /* 0: not offered */
    int client_bits; /* likewise */
} offer;

/* @return 8 to 15, or 0 for anything else */
static int pmd_window_bits(const char *value)
{
    if (value && value[0] >= '8' && value[0] <= '9' && !value[1]) {
        return value[0] - '0';
    }
    if (value && value[0] == '1' && value[1] >= '0' && value[1] <= '5' && !value[2]) {
        return 10 + value[1] - '0';
    }
    return 0;
}

/* @return whether the offer is valid: no repeated or unknown parameter, no invalid value */
static int pmd_read_offer(const ws_negotiation *n, offer *o)
{
    memset(o, 0, sizeof(*o));
    for (apr_size_t i = 0; i < n->count; i++) {
        const ws_parameter *p = &n->parameters[i];
        if (!strcmp(p->name, "server_no_context_takeover")) {
            if (p->value || o->server_no_takeover++) {
                return 0;
            }
        }
        else if (!strcmp(p->name, "client_no_context_takeover")) {
            if (p->value || o->client_no_takeover++) {
                return 0;
            }
        }
        else if (!strcmp(p->name, "server_max_window_bits")) {
            if (o->server_bits || !(o->server_bits = pmd_window_bits(p->value))) {
                return 0;
            }
        }
        else if (!strcmp(p->name, "client_max_window_bits")) {
            if (o->client_bits
                || !(o->client_bits = p->value ? pmd_window_bits(p->value) : WS_DEFLATE_BITS_MAX)) {
                return 0;
            }
        }
        else {
            return 0;
        }
    }
    return 1;
}

static int pmd_at_most(int bits, int most)
{
    return bits < most ? bits : most;
}

static int pmd_negotiate(ws_negotiation *n, void *config)
{
    const ws_deflate_config *conf = config;
    const ws_deflate_memory *m = conf->memory;
    int server, client;
    offer o;
    char *end = n->answer;

    if (!pmd_read_offer(n, &o)) {
        return 0;
    }
    server = pmd_at_most(o.server_bits ? o.server_bits : WS_DEFLATE_BITS_MAX, conf->window);
    client = o.client_bits ? pmd_at_most(o.client_bits, conf->client_window) : WS_DEFLATE_BITS_MAX;
    n->agreed = (apr_uint64_t)(server | client << 4);
    if (conf->takeover) {
        n->agreed |= o.server_no_takeover || n->may_drop ? 0 : SERVER_TAKEOVER;
        n->agreed |= o.client_no_takeover ? 0 : CLIENT_TAKEOVER;
        /* Keep a quarter for connections without context takeover. */
        if (m && pmd_take(m, pmd_promised(n->agreed), m->limit - m->limit / 4) < 0) {
            n->agreed &= ~(apr_uint64_t)(SERVER_TAKEOVER | CLIENT_TAKEOVER);
        }
    }
    if (m && !pmd_promised(n->agreed) && m->used() + pmd_inflate_cost(client) > m->limit) {
        return 0;
    }
    n->stateless = !(n->agreed & SERVER_TAKEOVER);
    if (n->stateless) {
        end += sprintf(end, "; server_no_context_takeover");
    }
    if (!(n->agreed & CLIENT_TAKEOVER)) {
        end += sprintf(end, "; client_no_context_takeover");
    }
    if (o.server_bits || server < WS_DEFLATE_BITS_MAX) {
        end += sprintf(end, "; server_max_window_bits=%d", server);
    }
    if (o.client_bits && client < WS_DEFLATE_BITS_MAX) {
        end += sprintf(end, "; client_max_window_bits=%d", client);
    }
    if (*n->answer) {
        memmove(n->answer, n->answer + 2, (size_t)(end - n->answer) - 1);
    }
    return 1;
}

/* ---- Negotiation as a client: section 7.1. In the client, "server" bits stand for our own window. ---- */

const char *ws_deflate_offer(int takeover)
{
    return takeover ? WS_DEFLATE_NAME "; client_max_window_bits"
                    : WS_DEFLATE_NAME "; client_max_window_bits; server_no_context_takeover; "
                                      "client_no_context_takeover";
}

const char *ws_deflate_agree(const ws_deflate_config *config, int takeover,
                             const struct ws_offer *answer, apr_uint64_t *agreed)
{
    ws_negotiation n = {.count = answer->count, .parameters = answer->parameters};
    const ws_deflate_memory *m = config->memory;
    int ours, theirs;
    offer o;

    for (apr_size_t i = 0; i < n.count && i < WS_PARAMETERS_MAX; i++) {
        if (!strcmp(n.parameters[i].name, "client_max_window_bits") && !n.parameters[i].value) {
            return "client_max_window_bits has no value in the answer"; /* section 7.1.2.2 */
        }
    }
    if (n.count > WS_PARAMETERS_MAX || !pmd_read_offer(&n, &o)) {
        return "the server chose unknown parameters of permessage-deflate";
    }
    if (!takeover && !o.server_no_takeover) {
        return "the server did not accept server_no_context_takeover"; /* section 7.1.1.1 */
    }
    ours = pmd_at_most(o.client_bits ? o.client_bits : WS_DEFLATE_BITS_MAX, config->window);
    theirs = o.server_bits ? o.server_bits : WS_DEFLATE_BITS_MAX;
    *agreed = (apr_uint64_t)(ours | theirs << 4);
    *agreed |= takeover && config->takeover && !o.client_no_takeover ? SERVER_TAKEOVER : 0;
    *agreed |= o.server_no_takeover ? 0 : CLIENT_TAKEOVER;
    if (m && pmd_take(m, pmd_promised(*agreed), m->limit) < 0) {
        return "the memory limit for compression is reached";
    }
    return NULL;
}

static int pmd_is_ours(const ws_offer *o)
{
    return !strcmp(o->name, WS_DEFLATE_NAME) && o->count <= WS_PARAMETERS_MAX;
}

/* @return whether `a` is a valid answer to `o`: sections 7.1.1 and 7.1.2 */
static int pmd_accepts(const offer *o, const offer *a)
{
    return (!o->server_no_takeover || a->server_no_takeover)
           && (!o->server_bits || (a->server_bits && a->server_bits <= o->server_bits))
           && (!a->client_bits || (o->client_bits && a->client_bits <= o->client_bits));
}

int ws_deflate_answers(char *offers, char *answer)
{
    ws_offer given, next;
    offer a, o;
    int found = 0;
    if (ws_offer_next(&answer, &given) <= 0 || !pmd_is_ours(&given)
        || ws_offer_next(&answer, &next) != 0) {
        return 0;
    }
    for (apr_size_t i = 0; i < given.count; i++) {
        if (!strcmp(given.parameters[i].name, "client_max_window_bits")
            && !given.parameters[i].value) {
            return 0;
        }
    }
    if (!pmd_read_offer(&(ws_negotiation){.count = given.count, .parameters = given.parameters},
                        &a)) {
        return 0;
    }
    while (!found && ws_offer_next(&offers, &given) > 0) {
        found = pmd_is_ours(&given)
                && pmd_read_offer(
                    &(ws_negotiation){.count = given.count, .parameters = given.parameters}, &o)
                && pmd_accepts(&o, &a);
    }
    return found;
}

/* ---- zlib's states ---- */

static shared *pmd_shared_of(ws_extended *x)
{
    return *x->shared ? *x->shared : (*x->shared = calloc(1, sizeof(shared)));
}

static state *pmd_state_of(ws_extended *x)
{
    return x->state ? x->state : (x->state = calloc(1, sizeof(state)));
}

static void pmd_forget_state(ws_extended *x)
{
    state *s = x->state;
    if (s && !s->in && !s->out) {
        free(s);
        x->state = NULL;
    }
}

/* Take an unused state with these parameters from the loop. */
static stream *pmd_reuse(stream **list, int level, int bits)
{
    for (stream **link = list; *link; link = &(*link)->next) {
        stream *s = *link;
        if (s->level == level && s->bits == bits) {
            *link = s->next;
            return s;
        }
    }
    return NULL;
}

static unsigned pmd_length(const stream *list)
{
    unsigned n = 0;
    for (; list; list = list->next) {
        n++;
    }
    return n;
}

/* cost 0: already reserved. level 0: an inflater. */
static stream *pmd_make(const ws_deflate_memory *m, int level, int bits, apr_size_t cost)
{
    stream *s = pmd_take(m, cost, m ? m->limit : 0) == 0 ? calloc(1, sizeof(*s)) : NULL;
    int ok = s
             && (level ? deflateInit2(&s->z, level, Z_DEFLATED, -pmd_bits(bits),
                                      pmd_memory_level(bits), Z_DEFAULT_STRATEGY)
                       : inflateInit2(&s->z, -bits))
                    == Z_OK;
    if (ok) {
        s->level = level;
        s->bits = bits;
        s->cost = cost;
        return s;
    }
    if (s) {
        pmd_give_back(m, cost);
        free(s);
    }
    return NULL;
}

static void pmd_destroy(const ws_deflate_memory *m, stream *s)
{
    pmd_give_back(m, s->cost);
    if (s->level) {
        deflateEnd(&s->z);
    }
    else {
        inflateEnd(&s->z);
    }
    free(s);
}

static stream *pmd_inflater(ws_extended *x, shared *sh)
{
    state *s = pmd_state_of(x);
    if (s && !s->in) {
        if (x->agreed & CLIENT_TAKEOVER) {
            s->in = pmd_make(pmd_memory_of(x), 0, pmd_client_bits(x), 0);
        }
        else if (!(s->in = pmd_reuse(&sh->inflaters, 0, pmd_client_bits(x)))) {
            s->in = pmd_make(pmd_memory_of(x), 0, pmd_client_bits(x),
                             pmd_inflate_cost(pmd_client_bits(x)));
        }
    }
    return s ? s->in : NULL;
}

static stream *pmd_deflater(ws_extended *x, shared *sh)
{
    int level = ((const ws_deflate_config *)x->config)->level, bits = pmd_server_bits(x);
    state *s = pmd_state_of(x);
    if (s && !s->out) {
        if (x->agreed & SERVER_TAKEOVER) {
            s->out = pmd_make(pmd_memory_of(x), level, bits, 0);
        }
        else if (!(s->out = pmd_reuse(&sh->deflaters, level, bits))) {
            s->out = pmd_make(pmd_memory_of(x), level, bits, deflate_cost(bits));
        }
    }
    return s ? s->out : NULL;
}

/* Return a state to the loop, or destroy it. */
static void pmd_retire(ws_extended *x, stream **list, stream *s)
{
    const ws_deflate_memory *m = pmd_memory_of(x);
    unsigned spare = pmd_length(*list);
    int keep = !spare || (spare < SPARE && !(m && m->used() > m->limit / 2));
    if (keep && (s->level ? deflateReset(&s->z) : inflateReset(&s->z)) == Z_OK) {
        s->next = *list;
        *list = s;
        return;
    }
    pmd_destroy(m, s);
}

/* End of a message. */
static void pmd_end_in(ws_extended *x, shared *sh)
{
    state *s = x->state;
    if (!(x->agreed & CLIENT_TAKEOVER)) {
        pmd_retire(x, &sh->inflaters, s->in);
        s->in = NULL;
        pmd_forget_state(x);
    }
}

static void pmd_end_out(ws_extended *x, shared *sh)
{
    state *s = x->state;
    if (!(x->agreed & SERVER_TAKEOVER)) {
        pmd_retire(x, &sh->deflaters, s->out);
        s->out = NULL;
        pmd_forget_state(x);
    }
}

/* ---- Inflate: section 7.2.2 ---- */

/* Result of pmd_inflate_piece() besides 0 and close codes: the receiver wants no more data. */
#define STOPPED (-2)

/* Inflate, and deliver each full buffer. *out: bytes in the buffer */
static int pmd_inflate_piece(ws_extended *x, stream *s, shared *sh, const unsigned char *data,
                             apr_size_t len, apr_size_t *out)
{
    z_stream *z = &s->z;
    z->next_in = (unsigned char *)data;
    z->avail_in = (uInt)len;
    s->ended = 0;
    for (;;) {
        int result;
        z->next_out = sh->inflated + *out;
        z->avail_out = (uInt)(CHUNK - *out);
        result = inflate(z, Z_SYNC_FLUSH);
        *out = CHUNK - z->avail_out;
        if (result == Z_STREAM_END) {
            /* A block with BFINAL (section 7.2.3.4); later data may still refer to earlier data. */
            result = inflateResetKeep(z);
            s->ended = z->avail_in == 0;
        }
        if (result != Z_OK && result != Z_BUF_ERROR) {
            return result == Z_MEM_ERROR ? WS_CLOSE_INTERNAL : WS_CLOSE_BAD_DATA;
        }
        if (*out == CHUNK) {
            *out = 0;
            if (ws_extension_deliver(x, sh->inflated, CHUNK, 0)) {
                return STOPPED;
            }
        }
        else if (z->avail_in == 0) {
            return 0;
        }
    }
}

/* Whether zlib is between two blocks, at a byte boundary: see data_type in zlib.h, Z_BLOCK. */
static int pmd_between_blocks(const stream *s)
{
    return (s->z.data_type & 128) && !(s->z.data_type & 63);
}

static int pmd_receive_message(ws_extended *x, unsigned char *data, apr_size_t len, unsigned where)
{
    shared *sh = pmd_shared_of(x);
    stream *s = sh ? pmd_inflater(x, sh) : NULL;
    apr_size_t out = 0;
    int result = 0;

    if (!s) {
        pmd_forget_state(x);
        return WS_CLOSE_TRY_LATER;
    }
    if (where & WS_FIRST) {
        s->ended = 0; /* the message may be empty: do not use the previous message's end */
    }
    while (len && !result) { /* zlib's lengths have 32 bits */
        apr_size_t piece = len < (1u << 30) ? len : 1u << 30;
        result = pmd_inflate_piece(x, s, sh, data, piece, &out);
        data += piece;
        len -= piece;
    }
    if (!result && (where & WS_LAST) && !s->ended) {
        result = pmd_inflate_piece(x, s, sh, tail, sizeof(tail), &out);
        if (!result && !pmd_between_blocks(s)) {
            result = WS_CLOSE_BAD_DATA; /* truncated */
        }
    }
    if (!result && (where & WS_LAST)) {
        pmd_end_in(x, sh);
        ws_extension_deliver(x, sh->inflated, out, 1);
    }
    else if (!result && out) {
        ws_extension_deliver(x, sh->inflated, out, 0);
    }
    return result == STOPPED ? 0 : result;
}

/* ---- Deflate: section 7.2.1 ---- */

/* Whether a whole message should be sent uncompressed because compression did not shorten it. Not with
 * threshold=0, which is for peers that do not cope with uncompressed messages between compressed ones. */
static int pmd_useless(const ws_extended *x, unsigned where, apr_size_t len, apr_size_t out)
{
    const ws_deflate_config *conf = x->config;
    return conf->threshold && (where & WS_FIRST) && (where & WS_LAST)
           && !(x->agreed & SERVER_TAKEOVER) && out - sizeof(tail) >= len;
}

static int pmd_send_piece(ws_extended *x, stream *s, shared *sh, const unsigned char *data,
                          apr_size_t len, unsigned where)
{
    z_stream *z = &s->z;
    apr_size_t out = 0, left = len;
    int emitted = 0;

    z->avail_in = 0;
    z->next_in = (unsigned char *)data;
    do {
        apr_size_t piece = left < (1u << 30) ? left : 1u << 30;
        z->avail_in = (uInt)piece;
        left -= piece;
        for (;;) {
            z->next_out = sh->deflated + out;
            z->avail_out = (uInt)(CHUNK - out);
            if (deflate(z, left ? Z_NO_FLUSH : Z_SYNC_FLUSH) == Z_STREAM_ERROR) {
                return WS_CLOSE_INTERNAL;
            }
            out = CHUNK - z->avail_out;
            if (z->avail_out) {
                break;
            }
            /* Keep back what may be the tail. */
            if (ws_extension_emit(x, sh->deflated, CHUNK - sizeof(tail), 0)) {
                return WS_CLOSE_INTERNAL;
            }
            emitted = 1;
            memmove(sh->deflated, sh->deflated + CHUNK - sizeof(tail), sizeof(tail));
            out = sizeof(tail);
        }
    } while (left);

    if (!(where & WS_LAST)) {
        return ws_extension_emit(x, sh->deflated, out, 0) ? WS_CLOSE_INTERNAL : 0;
    }
    if (out < sizeof(tail)) { /* nothing new since the last flush: section 7.2.3.6 */
        sh->deflated[0] = 0;
        out = 1 + sizeof(tail);
    }
    if (!emitted && pmd_useless(x, where, len, out)) {
        return WS_PASS_BY;
    }
    return ws_extension_emit(x, sh->deflated, out - sizeof(tail), 1) ? WS_CLOSE_INTERNAL : 0;
}

static int pmd_send_message(ws_extended *x, ws_type type, const unsigned char *data, apr_size_t len,
                            unsigned where)
{
    const ws_deflate_config *conf = x->config;
    shared *sh;
    stream *s;
    int result;

    (void)type;
    if ((where & WS_FIRST) && (where & WS_LAST) && len < conf->threshold) {
        return WS_PASS_BY;
    }
    if (!(sh = pmd_shared_of(x)) || !(s = pmd_deflater(x, sh))) {
        pmd_forget_state(x);
        return where & WS_FIRST ? WS_PASS_BY : WS_CLOSE_INTERNAL;
    }
    result = pmd_send_piece(x, s, sh, data, len, where);
    if (where & WS_LAST) {
        pmd_end_out(x, sh);
    }
    return result;
}

/* ---- The end ---- */

static void pmd_close_connection(ws_extended *x)
{
    state *s = x->state;
    shared *sh = x->shared ? *x->shared : NULL;
    pmd_give_back(pmd_memory_of(x), pmd_promised(x->agreed));
    if (s && s->in) {
        if (x->agreed & CLIENT_TAKEOVER) {
            pmd_destroy(pmd_memory_of(x), s->in);
        }
        else {
            pmd_retire(x, &sh->inflaters, s->in);
        }
    }
    if (s && s->out) {
        if (x->agreed & SERVER_TAKEOVER) {
            pmd_destroy(pmd_memory_of(x), s->out);
        }
        else {
            pmd_retire(x, &sh->deflaters, s->out);
        }
    }
    free(s);
    x->state = NULL;
}

static void pmd_end_loop(void *p)
{
    shared *sh = p;
    stream *s;
    while ((s = sh->inflaters)) {
        sh->inflaters = s->next;
        pmd_destroy(NULL, s); /* the process ends, and its accounting with it */
    }
    while ((s = sh->deflaters)) {
        sh->deflaters = s->next;
        pmd_destroy(NULL, s);
    }
    free(sh);
}

const ws_extension ws_deflate = {.rsv = WS_RSV1,
                                 .negotiate = pmd_negotiate,
                                 .receive = pmd_receive_message,
                                 .send = pmd_send_message,
                                 .close = pmd_close_connection,
                                 .end = pmd_end_loop};
