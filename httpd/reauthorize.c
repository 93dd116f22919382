/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Saves handshakes, and later runs httpd's access control again for a saved handshake. If a check
 * fails with a 5xx status, the connection is kept, because a failing backend does not mean that
 * access was revoked.
 */

#include "httpd/reauthorize.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <http_config.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "event/thread_pool.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/sockjs_config.h"

APLOG_USE_MODULE(websocket);

/* Maximum number of threads for checks. With prefork, the maximum is one, because modules may
 * expect only one request at a time, and more threads would make conflicts more likely. */
#define THREADS_MAX 4

/* A variable that is set in the environment of a check, so that `Require env` can distinguish a
 * check from a handshake. */
#define ENVIRONMENT "WEBSOCKET_REAUTHORIZE"
#define ADDRESS "websocket reauthorize address" /* in the pool of a check's request */

/* The strings of a saved handshake, in this order, followed by the names and values of its
 * headers. */
enum { METHOD, URI, PROTOCOL, REQUEST_LINE, HOST, CLIENT, USERAGENT, LOCAL, STRINGS };

/* Maximum size of a saved handshake, bytes. A larger handshake is refused if it must be saved. */
#define KEPT_MAX (64 * 1024)

typedef struct saved {
    ws_ticket ticket;
    unsigned refs; /**< atomic; the connection has one reference, and so has a check */
    int busy;      /**< atomic; 1: a check is queued or running */
    server_rec *base, *server;
    apr_port_t client_port, useragent_port, local_port;
    int proto_num, tls;
    ws_reauthorize_headers which;
    unsigned headers;
    char text[]; /**< strings, each NUL-terminated */
} saved;

typedef struct check {
    ws_work work;
    ws_id id;
    saved *handshake;
} check;

static apr_thread_mutex_t *lock; /* protects `threads` and `stopped` */
static ws_thread_pool *threads;  /* created by the first check */
static int stopped;              /* 1: no more checks; loops may still run if a callback hangs */

static int used;           /* 1: the configuration has WebSocketReauthorize */
static int of_subscribers; /* 1: a GET without Upgrade can open a connection */

void ws_reauthorize_reset(apr_pool_t *pconf)
{
    (void)pconf;
    used = of_subscribers = 0;
}

void ws_reauthorize_subscribers(void)
{
    of_subscribers = 1;
}

const char *ws_reauthorize_set(cmd_parms *cmd, void *config, const char *arg)
{
    ws_dir_config *d = config;
    if (!strcasecmp(arg, "off")) {
        d->reauthorize = 0;
        return NULL;
    }
    used = 1;
    return ws_refused(cmd, arg,
                      ws_parse_interval(cmd->pool, arg, 100, WS_INTERVAL_MAX, &d->reauthorize),
                      "; or off");
}

/* ---- Saving handshakes ---- */

static void reauthorize_unref(saved *s)
{
    if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        free(s);
    }
}

static void reauthorize_release(ws_ticket *ticket)
{
    reauthorize_unref((saved *)ticket);
}

static char *reauthorize_put(char *at, const char *text)
{
    apr_size_t len = text ? strlen(text) : 0;
    memcpy(at, text ? text : "", len + 1);
    return at + len + 1;
}

/* Whether a request may open a connection. This runs before the request's Location is known. */
static int reauthorize_may_open(request_rec *r)
{
    return apr_table_get(r->headers_in, "Upgrade")
           || (r->method_number == M_GET && (of_subscribers || ws_sockjs_used()))
           || (r->method_number == M_POST && ws_sockjs_used());
}

/* Save the headers as they were received, if checks may follow. Modules change headers before the
 * handler sees them (RequestHeader, SessionCookieRemove), and would change them again in each
 * check. */
static int reauthorize_keep_headers(request_rec *r)
{
    int check = apr_table_get(r->subprocess_env, ENVIRONMENT) != NULL;
    if (used && !check && reauthorize_may_open(r)) {
        ap_set_module_config(r->request_config, &websocket_module,
                             apr_table_clone(r->pool, r->headers_in));
    }
    return DECLINED;
}

