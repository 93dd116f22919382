/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The extensions of a connection form a chain. Sent messages pass through it from the first
 * extension to the last. If an extension fails, the connection ends.
 */

#include "engine/extensions_private.h"

#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"

/* Maximum size of a loop's scratch buffer between two messages, bytes; a larger buffer is freed. */
#define KEEP_MAX (256 * 1024)

ws_chain *ws_chain_new(unsigned count)
{
    return calloc(1, sizeof(ws_chain) + count * sizeof(ws_chain_step));
}

ws_chain *ws_chain_passing(void)
{
    ws_chain *chain = ws_chain_new(0);
    if (chain) {
        chain->opaque = WS_RSV1;
    }
    return chain;
}

int ws_chain_passes(const ws_chain *chain)
{
    return chain->opaque != 0;
}

void ws_chain_add(ws_chain *chain, const ws_extension_use *use, const ws_negotiation *n)
{
    ws_chain_step *s = &chain->steps[chain->count++];
    s->use = use;
    s->chain = chain;
    s->x.config = use->config;
    s->x.agreed = n->agreed;
    s->stateless = n->stateless != 0;
}

unsigned ws_chain_rsv(const ws_chain *chain)
{
    unsigned rsv = chain->opaque;
    for (unsigned i = 0; i < chain->count; i++) {
        rsv |= chain->steps[i].use->extension->rsv;
    }
    return rsv;
}

void ws_chain_free(ws_chain *chain)
{
    for (unsigned i = 0; chain && i < chain->count; i++) {
        ws_chain_step *s = &chain->steps[i];
        if (s->use->extension->close) {
            s->use->extension->close(&s->x);
        }
    }
    free(chain);
}

void ws_chain_adopt(ws_conn *c)
{
    ws_chain *chain = c->rare->chain;
    chain->c = c;
    ws_rare_of(c)->parser.rsv_ok = (unsigned char)ws_chain_rsv(chain);
    for (unsigned i = 0; i < chain->count; i++) {
        chain->steps[i].x.shared = &c->loop->shared[chain->steps[i].use->index];
    }
}

/* ---- Out: from the first extension to the last ---- */

/* Append the chain's output to the loop's buffer. */
static int chain_collect(ws_loop *loop, const void *data, apr_size_t len)
{
    if (loop->made_size - loop->scratch_len < len) {
        apr_size_t size = loop->made_size ? loop->made_size : 4096;
        unsigned char *made;
        while (size - loop->scratch_len < len) {
            if (size > APR_SIZE_MAX / 2) {
                return -1;
            }
            size *= 2;
        }
        if (!(made = realloc(loop->scratch, size))) {
            return -1;
        }
        loop->scratch = made;
        loop->made_size = size;
    }
    if (len) {
        memcpy(loop->scratch + loop->scratch_len, data, len);
        loop->scratch_len += len;
    }
    return 0;
}

static int chain_emit(ws_chain *chain, unsigned n, const void *data, apr_size_t len, int last)
{
    for (; n < chain->count; n++) {
        ws_chain_step *s = &chain->steps[n];
        if (s->out) {
            unsigned where = (s->out_first ? WS_FIRST : 0) | (last ? WS_LAST : 0);
            int result;
            s->out_first = 0;
            result = s->use->extension->send(&s->x, (ws_type)chain->type, data, len, where);
            if (result != WS_PASS_BY || !(where & WS_FIRST)) {
                return result ? -1 : 0;
            }
            s->out = 0;
        }
    }
    return chain_collect(chain->c->loop, data, len);
}

int ws_extension_emit(ws_extended *x, const void *data, apr_size_t len, int last)
{
    ws_chain_step *s = (ws_chain_step *)x;
    return chain_emit(s->chain, (unsigned)(s - s->chain->steps) + 1, data, len, last);
}

