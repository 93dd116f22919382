/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A bridge to another WebSocket server: messages pass through as they come, piece by piece, both ways.
 *
 *     WebSocketHandler ws_proxy.so to=wss://host:port/path[,second...] [KEY=VALUE...]
 *     WebSocketHandler ws_proxy.so to=proxypass [KEY=VALUE...]
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
#include "proxypass.h"

/* While more waits for one side, the other is not read, bytes. */
#define MUCH (64 * 1024)

/* What a thread of httpd waits for. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t told;
    int over;
    int status;           /* HTTP status of an answer that refused, or 0 */
    char reason[256];     /* why there is no connection */
    char *protocol;       /* malloc'ed */
    apr_table_t *headers; /* NULL, or those of the answer, for the client */
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

/* Those that belong to one connection, to a body, or that httpd writes itself. */
static int stays_here(const char *name)
{
    static const char *const names[] = {"Connection", "Upgrade",           "Keep-Alive",   "TE",
                                        "Trailer",    "Transfer-Encoding", "Date",         "Server",
                                        "ETag",       "Last-Modified",     "Accept-Ranges"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (!strcasecmp(name, names[i])) {
            return 1;
        }
    }
    return !strncasecmp(name, "Sec-WebSocket-", 14) || !strncasecmp(name, "Content-", 8)
           || !strncasecmp(name, "Proxy-", 6);
}

/* On the loop; the thread of the request waits meanwhile, so that its pool is ours. */
static void server_answers(void *data, const ws_response *response)
{
    outcome *o = ((pair *)data)->outcome;
    if (response->status != 101 && response->status < 300) {
        return;
    }
    for (const char *const *h = response->headers; *h; h += 2) {
        if (!stays_here(h[0])) {
            apr_table_add(o->headers, h[0], h[1]);
        }
    }
}

static int pass_header(void *rq, const char *name, const char *value)
{
    ws_request_add_header(rq, name, value);
    return 1;
}

/* Connect to one server, and wait. @return what came of it, in *o */
static pair *connect_to(ws_request *rq, const proxy_config *config, ws_connect_options options,
                        outcome *o)
{
    pair *p = calloc(1, sizeof(*p));

    o->over = 0;
    o->status = 0;
    apr_cpystrn(o->reason, "out of memory", sizeof(o->reason));
    if (!p) {
        return NULL;
    }
    p->refs = 2;
    p->outcome = o;
    options.handler = &server_side;
    options.data = p;
    options.on_failure = server_failed;
    options.protocols = ws_request_protocols(rq);
    options.origin = config->origin ? config->origin : ws_request_header(rq, "Origin");
    options.on_response = o->headers ? server_answers : NULL;
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
    ws_connect_options options = config->options;
    proxy_server *servers = (proxy_server *)config->servers->elts;
    int n = config->servers->nelts;
    char *tried = apr_pcalloc(r->pool, (apr_size_t)n);

    options.headers = proxy_headers(rq, config);
    for (int i = 0; i < 2 * n; i++) {
        proxy_server *s = &servers[i % n];
        pair *p;
        if (tried[i % n] || (i < n && failed_lately(config, s))) {
            continue;
        }
        tried[i % n] = 1;
        if (!(options.url = proxy_url(rq, s))) {
            return NULL;
        }
        options.unix_socket = s->socket;
        if ((p = connect_to(rq, config, options, o))) {
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

static int timed_out(const outcome *o)
{
    return strstr(o->reason, "no answer in") != NULL;
}

/* The server that mod_proxy knows. @return its status where that refuses, or OK */
static int connect_to_worker(ws_request *rq, const proxy_config *config, outcome *o, pair **made)
{
    request_rec *r = ws_request_rec(rq);
    ws_connect_options options = config->options;
    proxypass_target target = {0};
    int status, again;

    do {
        o->headers = apr_table_make(r->pool, 8);
        if ((status = proxypass_choose(rq, &target, &options)) != OK) {
            break;
        }
        if ((*made = connect_to(rq, config, options, o))) {
            ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "websocket: proxy: connected to %s",
                          target.shown);
            proxypass_keep_busy(ws_request_pool(rq), &target);
            break;
        }
        status = o->status >= 300 ? o->status
                 : timed_out(o)   ? HTTP_GATEWAY_TIME_OUT
                                  : HTTP_BAD_GATEWAY;
        ap_log_rerror(APLOG_MARK, o->status >= 300 ? APLOG_INFO : APLOG_WARNING, 0, r,
                      "websocket: proxy: no connection to %s: %s", target.shown, o->reason);
        again = !o->status && proxypass_failed(rq, &target, timed_out(o));
    } while (again);
    proxypass_answered(rq, &target, *made ? HTTP_SWITCHING_PROTOCOLS : status);
    apr_table_do(pass_header, rq, o->headers, NULL);
    return status;
}

static int on_claim(ws_request *rq, void *data)
{
    return !((const proxy_config *)data)->proxypass || proxypass_claims(rq);
}

static int on_request(ws_request *rq, void *data)
{
    const proxy_config *config = data;
    apr_pool_t *pool = ws_request_pool(rq);
    outcome o = {.lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER};
    pair *p = NULL;
    int status;

    if (!pool) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (config->proxypass) {
        if ((status = connect_to_worker(rq, config, &o, &p)) != OK) {
            return status;
        }
    }
    else if (!(p = connect_to_any(rq, config, &o))) {
        return o.status >= 400 && o.status < 500 ? o.status
               : timed_out(&o)                   ? HTTP_GATEWAY_TIME_OUT
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
                     .on_claim = on_claim,
                     .on_request = on_request,
                     .on_open = on_open,
                     .on_frame = on_frame,
                     .on_drain = on_drain,
                     .on_close = on_close};
