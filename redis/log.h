/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * WebSocketLog in Redis: a list or a stream with a maximum length. A thread sends the records.
 * While Redis is unreachable, the thread tries to reconnect, and a bounded queue holds the records.
 */

#ifndef WS_REDIS_LOG_H
#define WS_REDIS_LOG_H

#include "redis/bus.h"

/** Maximum length of the name of a list or stream, bytes. */
#define WS_REDIS_LOG_KEY_MAX 512

typedef struct ws_redis_log ws_redis_log;

typedef struct ws_redis_log_options {
    const ws_redis_options *redis; /**< must outlive the log */
    const char *key;
    int stream;   /**< 1: key names a stream; 0: a list */
    unsigned max; /**< maximum number of records; older ones are removed */
    /** Called when a record has been written or is lost. why: NULL, or why it is lost  [the log's
     *  thread] */
    void (*done)(void *arg, const char *why);
    void *arg;
} ws_redis_log_options;

/** Start the thread. @param pool  must outlive the log */
apr_status_t ws_redis_log_create(ws_redis_log **log, const ws_redis_log_options *options,
                                 apr_pool_t *pool);

/** Queue a record. Does not wait. [any thread] @return 0; -1: the queue is full */
int ws_redis_log_write(ws_redis_log *log, const char *data, apr_size_t len);

/** Whether the queue is empty. [any thread] */
int ws_redis_log_is_idle(ws_redis_log *log);

/** Send the remaining records, unless Redis is unreachable, and stop the thread. */
void ws_redis_log_destroy(ws_redis_log *log);

#endif
