/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The bus: what is published goes to Redis, and the thread that hears what comes from there. */

#include "redis/bus.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/wake.h"
#include "base/thread.h"
#include "redis/private.h"

/* Processes say so often that they live, and have ended when they have not for so long, milliseconds. */
#define BEAT 2000
#define DEAD 10000

/* A connection over which nothing has come for so long is given up. */
#define SILENT (2 * BEAT + BEAT / 2)

/* So is one over which something comes that does not end. */
#define WHOLE 10000

/* How many subscribers a channel has here, and whether the hearer has told Redis. */
typedef struct want {
    int count, told;
    char name[WS_CHANNEL_MAX + 1];
} want;

/* ---- What others are known to live ---- */

typedef struct peer {
    ws_node node;
    apr_time_t seen;
} peer;

#define PEERS_MAX 1024

static peer peers[PEERS_MAX];
static unsigned peer_count;

/* Under the lock. */
static peer *peer_of(const ws_node *node)
{
    unsigned i = 0;
    while (i < peer_count
           && (peers[i].node.server != node->server || peers[i].node.process != node->process)) {
        i++;
    }
    return i < peer_count ? &peers[i] : NULL;
}

static void has_been_seen(ws_redis *r, const ws_node *node)
{
    peer *p;
    apr_thread_mutex_lock(r->lock);
    p = peer_of(node);
    if (!p && peer_count < PEERS_MAX) {
        p = &peers[peer_count++];
    }
    for (unsigned i = 0; !p && i < PEERS_MAX; i++) { /* one that has ended gives its place */
        if (apr_time_now() - peers[i].seen > apr_time_from_msec(2 * DEAD)) {
            p = &peers[i];
        }
    }
    if (p) {
        p->node = *node;
        p->seen = apr_time_now();
    }
    apr_thread_mutex_unlock(r->lock);
}

static int alive(ws_bus *b, const ws_node *node)
{
    ws_redis *r = WS_REDIS_OF(b, bus);
    int lives = 1;
    const peer *p;
    if (node->server == r->options.self.server) {
        return -1;
    }
    /* While nobody is heard, nothing is known. */
    if (!__atomic_load_n(&r->away, __ATOMIC_RELAXED)) {
        apr_thread_mutex_lock(r->lock);
        p = peer_of(node);
        lives = !p || apr_time_now() - p->seen < apr_time_from_msec(DEAD);
        apr_thread_mutex_unlock(r->lock);
    }
    return lives;
}

/* What has just started has not been heard of for up to a BEAT. */
static int nodes(ws_bus *b, ws_node *all, unsigned size, unsigned *count)
{
    ws_redis *r = WS_REDIS_OF(b, bus);
    apr_time_t since = __atomic_load_n(&r->there_since, __ATOMIC_RELAXED), now = apr_time_now();
    *count = 0;
    apr_thread_mutex_lock(r->lock);
    for (unsigned i = 0; i < peer_count; i++) {
        if (now - peers[i].seen < apr_time_from_msec(DEAD) && *count < size) {
            all[(*count)++] = peers[i].node;
        }
    }
    apr_thread_mutex_unlock(r->lock);
    return !__atomic_load_n(&r->away, __ATOMIC_RELAXED) && *count < size
           && now - since > apr_time_from_msec(2 * BEAT);
}

/* ---- Publishing ---- */

static void has_been_sent(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    apr_uint64_t reached;
    (void)j;
    if (!ws_redis_number(reply, &reached)) {
        ws_redis_wrong(r, reply);
        __atomic_add_fetch(&r->lost, 1, __ATOMIC_RELAXED);
    }
}

/* @return 0, or -1: it has not been taken */
static int give_packet(ws_redis *r, const ws_packet *p, const char *kind, const char *name, int len)
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
        j->done = has_been_sent;
        if (ws_redis_job_printf(j, 0, "PUBLISH") == 0
            && ws_redis_job_printf(j, 1, "%s%s%.*s", r->options.prefix, kind, len, name) == 0
            && ws_redis_give(r, j) == 0) {
            return 0;
        }
    }
    ws_redis_job_free(j);
    return -1;
}

static ws_status publish(ws_bus *b, const ws_packet *p, apr_uint32_t *reached, apr_uint32_t *missed)
{
    ws_redis *r = WS_REDIS_OF(b, bus);
    int everybody = ws_packet_is_for_all(p);
    if (give_packet(r, p, everybody ? "all" : "c:", everybody ? "" : p->channel,
                    everybody ? 0 : (int)p->channel_len)
        < 0) {
        ++*missed;
        return WS_QUEUED;
    }
    ++*reached;
    return WS_QUEUED;
}

