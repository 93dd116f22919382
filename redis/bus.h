/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A bus between machines and a shared history, in Redis. docs/internals/redis.md describes the
 * design.
 *
 * Each process has two threads with one connection each. The receiver gets the messages of channels
 * that have subscribers in this process. The sender sends commands. While Redis is unreachable,
 * both try to reconnect, and a bounded queue holds the messages to store. After a reconnect, the
 * process reads the missed messages from the history.
 *
 * Redis channels, after the prefix: "c:NAME" for a channel, "n:SERVER.PROCESS" for one process,
 * "all" for every process. Keys: "{NAME}:m" is a stream of the stored messages, whose ids start
 * with the offset; "{NAME}:p" holds the epoch and the newest offset; "{NAME}:d:ID" marks a message
 * id as claimed or published.
 */

#ifndef WS_REDIS_BUS_H
#define WS_REDIS_BUS_H

#include "channels/channels.h"
#include "channels/history_rules.h"
#include "redis/tls.h"

/** Maximum number of addresses of sentinels or cluster nodes. */
#define WS_REDIS_HOSTS_MAX 16

typedef struct ws_redis_host {
    const char *name;
    int port;
} ws_redis_host;

typedef struct ws_redis_options {
    ws_redis_host
        hosts[WS_REDIS_HOSTS_MAX]; /**< tried in this order; none: path names a unix socket */
    unsigned host_count;
    const char *path;
    int cluster;       /**< the hosts are nodes of a Redis Cluster */
    int sharded_given; /**< the directive has sharded= */
    int unsharded;     /**< do not use the cluster's sharded channels */
    ws_redis_tls tls;
    SSL_CTX *tls_ctx;            /**< created from tls when its files are readable; NULL: no TLS */
    const char *user, *password; /**< or NULL */
    const char *sentinel_user, *sentinel_password; /**< or NULL */
    const char *master; /**< name of the master if the hosts are sentinels; otherwise NULL */
    int db;
    const char *prefix;
    ws_node self;
    apr_size_t queue; /**< maximum size of the send queue, bytes */
    const ws_history_rule *rules;
    unsigned rule_count;
    ws_history_log_fn *log;
    int send_only; /**< 1: there is no receiver thread and no bus */
} ws_redis_options;

typedef struct ws_redis ws_redis;

/** Start the threads. @param pool  must outlive r */
apr_status_t ws_redis_create(ws_redis **r, const ws_redis_options *options, apr_pool_t *pool);

ws_bus *ws_redis_bus(ws_redis *r);

/** Get the history. @return NULL: no history rules are configured */
ws_history *ws_redis_history(ws_redis *r);

ws_once *ws_redis_once(ws_redis *r);

/** Stop the threads. Completes all pending requests. */
void ws_redis_destroy(ws_redis *r);

#endif