static const apr_table_t *reauthorize_headers_of(const request_rec *r, ws_reauthorize_headers which)
{
    const request_rec *first = r;
    const apr_table_t *kept;
    while (first->prev) { /* skip internal redirects */
        first = first->prev;
    }
    kept = ap_get_module_config(first->request_config, &websocket_module);
    return which == WS_HEADERS_AS_READ && kept ? kept : r->headers_in;
}

static void reauthorize_fill(saved *s, request_rec *r)
{
    const conn_rec *c = r->connection;

    s->ticket.release = reauthorize_release;
    s->refs = 1;
    s->base = c->base_server;
    s->server = r->server;
    s->client_port = c->client_addr->port;
    s->useragent_port = r->useragent_addr->port;
    s->local_port = c->local_addr->port;
    s->proto_num = r->proto_num;
    s->tls = ap_ssl_conn_is_ssl(r->connection);
}

int ws_reauthorize_save(request_rec *r, ws_reauthorize_headers which, ws_ticket **tickets)
{
    const conn_rec *c = r->connection;
    const apr_array_header_t *headers = apr_table_elts(reauthorize_headers_of(r, which));
    const apr_table_entry_t *entry = (const apr_table_entry_t *)headers->elts;
    const char *strings[STRINGS] = {r->method,   r->unparsed_uri, r->protocol,     r->the_request,
                                    r->hostname, c->client_ip,    r->useragent_ip, c->local_ip};
    apr_size_t size = 0;
    saved *s;
    char *at;

    for (int i = 0; i < STRINGS; i++) {
        size += (strings[i] ? strlen(strings[i]) : 0) + 1;
    }
    for (int i = 0; i < headers->nelts; i++) {
        size += strlen(entry[i].key) + strlen(entry[i].val) + 2;
    }
    if (size > KEPT_MAX) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "websocket: handshake refused with 431: its headers have %" APR_SIZE_T_FMT
                      " bytes, above the limit of %d (WebSocketReauthorize)",
                      size, KEPT_MAX);
        return HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    if (!(s = calloc(1, sizeof(*s) + size))) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, APR_ENOMEM, r,
                      "websocket: handshake refused with 503: out of memory");
        return HTTP_SERVICE_UNAVAILABLE;
    }
    reauthorize_fill(s, r);
    s->which = which;
    s->headers = (unsigned)headers->nelts;
    at = s->text;
    for (int i = 0; i < STRINGS; i++) {
        at = reauthorize_put(at, strings[i]);
    }
    for (int i = 0; i < headers->nelts; i++) {
        at = reauthorize_put(reauthorize_put(at, entry[i].key), entry[i].val);
    }
    s->ticket.next = *tickets;
    *tickets = &s->ticket;
    return OK;
}

/* ---- Synthetic requests ---- */

/* A note that marks the connection of a synthetic request as TLS. */
static const char tls_note[] = "websocket-reauthorize-tls";

/* A synthetic request has no TLS connection, but modules may ask whether its handshake used TLS. */
static int reauthorize_conn_is_ssl(conn_rec *c)
{
    return c->notes && apr_table_get(c->notes, tls_note) ? OK : DECLINED;
}

static const char *reauthorize_http_scheme(const request_rec *r)
{
    return reauthorize_conn_is_ssl(r->connection) == OK ? "https" : NULL;
}

static apr_port_t reauthorize_default_port(const request_rec *r)
{
    return reauthorize_conn_is_ssl(r->connection) == OK ? DEFAULT_HTTPS_PORT : 0;
}

/* Size of a dummy for the event MPM's private connection state, bytes. The MPM's post_read_request
 * writes a pointer there. The real state has about 200 bytes, so this is enough for any version. */
#define MPM_STATE 4096

static conn_rec *reauthorize_make_connection(apr_pool_t *p, const saved *s,
                                             const char *const *strings)
{
    conn_rec *c = apr_pcalloc(p, sizeof(*c));
    module *event = ap_find_linked_module("event.c");
    c->pool = p;
    c->base_server = s->base;
    c->conn_config = ap_create_conn_config(p);
    c->notes = apr_table_make(p, 1);
    c->bucket_alloc = apr_bucket_alloc_create(p);
    c->client_ip = (char *)strings[CLIENT];
    c->local_ip = (char *)strings[LOCAL];
    c->log_id = "-";
    c->keepalive = AP_CONN_CLOSE;
    if (event) {
        ap_set_module_config(c->conn_config, event, apr_pcalloc(p, MPM_STATE));
    }
    if (s->tls) {
        apr_table_setn(c->notes, tls_note, "1");
    }
    if (apr_sockaddr_info_get(&c->client_addr, c->client_ip, APR_UNSPEC, s->client_port, 0, p)
            != APR_SUCCESS
        || apr_sockaddr_info_get(&c->local_addr, c->local_ip, APR_UNSPEC, s->local_port, 0, p)
               != APR_SUCCESS) {
        return NULL;
    }
    return c;
}

