/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Ids of connections. Each new connection at a place gets a new generation. A stale id has an
 *  older generation, so it finds no connection. */

#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"

/* An id: process 16 bits, loop 6, place 20, generation 22. */
#define GENERATION_BITS 22
#define PLACE_BITS 20
#define LOOP_BITS 6

ws_id ws_id_make(const ws_loop *loop, apr_uint32_t place, ws_id last)
{
    apr_uint32_t generation = ((apr_uint32_t)last + 1) & ((1u << GENERATION_BITS) - 1);
    ws_id id = loop->engine->options.process & 0xFFFF;
    id = id << LOOP_BITS | loop->index;
    id = id << PLACE_BITS | place;
    return id << GENERATION_BITS | generation;
}

apr_uint32_t ws_id_place(ws_id id)
{
    return (apr_uint32_t)(id >> GENERATION_BITS) & ((1u << PLACE_BITS) - 1);
}

ws_loop *ws_id_loop(ws_engine *engine, ws_id id)
{
    unsigned index = (unsigned)(id >> (GENERATION_BITS + PLACE_BITS)) & ((1u << LOOP_BITS) - 1);
    if (id == 0 || id >> (64 - 16) != (engine->options.process & 0xFFFF)
        || index >= engine->options.loops) {
        return NULL;
    }
    return &engine->loops[index];
}

ws_conn *ws_conn_find(ws_loop *loop, ws_id id)
{
    ws_conn *c = ws_slab_at(&loop->slab, ws_id_place(id));
    return c && c->id == id && !c->freed ? c : NULL; /* a free place still has the last id */
}

ws_bytes *ws_bytes_new(const void *data, apr_size_t len)
{
    ws_bytes *b = malloc(sizeof(*b) + len);
    if (b) {
        memcpy(b->data, data, len);
        b->len = b->size = len;
        b->pos = 0;
    }
    return b;
}
