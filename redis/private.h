/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Types and functions that the files of redis/ share. */

#ifndef WS_REDIS_PRIVATE_H
#define WS_REDIS_PRIVATE_H

#include <apr_hash.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include <hiredis/hiredis.h>

#include "redis/bus.h"
#include "redis/reply.h"
#include "redis/tls.h"

/** The receiver's intervals, milliseconds. */
#define WS_REDIS_BEAT 2000                                      /* time between two heartbeats */
#define WS_REDIS_SILENT (2 * WS_REDIS_BEAT + WS_REDIS_BEAT / 2) /* silence that ends a connection */
#define WS_REDIS_WHOLE 10000 /* maximum time until a reply is complete */

/** While the process stops: maximum time of a wait for Redis, and time after which nothing is sent
 *  again, milliseconds. */
#define WS_REDIS_LAST 500

/** A queued command, and the functions for its reply. */
typedef struct ws_redis_job ws_redis_job;
struct ws_redis_job {
    ws_redis_job *next;
    int argc;
    char **argv;
    size_t *lens;
    apr_size_t cost;
    int shard;   /**< 1: publishes to a channel, with SPUBLISH if the cluster has it */
    int lasting; /**< 1: without a connection, wait for one; 0: drop the job */
    int repeats; /**< 1: if the connection breaks, send it again until it has a reply; 0: send it at
                      most once */
    int owed;    /**< 1: completes an earlier job, so the queue takes it even if it is full */
    /** Called once, before the job is freed. reply is NULL if no reply will arrive. */
    void (*done)(ws_redis *r, ws_redis_job *j, const redisReply *reply);
    ws_message *m; /**< message to store or order to clear, which may be withdrawn until it is sent;
                        or NULL */
    ws_append_done append_done;
    ws_read_done read_done;
    ws_clear_done clear_done;
    ws_once_done once_done;
    void *arg;
    ws_position after;
    unsigned max;
    char channel[WS_CHANNEL_MAX + 1];
};

/** A channel with subscribers in this process. */
typedef struct ws_redis_channel {
    int count;        /**< number of subscribers */
    int subscribed;   /**< SUBSCRIBE or SSUBSCRIBE was sent */
    int before;       /**< for sharded channels: SSUBSCRIBE has been sent at least once */
    redisContext *on; /**< for sharded channels: the connection; NULL: none */
    char name[WS_CHANNEL_MAX + 1];
} ws_redis_channel;

struct ws_redis {
    ws_bus bus;
    ws_history history;
    ws_once once;
    ws_redis_options options;
    apr_thread_t *sender, *receiver;
    apr_thread_mutex_t *lock; /**< protects the fields below */
    apr_thread_cond_t *work;
    ws_redis_job *first, **last;
    apr_size_t waiting; /**< size of the queue, bytes */
    apr_hash_t *wanted; /**< channel's name -> ws_redis_channel */
    apr_pool_t *pool;
    apr_time_t stopped; /**< when ws_redis_destroy() was called; 0: not yet; atomic */
    int wake;           /**< eventfd for the receiver: wanted has changed, or the process stops */
    int ended;          /**< eventfd for both threads, readable when the process stops */
    int away;           /**< the receiver has no connection; atomic */
    apr_time_t there_since; /**< when the receiver last connected; atomic */
    apr_uint64_t lost;      /**< packets that could not be sent */
    /* Used by the receiver only: */
    int again;   /**< the receiver has been connected before */
    int settled; /**< Redis has processed the subscriptions that were sent after connecting */
    /* Used by the sender only: */
    char refusal[200]; /**< the last error that was logged */
    apr_time_t alone;  /**< no WAIT is sent until then, as no replica confirmed the last; or 0 */
    struct ws_redis_cluster *cluster; /**< nodes and slots; NULL: not a cluster */
    /* Used by the receiver only: */
    struct ws_redis_shards *shards; /**< NULL: not a cluster */
    /* Used by all threads: */
    unsigned host;     /**< atomic: index of the address that worked last */
    apr_hash_t *tails; /**< channel -> newest known position; protected by the lock */
    apr_pool_t *tails_pool;
};

/** The result of sending jobs. */
typedef enum {
    WS_REDIS_DONE,
    WS_REDIS_AWAY,  /**< no connection */
    WS_REDIS_BROKEN /**< broken connection, or unavailable server: some jobs have no reply */
} ws_redis_sent;

#define WS_REDIS_OF(pointer, field) ((ws_redis *)((char *)(pointer)-offsetof(ws_redis, field)))

