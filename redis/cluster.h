/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The map of a Redis Cluster: which node has which slot (a group of keys), and the connections to
 *  the nodes. Each thread has its own map. */

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
    /* Used by the receiver only: */
    int needed;       /**< a channel is waiting for this connection */
    int missed;       /**< read the histories after the next acknowledgements */
    unsigned acks;    /**< number of subscriptions not yet acknowledged */
    apr_time_t heard; /**< time when bytes last arrived */
    apr_time_t whole; /**< last time without an incomplete reply */
    apr_size_t size;  /**< size of the incomplete reply, bytes */
} ws_redis_node;

struct ws_redis_cluster {
    ws_redis_node nodes[WS_REDIS_NODES_MAX];
    unsigned count;
    int known;                           /**< the map is complete */
    int sharded;                         /**< the server has SPUBLISH and SSUBSCRIBE */
    unsigned char slots[WS_REDIS_SLOTS]; /**< index of a node */
};

/** Create an empty map. @return NULL: out of memory */
struct ws_redis_cluster *ws_redis_cluster_new(void);

/** Close the connections, and free the map. Ignores NULL. */
void ws_redis_cluster_free(struct ws_redis_cluster *k);

/** Read the map from any node. Closes all connections. *told: set to 1 when a failure has been
 *  logged, which is done once. @return 1; 0: no node has a map */
int ws_redis_cluster_learn(ws_redis *r, struct ws_redis_cluster *k, int *told);

/** Connect to a node, unless already connected. @return 1; 0: the node is not reachable */
int ws_redis_cluster_connect(ws_redis *r, ws_redis_node *n);

/** Find a key's node. @return NULL: unknown */
ws_redis_node *ws_redis_cluster_node(struct ws_redis_cluster *k, const char *key, size_t len);

#endif
