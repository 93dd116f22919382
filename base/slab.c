/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Allocates slots, each with the memory for one connection of a loop, in chunks that never move.
 * The slot that has been free for the longest time is reused first.
 */

#include "base/slab.h"

#include <stdlib.h>
#include <string.h>

#define NONE 0xFFFFFFFFu

int ws_slab_init(ws_slab *s, apr_size_t size)
{
    memset(s, 0, sizeof(*s));
    s->size = size;
    s->first = s->last = NONE;
    /* Tables for the maximum number of slots. The kernel allocates no memory for pages that are
     * never used. */
    s->chunks = calloc(WS_SLAB_SLOTS / WS_SLAB_CHUNK, sizeof(*s->chunks));
    s->next = calloc(WS_SLAB_SLOTS, sizeof(*s->next));
    if (!s->chunks || !s->next) {
        ws_slab_destroy(s);
        return -1;
    }
    return 0;
}

void ws_slab_destroy(ws_slab *s)
{
    for (apr_uint32_t i = 0; i < s->count; i += WS_SLAB_CHUNK) {
        free(s->chunks[i / WS_SLAB_CHUNK]);
    }
    free(s->chunks);
    free(s->next);
    memset(s, 0, sizeof(*s));
}

static int grow(ws_slab *s)
{
    void *chunk;
    if (s->count >= WS_SLAB_SLOTS || !(chunk = calloc(WS_SLAB_CHUNK, s->size))) {
        return -1;
    }
    s->chunks[s->count / WS_SLAB_CHUNK] = chunk;
    for (int i = 0; i < WS_SLAB_CHUNK; i++) {
        ws_slab_give(s, s->count++);
    }
    return 0;
}

void *ws_slab_take(ws_slab *s, apr_uint32_t *slot)
{
    if (s->first == NONE && grow(s) < 0) {
        return NULL;
    }
    *slot = s->first;
    s->first = s->next[s->first];
    if (s->first == NONE) {
        s->last = NONE;
    }
    return ws_slab_at(s, *slot);
}

void ws_slab_give(ws_slab *s, apr_uint32_t slot)
{
    s->next[slot] = NONE;
    if (s->last == NONE) {
        s->first = slot;
    }
    else {
        s->next[s->last] = slot;
    }
    s->last = slot;
}

void *ws_slab_at(const ws_slab *s, apr_uint32_t slot)
{
    if (slot >= s->count) {
        return NULL;
    }
    return (char *)s->chunks[slot / WS_SLAB_CHUNK] + (slot % WS_SLAB_CHUNK) * s->size;
}
