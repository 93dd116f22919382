/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Connections to Redis, and the thread that sends. */

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "redis/private.h"

#define TIMEOUT 5         /* of connecting and of answers, seconds */
#define BACK_OFF_MIN 50   /* milliseconds */
#define BACK_OFF_MAX 2000 /* milliseconds */
#define BATCH 256         /* commands that are on their way at a time */
#define CONFIRM 1000 /* how long a replica may take to have what its master has, milliseconds */
#define ALONE 10     /* seconds, after it has not: then it is asked again, */
#define PROBE 50     /* for so long, milliseconds */

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

int ws_redis_give(ws_redis *r, ws_redis_job *j)
{
    int full;
    apr_thread_mutex_lock(r->lock);
    full = r->stop || (r->waiting && r->waiting + j->cost > r->options.queue);
    if (!full) {
        r->waiting += j->cost;
        *r->last = j;
        r->last = &j->next;
        apr_thread_cond_signal(r->work);
    }
    apr_thread_mutex_unlock(r->lock);
    return full ? -1 : 0;
}

/* ---- Connecting ---- */

static void tell(ws_redis *r, const redisContext *c, const char *why, int *told)
{
    char text[400];
    if (!*told) {
        snprintf(text, sizeof(text), "redis: %s: %s; trying again",
                 r->options.path    ? r->options.path
                 : c && c->tcp.host ? c->tcp.host /* the master that a sentinel has named */
                                    : r->options.host,
                 why);
        r->options.log(WS_LOG_WARNING, text);
        *told = 1;
    }
}

void ws_redis_tell(ws_redis *r, const redisContext *c, int *told)
{
    if (c->err == REDIS_ERR_PROTOCOL || c->err == REDIS_ERR_OOM) {
        tell(r, c, c->errstr, told);
    }
}

static redisContext *failed(ws_redis *r, redisContext *c, redisReply *reply, int *told)
{
    tell(r, c,
         reply && reply->type == REDIS_REPLY_ERROR ? reply->str
         : c && c->err                             ? c->errstr
         : reply                                   ? "this does not answer as Redis does"
                                                   : "out of memory",
         told);
    if (reply) {
        freeReplyObject(reply);
    }
    if (c) {
        redisFree(c);
    }
    return NULL;
}

static redisContext *open_socket(const ws_redis *r, const char *host, int port)
{
    struct timeval timeout = {TIMEOUT, 0};
    redisContext *c = r->options.path ? redisConnectUnixWithTimeout(r->options.path, timeout)
                                      : redisConnectWithTimeout(host, port, timeout);
    if (c && !c->err) {
        redisSetTimeout(c, timeout);
        ws_redis_reply_bound(c->reader);
    }
    return c;
}

/* Give the connection an error. */
static void blame(redisContext *c, const char *format, const char *detail)
{
    c->err = REDIS_ERR_OTHER;
    snprintf(c->errstr, sizeof(c->errstr), format, detail);
}

static int is_error(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ERROR;
}

/* Log in. @return the answer, which is not OK, to be freed; NULL: it is, or the connection has broken */
static redisReply *log_in(redisContext *c, const char *user, const char *password)
{
    redisReply *reply = !password ? NULL
                        : user    ? ws_redis_ask(c, "AUTH %s %s", user, password)
                                  : ws_redis_ask(c, "AUTH %s", password);
    if (ws_redis_is(reply, "OK")) {
        freeReplyObject(reply);
        reply = NULL;
    }
    return reply;
}

static redisReply *ask_for_master(const ws_redis *r, redisContext *c)
{
    return ws_redis_ask(c, "SENTINEL get-master-addr-by-name %s", r->options.master);
}

/* A sentinel that wants a password is given its own, or else the servers'. @return its answer */
static redisReply *log_in_and_ask(const ws_redis *r, redisContext *c)
{
    const ws_redis_options *o = &r->options;
    redisReply *reply = log_in(c, o->sentinel_user, o->sentinel_password);
    if (!reply && !c->err) {
        reply = ask_for_master(r, c);
    }
    if (is_error(reply) && !strncmp(reply->str, "NOAUTH", 6) && !o->sentinel_password
        && o->password) {
        freeReplyObject(reply);
        reply = log_in(c, o->user, o->password);
        reply = reply || c->err ? reply : ask_for_master(r, c);
    }
    return reply;
}

