/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The newest position of each channel that this process has seen. A Redis server may lose
 * acknowledged writes, because it stores nothing on disk or because a replica lagged. It would then
 * assign the same positions to other messages. The scripts therefore compare the position that
 * Redis stores with the newest position seen. If the stored one is lower, they begin a new epoch.
 */

#include <string.h>

#include "redis/private.h"

/* Maximum number of channels. When it is reached, all positions are dropped. */
#define TAILS_MAX 16384

typedef struct tail {
    ws_position at;
    char channel[];
} tail;

/* Find a channel; create: add it. The caller holds the lock. @return NULL: not found */
static tail *tails_find(ws_redis *r, const char *channel, int create)
{
    apr_ssize_t len = (apr_ssize_t)strlen(channel);
    tail *t = r->tails ? apr_hash_get(r->tails, channel, len) : NULL;
    if (t || !create) {
        return t;
    }
    if (r->tails && apr_hash_count(r->tails) >= TAILS_MAX) {
        apr_pool_clear(r->tails_pool);
        r->tails = NULL;
    }
    if (!r->tails) {
        r->tails = apr_hash_make(r->tails_pool);
    }
    t = apr_pcalloc(r->tails_pool, sizeof(*t) + (apr_size_t)len + 1);
    memcpy(t->channel, channel, (apr_size_t)len + 1);
    apr_hash_set(r->tails, t->channel, len, t);
    return t;
}

void ws_redis_tail_note(ws_redis *r, const char *channel, ws_position at)
{
    tail *t;
    if (!r->tails_pool) {
        return;
    }
    apr_thread_mutex_lock(r->lock);
    t = tails_find(r, channel, 1);
    if (t->at.epoch != at.epoch || t->at.offset < at.offset) {
        t->at = at;
    }
    apr_thread_mutex_unlock(r->lock);
}

ws_position ws_redis_tail_of(ws_redis *r, const char *channel)
{
    ws_position at = {0, 0};
    const tail *t;
    apr_thread_mutex_lock(r->lock);
    t = tails_find(r, channel, 0);
    if (t) {
        at = t->at;
    }
    apr_thread_mutex_unlock(r->lock);
    return at;
}