/* Create a request in the state that it has after ap_read_request(). @return NULL: the client's
 * address is invalid */
static request_rec *reauthorize_make_request(conn_rec *c, const saved *s,
                                             const char *const *strings)
{
    request_rec *r = ap_create_request(c);
    const char *at = strings[STRINGS - 1];
    r->request_time = apr_time_now();
    r->server = s->server;
    r->per_dir_config = r->server->lookup_defaults;
    r->the_request = (char *)strings[REQUEST_LINE];
    r->method = strings[METHOD];
    r->method_number = ap_method_number_of(r->method);
    r->protocol = (char *)strings[PROTOCOL];
    r->proto_num = s->proto_num;
    r->hostname = *strings[HOST] ? strings[HOST] : NULL;
    for (unsigned i = 0; i < s->headers; i++) {
        const char *name = at + strlen(at) + 1, *value = name + strlen(name) + 1;
        apr_table_addn(r->headers_in, name, value);
        at = value;
    }
    apr_table_setn(r->subprocess_env, ENVIRONMENT, "1");
    ap_parse_uri(r, strings[URI]);
    r->useragent_ip = (char *)strings[USERAGENT];
    return apr_sockaddr_info_get(&r->useragent_addr, r->useragent_ip, APR_UNSPEC, s->useragent_port,
                                 0, r->pool)
                       == APR_SUCCESS
                   && apr_pool_userdata_setn(r->useragent_addr, ADDRESS, NULL, r->pool)
                          == APR_SUCCESS
               ? r
               : NULL;
}

/* Set the client's address of the handshake again. In a check, mod_remoteip may have replaced it by
 * an address in its header, because it does not know whether the handshake's address came from a
 * PROXY header, which has priority. */
static int reauthorize_keep_address(request_rec *r)
{
    void *address = NULL;
    apr_pool_userdata_get(&address, ADDRESS, r->pool);
    if (address) {
        r->useragent_addr = address;
        apr_sockaddr_ip_get(&r->useragent_ip, address);
    }
    return DECLINED;
}

static void reauthorize_take_apart(const saved *s, const char *strings[STRINGS])
{
    const char *at = s->text;
    for (int i = 0; i < STRINGS; i++) {
        strings[i] = at;
        at += strlen(at) + 1;
    }
}

static saved *reauthorize_saved_of(const ws_conn *c, ws_reauthorize_headers which)
{
    ws_ticket *t = ws_conn_ticket(c);
    while (t && (t->release != reauthorize_release || ((saved *)t)->which != which)) {
        t = t->next;
    }
    return (saved *)t;
}

/* Run the access control of httpd for a saved handshake. @return the status with which httpd would
 * refuse the handshake now, or OK */
static int reauthorize_ask(const saved *s)
{
    const char *strings[STRINGS];
    int status = HTTP_INTERNAL_SERVER_ERROR;
    apr_pool_t *p;
    conn_rec *c;

    if (apr_pool_create_unmanaged(&p) != APR_SUCCESS) {
        return status;
    }
    reauthorize_take_apart(s, strings);
    if ((c = reauthorize_make_connection(p, s, strings))) {
        request_rec *r = reauthorize_make_request(c, s, strings);
        /* Run all phases that precede the content handler. Then access control runs in the right
         * order, and everything on which it depends is set. */
        if (r && (status = ap_post_read_request(r)) == OK) {
            status = ap_process_request_internal(r);
        }
    }
    apr_pool_destroy(p);
    return status;
}