static ws_status send_to(ws_bus *b, const ws_node *to, const ws_packet *p)
{
    ws_redis *r = WS_REDIS_OF(b, bus);
    char name[40];
    int len;
    if (to->server == r->options.self.server || !alive(b, to)) {
        return WS_GONE;
    }
    len = snprintf(name, sizeof(name), "%llx.%x", (unsigned long long)to->server, to->process);
    return give_packet(r, p, "n:", name, len) < 0 ? WS_FULL : WS_HANDED;
}

static apr_uint32_t subscribers(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash)
{
    (void)b, (void)channel, (void)len, (void)hash;
    return 0; /* nobody knows without asking */
}

static ws_status want_channel(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash,
                              int change)
{
    ws_redis *r = WS_REDIS_OF(b, bus);
    int changed = 0;
    want *w;
    (void)hash;
    apr_thread_mutex_lock(r->lock);
    w = apr_hash_get(r->wanted, channel, len);
    if (!w && change > 0 && (w = calloc(1, sizeof(*w)))) {
        memcpy(w->name, channel, len);
        apr_hash_set(r->wanted, w->name, len, w);
    }
    if (w) {
        w->count += change;
        changed = (w->count > 0) != w->told;
    }
    apr_thread_mutex_unlock(r->lock);
    if (changed) {
        ws_wake(r->wake);
    }
    return w || change < 0 ? WS_QUEUED : WS_FULL;
}

/* ---- Hearing ---- */

/* Tell Redis what has changed; all: everything, on a new connection. */
static void tell_wants(ws_redis *r, redisContext *c, int all)
{
    apr_thread_mutex_lock(r->lock);
    for (apr_hash_index_t *i = apr_hash_first(NULL, r->wanted); i;) {
        void *value;
        want *w;
        apr_hash_this(i, NULL, NULL, &value);
        w = value;
        i = apr_hash_next(i);
        if (w->count > 0 && (all || !w->told)) {
            redisAppendCommand(c, "SUBSCRIBE %sc:%s", r->options.prefix, w->name);
            w->told = 1;
        }
        else if (w->count <= 0) {
            if (w->told && !all) {
                redisAppendCommand(c, "UNSUBSCRIBE %sc:%s", r->options.prefix, w->name);
            }
            apr_hash_set(r->wanted, w->name, (apr_ssize_t)strlen(w->name), NULL);
            free(w);
        }
    }
    apr_thread_mutex_unlock(r->lock);
}

void ws_redis_hear(ws_redis *r, const redisReply *reply)
{
    ws_channels *h = ws_channels_current();
    const redisReply *message;
    ws_packet p;
    char text[400];
    if (reply->type == REDIS_REPLY_ERROR) { /* each command that is sent here is sent once */
        snprintf(text, sizeof(text), "redis: %s", reply->str);
        r->options.log(WS_LOG_WARNING, text);
        return;
    }
    if (!ws_redis_is_array(reply, 3) || !ws_redis_is(reply->element[0], "message")) {
        return; /* an answer to SUBSCRIBE or PING */
    }
    message = reply->element[2];
    if (message->type != REDIS_REPLY_STRING
        || ws_packet_decode(&p, message->str, (apr_size_t)message->len) != (apr_size_t)message->len
        || p.from.server == r->options.self.server || !p.kind) {
        return;
    }
    has_been_seen(r, &p.from);
    if (h && (p.kind != WS_PACKET_MISSED || p.len)) {
        ws_channels_receive(h, &p);
    }
}

/* A packet that says nothing but that we live. */
static void beat(ws_redis *r)
{
    ws_packet p = {.kind = WS_PACKET_MISSED, .from = r->options.self, .channel = "", .data = ""};
    give_packet(r, &p, "all", "", 0);
}

static int write_all(redisContext *c)
{
    int done = 0;
    while (!done) {
        if (redisBufferWrite(c, &done) != REDIS_OK) {
            return -1;
        }
    }
    return 0;
}

/* @return 0, or -1: the connection has broken, or says what is no answer */
static int hear_what_came(ws_redis *r, redisContext *c, apr_size_t *size)
{
    redisReply *reply;
    if (ws_redis_reply_fill(c, size) < 0) {
        return -1;
    }
    while ((reply = ws_redis_reply_next(c, size))) {
        ws_redis_hear(r, reply);
        freeReplyObject(reply);
    }
    return c->err ? -1 : 0;
}

