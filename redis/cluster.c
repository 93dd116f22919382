/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Redis Cluster: the map from slots (groups of keys) to nodes, and the connections of the sender,
 * the thread that sends commands, to the nodes. After a MOVED reply or a broken connection, the
 * sender keeps its jobs, the queued commands, until it has read the map again. If the cluster has
 * sharded channels, the receiver has another map (shards.c).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/cluster.h"

/* ---- Slots ---- */

/* Compute a key's slot: CRC-16/XMODEM of the part in braces. See the Redis Cluster specification,
 * "Key distribution model". */
static unsigned cluster_slot(const char *key, size_t len)
{
    const char *open = memchr(key, '{', len), *close;
    unsigned crc = 0;
    if (open && (close = memchr(open, '}', len - (size_t)(open - key))) && close > open + 1) {
        key = open + 1;
        len = (size_t)(close - key);
    }
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)(unsigned char)key[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
        }
        crc &= 0xFFFF;
    }
    return crc % WS_REDIS_SLOTS;
}

/* Get the slot of a job's key. In EVAL the first key follows the script and the number of keys; in
 * other commands it follows the command name. */
static unsigned cluster_slot_of(const ws_redis_job *j)
{
    int key = !strcmp(j->argv[0], "EVAL") ? 3 : 1;
    return cluster_slot(j->argv[key], j->lens[key]);
}

/* Find a node, or add it. @return its index; WS_REDIS_NO_NODE: too many nodes, or an invalid
 * address */
static unsigned cluster_node_of(struct ws_redis_cluster *k, const char *host, apr_uint64_t port)
{
    unsigned i = 0;
    if (!*host || strlen(host) >= WS_REDIS_NODE_HOST_MAX || port < 1 || port > 65535) {
        return WS_REDIS_NO_NODE;
    }
    while (i < k->count && (strcmp(k->nodes[i].host, host) || k->nodes[i].port != (int)port)) {
        i++;
    }
    if (i == k->count && i < WS_REDIS_NODES_MAX) {
        k->count++;
        snprintf(k->nodes[i].host, WS_REDIS_NODE_HOST_MAX, "%s", host);
        k->nodes[i].port = (int)port;
        k->nodes[i].c = NULL;
    }
    return i < WS_REDIS_NODES_MAX ? i : WS_REDIS_NO_NODE;
}

/* Read a row of CLUSTER SLOTS: first and last slot, the master, replicas. A node without a name is
 * the node that sent the reply. */
static void cluster_take_row(struct ws_redis_cluster *k, const redisReply *row, const char *asked)
{
    const redisReply *node;
    apr_uint64_t first, last, port;
    unsigned index;
    if (row->type != REDIS_REPLY_ARRAY || row->elements < 3
        || !ws_redis_number(row->element[0], &first) || !ws_redis_number(row->element[1], &last)
        || last >= WS_REDIS_SLOTS || first > last) {
        return;
    }
    node = row->element[2];
    if (node->type != REDIS_REPLY_ARRAY || node->elements < 2
        || !ws_redis_number(node->element[1], &port)) {
        return;
    }
    index = cluster_node_of(k, ws_redis_is_text(node->element[0]) ? node->element[0]->str : asked,
                            port);
    memset(k->slots + first, (int)index, (size_t)(last - first + 1));
}

static void cluster_forget(struct ws_redis_cluster *k)
{
    for (unsigned i = 0; i < k->count; i++) {
        ws_redis_close(k->nodes[i].c);
    }
    k->count = 0;
    k->known = 0;
    memset(k->slots, WS_REDIS_NO_NODE, sizeof(k->slots));
}

/* Check whether the server has SPUBLISH. Redis 7 returns a description of it; earlier versions
 * reply nil or an error. Without a reply, the map stays incomplete. */
static void cluster_look_for_shards(ws_redis *r, struct ws_redis_cluster *k, redisContext *c)
{
    redisReply *reply = ws_redis_ask(r, c, "COMMAND INFO SPUBLISH");
    k->known &= reply != NULL;
    k->sharded = !r->options.unsharded && ws_redis_is_array(reply, 1)
                 && reply->element[0]->type == REDIS_REPLY_ARRAY && reply->element[0]->elements > 0;
    if (reply) {
        freeReplyObject(reply);
    }
}

