/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sharded channels of a Redis Cluster (Redis 7): a message goes only to the node that has its
 * channel's slot, and the receiver connects to each node that it needs. Call all functions on the
 * receiver's thread.
 */

#ifndef WS_REDIS_SHARDS_H
#define WS_REDIS_SHARDS_H

#include <poll.h>

#include "redis/private.h"

/** Read the map, and set r->shards if the cluster has sharded channels. @return 1; 0: no node has
 *  a map */
int ws_redis_shards_begin(ws_redis *r);

/** Close all connections. */
void ws_redis_shards_end(ws_redis *r);

/** Send the changed subscriptions, and connect to nodes if necessary. */
void ws_redis_shards_subscribe(ws_redis *r);

/** Write, send PINGs, close silent connections, and read the map again if it is out of date.
 *  @return milliseconds until the next call is due */
int ws_redis_shards_tick(ws_redis *r);

/** Get the descriptors to poll. @param p an array of WS_REDIS_NODES_MAX  @return their number */
unsigned ws_redis_shards_poll(const ws_redis *r, struct pollfd *p);

/** Read from descriptors that are ready. */
void ws_redis_shards_read(ws_redis *r, const struct pollfd *p, unsigned count);

#endif
