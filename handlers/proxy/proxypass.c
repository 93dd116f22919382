/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */
/** Implements to=proxypass. Chooses the server and builds the request as mod_proxy would. */

#include "proxypass.h"

#include <string.h>

#include <apr_optional.h>
#include <apr_strings.h>
#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <mod_proxy.h>

APLOG_USE_MODULE(websocket);

/* The dynamic linker resolves these symbols when httpd reads the WebSocketHandler line. They are
 * NULL if mod_proxy has not been loaded before that. */
#pragma weak proxy_module
#pragma weak ap_proxy_pre_request
#pragma weak ap_proxy_post_request
#pragma weak ap_proxy_canon_url
#pragma weak ap_proxy_get_balancer
#pragma weak ap_proxy_location_reverse_map
#pragma weak ap_proxy_cookie_reverse_map
#pragma weak ap_proxy_should_override
#pragma weak proxy_run_fixups

/* mod_proxy exports this for its own modules, but not in all versions. No installed header declares
 * it. */
extern int ap_proxy_canon_url(request_rec *r);

#define PROXYPASS_TIME_MAX (10 * 60 * 1000) /* milliseconds */

const char *proxypass_available(void)
{
    return &proxy_module
               ? NULL
               : "takes the targets of mod_proxy, which is not loaded: put its LoadModule "
                 "above this line";
}

static proxy_server_conf *proxypass_conf(const request_rec *r)
{
    return ap_get_module_config(r->server->module_config, &proxy_module);
}

static int proxypass_is_ws(const char *url)
{
    return !strncasecmp(url, "ws://", 5) || !strncasecmp(url, "wss://", 6);
}

/* Whether a worker forwards WebSockets, because it has `upgrade=ANY` or `upgrade=websocket`, or no
 * upgrade= but a ws:// URL. */
static int proxypass_upgrades(const proxy_worker *worker, const char *url)
{
    const char *upgrade = worker->s->upgrade;
    return *upgrade ? !strcasecmp(upgrade, "websocket") || !strcasecmp(upgrade, "ANY")
                    : proxypass_is_ws(url);
}

static int proxypass_balancer_upgrades(request_rec *r, const char *url)
{
    proxy_balancer *b = ap_proxy_get_balancer(r->pool, proxypass_conf(r), url, 1);
    for (int i = 0; b && i < b->workers->nelts; i++) {
        const proxy_worker *w = APR_ARRAY_IDX(b->workers, i, proxy_worker *);
        if (proxypass_upgrades(w, w->s->name_ex)) {
            return 1;
        }
    }
    return 0;
}

/* For SetHandler "proxy:ws://...", do now what mod_proxy's handler would do later. */
static void proxypass_by_handler(request_rec *r)
{
    char *before = r->filename;
    if (!ap_proxy_canon_url || r->proxyreq || !before || !r->handler
        || strncmp(r->handler, "proxy:", 6)) {
        return;
    }
    r->proxyreq = PROXYREQ_REVERSE;
    r->filename = apr_pstrcat(r->pool, r->handler, before, NULL);
    if (ap_proxy_canon_url(r) != OK) {
        r->filename = before;
        r->proxyreq = PROXYREQ_NONE;
    }
}

int proxypass_claims(ws_request *rq)
{
    request_rec *r = ws_request_rec(rq);
    proxy_worker *worker = NULL;
    proxy_balancer *balancer = NULL;
    char *url;

    proxypass_by_handler(r);
    /* Leave two kinds of requests to mod_proxy. In requests to a forward proxy, the client names
     * the server. If ProxyRemote is configured, a request may have to go through another proxy. */
    if (r->proxyreq != PROXYREQ_REVERSE || !r->filename || strncmp(r->filename, "proxy:", 6)
        || proxypass_conf(r)->proxies->nelts) {
        return 0;
    }
    url = r->filename + 6;
    if (!strncasecmp(url, BALANCER_PREFIX, sizeof(BALANCER_PREFIX) - 1)) {
        return proxypass_balancer_upgrades(r, url);
    }
    return ap_proxy_pre_request(&worker, &balancer, r, proxypass_conf(r), &url) == OK && worker
           && (proxypass_is_ws(url) || !strncasecmp(url, "http", 4))
           && proxypass_upgrades(worker, url);
}

/* ---- The request to the server ---- */

static int proxypass_add_header(void *headers, const char *name, const char *value)
{
    APR_ARRAY_PUSH((apr_array_header_t *)headers, const char *) = name;
    APR_ARRAY_PUSH((apr_array_header_t *)headers, const char *) = value;
    return 1;
}

/* Remove the headers that apply to one connection, and the headers that ws_request_connect()
 * writes. */
