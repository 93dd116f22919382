/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Writes connection records to Redis. Each record is a command that is sent again until it has a
 *  reply (a lasting job). Of the threads in bus.h, only the sender runs. */

#include "redis/log.h"

#include <stdio.h>
#include <string.h>

#include "redis/private.h"

struct ws_redis_log {
    ws_redis *redis;
    ws_redis_log_options options;
};

/* Append to the list. This is one atomic command, so the list never exceeds its maximum length. */
static const char push[] = "local n = redis.call('RPUSH', KEYS[1], ARGV[2]) "
                           "if n > tonumber(ARGV[1]) then "
                           "redis.call('LTRIM', KEYS[1], -tonumber(ARGV[1]), -1) end "
                           "return n";

static void log_sent(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    const ws_redis_log *log = j->arg;
    apr_uint64_t length;
    const char *why = !reply                             ? "Redis is unreachable"
                      : reply->type == REDIS_REPLY_ERROR ? reply->str
                      : ws_redis_is_text(reply) || ws_redis_number(reply, &length)
                          ? NULL
                          : "unexpected reply; Redis 5 or later is required";
    (void)r;
    log->options.done(log->options.arg, why);
}

static ws_redis_job *log_job(const ws_redis_log *log, const char *data, apr_size_t len)
{
    const ws_redis_log_options *o = &log->options;
    char max[16];
    const char *const stream[] = {"XADD", o->key, "MAXLEN", "=", max, "*", "record", data};
    const char *const list[] = {"EVAL", push, "1", o->key, max, data};
    const char *const *words = o->stream ? stream : list;
    int count = o->stream ? 8 : 6;
    ws_redis_job *j = ws_redis_job_new(count);
    snprintf(max, sizeof(max), "%u", o->max);
    for (int i = 0; j && i < count; i++) {
        if (ws_redis_job_set(j, i, words[i], words[i] == data ? len : strlen(words[i])) < 0) {
            ws_redis_job_free(j);
            return NULL;
        }
    }
    if (j) {
        j->lasting = j->repeats = 1;
        j->done = log_sent;
        j->arg = (void *)log;
    }
    return j;
}

int ws_redis_log_write(ws_redis_log *log, const char *data, apr_size_t len)
{
    ws_redis_job *j = log_job(log, data, len);
    if (!j || ws_redis_give(log->redis, j) < 0) {
        ws_redis_job_free(j);
        return -1;
    }
    return 0;
}

int ws_redis_log_is_idle(ws_redis_log *log)
{
    int idle;
    apr_thread_mutex_lock(log->redis->lock);
    idle = !log->redis->first;
    apr_thread_mutex_unlock(log->redis->lock);
    return idle;
}

apr_status_t ws_redis_log_create(ws_redis_log **log, const ws_redis_log_options *options,
                                 apr_pool_t *pool)
{
    ws_redis_log *l = apr_pcalloc(pool, sizeof(*l));
    l->options = *options;
    *log = l;
    return ws_redis_create(&l->redis, options->redis, pool);
}

void ws_redis_log_destroy(ws_redis_log *log)
{
    ws_redis_destroy(log->redis);
}