/* Read the map from a node. @return 1; 0: no node is reachable, or the server is not a cluster */
int ws_redis_cluster_learn(ws_redis *r, struct ws_redis_cluster *k, int *told)
{
    redisContext *c = ws_redis_connect(r, told);
    redisReply *reply = c ? ws_redis_ask(r, c, "CLUSTER SLOTS") : NULL;
    cluster_forget(k);
    if (reply && reply->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < reply->elements; i++) {
            cluster_take_row(k, reply->element[i], c->tcp.host ? c->tcp.host : "");
        }
        k->known = k->count > 0;
        cluster_look_for_shards(r, k, c);
    }
    else if (reply) {
        ws_redis_wrong(r, reply);
    }
    if (c && !k->known) { /* try the next address next time */
        __atomic_add_fetch(&r->host, 1, __ATOMIC_RELAXED);
    }
    if (reply) {
        freeReplyObject(reply);
    }
    ws_redis_close(c);
    return k->known;
}

/* ---- Sending ---- */

/* Move the jobs of a node, or those without a node, to another list, in order. */
static ws_redis_job *cluster_take(struct ws_redis_cluster *k, ws_redis_job **jobs, unsigned node)
{
    ws_redis_job *mine = NULL, **end = &mine;
    while (*jobs) {
        ws_redis_job *j = *jobs;
        if (k->slots[cluster_slot_of(j)] != node) {
            jobs = &j->next;
            continue;
        }
        *jobs = j->next;
        j->next = NULL;
        *end = j;
        end = &j->next;
    }
    return mine;
}

int ws_redis_cluster_connect(ws_redis *r, ws_redis_node *n)
{
    if (!n->c && (n->c = ws_redis_open(r, n->host, n->port)) && !n->c->err) {
        ws_redis_greet(r, n->c);
    }
    if (n->c && n->c->err) {
        ws_redis_close(n->c);
        n->c = NULL;
    }
    return n->c != NULL;
}

/* Send jobs to a node. @return whether all jobs have a reply; the others stay in *jobs */
static int cluster_send_to(ws_redis *r, ws_redis_node *n, ws_redis_job **jobs)
{
    while (*jobs) {
        if (!ws_redis_cluster_connect(r, n) || ws_redis_send_batch(r, n->c, jobs) < 0) {
            ws_redis_close(n->c);
            n->c = NULL;
            return 0;
        }
    }
    return 1;
}

/* Set the command's name, because the job was queued before the map had arrived. */
static void cluster_name_publications(const struct ws_redis_cluster *k, ws_redis_job *j)
{
    const char *name = k->sharded ? "SPUBLISH" : "PUBLISH";
    for (; j; j = j->next) {
        if (j->shard && strcmp(j->argv[0], name) != 0) {
            char *old = j->argv[0];
            if (ws_redis_job_set(j, 0, name, strlen(name)) < 0) {
                j->argv[0] = old;
            }
            else {
                free(old);
            }
        }
    }
}

ws_redis_sent ws_redis_cluster_send(ws_redis *r, ws_redis_job **jobs, int *told)
{
    struct ws_redis_cluster *k = r->cluster;
    ws_redis_job *rest = NULL, **end = &rest;
    if (!k->known && !ws_redis_cluster_learn(r, k, told)) {
        return WS_REDIS_AWAY;
    }
    cluster_name_publications(k, *jobs);
    for (unsigned i = 0; i < k->count && *jobs; i++) {
        ws_redis_job *mine = cluster_take(k, jobs, i);
        if (!cluster_send_to(r, &k->nodes[i], &mine)) {
            k->known = 0;
        }
        for (*end = mine; *end; end = &(*end)->next) {
        }
    }
    if (*jobs) { /* no node has their slots */
        k->known = 0;
    }
    *end = *jobs;
    *jobs = rest;
    return rest ? WS_REDIS_BROKEN : WS_REDIS_DONE;
}

/* ---- Maps ---- */

struct ws_redis_cluster *ws_redis_cluster_new(void)
{
    struct ws_redis_cluster *k = calloc(1, sizeof(*k));
    if (k) {
        cluster_forget(k);
    }
    return k;
}

void ws_redis_cluster_free(struct ws_redis_cluster *k)
{
    if (k) {
        cluster_forget(k);
        free(k);
    }
}

ws_redis_node *ws_redis_cluster_node(struct ws_redis_cluster *k, const char *key, size_t len)
{
    unsigned i = k->slots[cluster_slot(key, len)];
    return i < k->count ? &k->nodes[i] : NULL;
}

int ws_redis_cluster_init(ws_redis *r)
{
    r->cluster = r->options.cluster ? ws_redis_cluster_new() : NULL;
    return !r->options.cluster || r->cluster;
}

void ws_redis_cluster_close(ws_redis *r)
{
    ws_redis_cluster_free(r->cluster);
    r->cluster = NULL;
}
