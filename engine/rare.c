/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Allocates the part of a connection that most connections do not need (ws_rare). */

#include <stdlib.h>

#include "engine/conn.h"

const ws_rare ws_rare_none;

ws_rare *ws_conn_rare(ws_conn *c)
{
    ws_rare *rare;
    if (c->rare == &ws_rare_none && (rare = calloc(1, sizeof(*rare)))) {
        ws_conn_init_parser(c, &rare->parser);
        c->rare = rare;
    }
    return c->rare == &ws_rare_none ? NULL : ws_rare_of(c);
}

void ws_conn_carry(ws_conn *c, ws_sum which, apr_uint32_t high)
{
    ws_rare *rare = ws_conn_rare(c);
    if (rare) {
        rare->high_sums[which] += high;
    }
}

void ws_conn_init_parser(const ws_conn *c, ws_parser *p)
{
    const ws_handler *h = c->location->handler;
    int any = h->on_frame && (h->flags & WS_ANY_SIZE);
    apr_uint64_t frame = any ? APR_INT64_MAX : c->settings->max_frame;
    apr_uint64_t message = any ? APR_INT64_MAX : c->settings->max_message;
    ws_parser_init(p, ws_is_client(c) ? WS_CLIENT : WS_SERVER, frame, message);
}
