/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Subscriptions to sharded channels (shards.h). A map says which node has which slot. The map is
 * out of date if a node fails, if it moves a slot to another node, or if it answers that another
 * node has the slot. The receiver, which is the thread that receives messages, then reads the map
 * again, and waits longer after each failure to read it. It subscribes to the affected channels on
 * their new nodes. The connections to nodes that are still in the map stay open.
 */

#include "redis/shards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/cluster.h"

#define RETRY_MIN 100 /* minimum time before the map is read again, milliseconds */

struct ws_redis_shards {
    struct ws_redis_cluster *map;
    int stale; /**< read the map again at `retry` */
    apr_time_t retry;
    unsigned attempts; /**< number of attempts since all channels were last subscribed */
    apr_time_t ping;   /**< when the next PINGs are due */
    int told;
};

static const char *shards_name(const ws_redis *r, const ws_redis_channel *w, char *text,
                               size_t size)
{
    snprintf(text, size, "%sc:%s", r->options.prefix, w->name);
    return text;
}

/* Close a connection. Its channels then have no connection. */
static void shards_close(ws_redis *r, ws_redis_node *n)
{
    if (!n->c) {
        return;
    }
    apr_thread_mutex_lock(r->lock);
    for (apr_hash_index_t *i = apr_hash_first(NULL, r->wanted); i; i = apr_hash_next(i)) {
        void *value;
        ws_redis_channel *w;
        apr_hash_this(i, NULL, NULL, &value);
        w = value;
        if (w->on == n->c) {
            w->on = NULL;
            w->subscribed = 0;
        }
    }
    apr_thread_mutex_unlock(r->lock);
    ws_redis_close(n->c);
    n->c = NULL;
    n->acks = 0;
    n->missed = 0;
    r->shards->stale = 1;
}

/* ---- The map ---- */

/* Keep the connections to the nodes that are still in the map. */
static void shards_move(struct ws_redis_cluster *from, struct ws_redis_cluster *to)
{
    for (unsigned i = 0; i < to->count; i++) {
        for (unsigned j = 0; j < from->count; j++) {
            if (to->nodes[i].port == from->nodes[j].port
                && !strcmp(to->nodes[i].host, from->nodes[j].host)) {
                to->nodes[i] = from->nodes[j];
                from->nodes[j].c = NULL;
            }
        }
    }
}

static void shards_learn(ws_redis *r)
{
    struct ws_redis_shards *s = r->shards;
    struct ws_redis_cluster *fresh = ws_redis_cluster_new(), *old = s->map;
    if (!fresh || !ws_redis_cluster_learn(r, fresh, &s->told)) {
        ws_redis_cluster_free(fresh);
        return;
    }
    s->stale = 0;
    shards_move(old, fresh);
    s->map = fresh;
    for (unsigned i = 0; i < old->count; i++) {
        shards_close(r, &old->nodes[i]);
    }
    s->stale = 0;
    ws_redis_cluster_free(old);
}

static void shards_schedule(struct ws_redis_shards *s)
{
    unsigned ms = RETRY_MIN << (s->attempts > 4 ? 4 : s->attempts);
    s->attempts++;
    s->retry = apr_time_now() + apr_time_from_msec(ms);
}

/* ---- Subscribing ---- */

/* Subscribe to a channel on its node, or note that the node needs a connection. The caller holds
 * the lock. */
static void shards_assign(ws_redis *r, ws_redis_channel *w)
{
    char name[WS_CHANNEL_MAX + 300];
    const char *full = shards_name(r, w, name, sizeof(name));
    ws_redis_node *n = ws_redis_cluster_node(r->shards->map, full, strlen(full));
    if (n && n->c && w->on == n->c) {
        return;
    }
    if (w->on) {
        redisAppendCommand(w->on, "SUNSUBSCRIBE %s", full);
        w->on = NULL;
        w->subscribed = 0;
    }
    if (!n) {
        r->shards->stale = 1;
    }
    else if (!n->c) {
        n->needed = 1;
    }
    else {
        redisAppendCommand(n->c, "SSUBSCRIBE %s", full);
        n->acks++;
        n->missed |= w->before;
        w->on = n->c;
        w->subscribed = w->before = 1;
    }
}

