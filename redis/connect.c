/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Connects to a Redis server, to the master that a sentinel names, or to a node of a cluster.
 *  Tries several addresses in order, starting with the one that worked last. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "redis/private.h"

#define BACK_OFF_MIN 50   /* milliseconds */
#define BACK_OFF_MAX 2000 /* milliseconds */

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

/* Finish the connect that hiredis has begun. */
static void connect_finish(ws_redis *r, redisContext *c)
{
    int error = 0, one = 1;
    socklen_t len = sizeof(error);
    if (ws_redis_wait(r, c, POLLOUT) < 0) {
        return;
    }
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
        error = errno;
    }
    if (error) {
        ws_redis_blame(c, "%s", strerror(error));
    }
    else if (!r->options.path) {
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
}

static void connect_tls(ws_redis *r, redisContext *c, const char *host)
{
    const ws_redis_options *o = &r->options;
    int wants = ws_redis_tls_begin(o->tls_ctx, c, o->tls.name ? o->tls.name : host);
    while (wants > 0 && ws_redis_wait(r, c, (short)wants) == 0) {
        wants = ws_redis_tls_handshake(c);
    }
}

redisContext *ws_redis_open(ws_redis *r, const char *host, int port)
{
    const ws_redis_options *o = &r->options;
    redisContext *c = r->options.path ? redisConnectUnixNonBlock(r->options.path)
                                      : redisConnectNonBlock(host, port);
    if (c && !c->err) {
        connect_finish(r, c);
    }
    if (c && !c->err) {
        ws_redis_reply_bound(c->reader);
        if (o->tls_ctx) {
            connect_tls(r, c, host);
        }
    }
    return c;
}

static int connect_is_error(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ERROR;
}

/* Log in. @return a reply other than OK, which the caller frees; NULL: success, or the connection
 * broke */
static redisReply *connect_log_in(const ws_redis *r, redisContext *c, const char *user,
                                  const char *password)
{
    redisReply *reply = !password ? NULL
                        : user    ? ws_redis_ask(r, c, "AUTH %s %s", user, password)
                                  : ws_redis_ask(r, c, "AUTH %s", password);
    if (ws_redis_is(reply, "OK")) {
        freeReplyObject(reply);
        reply = NULL;
    }
    return reply;
}

/* Handle the reply to a command that must be answered with OK: set any other reply as the
 * connection's error. Frees the reply. */
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
    return ws_redis_ask(r, c, "SENTINEL get-master-addr-by-name %s", r->options.master);
}

/* Ask a sentinel. If it requires a password, send sentinel_password, or password if that is not
 * set. @return its reply */
static redisReply *connect_ask_sentinel(const ws_redis *r, redisContext *c)
{
    const ws_redis_options *o = &r->options;
    redisReply *reply = connect_log_in(r, c, o->sentinel_user, o->sentinel_password);
    if (!reply && !c->err) {
        reply = connect_ask_for_master(r, c);
    }
    if (connect_is_error(reply) && !strncmp(reply->str, "NOAUTH", 6) && !o->sentinel_password
        && o->password) {
        freeReplyObject(reply);
        reply = connect_log_in(r, c, o->user, o->password);
        reply = reply || c->err ? reply : connect_ask_for_master(r, c);
    }
    return reply;
}

/* Ask a sentinel for the master, and connect to it. @return the connection to the master; or the
 * sentinel's connection, with an error */
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

/* Check that the server is a master. A sentinel may name a server that is not yet a master, or no
 * longer one. In this case set an error, so that no command is sent to it. */
static void connect_check_master(const ws_redis *r, redisContext *c)
{
    redisReply *reply = ws_redis_ask(r, c, "ROLE");
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
    connect_refused(c, connect_log_in(r, c, o->user, o->password));
    if (!c->err && !o->cluster) {
        reply = ws_redis_ask(r, c, "SELECT %d", o->db);
        if (ws_redis_is(reply, "OK")) {
            freeReplyObject(reply);
        }
        else {
            connect_refused(c, reply);
        }
    }
    if (!c->err && o->master) {
        connect_check_master(r, c);
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
        if (!__atomic_load_n(&r->stopped, __ATOMIC_RELAXED)) {
            connect_tell(r, connect_where(r, c), c ? c->errstr : "out of memory", told);
        }
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
    struct pollfd p = {.fd = r->ended, .events = POLLIN};
    unsigned ms = BACK_OFF_MIN << (*attempts > 6 ? 6 : *attempts);
    ms = ms > BACK_OFF_MAX ? BACK_OFF_MAX : ms;
    ++*attempts;
    poll(&p, 1, (int)ms);
}
