/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Connects to a Redis server, to the master that a sentinel names, or to a node of a cluster.
 *  Tries several addresses in order, starting with the one that worked last. */

#include <stdio.h>
#include <string.h>

#include "redis/private.h"

#define TIMEOUT 5         /* timeout of connects and replies, seconds */
#define BACK_OFF_MIN 50   /* milliseconds */
#define BACK_OFF_MAX 2000 /* milliseconds */

void ws_redis_blame(redisContext *c, const char *format, const char *detail)
{
    c->err = REDIS_ERR_OTHER;
    snprintf(c->errstr, sizeof(c->errstr), format, detail);
}

/* ---- The log ---- */

static void connect_tell(ws_redis *r, const char *where, const char *why, int *told)
{
    char text[600];
    if (!*told) {
        snprintf(text, sizeof(text), "redis: %s: %s; trying again", where, why);
        r->options.log(WS_LOG_WARNING, text);
        *told = 1;
    }
}

static const char *connect_where(const ws_redis *r, const redisContext *c)
{
    return r->options.path    ? r->options.path
           : c && c->tcp.host ? c->tcp.host /* the master that a sentinel named */
                              : r->options.hosts[0].name;
}

void ws_redis_tell(ws_redis *r, const redisContext *c, int *told)
{
    if (c->err == REDIS_ERR_PROTOCOL || c->err == REDIS_ERR_OOM) {
        connect_tell(r, connect_where(r, c), c->errstr, told);
    }
}

/* ---- Steps ---- */

redisContext *ws_redis_open(ws_redis *r, const char *host, int port)
{
    const ws_redis_options *o = &r->options;
    struct timeval timeout = {TIMEOUT, 0};
    redisContext *c = r->options.path ? redisConnectUnixWithTimeout(r->options.path, timeout)
                                      : redisConnectWithTimeout(host, port, timeout);
    if (c && !c->err) {
        redisSetTimeout(c, timeout);
        ws_redis_reply_bound(c->reader);
        if (o->tls_ctx) {
            ws_redis_tls_connect(o->tls_ctx, c, o->tls.name ? o->tls.name : host);
        }
    }
    return c;
}

static int connect_is_error(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ERROR;
}

/* Log in. @return a reply other than OK, to be freed; NULL: success, or the connection broke */
static redisReply *connect_log_in(redisContext *c, const char *user, const char *password)
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

/* Unless the reply is OK, set it as the connection's error. Frees the reply. */
static void connect_refused(redisContext *c, redisReply *reply)
{
    if (reply) {
        ws_redis_blame(c, "%.100s",
                       connect_is_error(reply) ? reply->str : "this is not a Redis server");
        freeReplyObject(reply);
    }
}

/* ---- Sentinels ---- */

static redisReply *connect_ask_for_master(const ws_redis *r, redisContext *c)
{
    return ws_redis_ask(c, "SENTINEL get-master-addr-by-name %s", r->options.master);
}

/* Ask a sentinel. If it requires a password, send sentinel_password, or password if that is not
 * set. @return its reply */
static redisReply *connect_ask_sentinel(const ws_redis *r, redisContext *c)
{
    const ws_redis_options *o = &r->options;
    redisReply *reply = connect_log_in(c, o->sentinel_user, o->sentinel_password);
    if (!reply && !c->err) {
        reply = connect_ask_for_master(r, c);
    }
    if (connect_is_error(reply) && !strncmp(reply->str, "NOAUTH", 6) && !o->sentinel_password
        && o->password) {
        freeReplyObject(reply);
        reply = connect_log_in(c, o->user, o->password);
        reply = reply || c->err ? reply : connect_ask_for_master(r, c);
    }
    return reply;
}

/* @return a connection to the master; or the sentinel's connection, with an error */
static redisContext *connect_to_master(ws_redis *r, redisContext *c)
{
    redisReply *reply = connect_ask_sentinel(r, c);
    redisContext *master = c;
    apr_uint64_t port;
    if (ws_redis_is_array(reply, 2) && ws_redis_is_text(reply->element[0])
        && ws_redis_number(reply->element[1], &port) && port >= 1 && port <= 65535) {
        master = ws_redis_open(r, reply->element[0]->str, (int)port);
        ws_redis_close(c);
    }
    else if (connect_is_error(reply)) {
        ws_redis_blame(c, "the sentinel answered: %.100s", reply->str);
    }
    else if (reply && (reply->type == REDIS_REPLY_NIL || ws_redis_is_array(reply, 0))) {
        ws_redis_blame(c, "the sentinel has no master named %.60s", r->options.master);
    }
    else if (reply) {
        ws_redis_blame(c, "%s", "this is not a sentinel");
    }
    if (reply) {
        freeReplyObject(reply);
    }
    return master;
}

/* A sentinel may name a server that is not yet a master, or is one no longer. In this case set an
 * error, so that no command is sent to it. */
static void connect_check_master(redisContext *c)
{
    redisReply *reply = ws_redis_ask(c, "ROLE");
    int is = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements
             && ws_redis_is(reply->element[0], "master");
    if (reply && !is) {
        ws_redis_blame(c, "%.100s",
                       connect_is_error(reply) ? reply->str
                                               : "this server is not a "
                                                 "master");
    }
    if (reply) {
        freeReplyObject(reply);
    }
}

/* ---- Connecting ---- */

void ws_redis_greet(ws_redis *r, redisContext *c)
{
    const ws_redis_options *o = &r->options;
    redisReply *reply;
    connect_refused(c, connect_log_in(c, o->user, o->password));
    if (!c->err && !o->cluster) {
        reply = ws_redis_ask(c, "SELECT %d", o->db);
        if (ws_redis_is(reply, "OK")) {
            freeReplyObject(reply);
        }
        else {
            connect_refused(c, reply);
        }
    }
    if (!c->err && o->master) {
        connect_check_master(c);
    }
}

static redisContext *connect_by(ws_redis *r, const ws_redis_host *h)
{
    redisContext *c = ws_redis_open(r, h->name, h->port);
    if (c && !c->err && r->options.master) {
        c = connect_to_master(r, c);
    }
    if (c && !c->err) {
        ws_redis_greet(r, c);
    }
    return c;
}

redisContext *ws_redis_connect(ws_redis *r, int *told)
{
    unsigned count = r->options.host_count ? r->options.host_count : 1;
    unsigned first = __atomic_load_n(&r->host, __ATOMIC_RELAXED);
    redisContext *c = NULL;
    for (unsigned i = 0; i < count; i++) {
        ws_redis_close(c);
        c = connect_by(r, &r->options.hosts[(first + i) % count]);
        if (c && !c->err) {
            __atomic_store_n(&r->host, (first + i) % count, __ATOMIC_RELAXED);
            break;
        }
    }
    if (!c || c->err) {
        connect_tell(r, connect_where(r, c), c ? c->errstr : "out of memory", told);
        ws_redis_close(c);
        return NULL;
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
