/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The map of a Redis Cluster: its slots, its nodes, and connections to them. Each thread has its
 *  own. */

#ifndef WS_REDIS_CLUSTER_H
#define WS_REDIS_CLUSTER_H

#include "redis/private.h"

#define WS_REDIS_SLOTS 16384
#define WS_REDIS_NODES_MAX 255
#define WS_REDIS_NO_NODE 255 /* the slot has no node */
#define WS_REDIS_NODE_HOST_MAX 256

typedef struct ws_redis_node {
    char host[WS_REDIS_NODE_HOST_MAX];
    int port;
    redisContext *c; /**< NULL: not connected */
    /* Of the receiver: */
    int needed;       /**< a channel waits for the connection */
    int missed;       /**< after the next acknowledgements, histories are to be read */
    unsigned acks;    /**< subscriptions that are not acknowledged yet */
    apr_time_t heard; /**< when bytes came last */
    apr_time_t whole; /**< when no reply was incomplete */
    apr_size_t size;  /**< of an incomplete reply, bytes */
} ws_redis_node;

struct ws_redis_cluster {
    ws_redis_node nodes[WS_REDIS_NODES_MAX];
    unsigned count;
    int known;
    int sharded;                         /**< the server has SPUBLISH and SSUBSCRIBE */
    unsigned char slots[WS_REDIS_SLOTS]; /**< index of a node */
};

/** @return NULL: out of memory */
struct ws_redis_cluster *ws_redis_cluster_new(void);

/** Close the connections, and free the map. Ignores NULL. */
void ws_redis_cluster_free(struct ws_redis_cluster *k);

/** Read the map from any node. Closes all connections. @return 1; 0: no node has one */
int ws_redis_cluster_learn(ws_redis *r, struct ws_redis_cluster *k, int *told);

/** Connect to a node, unless there is a connection. @return 1; 0: not reachable */
int ws_redis_cluster_connect(ws_redis *r, ws_redis_node *n);

/** The node of a key. @return NULL: unknown */
ws_redis_node *ws_redis_cluster_node(struct ws_redis_cluster *k, const char *key, size_t len);

#endif