static int proxypass_clear(request_rec *r)
{
    static const char *const names[] = {"Keep-Alive",
                                        "Upgrade",
                                        "Connection",
                                        "Trailer",
                                        "TE",
                                        "Transfer-Encoding",
                                        "Content-Length",
                                        "Expect",
                                        "Host",
                                        "Origin",
                                        "Sec-WebSocket-Key",
                                        "Sec-WebSocket-Version",
                                        "Sec-WebSocket-Protocol",
                                        "Sec-WebSocket-Extensions"};
    APR_OPTIONAL_FN_TYPE(ap_proxy_clear_connection) *clear =
        APR_RETRIEVE_OPTIONAL_FN(ap_proxy_clear_connection);
    if (clear && clear(r, r->headers_in) < 0) {
        return HTTP_BAD_REQUEST;
    }
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        apr_table_unset(r->headers_in, names[i]);
    }
    return OK;
}

/* Build the header Via. @return NULL: ProxyVia adds no header */
static const char *proxypass_via(request_rec *r)
{
    const proxy_server_conf *conf = proxypass_conf(r);
    const char *name = ap_get_server_name(r), *port;
    if (conf->viaopt != via_on && conf->viaopt != via_full) {
        return NULL;
    }
    if (name == r->hostname) { /* if UseCanonicalName is Off, the name comes from the request */
        name = r->server->server_hostname;
    }
    port = ap_is_default_port(ap_get_server_port(r), r)
               ? ""
               : apr_psprintf(r->pool, ":%u", ap_get_server_port(r));
    return apr_pstrcat(r->pool, "1.1 ", name, port, conf->viaopt == via_full ? " (" : NULL,
                       ap_get_server_description(), ")", NULL);
}

static void proxypass_set_via(request_rec *r, apr_table_t *headers)
{
    const char *via = proxypass_via(r);
    if (via) {
        apr_table_mergen(headers, "Via", via);
    }
    else if (proxypass_conf(r)->viaopt == via_block) {
        apr_table_unset(headers, "Via");
    }
}

/* Build the headers for the server. This changes r->headers_in, as mod_proxy's hook proxy_fixups
 * does. */
static int proxypass_make_headers(request_rec *r, const char *host)
{
    const proxy_dir_conf *dir = ap_get_module_config(r->per_dir_config, &proxy_module);
    int status = proxypass_clear(r);
    if (status != OK) {
        return status;
    }
    if (dir->add_forwarded_headers) {
        apr_table_mergen(r->headers_in, "X-Forwarded-For", r->useragent_ip);
        if (host) {
            apr_table_mergen(r->headers_in, "X-Forwarded-Host", host);
        }
        apr_table_mergen(r->headers_in, "X-Forwarded-Server", r->server->server_hostname);
    }
    if (dir->preserve_host && host) {
        apr_table_setn(r->headers_in, "Host", host);
    }
    if (r->user && !apr_table_get(r->subprocess_env, "Proxy-Chain-Auth")) {
        apr_table_unset(r->headers_in, "Proxy-Authorization");
    }
    proxypass_set_via(r, r->headers_in);
    proxy_run_fixups(r);
    return OK;
}

static int proxypass_headers(request_rec *r, ws_connect_options *options)
{
    apr_table_t *before = r->headers_in;
    apr_array_header_t *list = apr_array_make(r->pool, 32, sizeof(const char *));
    int status;

    r->headers_in = apr_table_copy(r->pool, before);
    status = proxypass_make_headers(r, apr_table_get(before, "Host"));
    apr_table_do(proxypass_add_header, list, r->headers_in, NULL);
    APR_ARRAY_PUSH(list, const char *) = NULL;
    r->headers_in = before;
    options->headers = (const char *const *)list->elts;
    return status;
}

/* ---- The choice of a server ---- */

static apr_uint32_t proxypass_msec(apr_interval_time_t t)
{
    apr_interval_time_t ms = apr_time_as_msec(t);
    return ms < 1 ? 1 : ms > PROXYPASS_TIME_MAX ? PROXYPASS_TIME_MAX : (apr_uint32_t)ms;
}

static void proxypass_times(const request_rec *r, const proxy_worker *worker,
                            ws_connect_options *options)
{
    const proxy_server_conf *conf = proxypass_conf(r);
    apr_interval_time_t timeout = worker->s->timeout_set ? worker->s->timeout
                                  : conf->timeout_set    ? conf->timeout
                                                         : 0;
    if (timeout) {
        options->handshake_timeout = options->connect_timeout = proxypass_msec(timeout);
    }
    if (worker->s->conn_timeout_set) {
        options->connect_timeout = proxypass_msec(worker->s->conn_timeout);
    }
}

/* Set the name to expect in the server's certificate. With ProxyPreserveHost, it is the Host that
 * the client has sent. */
