/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The extensions of a connection. Received messages pass through them from the last to the first,
 * sent messages from the first to the last. A failing extension fails the connection.
 */

#include "engine/extensions.h"

#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"

/* A scratch buffer of the loop that has grown beyond this size, bytes, is freed. */
#define KEEP_MAX (256 * 1024)

/* One extension of a connection. */
typedef struct step {
    ws_extended x; /* first member: extensions get a pointer to it */
    const ws_extension_use *use;
    ws_chain *chain;
    unsigned stateless : 1;
    unsigned in : 1;       /* receive gets the pieces of the current message */
    unsigned in_first : 1; /* the next piece is the first */
    unsigned out : 1;      /* send gets the parts of the current message */
    unsigned out_first : 1;
} step;

struct ws_chain {
    ws_conn *c;
    unsigned count;
    unsigned char opcode;   /* of the message being received */
    unsigned char type;     /* of the message being sent */
    unsigned char begun;    /* a piece of the received message has been delivered */
    unsigned char ended;    /* its last piece has been delivered */
    unsigned char passing;  /* the received message goes through the chain */
    unsigned char opaque;   /* RSV bits of messages that pass unchanged */
    apr_uint64_t delivered; /* bytes of the received message */
    apr_size_t counted;     /* received payload bytes that have not produced output yet */
    step steps[];
};

ws_chain *ws_chain_new(unsigned count)
{
    return calloc(1, sizeof(ws_chain) + count * sizeof(step));
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
    step *s = &chain->steps[chain->count++];
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
        step *s = &chain->steps[i];
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

/* ---- In: from the last extension to the first ---- */

static int chain_deliver(ws_chain *chain, unsigned n, unsigned char *data, apr_size_t len,
                         int last);

/* Compute how many of len output bytes the rate limit must still count. It has already counted the
 * received bytes that produced them. */
static apr_size_t chain_beyond_wire(ws_chain *chain, apr_size_t len)
{
    apr_size_t counted = len < chain->counted ? len : chain->counted;
    chain->counted -= counted;
    return len - counted;
}

/* Deliver the chain's output to the handler. */
static int chain_arrive(ws_chain *chain, unsigned char *data, apr_size_t len, int last)
{
    ws_conn *c = chain->c;
    unsigned where = (chain->begun ? 0 : WS_FIRST) | (last ? WS_LAST | WS_FRAME_END : 0);

    if (!ws_conn_accepts_input(c) || c->discard_input || c->broken || chain->ended) {
        return -1;
    }
    chain->begun = 1;
    chain->ended = last != 0;
    if (len > c->rare->parser.max_message - chain->delivered) {
        ws_conn_fail(c, WS_CLOSE_TOO_BIG, "message is too big");
        return -1;
    }
    chain->delivered += len;
    ws_count(c->loop->counters, WS_COUNT_DECOMPRESSED_IN, (apr_int64_t)len);
    ws_loop_spend(c->loop, len);
    if (c->rare->meter && !ws_rate_limit_take(c, chain_beyond_wire(chain, len), 0)) {
        return -1;
    }
    ws_conn_deliver(c, chain->opcode, data, len, where, c->rare->parser.max_message);
    return ws_conn_accepts_input(c) ? 0 : -1;
}

static int chain_receive(step *s, unsigned char *data, apr_size_t len, int last)
{
    unsigned where = (s->in_first ? WS_FIRST : 0) | (last ? WS_LAST : 0);
    int result;
    s->in_first = 0;
    result = s->use->extension->receive(&s->x, data, len, where);
    if (result == WS_PASS_BY && (where & WS_FIRST)) {
        s->in = 0;
        return chain_deliver(s->chain, (unsigned)(s - s->chain->steps), data, len, last);
    }
    if (result != 0) {
        ws_engine_log(s->chain->c->loop->engine, WS_LOG_INFO, s->chain->c,
                      "extension %s cannot read a message", s->use->name);
        ws_conn_fail(s->chain->c, result < 0 ? WS_CLOSE_INTERNAL : result,
                     "an extension cannot read the message");
        return -1;
    }
    return 0;
}

/* Pass a piece through the first n extensions, the last of them first. */
static int chain_deliver(ws_chain *chain, unsigned n, unsigned char *data, apr_size_t len, int last)
{
    while (n > 0) {
        step *s = &chain->steps[--n];
        if (s->in) {
            return chain_receive(s, data, len, last);
        }
    }
    return chain_arrive(chain, data, len, last);
}

int ws_extension_deliver(ws_extended *x, unsigned char *data, apr_size_t len, int last)
{
    step *s = (step *)x;
    return chain_deliver(s->chain, (unsigned)(s - s->chain->steps), data, len, last);
}

int ws_chain_wants(const ws_conn *c, const ws_piece *p)
{
    ws_chain *chain = c->rare->chain;
    if (p->flags & WS_MESSAGE_FIRST) {
        chain->passing = p->rsv & chain->opaque;
        for (unsigned i = 0; i < chain->count; i++) {
            step *s = &chain->steps[i];
            unsigned rsv = s->use->extension->rsv;
            s->in = !rsv || (p->rsv & rsv);
            s->in_first = 1;
            chain->passing |= s->in;
        }
        chain->opcode = p->opcode;
        chain->begun = chain->ended = 0;
        chain->delivered = 0;
        chain->counted = 0;
    }
    return chain->passing;
}

void ws_chain_receive(ws_conn *c, const ws_piece *p)
{
    int last = (p->flags & WS_MESSAGE_LAST) != 0;
    if (c->rare->chain->opaque) {
        ws_conn_deliver(c, p->opcode, p->data, p->len, p->flags | WS_COMPRESSED,
                        c->rare->parser.message_len);
        return;
    }
    ws_count(c->loop->counters, WS_COUNT_COMPRESSED_IN, (apr_int64_t)p->len);
    c->rare->chain->counted += p->len;
    if (chain_deliver(c->rare->chain, c->rare->chain->count, p->data, p->len, last) == 0 && last
        && !c->rare->chain->ended && ws_conn_accepts_input(c) && !c->discard_input && !c->broken) {
        ws_conn_fail(c, WS_CLOSE_INTERNAL, "an extension has lost the end of the message");
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
        step *s = &chain->steps[n];
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
    step *s = (step *)x;
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
    const step *s = &c->rare->chain->steps[0];
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