/* Until the connection breaks, or all is to end. */
static void hear_all(ws_redis *r, redisContext *c)
{
    apr_time_t next = 0, heard = apr_time_now(), whole = heard;
    apr_size_t size = 0;
    redisAppendCommand(c, "SUBSCRIBE %sall %sn:%llx.%x", r->options.prefix, r->options.prefix,
                       (unsigned long long)r->options.self.server, r->options.self.process);
    tell_wants(r, c, 1);
    while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
        struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = r->wake, .events = POLLIN}};
        if (apr_time_now() >= next) {
            /* A machine that has lost its power closes no connection. It is asked, and answers. */
            redisAppendCommand(c, "PING");
            beat(r);
            next = apr_time_now() + apr_time_from_msec(BEAT);
        }
        if (write_all(c) < 0 || apr_time_now() - heard > apr_time_from_msec(SILENT)
            || apr_time_now() - whole > apr_time_from_msec(WHOLE)) {
            return;
        }
        if (poll(p, 2, BEAT) < 0 && errno != EINTR) {
            return;
        }
        if (p[1].revents) {
            ws_woken(r->wake);
            tell_wants(r, c, 0);
        }
        if (p[0].revents) {
            if (hear_what_came(r, c, &size) < 0) {
                return;
            }
            heard = apr_time_now();
            whole = size ? whole : heard;
        }
    }
}

static void *APR_THREAD_FUNC hear_thread(apr_thread_t *self, void *arg)
{
    ws_redis *r = arg;
    unsigned attempts = 0;
    int told = 0, was_there = 0;
    (void)self;
    while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
        redisContext *c = ws_redis_connect(r, &told);
        if (c) {
            apr_time_t since = apr_time_now();
            __atomic_store_n(&r->there_since, since, __ATOMIC_RELAXED);
            __atomic_store_n(&r->away, 0, __ATOMIC_RELAXED);
            /* What others have said meanwhile is in histories, or lost. */
            if (was_there && ws_channels_current()) {
                ws_channels_missed(ws_channels_current(),
                                   1 + __atomic_exchange_n(&r->lost, 0, __ATOMIC_RELAXED));
            }
            was_there = 1;
            hear_all(r, c);
            if (apr_time_now() - since > apr_time_from_msec(BEAT)) {
                attempts = 0;
            }
            ws_redis_tell(r, c, &told);
            redisFree(c);
            __atomic_store_n(&r->away, 1, __ATOMIC_RELAXED);
        }
        ws_redis_back_off(r, &attempts);
    }
    return NULL;
}

/* ---- Beginning and end ---- */

apr_status_t ws_redis_create(ws_redis **redis, const ws_redis_options *options, apr_pool_t *pool)
{
    ws_redis *r = apr_pcalloc(pool, sizeof(*r));
    apr_status_t rv;
    r->bus = (ws_bus){"redis", want_channel, publish, send_to, subscribers, alive, nodes};
    r->options = *options;
    r->last = &r->first;
    r->away = 1;
    ws_redis_history_init(r);
    ws_redis_once_init(r);
    /* Of its own, since it is used by several threads; under the lock. */
    if ((rv = apr_pool_create_unmanaged(&r->pool)) != APR_SUCCESS
        || (rv = apr_thread_mutex_create(&r->lock, APR_THREAD_MUTEX_DEFAULT, pool)) != APR_SUCCESS
        || (rv = apr_thread_cond_create(&r->work, pool)) != APR_SUCCESS) {
        return rv;
    }
    r->wanted = apr_hash_make(r->pool);
    if ((rv = ws_wake_create(&r->wake)) != APR_SUCCESS
        || (rv = ws_thread_create(&r->sender, ws_redis_send_all, r, pool)) != APR_SUCCESS
        || (rv = ws_thread_create(&r->hearer, hear_thread, r, pool)) != APR_SUCCESS) {
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
    __atomic_store_n(&r->stop, 1, __ATOMIC_RELAXED);
    apr_thread_cond_signal(r->work);
    apr_thread_mutex_unlock(r->lock);
    ws_wake(r->wake);
    apr_thread_join(&rv, r->sender);
    apr_thread_join(&rv, r->hearer);
    close(r->wake);
    apr_pool_destroy(r->pool);
}