/** Create a job with argc arguments. @return NULL: out of memory */
ws_redis_job *ws_redis_job_new(int argc);

/** Set argument i to a copy. @return 0; -1: out of memory */
int ws_redis_job_set(ws_redis_job *j, int i, const void *data, size_t len);
int ws_redis_job_printf(ws_redis_job *j, int i, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Free a job. Ignores NULL. */
void ws_redis_job_free(ws_redis_job *j);

/** Call the job's function with the reply, or NULL, and free the job. */
void ws_redis_job_end(ws_redis *r, ws_redis_job *j, const redisReply *reply);

/** Queue a job for the sender. @return 0; -1: the queue is full, and the caller still owns the
 *  job */
int ws_redis_give(ws_redis *r, ws_redis_job *j);

/** Whether a reply is an error. Logs the error, unless it was the last one logged. Sender only. */
int ws_redis_refused(ws_redis *r, const redisReply *reply);

/** Log a problem, unless it was the last one logged. Sender only. */
void ws_redis_complain(ws_redis *r, const char *why);

/** Log that a reply is invalid. If reply is NULL, do nothing. Sender only. */
void ws_redis_wrong(ws_redis *r, const redisReply *reply);

/** Set a connection's error. format has one %s */
void ws_redis_blame(redisContext *c, const char *format, const char *detail);

/** Wait until the socket is ready for events: POLLIN or POLLOUT. While the process stops, wait only
 *  WS_REDIS_LAST. @return 0; -1: timeout; c->err is set */
int ws_redis_wait(const ws_redis *r, redisContext *c, short events);

/** Send the commands that were appended to c. @return 0; -1: c->err is set */
int ws_redis_flush(const ws_redis *r, redisContext *c);

/** Connect to the first address that works, log in and select the database.
 *  @param told  set to 1 when a failure has been logged; later failures are then not logged
 *  @return NULL: no address works */
redisContext *ws_redis_connect(ws_redis *r, int *told);

/** Open a connection, with TLS if it is configured. @return NULL: out of memory. Other failures set
 *  c->err */
redisContext *ws_redis_open(ws_redis *r, const char *host, int port);

/** Log in, select the database, and check that a server named by a sentinel is a master. Failures
 *  set c->err. */
void ws_redis_greet(ws_redis *r, redisContext *c);

/** Send up to 256 jobs over a connection, and follow ASK replies. Jobs without a reply stay in
 *  *jobs. Sender only.
 *  @return 0; -1: the connection broke, or the server cannot answer now */
int ws_redis_send_batch(ws_redis *r, redisContext *c, ws_redis_job **jobs);

/** In cluster.c, for the sender only, except ws_redis_cluster_init(), which returns 0 if memory is
 *  exhausted. */
int ws_redis_cluster_init(ws_redis *r);
void ws_redis_cluster_close(ws_redis *r);
ws_redis_sent ws_redis_cluster_send(ws_redis *r, ws_redis_job **jobs, int *told);

/** In tails.c: store and get the newest known position of a channel. */
void ws_redis_tail_note(ws_redis *r, const char *channel, ws_position at);
ws_position ws_redis_tail_of(ws_redis *r, const char *channel);

/** Log that an invalid reply has ended a connection, unless *told is set. Sets *told. */
void ws_redis_tell(ws_redis *r, const redisContext *c, int *told);

/** Sleep before the next attempt, longer each time. Returns early when the process stops. */
void ws_redis_back_off(ws_redis *r, unsigned *attempts);

/** The sender's thread. */
void *APR_THREAD_FUNC ws_redis_send_all(apr_thread_t *self, void *redis);

void ws_redis_history_init(ws_redis *r);
void ws_redis_once_init(ws_redis *r);

/** Set argument i to the key of a message's id, or to a mark and a token that is unique to a
 *  message. @return as ws_redis_job_set() */
int ws_redis_once_key(const ws_redis *r, ws_redis_job *j, int i, const ws_message *m);
int ws_redis_once_token(const ws_redis *r, ws_redis_job *j, int i, const char *mark,
                        apr_uint64_t number);

/** In peers.c: note that a packet has come from a process. */
void ws_redis_peer_note(ws_redis *r, const ws_node *node);

/** alive() and nodes() of ws_bus. */
int ws_redis_peer_alive(ws_bus *b, const ws_node *node);
int ws_redis_peers(ws_bus *b, ws_node *all, unsigned size, unsigned *count);

/** Process a reply from a connection that subscribes. Receiver only. */
void ws_redis_receive(ws_redis *r, const redisReply *reply);

#endif
