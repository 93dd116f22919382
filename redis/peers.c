/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The processes on other machines. Each sends packets at least every WS_REDIS_BEAT, so a process
 *  that is silent has ended. */

#include "redis/private.h"

#define PEERS_MAX 1024
#define DEAD 10000 /* the silence after which a process counts as ended, milliseconds */

typedef struct peer {
    ws_node node;
    apr_time_t seen;
} peer;

static peer peers[PEERS_MAX];
static unsigned peer_count;

/* Find a process. The caller holds the lock. */
static peer *peers_find(const ws_node *node)
{
    unsigned i = 0;
    while (i < peer_count
           && (peers[i].node.server != node->server || peers[i].node.process != node->process)) {
        i++;
    }
    return i < peer_count ? &peers[i] : NULL;
}

void ws_redis_peer_note(ws_redis *r, const ws_node *node)
{
    peer *p;
    apr_thread_mutex_lock(r->lock);
    p = peers_find(node);
    if (!p && peer_count < PEERS_MAX) {
        p = &peers[peer_count++];
    }
    for (unsigned i = 0; !p && i < PEERS_MAX; i++) { /* reuse an ended process's entry */
        if (apr_time_now() - peers[i].seen > apr_time_from_msec(2 * DEAD)) {
            p = &peers[i];
        }
    }
    if (p) {
        p->node = *node;
        p->seen = apr_time_now();
    }
    apr_thread_mutex_unlock(r->lock);
}

int ws_redis_peer_alive(ws_bus *b, const ws_node *node)
{
    ws_redis *r = WS_REDIS_OF(b, bus);
    int running = 1;
    const peer *p;
    if (node->server == r->options.self.server) {
        return -1;
    }
    /* Without a connection, other processes are unknown. */
    if (!__atomic_load_n(&r->away, __ATOMIC_RELAXED)) {
        apr_thread_mutex_lock(r->lock);
        p = peers_find(node);
        running = !p || apr_time_now() - p->seen < apr_time_from_msec(DEAD);
        apr_thread_mutex_unlock(r->lock);
    }
    return running;
}

/* List the processes that have sent a heartbeat lately. A process that has just started is missing
 * for up to one WS_REDIS_BEAT. */
int ws_redis_peers(ws_bus *b, ws_node *all, unsigned size, unsigned *count)
{
    ws_redis *r = WS_REDIS_OF(b, bus);
    apr_time_t since = __atomic_load_n(&r->there_since, __ATOMIC_RELAXED), now = apr_time_now();
    *count = 0;
    apr_thread_mutex_lock(r->lock);
    for (unsigned i = 0; i < peer_count; i++) {
        if (now - peers[i].seen < apr_time_from_msec(DEAD) && *count < size) {
            all[(*count)++] = peers[i].node;
        }
    }
    apr_thread_mutex_unlock(r->lock);
    return !__atomic_load_n(&r->away, __ATOMIC_RELAXED) && *count < size
           && now - since > apr_time_from_msec(2 * WS_REDIS_BEAT);
}