static void proxypass_set_name(request_rec *r, ws_connect_options *options)
{
    const proxy_dir_conf *dir = ap_get_module_config(r->per_dir_config, &proxy_module);
    if (dir->preserve_host && !options->server_name) {
        options->server_name = r->hostname;
    }
}

int proxypass_choose(ws_request *rq, proxypass_target *target, ws_connect_options *options)
{
    request_rec *r = ws_request_rec(rq);
    char *url = r->filename + 6;
    const char *path;
    int status =
        ap_proxy_pre_request(&target->worker, &target->balancer, r, proxypass_conf(r), &url);

    if (status != OK || !target->worker) {
        return status != OK && status != DECLINED ? status : HTTP_INTERNAL_SERVER_ERROR;
    }
    target->shown = apr_pstrmemdup(r->pool, url, strcspn(url, "?"));
    if (!proxypass_upgrades(target->worker, url)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "websocket: proxy: %s of this balancer has no upgrade=websocket",
                      target->shown);
        return HTTP_BAD_GATEWAY;
    }
    if (!strncasecmp(url, "http", 4)) {
        url = apr_pstrcat(r->pool, "ws", url + 4, NULL);
    }
    path = *target->worker->s->uds_path ? target->worker->s->uds_path
                                        : apr_table_get(r->notes, "uds_path");
    options->url = url;
    options->unix_socket = path;
    if (path) {
        target->shown = apr_pstrcat(r->pool, "unix:", path, "|", target->shown, NULL);
    }
    proxypass_times(r, target->worker, options);
    proxypass_set_name(r, options);
    return proxypass_headers(r, options);
}

int proxypass_failed(ws_request *rq, proxypass_target *target, int timed_out)
{
    proxy_worker *w = target->worker;
    const proxy_balancer *b = target->balancer;

    if (timed_out) {
        apr_table_setn(ws_request_rec(rq)->notes, "proxy_timedout", "1");
    }
    if (!b || w->s->status & PROXY_WORKER_IGNORE_ERRORS) {
        return 0;
    }
    w->s->status |= PROXY_WORKER_IN_ERROR;
    w->s->error_time = apr_time_now();
    return target->attempts++ < (b->s->max_attempts_set ? b->s->max_attempts : 0);
}

void proxypass_answered(ws_request *rq, proxypass_target *target, int status)
{
    request_rec *r = ws_request_rec(rq);
    int before = r->status;
    if (target->worker && target->balancer) {
        r->status = status;
        ap_proxy_post_request(target->worker, target->balancer, r, proxypass_conf(r));
        r->status = before;
    }
}

typedef struct {
    request_rec *r;
    apr_table_t *mapped;
} proxypass_mapping;

static int proxypass_map_header(void *data, const char *name, const char *value)
{
    static const char *const urls[] = {"Location", "Content-Location", "URI", "Destination"};
    proxypass_mapping *m = data;
    proxy_dir_conf *dir = ap_get_module_config(m->r->per_dir_config, &proxy_module);
    if (!strcasecmp(name, "Set-Cookie")) {
        value = ap_proxy_cookie_reverse_map(m->r, dir, value);
    }
    for (unsigned i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
        if (!strcasecmp(name, urls[i])) {
            value = ap_proxy_location_reverse_map(m->r, dir, value);
        }
    }
    apr_table_addn(m->mapped, name, value);
    return 1;
}

apr_table_t *proxypass_answer_headers(ws_request *rq, apr_table_t *headers)
{
    request_rec *r = ws_request_rec(rq);
    proxypass_mapping m = {r, apr_table_make(r->pool, 8)};
    proxypass_set_via(r, headers);
    apr_table_do(proxypass_map_header, &m, headers, NULL);
    return m.mapped;
}

int proxypass_overrides(ws_request *rq, int status)
{
    proxy_dir_conf *dir = ap_get_module_config(ws_request_rec(rq)->per_dir_config, &proxy_module);
    return ap_proxy_should_override && ap_proxy_should_override(dir, status);
}

static apr_status_t proxypass_idle(void *data)
{
    proxy_worker *w = data;
    apr_size_t busy = __atomic_load_n(&w->s->busy, __ATOMIC_RELAXED);
    while (busy
           && !__atomic_compare_exchange_n(&w->s->busy, &busy, busy - 1, 0, __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED)) {
    }
    return APR_SUCCESS;
}

void proxypass_keep_busy(apr_pool_t *pool, proxypass_target *target)
{
    target->worker->s->error_time = 0;
    target->worker->s->retries = 0;
    if (target->balancer) { /* mod_proxy would count the worker as busy only during the request */
        __atomic_add_fetch(&target->worker->s->busy, 1, __ATOMIC_RELAXED);
        apr_pool_cleanup_register(pool, target->worker, proxypass_idle, apr_pool_cleanup_null);
    }
}
