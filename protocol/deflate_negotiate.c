/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Negotiates permessage-deflate (RFC 7692, section 7.1) as a server and as a client. Reserves the
 *  memory that the negotiated parameters need. */

#include "protocol/deflate_private.h"

#include <stdio.h>
#include <string.h>

#include "protocol/extension_header.h"

/* ---- Memory ---- */

/* Get the window bits to request from zlib. zlib's deflate does not support a window of 256 bytes;
 * it uses 512. But it never refers back further than its window size minus 262 bytes, so its output
 * is valid for a window of 256. */
int ws_pmd_bits(int bits)
{
    return bits < 9 ? 9 : bits;
}

int ws_pmd_memory_level(int bits)
{
    return bits < 10 ? 3 : bits > 15 ? 8 : bits - 7;
}

/* Memory according to zconf.h: (1 << (windowBits + 2)) + (1 << (memLevel + 9)), plus the state
 * itself. */
apr_size_t ws_pmd_deflate_cost(int bits)
{
    return ((apr_size_t)1 << (ws_pmd_bits(bits) + 2))
           + ((apr_size_t)1 << (ws_pmd_memory_level(bits) + 9)) + 6 * 1024;
}

apr_size_t ws_pmd_inflate_cost(int bits)
{
    return ((apr_size_t)1 << bits) + 7 * 1024;
}

int ws_pmd_take(const ws_deflate_memory *m, apr_size_t cost, apr_uint64_t limit)
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

void ws_pmd_give_back(const ws_deflate_memory *m, apr_size_t cost)
{
    if (m && cost) {
        __atomic_sub_fetch(m->mine, cost, __ATOMIC_RELAXED);
    }
}

apr_size_t ws_pmd_promised(apr_uint64_t agreed)
{
    return (agreed & SERVER_TAKEOVER ? ws_pmd_deflate_cost((int)(agreed & 0xF)) : 0)
           + (agreed & CLIENT_TAKEOVER ? ws_pmd_inflate_cost((int)(agreed >> 4 & 0xF)) : 0);
}

/* ---- Negotiation: section 7.1 ---- */

typedef struct offer {
    int server_no_takeover, client_no_takeover;
    int server_bits; /* 0: not offered */
    int client_bits; /* 0: not offered */
} offer;

/* Parse a number of window bits. @return 8 to 15; 0: anything else */
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

/* Read an offer. @return whether it is valid: no repeated or unknown parameter, no invalid value */
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

int ws_pmd_negotiate(ws_negotiation *n, void *config)
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
        /* Leave a quarter of the limit to connections without context takeover. */
        if (m && ws_pmd_take(m, ws_pmd_promised(n->agreed), m->limit - m->limit / 4) < 0) {
            n->agreed &= ~(apr_uint64_t)(SERVER_TAKEOVER | CLIENT_TAKEOVER);
        }
    }
    if (m && !ws_pmd_promised(n->agreed) && m->used() + ws_pmd_inflate_cost(client) > m->limit) {
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

/* ---- Negotiation as a client: section 7.1. Here the "server" bits are for our own window. ---- */

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
    if (m && ws_pmd_take(m, ws_pmd_promised(*agreed), m->limit) < 0) {
        return "the memory limit for compression is reached";
    }
    return NULL;
}

static int pmd_is_ours(const ws_offer *o)
{
    return !strcmp(o->name, WS_DEFLATE_NAME) && o->count <= WS_PARAMETERS_MAX;
}

/* Check an answer to an offer: sections 7.1.1 and 7.1.2. @return whether it is valid */
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
