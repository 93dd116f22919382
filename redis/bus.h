/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A bus between machines, and a history for all of them, in Redis.
 *
 * Two threads for each process, each with a connection: one hears what is published to the channels that
 * somebody here wants, one sends. While Redis is away both try again and again; what is to be kept waits,
 * bounded, and what was missed is looked for when it is back.
 *
 * Keys and channels, behind the prefix: c:NAME a channel, n:SERVER.PROCESS a process, all everybody;
 * {NAME}:m the messages that are kept, a stream in which the first half of an id is the offset;
 * {NAME}:p its epoch and newest offset; {NAME}:d:ID that a message has been kept, or published, already.
 */

#ifndef WS_REDIS_BUS_H
#define WS_REDIS_BUS_H

#include "channels/channels.h"
#include "channels/history_lmdb.h"

typedef struct ws_redis_options {
    const char *host; /**< NULL: path is a socket's */
    int port;
    const char *path;
    const char *user, *password;                   /**< or NULL */
    const char *sentinel_user, *sentinel_password; /**< or NULL */
    const char *master; /**< host is a sentinel, which knows the server of this name; or NULL */
    int db;
    const char *prefix;
    ws_node self;
    apr_size_t queue; /**< bytes that may wait to be sent */
    const ws_history_rule *rules;
    unsigned rule_count;
    ws_history_env_log_fn *log;
} ws_redis_options;

typedef struct ws_redis ws_redis;

/** Start the threads. @param pool  lives longer */
apr_status_t ws_redis_create(ws_redis **r, const ws_redis_options *options, apr_pool_t *pool);

ws_bus *ws_redis_bus(ws_redis *r);

/** NULL when there are no rules. */
ws_history *ws_redis_history(ws_redis *r);

ws_once *ws_redis_once(ws_redis *r);

/** End the threads; what waits is answered. */
void ws_redis_destroy(ws_redis *r);

#endif
