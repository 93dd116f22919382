/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The queue of commands (jobs), and how a batch of them is sent over a connection. Jobs without a
 *  reply stay in the list, so that the sender can repeat them. */

#include <apr_strings.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/private.h"
#include "websocket_parse.h"

#define BATCH 256    /* maximum number of commands per batch */
#define CONFIRM 1000 /* timeout of WAIT, milliseconds */
#define ALONE 10     /* if no replica confirms a WAIT, no WAIT is sent for this time, seconds */
#define PROBE 50     /* timeout of the first WAIT after that time, milliseconds */

/* ---- Jobs ---- */

ws_redis_job *ws_redis_job_new(int argc)
{
    ws_redis_job *j = calloc(1, sizeof(*j));
    if (j) {
        j->argc = argc;
        j->argv = calloc((size_t)argc, sizeof(*j->argv));
        j->lens = calloc((size_t)argc, sizeof(*j->lens));
        j->cost = sizeof(*j);
    }
    if (j && (!j->argv || !j->lens)) {
        ws_redis_job_free(j);
        return NULL;
    }
    return j;
}

int ws_redis_job_set(ws_redis_job *j, int i, const void *data, size_t len)
{
    if (!(j->argv[i] = malloc(len + 1))) {
        return -1;
    }
    memcpy(j->argv[i], data, len);
    j->argv[i][len] = 0;
    j->lens[i] = len;
    j->cost += len;
    return 0;
}

int ws_redis_job_printf(ws_redis_job *j, int i, const char *format, ...)
{
    char text[WS_CHANNEL_MAX + 300];
    va_list args;
    int len;
    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return len < 0 || len >= (int)sizeof(text) ? -1 : ws_redis_job_set(j, i, text, (size_t)len);
}

void ws_redis_job_free(ws_redis_job *j)
{
    if (!j) {
        return;
    }
    for (int i = 0; j->argv && i < j->argc; i++) {
        free(j->argv[i]);
    }
    if (j->m) {
        ws_message_unref(j->m);
    }
    free(j->argv);
    free(j->lens);
    free(j);
}

void ws_redis_job_end(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    j->done(r, j, reply);
    ws_redis_job_free(j);
}

int ws_redis_give(ws_redis *r, ws_redis_job *j)
{
    int full;
    apr_thread_mutex_lock(r->lock);
    full = r->stopped || (r->waiting && !j->owed && r->waiting + j->cost > r->options.queue);
    if (!full) {
        r->waiting += j->cost;
        *r->last = j;
        r->last = &j->next;
        apr_thread_cond_signal(r->work);
    }
    apr_thread_mutex_unlock(r->lock);
    return full ? -1 : 0;
}

/* ---- Sending ---- */

void ws_redis_complain(ws_redis *r, const char *why)
{
    char text[sizeof(r->refusal) + 10];
    if (strncmp(r->refusal, why, sizeof(r->refusal) - 1) != 0) {
        snprintf(r->refusal, sizeof(r->refusal), "%s", why);
        snprintf(text, sizeof(text), "redis: %s", r->refusal);
        r->options.log(WS_LOG_WARNING, text);
    }
}

int ws_redis_refused(ws_redis *r, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR) {
        return 0;
    }
    ws_redis_complain(r, reply->str);
    return 1;
}

void ws_redis_wrong(ws_redis *r, const redisReply *reply)
{
    if (reply && !ws_redis_refused(r, reply)) {
        ws_redis_complain(r, "unexpected reply; Redis 5 or later is required");
    }
}

/* Whether a reply is an error of a server that is starting, is not a master, or does not have the
 * slot. The job is then sent again. */
static int reply_is_temporary(const redisReply *reply)
{
    static const char *const why[] = {"LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS",
                                      "MOVED ",  "TRYAGAIN", "CLUSTERDOWN"};
    int later = 0;
    for (size_t i = 0; reply->type == REDIS_REPLY_ERROR && i < sizeof(why) / sizeof(*why); i++) {
        later |= strstr(reply->str, why[i])
                 != NULL; /* before Redis 7, a script's error does not begin with the word */
    }
    return later;
}

/*
 * Whether to send the command WAIT after a batch. Redis answers WAIT when a replica has confirmed
 * the batch, or after a timeout. Without WAIT, messages could be reported as published, and then be
 * lost because the master fails.
 */
static int batch_needs_wait(const ws_redis *r, const ws_redis_job *j, int count)
{
    int lasting = 0;
    for (; j && count; j = j->next, count--) {
        lasting |= j->lasting;
    }
    return lasting && (r->options.master || r->options.cluster) && apr_time_now() >= r->alone;
}

/* Receive the reply to WAIT. @return 0; -1: the connection broke */
static int batch_take_wait(ws_redis *r, redisContext *c)
{
    redisReply *reply = ws_redis_reply_wait(r, c);
    apr_uint64_t replicas = 0;
    if (!reply) {
        return -1;
    }
    if (!ws_redis_refused(r, reply)) {
        ws_redis_number(reply, &replicas);
    }
    r->alone = replicas ? 0 : apr_time_now() + apr_time_from_sec(ALONE);
    freeReplyObject(reply);
    return 0;
}

