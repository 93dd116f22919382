/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Connections of one loop: places in chunks that never move and are used again, the one longest free
 * first, so that the generation of a place grows slowly.
 */

#ifndef WS_BASE_SLAB_H
#define WS_BASE_SLAB_H

#include <apr.h>

#define WS_SLAB_CHUNK 64         /**< places in a chunk */
#define WS_SLAB_PLACES (1 << 20) /**< at most */

typedef struct ws_slab {
    void **chunks;
    apr_size_t size;          /**< of a place, bytes */
    apr_uint32_t count;       /**< places that exist */
    apr_uint32_t *next;       /**< of each free place: the one that is free after it */
    apr_uint32_t first, last; /**< free places, count if none */
} ws_slab;

/** size: bytes of a place. @return 0, or -1 when there is no memory */
int ws_slab_init(ws_slab *s, apr_size_t size);
void ws_slab_destroy(ws_slab *s);

/** A place, its memory zeroed the first time and as it was left later; NULL when there is no more. */
void *ws_slab_take(ws_slab *s, apr_uint32_t *place);
void ws_slab_give(ws_slab *s, apr_uint32_t place);

/** The memory of a place, also of a free one; NULL for one that never existed. */
void *ws_slab_at(const ws_slab *s, apr_uint32_t place);

#endif