static void shards_assign_all(ws_redis *r)
{
    char name[WS_CHANNEL_MAX + 300];
    apr_thread_mutex_lock(r->lock);
    for (apr_hash_index_t *i = apr_hash_first(NULL, r->wanted); i;) {
        void *value;
        ws_redis_channel *w;
        apr_hash_this(i, NULL, NULL, &value);
        w = value;
        i = apr_hash_next(i);
        if (w->count > 0) {
            shards_assign(r, w);
            continue;
        }
        if (w->on) {
            redisAppendCommand(w->on, "SUNSUBSCRIBE %s", shards_name(r, w, name, sizeof(name)));
        }
        apr_hash_set(r->wanted, w->name, (apr_ssize_t)strlen(w->name), NULL);
        free(w);
    }
    apr_thread_mutex_unlock(r->lock);
}

/* Pretend that all nodes have just sent something. While this thread made a new connection, it did
 * not read from the other nodes, so that time must not count as their silence. */
static void shards_excuse(struct ws_redis_cluster *k)
{
    for (unsigned i = 0; i < k->count; i++) {
        k->nodes[i].heard = k->nodes[i].whole = apr_time_now();
    }
}

/* Connect to the nodes that are needed. @return whether a connection was made */
static int shards_connect(ws_redis *r)
{
    struct ws_redis_cluster *k = r->shards->map;
    int connected = 0;
    for (unsigned i = 0; i < k->count; i++) {
        ws_redis_node *n = &k->nodes[i];
        if (!n->needed) {
            continue;
        }
        n->needed = 0;
        if (ws_redis_cluster_connect(r, n)) {
            n->size = 0;
            connected = 1;
        }
        else {
            r->shards->stale = 1;
        }
    }
    return connected;
}

void ws_redis_shards_subscribe(ws_redis *r)
{
    struct ws_redis_shards *s = r->shards;
    int stale = s->stale;
    shards_assign_all(r);
    if (shards_connect(r)) {
        shards_assign_all(r);
    }
    shards_excuse(s->map);
    if (s->stale && !stale) {
        shards_schedule(s);
    }
}

/* ---- Receiving ---- */

/* Handle the message with which a node ends a subscription. The node does that when it moves the
 * channel's slot to another node. */
static void shards_unsubscribed(ws_redis *r, const ws_redis_node *n, const redisReply *name)
{
    size_t prefix = strlen(r->options.prefix) + 2;
    ws_redis_channel *w;
    if (!ws_redis_is_text(name) || (size_t)name->len <= prefix) {
        return;
    }
    apr_thread_mutex_lock(r->lock);
    w = apr_hash_get(r->wanted, name->str + prefix, (apr_ssize_t)((size_t)name->len - prefix));
    if (w && w->on == n->c) {
        w->on = NULL;
        w->subscribed = 0;
        r->shards->stale = 1;
    }
    apr_thread_mutex_unlock(r->lock);
}

static int shards_is_redirect(const redisReply *reply)
{
    static const char *const why[] = {"MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN"};
    int is = 0;
    for (size_t i = 0; i < sizeof(why) / sizeof(*why); i++) {
        is |= !strncmp(reply->str, why[i], strlen(why[i]));
    }
    return is;
}

/* Handle a reply. @return 0; -1: the connection cannot be used any longer */
static int shards_take(ws_redis *r, ws_redis_node *n, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        if (!shards_is_redirect(reply)) {
            ws_redis_receive(r, reply);
        }
        return -1;
    }
    if (!ws_redis_is_array(reply, 3)) {
        return 0; /* a reply to PING */
    }
    if (ws_redis_is(reply->element[0], "sunsubscribe")) {
        shards_unsubscribed(r, n, reply->element[1]);
        return 0;
    }
    ws_redis_receive(r, reply);
    if (ws_redis_is(reply->element[0], "ssubscribe") && n->acks && --n->acks == 0 && n->missed) {
        n->missed = 0;
        if (ws_channels_current()) {
            ws_channels_missed(ws_channels_current(), 1);
        }
    }
    return 0;
}

