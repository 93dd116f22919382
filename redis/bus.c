/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The bus. Queues publications for the thread that sends commands to Redis (the sender,
 *  sender.c). Another thread, the receiver, receives messages from other machines. */

#include "redis/bus.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/wake.h"
#include "base/thread.h"
#include "redis/cluster.h"
#include "redis/private.h"
#include "redis/shards.h"

/* ---- Publishing ---- */

static void bus_sent(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    apr_uint64_t reached;
    (void)j;
    if (!ws_redis_number(reply, &reached)) {
        ws_redis_wrong(r, reply);
        __atomic_add_fetch(&r->lost, 1, __ATOMIC_RELAXED);
    }
}

/* Queue a publication. @return 0; -1: the queue is full */
static int bus_give(ws_redis *r, const ws_packet *p, const char *kind, const char *name, int len)
{
    unsigned char head[WS_PACKET_HEAD_MAX];
    ws_redis_job *j = ws_redis_job_new(3);
    apr_size_t head_len = ws_packet_head(p, head);
    if (j && (j->argv[2] = malloc(head_len + p->len + 1))) {
        memcpy(j->argv[2], head, head_len);
        if (p->len) {
            memcpy(j->argv[2] + head_len, p->data, p->len);
        }
        j->lens[2] = head_len + p->len;
        j->cost += j->lens[2];
        j->done = bus_sent;
        j->shard = *kind == 'c';
        if (ws_redis_job_printf(j, 0, "PUBLISH") == 0
            && ws_redis_job_printf(j, 1, "%s%s%.*s", r->options.prefix, kind, len, name) == 0
            && ws_redis_give(r, j) == 0) {
            return 0;
        }
    }
    ws_redis_job_free(j);
    return -1;
}

static ws_status bus_publish(ws_bus *b, const ws_packet *p, apr_uint32_t *reached,
                             apr_uint32_t *missed)
{
    ws_redis *r = WS_REDIS_OF(b, bus);
    int everybody = ws_packet_is_for_all(p);
    if (bus_give(r, p, everybody ? "all" : "c:", everybody ? "" : p->channel,
                 everybody ? 0 : (int)p->channel_len)
        < 0) {
        ++*missed;
        return WS_QUEUED;
    }
    ++*reached;
    return WS_QUEUED;
}

static ws_status bus_send_to(ws_bus *b, const ws_node *to, const ws_packet *p)
{
    ws_redis *r = WS_REDIS_OF(b, bus);
    char name[40];
    int len;
    if (to->server == r->options.self.server || !ws_redis_peer_alive(b, to)) {
        return WS_GONE;
    }
    len = snprintf(name, sizeof(name), "%llx.%x", (unsigned long long)to->server, to->process);
    return bus_give(r, p, "n:", name, len) < 0 ? WS_FULL : WS_HANDED;
}

static apr_uint32_t bus_subscribers(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash)
{
    (void)b, (void)channel, (void)len, (void)hash;
    return 0; /* the number is unknown: only all machines together know it */
}

static ws_status bus_want(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash,
                          int change)
{
    ws_redis *r = WS_REDIS_OF(b, bus);
    int changed = 0;
    ws_redis_channel *w;
    (void)hash;
    apr_thread_mutex_lock(r->lock);
    w = apr_hash_get(r->wanted, channel, len);
    if (!w && change > 0 && (w = calloc(1, sizeof(*w)))) {
        memcpy(w->name, channel, len);
        apr_hash_set(r->wanted, w->name, len, w);
    }
    if (w) {
        w->count += change;
        changed = (w->count > 0) != w->subscribed;
    }
    apr_thread_mutex_unlock(r->lock);
    if (changed) {
        ws_wake(r->wake);
    }
    return w || change < 0 ? WS_QUEUED : WS_FULL;
}

/* ---- Receiving ---- */