/* @return the master's connection, or that of the sentinel with an error in it */
static redisContext *ask_sentinel(const ws_redis *r, redisContext *c)
{
    redisReply *reply = log_in_and_ask(r, c);
    redisContext *master = c;
    apr_uint64_t port;
    if (ws_redis_is_array(reply, 2) && ws_redis_is_text(reply->element[0])
        && ws_redis_number(reply->element[1], &port) && port >= 1 && port <= 65535) {
        master = open_socket(r, reply->element[0]->str, (int)port);
        redisFree(c);
    }
    else if (is_error(reply)) {
        blame(c, "the sentinel says: %.100s", reply->str);
    }
    else if (reply && (reply->type == REDIS_REPLY_NIL || ws_redis_is_array(reply, 0))) {
        blame(c, "the sentinel does not know a master of the name %.60s", r->options.master);
    }
    else if (reply) {
        blame(c, "%s", "this does not answer as a sentinel does");
    }
    if (reply) {
        freeReplyObject(reply);
    }
    return master;
}

/* A sentinel may name a master that is none yet, or none any more: nothing is sent there. @return 1; or
 * 0, with an error in the connection */
static int is_master(redisContext *c)
{
    redisReply *reply = ws_redis_ask(c, "ROLE");
    int is = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements
             && ws_redis_is(reply->element[0], "master");
    if (reply && !is) {
        blame(c, "%.100s", is_error(reply) ? reply->str : "this is no master");
    }
    if (reply) {
        freeReplyObject(reply);
    }
    return is;
}

redisContext *ws_redis_connect(ws_redis *r, int *told)
{
    const ws_redis_options *o = &r->options;
    redisContext *c = open_socket(r, o->host, o->port);
    redisReply *reply;

    if (c && !c->err && o->master) {
        c = ask_sentinel(r, c);
    }
    if (!c || c->err) {
        return failed(r, c, NULL, told);
    }
    if ((reply = log_in(c, o->user, o->password)) || c->err) {
        return failed(r, c, reply, told);
    }
    if (!ws_redis_is(reply = ws_redis_ask(c, "SELECT %d", o->db), "OK")) {
        return failed(r, c, reply, told);
    }
    freeReplyObject(reply);
    if (o->master && !is_master(c)) {
        return failed(r, c, NULL, told);
    }
    if (*told) {
        r->options.log(WS_LOG_WARNING, "redis: connected again");
        *told = 0;
    }
    return c;
}

void ws_redis_back_off(ws_redis *r, unsigned *attempts)
{
    unsigned ms = BACK_OFF_MIN << (*attempts > 6 ? 6 : *attempts);
    ms = ms > BACK_OFF_MAX ? BACK_OFF_MAX : ms;
    ++*attempts;
    for (unsigned slept = 0; slept < ms && !__atomic_load_n(&r->stop, __ATOMIC_RELAXED);
         slept += BACK_OFF_MIN) {
        apr_sleep(BACK_OFF_MIN * 1000);
    }
}

/* ---- Sending ---- */

static void end_job(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    j->done(r, j, reply);
    ws_redis_job_free(j);
}

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
        ws_redis_complain(r, "the answer is none to the question: is this a Redis, 5 or later?");
    }
}

/* A server that is starting, or is no master or no longer one, answers, but not what was asked for. */
static int is_for_later(const redisReply *reply)
{
    static const char *const why[] = {"LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS"};
    int later = 0;
    for (size_t i = 0; reply->type == REDIS_REPLY_ERROR && i < sizeof(why) / sizeof(*why); i++) {
        later |=
            strstr(reply->str, why[i]) != NULL; /* before Redis 7 a script's error has it inside */
    }
    return later;
}

/*
 * Whether a replica is to have what this batch has written or read before anybody is told of it. What a master
 * takes with it would otherwise have been seen already, and its positions would be given a second time.
 */
static int is_confirmed(const ws_redis *r, const ws_redis_job *j, int count)
{
    int lasting = 0;
    for (; j && count; j = j->next, count--) {
        lasting |= j->lasting;
    }
    return lasting && r->options.master && apr_time_now() >= r->alone;
}