/* Check a connection before a batch is sent, because the outcome of commands sent over a broken
 * connection is unknown. No reply is due, so a readable socket means that the server has closed the
 * connection. */
static int batch_connection_ended(const redisContext *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* Drop the messages that their publishers have withdrawn while they were queued. After this call,
 * the remaining messages can no longer be withdrawn. */
static void batch_drop_withdrawn(ws_redis *r, ws_redis_job **jobs)
{
    for (int n = 0; *jobs && n < BATCH;) {
        ws_redis_job *j = *jobs;
        if (!j->m || ws_message_take(j->m)) {
            jobs = &j->next;
            n++;
        }
        else {
            *jobs = j->next;
            ws_redis_job_end(r, j, NULL);
        }
    }
}

/* Follow an ASK reply, sent for a slot that is migrating: "ASK 3999 127.0.0.1:6381". @return the
 * other node's reply, or NULL */
static redisReply *batch_ask_other(ws_redis *r, const ws_redis_job *j, const char *text)
{
    const char *address = strrchr(text, ' '), *colon = strrchr(text, ':');
    char host[256];
    apr_int64_t port;
    redisContext *c = NULL;
    redisReply *reply = NULL, *asking;
    if (address && colon > ++address && (apr_size_t)(colon - address) < sizeof(host)
        && !ws_parse_count(NULL, colon + 1, 1, 65535, &port)) {
        apr_cpystrn(host, address, (apr_size_t)(colon - address) + 1);
        c = ws_redis_open(r, host, (int)port);
    }
    if (c && !c->err) {
        ws_redis_greet(r, c);
    }
    if (c && !c->err && (asking = ws_redis_ask(r, c, "ASKING"))) {
        freeReplyObject(asking);
        redisAppendCommandArgv(c, j->argc, (const char **)j->argv, j->lens);
        reply = ws_redis_reply_wait(r, c);
    }
    ws_redis_close(c);
    return reply;
}

/* Replace each ASK reply with the reply from the node that the ASK names, or with NULL: this node
 * may have executed the command. */
static void batch_follow(ws_redis *r, const ws_redis_job *j, redisReply **replies, int count)
{
    for (int i = 0; i < count && j; i++, j = j->next) {
        if (replies[i]->type == REDIS_REPLY_ERROR && !strncmp(replies[i]->str, "ASK ", 4)
            && r->options.cluster) {
            redisReply *other = batch_ask_other(r, j, replies[i]->str);
            freeReplyObject(replies[i]);
            replies[i] = other;
        }
    }
}

/* End the jobs of a batch that was sent. Those to send again stay in *jobs, in order.
 * @param replies  the replies to the first `got` jobs, or NULL; freed
 * @param unconfirmed  1: no replica has confirmed the batch, because the connection broke
 * @return 1: some jobs have no reply, or the server cannot process them now, or does not have their
 *         slot */
static int batch_end(ws_redis *r, ws_redis_job **jobs, int sent, redisReply **replies, int got,
                     int unconfirmed)
{
    int later = 0;
    for (int i = 0; i < sent; i++) {
        ws_redis_job *j = *jobs;
        redisReply *reply = i < got ? replies[i] : NULL;
        int lost = !reply || (unconfirmed && j->lasting);
        int refused = !lost && reply_is_temporary(reply);
        int moved = refused && j->shard && !strncmp(reply->str, "MOVED ", 6);
        later |= lost || moved || (refused && j->lasting);
        if (moved || ((lost || refused) && j->repeats)) {
            jobs = &j->next;
        }
        else {
            *jobs = j->next;
            ws_redis_job_end(r, j, lost ? NULL : reply);
        }
        if (reply) {
            freeReplyObject(reply);
        }
    }
    return later;
}

int ws_redis_send_batch(ws_redis *r, redisContext *c, ws_redis_job **jobs)
{
    redisReply *replies[BATCH];
    int confirm, sent = 0, got = 0, rv = 0;
    if (batch_connection_ended(c)) {
        return -1;
    }
    batch_drop_withdrawn(r, jobs);
    confirm = batch_needs_wait(r, *jobs, BATCH);
    for (ws_redis_job *j = *jobs; j && sent < BATCH; j = j->next, sent++) {
        redisAppendCommandArgv(c, j->argc, (const char **)j->argv, j->lens);
    }
    if (confirm) {
        redisAppendCommand(c, "WAIT 1 %d", r->alone ? PROBE : CONFIRM);
    }
    while (got < sent && (replies[got] = ws_redis_reply_wait(r, c))) {
        got++;
    }
    batch_follow(r, *jobs, replies, got);
    if (got < sent) {
        rv = -1;
    }
    if (confirm && (rv < 0 || batch_take_wait(r, c) < 0)) {
        rv = -1;
    }
    if (c->reader->pos < c->reader->len) {
        ws_redis_blame(c, "%s",
                       "more replies than commands"); /* later replies would be mismatched */
        c->err = REDIS_ERR_PROTOCOL;
        rv = -1;
    }
    if (batch_end(r, jobs, sent, replies, got, confirm && rv < 0)) {
        rv = -1;
    }
    return rv;
}