/* Send the changed subscriptions. all: send every subscription, for a new connection. */
static void bus_subscribe(ws_redis *r, redisContext *c, int all)
{
    if (r->shards) {
        ws_redis_shards_subscribe(r);
        return;
    }
    apr_thread_mutex_lock(r->lock);
    for (apr_hash_index_t *i = apr_hash_first(NULL, r->wanted); i;) {
        void *value;
        ws_redis_channel *w;
        apr_hash_this(i, NULL, NULL, &value);
        w = value;
        i = apr_hash_next(i);
        if (w->count > 0 && (all || !w->subscribed)) {
            redisAppendCommand(c, "SUBSCRIBE %sc:%s", r->options.prefix, w->name);
            w->subscribed = 1;
        }
        else if (w->count <= 0) {
            if (w->subscribed && !all) {
                redisAppendCommand(c, "UNSUBSCRIBE %sc:%s", r->options.prefix, w->name);
            }
            apr_hash_set(r->wanted, w->name, (apr_ssize_t)strlen(w->name), NULL);
            free(w);
        }
    }
    apr_thread_mutex_unlock(r->lock);
}

/* Send the heartbeat, an empty packet. */
static void bus_beat(ws_redis *r)
{
    ws_packet p = {.kind = WS_PACKET_MISSED, .from = r->options.self, .channel = "", .data = ""};
    bus_give(r, &p, "all", "", 0);
}

/* Read and handle replies. @return 0; -1: the connection has broken, or a reply is invalid */
static int bus_read(ws_redis *r, redisContext *c, apr_size_t *size)
{
    redisReply *reply;
    if (ws_redis_reply_fill(c, size) < 0) {
        return -1;
    }
    while ((reply = ws_redis_reply_next(c, size))) {
        ws_redis_receive(r, reply);
        freeReplyObject(reply);
    }
    return c->err ? -1 : 0;
}

/* Receive until the connection breaks or the process stops. */
static void bus_receive_all(ws_redis *r, redisContext *c)
{
    apr_time_t next = 0, heard = apr_time_now(), whole = heard;
    apr_size_t size = 0;
    redisAppendCommand(c, "SUBSCRIBE %sall %sn:%llx.%x", r->options.prefix, r->options.prefix,
                       (unsigned long long)r->options.self.server, r->options.self.process);
    bus_subscribe(r, c, 1);
    while (!__atomic_load_n(&r->stopped, __ATOMIC_RELAXED)) {
        struct pollfd p[2 + WS_REDIS_NODES_MAX] = {{.fd = c->fd, .events = POLLIN},
                                                   {.fd = r->wake, .events = POLLIN}};
        apr_time_t before = apr_time_now();
        int wait = r->shards ? ws_redis_shards_tick(r) : WS_REDIS_BEAT;
        unsigned shards = r->shards ? ws_redis_shards_poll(r, p + 2) : 0;
        heard += apr_time_now() - before; /* nothing was read while the thread connected */
        whole += apr_time_now() - before;
        if (apr_time_now() >= next) {
            /* A machine that lost power does not close its connections; PING detects that. */
            redisAppendCommand(c, "PING");
            bus_beat(r);
            next = apr_time_now() + apr_time_from_msec(WS_REDIS_BEAT);
        }
        if (ws_redis_flush(r, c) < 0 || apr_time_now() - heard > apr_time_from_msec(WS_REDIS_SILENT)
            || apr_time_now() - whole > apr_time_from_msec(WS_REDIS_WHOLE)) {
            return;
        }
        if (poll(p, 2 + shards, wait) < 0 && errno != EINTR) {
            return;
        }
        if (shards) {
            ws_redis_shards_read(r, p + 2, shards);
        }
        if (p[1].revents) {
            ws_woken(r->wake);
            bus_subscribe(r, c, 0);
        }
        if (p[0].revents) {
            if (bus_read(r, c, &size) < 0) {
                return;
            }
            heard = apr_time_now();
            whole = size ? whole : heard;
        }
    }
}

