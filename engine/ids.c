/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Ids of connections. A slot is the index of a connection in its loop's table. Each new connection
 *  at a slot gets a new generation. A stale id has an older generation, so it finds no
 *  connection. */

#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"

/* The parts of an id: 16 bits for the process, 6 for the loop, 20 for the slot, and 22 for the
 * generation. */
#define GENERATION_BITS 22
#define SLOT_BITS 20
#define LOOP_BITS 6

ws_id ws_id_make(const ws_loop *loop, apr_uint32_t slot, ws_id last)
{
    apr_uint32_t generation = ((apr_uint32_t)last + 1) & ((1u << GENERATION_BITS) - 1);
    ws_id id = loop->engine->options.process & 0xFFFF;
    id = id << LOOP_BITS | loop->index;
    id = id << SLOT_BITS | slot;
    return id << GENERATION_BITS | generation;
}

apr_uint32_t ws_id_slot(ws_id id)
{
    return (apr_uint32_t)(id >> GENERATION_BITS) & ((1u << SLOT_BITS) - 1);
}

ws_loop *ws_id_loop(ws_engine *engine, ws_id id)
{
    unsigned index = (unsigned)(id >> (GENERATION_BITS + SLOT_BITS)) & ((1u << LOOP_BITS) - 1);
    if (id == 0 || id >> (64 - 16) != (engine->options.process & 0xFFFF)
        || index >= engine->options.loops) {
        return NULL;
    }
    return &engine->loops[index];
}

ws_conn *ws_conn_find(ws_loop *loop, ws_id id)
{
    ws_conn *c = ws_slab_at(&loop->slab, ws_id_slot(id));
    return c && c->id == id && !c->freed ? c : NULL; /* a free slot still has the last id */
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
