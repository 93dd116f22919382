/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** permessage-deflate (RFC 7692) with zlib. deflate_negotiate.c negotiates its parameters. Each
 *  zlib state counts against a memory limit. When three quarters of the limit are used, new
 *  connections get no context takeover (deflate.h). When all of it is used, they get no
 *  compression. */

#include "protocol/deflate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "protocol/deflate_private.h"

/* Size of the output buffers, bytes. */
#define CHUNK (32 * 1024)

/* A flush ends with these bytes of an empty stored block. Senders omit them: section 7.2.1. */
static const unsigned char tail[] = {0x00, 0x00, 0xFF, 0xFF};

/* A zlib state for one direction. */
typedef struct stream stream;
struct stream {
    z_stream z;
    stream *next;
    apr_size_t cost; /* bytes */
    int level, bits; /* parameters of z */
    int ended;       /* the input so far ends with a BFINAL block */
};

/* The state of an event loop. */
typedef struct shared {
    stream *inflaters, *deflaters; /* unused zlib states */
    unsigned char inflated[CHUNK], deflated[CHUNK];
} shared;

/* The state of a connection. It exists while at least one of its two streams does. */
typedef struct state {
    stream *in, *out;
} state;

/* Maximum number of unused states per direction that a loop keeps. While memory is scarce, the loop
 * keeps one. */
#define SPARE 4

static int pmd_server_bits(const ws_extended *x)
{
    return (int)(x->agreed & 0xF);
}

static int pmd_client_bits(const ws_extended *x)
{
    return (int)(x->agreed >> 4 & 0xF);
}

static const ws_deflate_memory *pmd_memory_of(const ws_extended *x)
{
    return ((const ws_deflate_config *)x->config)->memory;
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

/* Create a zlib state. cost: memory to reserve, bytes; 0: it is already reserved. level 0: an
 * inflater */
static stream *pmd_make(const ws_deflate_memory *m, int level, int bits, apr_size_t cost)
{
    stream *s = ws_pmd_take(m, cost, m ? m->limit : 0) == 0 ? calloc(1, sizeof(*s)) : NULL;
    int ok = s
             && (level ? deflateInit2(&s->z, level, Z_DEFLATED, -ws_pmd_bits(bits),
                                      ws_pmd_memory_level(bits), Z_DEFAULT_STRATEGY)
                       : inflateInit2(&s->z, -bits))
                    == Z_OK;
    if (ok) {
        s->level = level;
        s->bits = bits;
        s->cost = cost;
        return s;
    }
    if (s) {
        ws_pmd_give_back(m, cost);
        free(s);
    }
    return NULL;
}

static void pmd_destroy(const ws_deflate_memory *m, stream *s)
{
    ws_pmd_give_back(m, s->cost);
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
                             ws_pmd_inflate_cost(pmd_client_bits(x)));
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
            s->out = pmd_make(pmd_memory_of(x), level, bits, ws_pmd_deflate_cost(bits));
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

/* Handle the end of a received message. */
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

/* pmd_inflate_piece() returns this if the receiver of the output takes no further data. It differs
 * from all close codes. */
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
            /* Continue after a block with BFINAL (section 7.2.3.4). Later data may still refer to
             * earlier data. */
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
            result = WS_CLOSE_BAD_DATA; /* the message is truncated */
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

/* Whether a whole message should be sent uncompressed because compression did not shorten it. With
 * threshold=0, no message is sent uncompressed, because some peers fail on uncompressed messages
 * between compressed ones. */
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
            /* Do not emit the last bytes: they may be the tail. */
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
    if (out < sizeof(tail)) { /* no output since the last flush: section 7.2.3.6 */
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
    ws_pmd_give_back(pmd_memory_of(x), ws_pmd_promised(x->agreed));
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
        pmd_destroy(NULL, s); /* NULL: leave the memory count, because the process ends */
    }
    while ((s = sh->deflaters)) {
        sh->deflaters = s->next;
        pmd_destroy(NULL, s);
    }
    free(sh);
}

const ws_extension ws_deflate = {.rsv = WS_RSV1,
                                 .negotiate = ws_pmd_negotiate,
                                 .receive = pmd_receive_message,
                                 .send = pmd_send_message,
                                 .close = pmd_close_connection,
                                 .end = pmd_end_loop};