/* @return 0, or -1 when the connection has broken */
static int take_confirmation(ws_redis *r, redisContext *c)
{
    redisReply *reply = ws_redis_reply_wait(c);
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

/* Nothing is waited for: what comes now is the end. Seen before anything is sent, since of what was sent nobody
 * would know what became. */
static int has_ended(const redisContext *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* What has been withdrawn while it waited is not sent; what is sent now cannot be any more. */
static void drop_withdrawn(ws_redis *r, ws_redis_job **jobs)
{
    for (int n = 0; *jobs && n < BATCH;) {
        ws_redis_job *j = *jobs;
        if (!j->m || ws_message_take(j->m)) {
            jobs = &j->next;
            n++;
        }
        else {
            *jobs = j->next;
            end_job(r, j, NULL);
        }
    }
}

/* @return 0, or -1 when the connection has broken: jobs that have no answer are left in *jobs */
static int send_batch(ws_redis *r, redisContext *c, ws_redis_job **jobs)
{
    redisReply *replies[BATCH];
    int confirm, sent = 0, got = 0, rv = 0;
    if (has_ended(c)) {
        return -1;
    }
    drop_withdrawn(r, jobs);
    confirm = is_confirmed(r, *jobs, BATCH);
    for (ws_redis_job *j = *jobs; j && sent < BATCH; j = j->next, sent++) {
        redisAppendCommandArgv(c, j->argc, (const char **)j->argv, j->lens);
    }
    if (confirm) {
        redisAppendCommand(c, "WAIT 1 %d", r->alone ? PROBE : CONFIRM);
    }
    while (got < sent && (replies[got] = ws_redis_reply_wait(c))) {
        got++;
    }
    if (got < sent) {
        rv = -1;
    }
    if (confirm && (rv < 0 || take_confirmation(r, c) < 0)) {
        rv = -1;
    }
    if (c->reader->pos < c->reader->len) {
        blame(c, "%s", "more answers than questions"); /* so nothing is known to belong together */
        c->err = REDIS_ERR_PROTOCOL;
        rv = -1;
    }
    for (int i = 0; i < got; i++) {
        ws_redis_job *j = *jobs;
        if (j->lasting && ((confirm && rv < 0) || is_for_later(replies[i]))) {
            rv = -1;
            jobs = &j->next; /* and again, over the next connection, in order */
        }
        else {
            *jobs = j->next;
            end_job(r, j, replies[i]);
        }
        freeReplyObject(replies[i]);
    }
    return rv;
}

/* There will be no answer: to what is not to outlive its connection, or to all of them. */
static void give_up(ws_redis *r, ws_redis_job **jobs, int all)
{
    while (*jobs) {
        ws_redis_job *j = *jobs;
        if (j->lasting && !all) {
            jobs = &j->next;
        }
        else {
            *jobs = j->next;
            end_job(r, j, NULL);
        }
    }
}

void *APR_THREAD_FUNC ws_redis_send_all(apr_thread_t *self, void *arg)
{
    ws_redis *r = arg;
    redisContext *c = NULL;
    ws_redis_job *jobs = NULL;
    unsigned attempts = 0;
    int told = 0, stop = 0;
    (void)self;
    while (!stop || jobs) {
        ws_redis_job **end = &jobs;
        apr_thread_mutex_lock(r->lock);
        while (!jobs && !r->first && !r->stop) {
            apr_thread_cond_wait(r->work, r->lock);
        }
        while (*end) {
            end = &(*end)->next;
        }
        *end = r->first;
        r->first = NULL;
        r->last = &r->first;
        if (!attempts) {
            r->waiting = 0; /* what is on its way, while there is a way, does not count */
        }
        stop = r->stop;
        apr_thread_mutex_unlock(r->lock);
        if (jobs && !c && !(c = ws_redis_connect(r, &told))) {
            give_up(r, &jobs, stop);
            if (!stop) {
                ws_redis_back_off(r, &attempts);
            }
            continue;
        }
        while (jobs && c) {
            if (send_batch(r, c, &jobs) < 0) {
                ws_redis_tell(r, c, &told);
                redisFree(c);
                c = NULL;
                ws_redis_back_off(r, &attempts);
            }
            else {
                attempts = 0;
            }
        }
    }
    if (c) {
        redisFree(c);
    }
    return NULL;
}
