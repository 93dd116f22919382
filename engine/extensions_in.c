/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Passes received messages through the chain of a connection's extensions, from the last extension
 *  to the first. If an extension fails, the server fails the connection. */

#include "engine/conn.h"
#include "engine/extensions_private.h"

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
    chain->deliver(c, chain->opcode, data, len, where, c->rare->parser.max_message);
    return ws_conn_accepts_input(c) ? 0 : -1;
}

static int chain_receive(ws_chain_step *s, unsigned char *data, apr_size_t len, int last)
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
        ws_chain_step *s = &chain->steps[--n];
        if (s->in) {
            return chain_receive(s, data, len, last);
        }
    }
    return chain_arrive(chain, data, len, last);
}

int ws_extension_deliver(ws_extended *x, unsigned char *data, apr_size_t len, int last)
{
    ws_chain_step *s = (ws_chain_step *)x;
    return chain_deliver(s->chain, (unsigned)(s - s->chain->steps), data, len, last);
}

int ws_chain_wants(const ws_conn *c, const ws_piece *p)
{
    ws_chain *chain = c->rare->chain;
    if (p->flags & WS_MESSAGE_FIRST) {
        chain->passing = p->rsv & chain->opaque;
        for (unsigned i = 0; i < chain->count; i++) {
            ws_chain_step *s = &chain->steps[i];
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

int ws_chain_transforms(const ws_chain *chain)
{
    return chain->passing && !chain->opaque;
}

void ws_chain_receive(ws_conn *c, const ws_piece *p, ws_chain_deliver *deliver)
{
    int last = (p->flags & WS_MESSAGE_LAST) != 0;
    if (c->rare->chain->opaque) {
        deliver(c, p->opcode, p->data, p->len, p->flags | WS_COMPRESSED,
                c->rare->parser.message_len);
        return;
    }
    ws_count(c->loop->counters, WS_COUNT_COMPRESSED_IN, (apr_int64_t)p->len);
    c->rare->chain->deliver = deliver;
    c->rare->chain->counted += p->len;
    if (chain_deliver(c->rare->chain, c->rare->chain->count, p->data, p->len, last) == 0 && last
        && !c->rare->chain->ended && ws_conn_accepts_input(c) && !c->discard_input && !c->broken) {
        ws_conn_fail(c, WS_CLOSE_INTERNAL, "an extension has lost the end of the message");
    }
}