static void *APR_THREAD_FUNC bus_receiver(apr_thread_t *self, void *arg)
{
    ws_redis *r = arg;
    unsigned attempts = 0;
    int told = 0;
    (void)self;
    while (!__atomic_load_n(&r->stopped, __ATOMIC_RELAXED)) {
        redisContext *c = ws_redis_connect(r, &told);
        if (c) {
            apr_time_t since = apr_time_now();
            __atomic_store_n(&r->there_since, since, __ATOMIC_RELAXED);
            __atomic_store_n(&r->away, 0, __ATOMIC_RELAXED);
            r->settled = 0;
            if (!r->options.cluster || ws_redis_shards_begin(r)) {
                bus_receive_all(r, c);
            }
            ws_redis_shards_end(r);
            if (apr_time_now() - since > apr_time_from_msec(WS_REDIS_BEAT)) {
                attempts = 0;
            }
            ws_redis_tell(r, c, &told);
            ws_redis_close(c);
            __atomic_store_n(&r->away, 1, __ATOMIC_RELAXED);
        }
        ws_redis_back_off(r, &attempts);
    }
    return NULL;
}

/* ---- Creating and destroying ---- */

apr_status_t ws_redis_create(ws_redis **redis, const ws_redis_options *options, apr_pool_t *pool)
{
    ws_redis *r = apr_pcalloc(pool, sizeof(*r));
    apr_status_t rv;
    r->bus = (ws_bus){"redis",       bus_want,        bus_publish,
                      bus_send_to,   bus_subscribers, ws_redis_peer_alive,
                      ws_redis_peers};
    r->options = *options;
    r->last = &r->first;
    r->away = 1;
    ws_redis_history_init(r);
    ws_redis_once_init(r);
    /* Create a separate pool, because several threads use it, with the lock held. */
    if ((rv = apr_pool_create_unmanaged(&r->pool)) != APR_SUCCESS
        || (rv = apr_thread_mutex_create(&r->lock, APR_THREAD_MUTEX_DEFAULT, pool)) != APR_SUCCESS
        || (rv = apr_thread_cond_create(&r->work, pool)) != APR_SUCCESS) {
        return rv;
    }
    r->wanted = apr_hash_make(r->pool);
    if ((rv = apr_pool_create_unmanaged(&r->tails_pool)) != APR_SUCCESS) {
        return rv;
    }
    if (!ws_redis_cluster_init(r)) {
        return APR_ENOMEM;
    }
    if ((rv = ws_wake_create(&r->wake)) != APR_SUCCESS
        || (rv = ws_wake_create(&r->ended)) != APR_SUCCESS
        || (rv = ws_thread_create(&r->sender, ws_redis_send_all, r, pool)) != APR_SUCCESS) {
        return rv;
    }
    if (!options->send_only
        && (rv = ws_thread_create(&r->receiver, bus_receiver, r, pool)) != APR_SUCCESS) {
        ws_redis_destroy(r); /* ends the sender's thread */
        return rv;
    }
    *redis = r;
    return APR_SUCCESS;
}

ws_bus *ws_redis_bus(ws_redis *r)
{
    return &r->bus;
}

ws_once *ws_redis_once(ws_redis *r)
{
    return &r->once;
}

ws_history *ws_redis_history(ws_redis *r)
{
    return r->options.rule_count ? &r->history : NULL;
}

void ws_redis_destroy(ws_redis *r)
{
    apr_status_t rv;
    apr_thread_mutex_lock(r->lock);
    __atomic_store_n(&r->stopped, apr_time_now(), __ATOMIC_RELAXED);
    apr_thread_cond_signal(r->work);
    apr_thread_mutex_unlock(r->lock);
    ws_wake(r->wake);
    ws_wake(r->ended);
    apr_thread_join(&rv, r->sender);
    if (r->receiver) {
        apr_thread_join(&rv, r->receiver);
    }
    close(r->wake);
    close(r->ended);
    apr_pool_destroy(r->pool);
    apr_pool_destroy(r->tails_pool);
}
