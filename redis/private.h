/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What the files of this room share. */

#ifndef WS_REDIS_PRIVATE_H
#define WS_REDIS_PRIVATE_H

#include <apr_hash.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include <hiredis/hiredis.h>

#include "redis/bus.h"
#include "redis/reply.h"

/** A command that waits to be sent, and what is done with its answer. */
typedef struct ws_redis_job ws_redis_job;
struct ws_redis_job {
    ws_redis_job *next;
    int argc;
    char **argv;
    size_t *lens;
    apr_size_t cost;
    int lasting; /**< it is sent again until it is answered; else it is lost with its connection */
    /** reply is NULL when there will be none. Called once, then the job is freed. */
    void (*done)(ws_redis *r, ws_redis_job *j, const redisReply *reply);
    ws_message *m; /**< to keep, if it has not been withdrawn until it is sent; or NULL */
    ws_append_done append_done;
    ws_read_done read_done;
    ws_clear_done clear_done;
    ws_once_done once_done;
    void *arg;
    ws_position after;
    unsigned max;
    char channel[WS_CHANNEL_MAX + 1];
};

struct ws_redis {
    ws_bus bus;
    ws_history history;
    ws_once once;
    ws_redis_options options;
    apr_thread_t *sender, *hearer;
    apr_thread_mutex_t *lock; /**< of what follows */
    apr_thread_cond_t *work;
    ws_redis_job *first, **last;
    apr_size_t waiting; /**< bytes */
    apr_hash_t *wanted; /**< name -> want */
    apr_pool_t *pool;
    int stop;
    int wake;               /**< eventfd of the hearer: wanted has changed, or stop */
    int away;               /**< atomic: the hearer has no connection */
    apr_time_t there_since; /**< atomic: it has had one since then */
    apr_uint64_t lost;      /**< packets that were not sent while there was none */
    /* The sender's own: */
    char refusal[200]; /**< what Redis has last refused */
    apr_time_t alone;  /**< no replica confirms: none is asked until then */
};

#define WS_REDIS_OF(pointer, field) ((ws_redis *)((char *)(pointer)-offsetof(ws_redis, field)))

/** A job of so many arguments, or NULL when there is no memory. */
ws_redis_job *ws_redis_job_new(int argc);

/** Argument i is a copy. @return 0, or -1 when there is no memory */
int ws_redis_job_set(ws_redis_job *j, int i, const void *data, size_t len);
int ws_redis_job_printf(ws_redis_job *j, int i, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** NULL is nothing to free. */
void ws_redis_job_free(ws_redis_job *j);

/** Give it to the sender. @return 0; -1 when too much waits: the job is still the caller's */
int ws_redis_give(ws_redis *r, ws_redis_job *j);

/** Whether an answer is an error, which is logged if it is another than the last. Sender only. */
int ws_redis_refused(ws_redis *r, const redisReply *reply);

/** Log what is wrong if it is something else than the last time. Sender only. */
void ws_redis_complain(ws_redis *r, const char *why);

/** Log that an answer, or NULL, is none that was expected. Sender only. */
void ws_redis_wrong(ws_redis *r, const redisReply *reply);

/** Connect, log in and choose the database. @return NULL when it fails, which is logged once */
redisContext *ws_redis_connect(ws_redis *r, int *told);

/** Log, once, what a connection has failed for, if it is the other side's fault. */
void ws_redis_tell(ws_redis *r, const redisContext *c, int *told);

/** Sleep before the next attempt, longer each time; not for long when all is to end. */
void ws_redis_back_off(ws_redis *r, unsigned *attempts);

/** The sender's thread. */
void *APR_THREAD_FUNC ws_redis_send_all(apr_thread_t *self, void *redis);

void ws_redis_history_init(ws_redis *r);
void ws_redis_once_init(ws_redis *r);

/** Argument i is the key of a message's id, or what tells a message from all others. As
 *  ws_redis_job_set() */
int ws_redis_once_key(const ws_redis *r, ws_redis_job *j, int i, const ws_message *m);
int ws_redis_once_token(const ws_redis *r, ws_redis_job *j, int i, apr_uint64_t number);

/** What has come over the connection that subscribes. */
void ws_redis_hear(ws_redis *r, const redisReply *reply);

#endif