request_rec *ws_reauthorize_request(ws_conn *conn, apr_pool_t *p)
{
    const char *strings[STRINGS];
    const saved *s = reauthorize_saved_of(conn, WS_HEADERS_AS_CHANGED);
    request_rec *r;
    conn_rec *c;
    if (!s) {
        return NULL;
    }
    reauthorize_take_apart(s, strings);
    if (!(c = reauthorize_make_connection(p, s, strings))) {
        return NULL;
    }
    if ((r = reauthorize_make_request(c, s, strings))) {
        r->user = (char *)ws_user(conn);
    }
    return r;
}

/* ---- Checks ---- */

static void reauthorize_do_check(ws_work *work)
{
    check *k = (check *)work;
    saved *s = k->handshake;
    const char *uri = s->text + strlen(s->text) + 1;
    int path = (int)strcspn(uri, "?"); /* cut off the query string, which may contain a token */

    if (ws_child_engine()) {
        int status = reauthorize_ask(s);
        if (status >= HTTP_INTERNAL_SERVER_ERROR) {
            /* A failing backend does not mean that access was revoked. */
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s->server,
                         "websocket: %.*s, connection %016" APR_UINT64_T_HEX_FMT
                         ": cannot check access, status %d: the connection stays open "
                         "(WebSocketReauthorize)",
                         path, uri, k->id, status);
        }
        else if (status != OK) {
            ap_log_error(APLOG_MARK, APLOG_INFO, 0, s->server,
                         "websocket: %.*s, connection %016" APR_UINT64_T_HEX_FMT
                         ": closing: access was revoked, status %d (WebSocketReauthorize)",
                         path, uri, k->id, status);
            ws_close_id(k->id, WS_CLOSE_POLICY, "access was revoked");
        }
    }
    __atomic_store_n(&s->busy, 0, __ATOMIC_RELEASE);
    reauthorize_unref(s);
    free(k);
}

/* Queue a check for the threads. @return 0; -1: there are no threads */
static int reauthorize_queue(check *k)
{
    int threaded = 0, rv = -1;
    apr_thread_mutex_lock(lock);
    if (!threads && !stopped) {
        ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
        if (ws_thread_pool_create(&threads, threaded ? THREADS_MAX : 1) != APR_SUCCESS) {
            threads = NULL;
        }
    }
    if (threads) {
        ws_thread_pool_push(threads, &k->work);
        rv = 0;
    }
    apr_thread_mutex_unlock(lock);
    return rv;
}

void ws_reauthorize(ws_conn *c)
{
    saved *s = reauthorize_saved_of(c, WS_HEADERS_AS_READ);
    check *k;

    if (!s || __atomic_exchange_n(&s->busy, 1, __ATOMIC_ACQUIRE)) {
        return; /* the previous check is still queued or running */
    }
    if (!(k = calloc(1, sizeof(*k)))) {
        __atomic_store_n(&s->busy, 0, __ATOMIC_RELEASE);
        return;
    }
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    k->work.fn = reauthorize_do_check;
    k->id = ws_conn_id(c);
    k->handshake = s;
    if (reauthorize_queue(k) < 0) {
        __atomic_store_n(&s->busy, 0, __ATOMIC_RELEASE);
        reauthorize_unref(s);
        free(k);
    }
}

int ws_reauthorize_child_stop(void)
{
    ws_thread_pool *last;
    apr_thread_mutex_lock(lock);
    last = threads;
    threads = NULL;
    stopped = 1;
    apr_thread_mutex_unlock(lock);
    if (last) {
        ws_thread_pool_destroy(last);
    }
    return 1;
}

apr_status_t ws_reauthorize_child_init(apr_pool_t *pchild, server_rec *s,
                                       ws_engine_options *options)
{
    (void)s;
    options->recheck = ws_reauthorize;
    return apr_thread_mutex_create(&lock, APR_THREAD_MUTEX_DEFAULT, pchild);
}

void ws_reauthorize_register(apr_pool_t *p)
{
    static const char *const before[] = {"mod_remoteip.c", NULL};
    (void)p;
    ap_hook_post_read_request(reauthorize_keep_headers, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_post_read_request(reauthorize_keep_address, before, NULL, APR_HOOK_FIRST);
    ap_hook_ssl_conn_is_ssl(reauthorize_conn_is_ssl, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_http_scheme(reauthorize_http_scheme, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_default_port(reauthorize_default_port, NULL, NULL, APR_HOOK_FIRST);
}
