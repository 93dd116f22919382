/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A bridge to another WebSocket server: messages pass through as they come, piece by piece, both ways.
 *
 *     WebSocketHandler ws_proxy.so to=wss://host:port/path[,second...] [KEY=VALUE...]
 *
 * docs/bridges.md tells all of it. The server is connected to before the client is answered, on the
 * thread of httpd that handles the request, as mod_proxy does: only so can the answer be a 502, and can
 * the subprotocol be the one that the server has chosen. From then on both connections live on one event
 * loop, so that callbacks of the two never run at the same time.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <httpd.h>
#include <http_log.h>

#include "config.h"

/* While more waits for one side, the other is not read, bytes. */
#define MUCH (64 * 1024)

/* What a thread of httpd waits for. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t told;
    int over;
    int status;       /* HTTP status of an answer that refused, or 0 */
    char reason[256]; /* why there is no connection */
    char *protocol;   /* malloc'ed */
} outcome;

/* Two connections; malloc'ed, since each may be gone before the other. */
typedef struct {
    int refs; /* atomic: the client's, the server's */
    outcome *outcome;
    ws_id id;                 /* the server's */
    ws_conn *client, *server; /* the loop's; NULL: not there yet, or gone */
    int met;                  /* the loop's: both have been there */
} pair;

static void unref(pair *p)
{
    if (__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        free(p);
    }
}

static ws_conn *other_of(const pair *p, const ws_conn *c)
{
    return c == p->client ? p->server : p->client;
}

/* ---- Messages ---- */

static void on_frame(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    ws_conn *other = other_of(ws_data(c), c);
    if (!other) {
        return;
    }
    if (ws_send_part(other, type, data, len, where) == WS_UNSUPPORTED) {
        ws_close(other, WS_CLOSE_UNSUPPORTED, "the client's version has no binary messages");
    }
    else if (ws_queued(other) > MUCH) {
        ws_pause(c);
    }
}

static void on_drain(ws_conn *c)
{
    ws_conn *other = other_of(ws_data(c), c);
    if (other) {
        ws_resume(other);
    }
}

/* What one side has ended with ends the other. */
static void pass_close(ws_conn *other, int code, const char *reason, apr_size_t len, int lost)
{
    char text[124];
    if (!other) {
        return;
    }
    if (code == WS_CLOSE_ABNORMAL) {
        ws_close(other, lost,
                 lost == WS_CLOSE_GOING_AWAY ? "the client is gone" : "the server is gone");
    }
    else {
        memcpy(text, reason, len);
        text[len] = '\0';
        ws_close(other, code, text);
    }
}

/* ---- The server's side ---- */

static void tell(pair *p, const char *reason, int status, const char *protocol)
{
    outcome *o = p->outcome;
    pthread_mutex_lock(&o->lock);
    p->outcome = NULL;
    o->over = 1;
    o->status = status;
    apr_cpystrn(o->reason, reason, sizeof(o->reason));
    o->protocol = protocol ? strdup(protocol) : NULL;
    pthread_cond_signal(&o->told);
    pthread_mutex_unlock(&o->lock);
}

static void server_open(ws_conn *c)
{
    pair *p = ws_data(c);
    p->server = c;
    p->id = ws_conn_id(c);
    ws_pause(c); /* until the client is there */
    tell(p, "", 0, ws_protocol(c));
}

static void server_failed(void *data, const char *reason, int status)
{
    tell(data, reason, status, NULL);
}

static void server_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    pair *p = ws_data(c);
    p->server = NULL;
    pass_close(p->client, code, reason, len, WS_CLOSE_BAD_GATEWAY);
    unref(p);
}

static const ws_handler server_side = {.flags = WS_LOSSLESS,
                                       .on_open = server_open,
                                       .on_frame = on_frame,
                                       .on_drain = on_drain,
                                       .on_close = server_close};

/* ---- The client's side ---- */

static void on_open(ws_conn *c)
{
    pair *p = ws_data(c);
    p->client = c;
    p->met = 1;
    if (p->server) {
        ws_resume(p->server);
    }
    else {
        ws_close(c, WS_CLOSE_BAD_GATEWAY, "the server is gone");
    }
}

static void on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    pair *p = ws_data(c);
    p->client = NULL;
    pass_close(p->server, code, reason, len, WS_CLOSE_GOING_AWAY);
}

