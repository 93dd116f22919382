/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The memory of a loop's connections: chunks of slots, one slot for each connection. Chunks never
 * move. The slot that has been free for the longest time is reused first, so that the generation
 * numbers in the ids of connections grow slowly (engine/ids.c).
 */

#ifndef WS_BASE_SLAB_H
#define WS_BASE_SLAB_H

#include <apr.h>

#define WS_SLAB_CHUNK 64        /**< number of slots in a chunk */
#define WS_SLAB_SLOTS (1 << 20) /**< maximum number of slots in a slab */

typedef struct ws_slab {
    void **chunks;
    apr_size_t size;          /**< size of a slot, bytes */
    apr_uint32_t count;       /**< slots that exist */
    apr_uint32_t *next;       /**< for each free slot: the next free one */
    apr_uint32_t first, last; /**< first and last free slot; 0xFFFFFFFF: none */
} ws_slab;

/** Create a slab. size: bytes per slot. @return 0, or -1 when out of memory */
int ws_slab_init(ws_slab *s, apr_size_t size);
void ws_slab_destroy(ws_slab *s);

/**
 * Take a free slot. The memory of a new slot is zeroed; a reused slot keeps its previous
 * content.
 * @return NULL when out of memory or slots
 */
void *ws_slab_take(ws_slab *s, apr_uint32_t *slot);
void ws_slab_give(ws_slab *s, apr_uint32_t slot);

/** Get a slot's memory, even if the slot is free. @return NULL: the slot does not exist */
void *ws_slab_at(const ws_slab *s, apr_uint32_t slot);

#endif