static int shards_read_from(ws_redis *r, ws_redis_node *n)
{
    redisReply *reply;
    int rv = ws_redis_reply_fill(n->c, &n->size);
    while (rv == 0 && (reply = ws_redis_reply_next(n->c, &n->size))) {
        rv = shards_take(r, n, reply);
        freeReplyObject(reply);
    }
    n->heard = apr_time_now();
    n->whole = n->size ? n->whole : n->heard;
    return n->c->err ? -1 : rv;
}

unsigned ws_redis_shards_poll(const ws_redis *r, struct pollfd *p)
{
    const struct ws_redis_cluster *k = r->shards->map;
    unsigned count = 0;
    for (unsigned i = 0; i < k->count; i++) {
        if (k->nodes[i].c) {
            p[count++] = (struct pollfd){.fd = k->nodes[i].c->fd, .events = POLLIN};
        }
    }
    return count;
}

void ws_redis_shards_read(ws_redis *r, const struct pollfd *p, unsigned count)
{
    struct ws_redis_cluster *k = r->shards->map;
    for (unsigned i = 0; i < k->count; i++) {
        ws_redis_node *n = &k->nodes[i];
        for (unsigned j = 0; n->c && j < count; j++) {
            if (p[j].fd == n->c->fd && p[j].revents) {
                if (shards_read_from(r, n) < 0) {
                    shards_close(r, n);
                }
                break;
            }
        }
    }
}

/* ---- In each iteration of the receiver ---- */

static void shards_check(ws_redis *r, ws_redis_node *n, apr_time_t now, int ping)
{
    if (ping) {
        redisAppendCommand(n->c, "PING");
    }
    if (ws_redis_flush(r, n->c) < 0 || now - n->heard > apr_time_from_msec(WS_REDIS_SILENT)
        || now - n->whole > apr_time_from_msec(WS_REDIS_WHOLE)) {
        shards_close(r, n);
    }
}

int ws_redis_shards_tick(ws_redis *r)
{
    struct ws_redis_shards *s = r->shards;
    apr_time_t now = apr_time_now();
    int ping;
    if (s->stale && now >= s->retry) {
        shards_schedule(s);
        shards_learn(r);
        ws_redis_shards_subscribe(r);
        s->attempts = s->stale ? s->attempts : 0;
    }
    now = apr_time_now();
    ping = now >= s->ping;
    s->ping = ping ? now + apr_time_from_msec(WS_REDIS_BEAT) : s->ping;
    for (unsigned i = 0; i < s->map->count; i++) {
        if (s->map->nodes[i].c) {
            shards_check(r, &s->map->nodes[i], now, ping);
        }
    }
    return s->stale ? RETRY_MIN : WS_REDIS_BEAT;
}

int ws_redis_shards_begin(ws_redis *r)
{
    struct ws_redis_shards *s = calloc(1, sizeof(*s));
    int known =
        s && (s->map = ws_redis_cluster_new()) && ws_redis_cluster_learn(r, s->map, &s->told);
    if (known && s->map->sharded) {
        r->shards = s;
        return 1;
    }
    if (s) {
        ws_redis_cluster_free(s->map);
    }
    free(s);
    return known;
}

void ws_redis_shards_end(ws_redis *r)
{
    struct ws_redis_shards *s = r->shards;
    if (!s) {
        return;
    }
    for (unsigned i = 0; i < s->map->count; i++) {
        shards_close(r, &s->map->nodes[i]);
    }
    ws_redis_cluster_free(s->map);
    free(s);
    r->shards = NULL;
}