/* The client's connection has ended, or has not come to be. */
static apr_status_t client_over(void *data)
{
    pair *p = data;
    if (!p->met) {
        ws_close_id(p->id, WS_CLOSE_GOING_AWAY, "the client is gone");
    }
    unref(p);
    return APR_SUCCESS;
}

/* ---- The handshake ---- */

/* Connect to one server, and wait. @return what came of it, in *o */
static pair *connect_to(ws_request *rq, const proxy_config *config, const proxy_server *server,
                        const char *const *headers, outcome *o)
{
    ws_connect_options options = config->options;
    pair *p = calloc(1, sizeof(*p));

    o->over = 0;
    o->status = 0;
    apr_cpystrn(o->reason, "out of memory", sizeof(o->reason));
    if (!p) {
        return NULL;
    }
    p->refs = 2;
    p->outcome = o;
    options.url = proxy_url(ws_request_rec(rq), server);
    options.handler = &server_side;
    options.data = p;
    options.on_failure = server_failed;
    options.protocols = ws_request_protocols(rq);
    options.origin = config->origin ? config->origin : ws_request_header(rq, "Origin");
    options.headers = headers;
    if (ws_request_connect(rq, &options) == 0) {
        apr_cpystrn(o->reason, "the server stops", sizeof(o->reason));
        free(p);
        return NULL;
    }
    pthread_mutex_lock(&o->lock);
    while (!o->over) { /* each stage has its timeout */
        pthread_cond_wait(&o->told, &o->lock);
    }
    pthread_mutex_unlock(&o->lock);
    if (*o->reason) {
        free(p);
        return NULL;
    }
    return p;
}

static int failed_lately(const proxy_config *config, const proxy_server *s)
{
    apr_time_t failed = __atomic_load_n(&s->failed, __ATOMIC_RELAXED);
    return failed && apr_time_now() - failed < apr_time_from_msec(config->retry);
}

/* The servers one after another, those that have failed lately at the end. */
static pair *connect_to_any(ws_request *rq, const proxy_config *config, outcome *o)
{
    request_rec *r = ws_request_rec(rq);
    const char *const *headers = proxy_headers(rq, config);
    proxy_server *servers = (proxy_server *)config->servers->elts;
    int n = config->servers->nelts;
    char *tried = apr_pcalloc(r->pool, (apr_size_t)n);

    for (int i = 0; i < 2 * n; i++) {
        proxy_server *s = &servers[i % n];
        pair *p;
        if (tried[i % n] || (i < n && failed_lately(config, s))) {
            continue;
        }
        tried[i % n] = 1;
        if ((p = connect_to(rq, config, s, headers, o))) {
            __atomic_store_n(&s->failed, 0, __ATOMIC_RELAXED);
            ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "websocket: proxy: connected to %s",
                          s->shown);
            return p;
        }
        if (o->status >= 400 && o->status < 500) { /* an answer: another server's is the same */
            ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "websocket: proxy: %s: %s", s->shown,
                          o->reason);
            return NULL;
        }
        __atomic_store_n(&s->failed, apr_time_now(), __ATOMIC_RELAXED);
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "websocket: proxy: no connection to %s: %s",
                      s->shown, o->reason);
    }
    return NULL;
}

static int on_request(ws_request *rq, void *data)
{
    apr_pool_t *pool = ws_request_pool(rq);
    outcome o = {.lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER};
    pair *p;

    if (!pool) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (!(p = connect_to_any(rq, data, &o))) {
        return o.status >= 400 && o.status < 500  ? o.status
               : strstr(o.reason, "no answer in") ? HTTP_GATEWAY_TIME_OUT
                                                  : HTTP_BAD_GATEWAY;
    }
    ws_request_choose_protocol(rq, o.protocol); /* the engine has seen that it was offered */
    free(o.protocol);
    apr_pool_cleanup_register(pool, p, client_over, apr_pool_cleanup_null);
    ws_request_set_data(rq, p);
    return 0;
}

WS_HANDLER(proxy) = {.flags = WS_LOSSLESS,
                     .configure = proxy_configure,
                     .on_request = on_request,
                     .on_open = on_open,
                     .on_frame = on_frame,
                     .on_drain = on_drain,
                     .on_close = on_close};