static void chain_count_sent(ws_loop *loop, apr_size_t before, apr_size_t after)
{
    ws_count(loop->counters, WS_COUNT_DECOMPRESSED_OUT, (apr_int64_t)before);
    ws_count(loop->counters, WS_COUNT_COMPRESSED_OUT, (apr_int64_t)after);
}

ws_status ws_chain_send(ws_conn *c, unsigned *first, const void **payload, apr_size_t *len)
{
    ws_chain *chain = c->rare->chain;
    ws_loop *loop = c->loop;
    unsigned opcode = *first & 0xF;
    apr_size_t before = *len;

    if (chain->opaque) {
        return WS_SENT;
    }
    if (loop->made_size > KEEP_MAX) {
        free(loop->scratch);
        loop->scratch = NULL;
        loop->made_size = 0;
    }
    loop->scratch_len = 0;
    if (opcode != WS_OP_CONTINUATION) {
        chain->type = (unsigned char)opcode;
        for (unsigned i = 0; i < chain->count; i++) {
            chain->steps[i].out = chain->steps[i].out_first = 1;
        }
    }
    if (chain_emit(chain, 0, *payload, *len, *first & WS_FIN) < 0) {
        ws_engine_log(loop->engine, WS_LOG_ERROR, c, "out of memory to transform a sent message");
        c->broken = 1; /* without this message, the peer could not decode the next ones */
        ws_conn_mark_dirty(c);
        return WS_FULL;
    }
    for (unsigned i = 0; i < chain->count; i++) {
        if (chain->steps[i].out) {
            *payload = loop->scratch ? loop->scratch : (const unsigned char *)"";
            *len = loop->scratch_len;
            if (opcode != WS_OP_CONTINUATION) {
                *first |= chain->steps[i].use->extension->rsv;
            }
        }
    }
    if (*payload == loop->scratch && loop->scratch) {
        chain_count_sent(loop, before, *len);
    }
    return WS_SENT;
}

/* ---- Messages for several connections ---- */

void ws_chain_forget_shared(ws_loop *loop)
{
    if (loop->shared_from) {
        ws_frames_unref(loop->shared_from);
        ws_frames_unref(loop->shared_made);
        loop->shared_from = loop->shared_made = NULL;
    }
}

ws_frames *ws_chain_shared(ws_conn *c, ws_frames *f)
{
    ws_loop *loop = c->loop;
    const ws_chain_step *s = &c->rare->chain->steps[0];
    const void *payload, *as_it_is;
    unsigned first = f->data[0];
    apr_size_t len, after;
    ws_frames *made;

    if (c->rare->chain->count != 1 || !s->stateless || !f->whole) {
        return NULL;
    }
    if (loop->shared_from == f && loop->shared_use == s->use
        && loop->shared_agreed == s->x.agreed) {
        if (loop->shared_made != f) {
            ws_frames_payload(f, &len);
            ws_frames_payload(loop->shared_made, &after);
            chain_count_sent(loop, len, after);
        }
        return ws_frames_ref(loop->shared_made);
    }
    payload = as_it_is = ws_frames_payload(f, &len);
    if (ws_chain_send(c, &first, &payload, &len) < 0
        || !(made =
                 payload == as_it_is ? ws_frames_ref(f) : ws_frames_build(first, payload, len))) {
        return NULL;
    }
    made->key = f->key;
    ws_chain_forget_shared(loop);
    loop->shared_from = ws_frames_ref(f);
    loop->shared_made = ws_frames_ref(made);
    loop->shared_use = s->use;
    loop->shared_agreed = s->x.agreed;
    return made;
}

void ws_chain_loop_end(ws_loop *loop)
{
    ws_chain_forget_shared(loop);
    free(loop->scratch);
    for (unsigned i = 0; i < WS_EXTENSIONS_MAX; i++) {
        const ws_extension *e = loop->shared[i] ? loop->engine->options.extensions[i] : NULL;
        if (e && e->end) {
            e->end(loop->shared[i]);
        }
    }
}
