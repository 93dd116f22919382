/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Takes connections over from httpd. Input that httpd has already read is handed to the engine, so
 *  no byte is lost or reordered. A connection with an unknown filter is not taken over. */

#include "httpd/takeover.h"

#include <apr_portable.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <mod_ssl_openssl.h>
#include <string.h>
#include <util_filter.h>

#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/counters.h"

/* Limit on the input that httpd has read beyond the request, bytes. Usually this is one read of the
 * core filter (8,000 bytes) plus the bytes that mod_ssl has decrypted. An amount near the limit
 * indicates a bug. */
#define EARLY_MAX (256 * 1024)

#define GATE "WEBSOCKET_GATE"

/** This module's state for a connection that httpd still owns. */
typedef struct ws_resource {
    SSL *ssl;
    int taken;
    ws_new_conn newcomer;
    void (*give)(void *arg, int fd, SSL *ssl); /**< NULL: the engine gets the connection */
    void *arg;
    int streams; /**< atomic; number of HTTP/2 streams that are WebSockets */
} ws_resource;

static ap_filter_rec_t *gate_handle;

static ws_resource *takeover_owned_of(conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &websocket_module);
}

static int takeover_pre_connection(conn_rec *c, void *csd)
{
    (void)csd;
    if (c->master) {
        return DECLINED; /* an HTTP/2 stream has no socket */
    }
    ap_set_module_config(c->conn_config, &websocket_module,
                         apr_pcalloc(c->pool, sizeof(ws_resource)));
    return OK;
}

static int takeover_pre_handshake(conn_rec *c, SSL *ssl, int is_proxy)
{
    ws_resource *o = takeover_owned_of(c);
    if (!is_proxy && o) {
        o->ssl = ssl;
    }
    return OK;
}

/* ---- Input that httpd has already read ---- */

typedef struct gate_ctx {
    apr_bucket_brigade *rest; /**< input that the core filter had read */
    int closed;
} gate_ctx;

/**
 * Implements an input filter directly above the core filter, which is present while the module
 * collects the input that httpd has read. The filter passes the input that the core filter has
 * already read, and then returns EAGAIN instead of reading from the socket. Collecting therefore
 * ends even if the client sends fast; the loop reads the rest from the socket.
 */
static apr_status_t takeover_gate(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode,
                                  apr_read_type_e block, apr_off_t readbytes)
{
    gate_ctx *ctx = f->ctx;
    apr_bucket *after, *b;
    apr_status_t rv;

    (void)block;
    if (!ctx->closed) {
        ctx->closed = 1;
        rv = ap_get_brigade(f->next, ctx->rest, AP_MODE_EXHAUSTIVE, APR_NONBLOCK_READ, 0);
        if (rv != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(rv)) {
            return rv;
        }
        for (b = APR_BRIGADE_FIRST(ctx->rest); b != APR_BRIGADE_SENTINEL(ctx->rest); b = after) {
            after = APR_BUCKET_NEXT(b);
            if (APR_BUCKET_IS_SOCKET(b) || APR_BUCKET_IS_METADATA(b)) {
                apr_bucket_delete(b);
            }
        }
    }
    if (APR_BRIGADE_EMPTY(ctx->rest)) {
        return APR_EAGAIN;
    }
    if (mode != AP_MODE_READBYTES) {
        return APR_ENOTIMPL;
    }
    rv = apr_brigade_partition(ctx->rest, readbytes, &after);
    if (rv != APR_SUCCESS && rv != APR_INCOMPLETE) {
        return rv;
    }
    while ((b = APR_BRIGADE_FIRST(ctx->rest)) != after && b != APR_BRIGADE_SENTINEL(ctx->rest)) {
        APR_BUCKET_REMOVE(b);
        APR_BRIGADE_INSERT_TAIL(bb, b);
    }
    return APR_SUCCESS;
}

static apr_status_t takeover_drain(conn_rec *c, ws_new_conn *n)
{
    apr_bucket_brigade *bb = apr_brigade_create(c->pool, c->bucket_alloc);
    gate_ctx *ctx = apr_pcalloc(c->pool, sizeof(*ctx));
    char *early = NULL;
    apr_size_t len = 0;
    apr_status_t rv;

    ctx->rest = apr_brigade_create(c->pool, c->bucket_alloc);
    ap_add_input_filter_handle(gate_handle, ctx, NULL, c);
    for (;;) {
        apr_size_t piece;
        apr_off_t length = 0;
        rv = ap_get_brigade(c->input_filters, bb, AP_MODE_READBYTES, APR_NONBLOCK_READ, 8192);
        if (rv != APR_SUCCESS || APR_BRIGADE_EMPTY(bb)) {
            break;
        }
        apr_brigade_length(bb, 1, &length);
        if (len + (apr_size_t)length > EARLY_MAX) {
            return APR_ENOSPC;
        }
        char *grown = apr_palloc(c->pool, len + (apr_size_t)length + 1);
        if (len) {
            memcpy(grown, early, len);
        }
        piece = (apr_size_t)length;
        if ((rv = apr_brigade_flatten(bb, grown + len, &piece)) != APR_SUCCESS) {
            return rv;
        }
        early = grown;
        len += piece;
        apr_brigade_cleanup(bb);
    }
    apr_brigade_cleanup(bb);
    n->early = early;
    n->early_len = len;
    return rv == APR_SUCCESS || APR_STATUS_IS_EAGAIN(rv) ? APR_SUCCESS : rv;
}

static int takeover_among(const char *name, const char *const *names)
{
    while (*names && strcasecmp(name, *names)) {
        names++;
    }
    return *names != NULL;
}

const char *ws_takeover_obstacle(conn_rec *c)
{
    /* These filters need no bytes after the takeover. Either they have finished, such as
     * mod_remoteip's after the PROXY header, or they serve only httpd itself. Any other filter
     * would miss bytes that it has to process. */
    static const char *const known[] = {"ssl/tls filter", "ssl/tls coalescing filter",
                                        "reqtimeout",     "log_input_output",
                                        "http_in",        "core_in",
                                        "core",           "remoteip_input",
                                        "websocket_gate", NULL};
    const ws_resource *o = takeover_owned_of(c);

    if (!o || c->master) {
        return "it is an HTTP/2 stream";
    }
    for (int i = 0; i < 2; i++) {
        for (ap_filter_t *f = i ? c->output_filters : c->input_filters; f; f = f->next) {
            if (!takeover_among(f->frec->name, known)) {
                return apr_psprintf(c->pool, "filter %s must see its bytes", f->frec->name);
            }
            if (!strncasecmp(f->frec->name, "ssl/tls", 7) && !o->ssl) {
                return "its TLS connection is not mod_ssl's";
            }
        }
    }
    return NULL;
}

int ws_takeover_filter_of_headers(const ap_filter_t *f)
{
    static const char *const names[] = {"fixup_headers_out", "mod_session_out", NULL};
    return takeover_among(f->frec->name, names);
}

const char *ws_takeover_answer_obstacle(request_rec *r)
{
    /* Filters that a response can skip. These are httpd's filters for the format of a response,
     * optional compression, and caching, which the headers of these responses forbid. */
    static const char *const harmless[] = {"http_header",   "content_length",    "byterange",
                                           "http_outerror", "old_write",         "deflate",
                                           "cache_save",    "cache_save_subreq", "cache_remove_url",
                                           "mod_expires",   "brotli_compress",   NULL};
    for (ap_filter_t *f = r->output_filters; f && f != r->connection->output_filters; f = f->next) {
        int by_type = !strncasecmp(f->frec->name, "bytype:", 7); /* AddOutputFilterByType */
        if (!takeover_among(f->frec->name + (by_type ? 7 : 0), harmless)
            && !ws_takeover_filter_of_headers(f)) {
            return apr_psprintf(r->pool, "filter %s must see its response", f->frec->name);
        }
    }
    return NULL;
}

int ws_takeover_streams(conn_rec *c, int change)
{
    ws_resource *o = c->master ? takeover_owned_of(c->master) : NULL;
    return o ? __atomic_add_fetch(&o->streams, change, __ATOMIC_RELAXED) : 0;
}

/* Flush the previous response. If the client has pipelined both requests, that response may still
 * be in httpd's filters, and would be lost. */
static apr_status_t takeover_flush(conn_rec *c)
{
    apr_bucket_brigade *bb = apr_brigade_create(c->pool, c->bucket_alloc);
    apr_status_t rv;
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    rv = ap_pass_brigade(c->output_filters, bb);
    return rv != APR_SUCCESS                         ? rv
           : c->aborted || c->data_in_output_filters ? APR_ECONNABORTED
                                                     : APR_SUCCESS;
}

apr_status_t ws_takeover(request_rec *r, const ws_new_conn *n)
{
    conn_rec *c = r->connection;
    ws_resource *o = takeover_owned_of(c);
    apr_socket_t *socket = ap_get_conn_socket(c);
    apr_os_sock_t fd;
    apr_status_t rv;

    /* The HTTP exchange has ended, so keep only the connection's filters. */
    r->input_filters = r->proto_input_filters = c->input_filters;
    r->output_filters = r->proto_output_filters = c->output_filters;
    c->keepalive = AP_CONN_CLOSE;

    if ((rv = takeover_flush(c)) != APR_SUCCESS) {
        return rv;
    }
    o->newcomer = *n;
    if ((rv = takeover_drain(c, &o->newcomer)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = apr_os_sock_get(&fd, socket)) != APR_SUCCESS) {
        return rv;
    }
    if ((o->newcomer.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0) {
        return errno;
    }
    /* Copy the strings, because httpd destroys the request's pool before the connection's pool. */
    o->newcomer.strings.uri = apr_pstrdup(c->pool, n->strings.uri);
    o->newcomer.strings.args = apr_pstrdup(c->pool, n->strings.args);
    o->newcomer.strings.user = apr_pstrdup(c->pool, n->strings.user);
    o->newcomer.strings.peer = apr_pstrdup(c->pool, n->strings.peer);
    o->newcomer.strings.protocol = apr_pstrdup(c->pool, n->strings.protocol);
    if (n->strings.headers) {
        apr_array_header_t *headers = apr_array_make(c->pool, 8, sizeof(const char *));
        for (const char *const *h = n->strings.headers; *h; h++) {
            APR_ARRAY_PUSH(headers, const char *) = apr_pstrdup(c->pool, *h);
        }
        APR_ARRAY_PUSH(headers, const char *) = NULL;
        o->newcomer.strings.headers = (const char *const *)headers->elts;
    }
    if (o->ssl) {
        SSL_up_ref(o->ssl);
        o->newcomer.ssl = o->ssl;
        o->newcomer.secure = 1;
    }
    o->taken = 1;
    return APR_SUCCESS;
}

apr_status_t ws_takeover_to(request_rec *r, void (*give)(void *arg, int fd, SSL *ssl), void *arg)
{
    ws_new_conn n = {.fd = -1, .strings = {.uri = ""}};
    apr_status_t rv = ws_takeover(r, &n);
    if (rv == APR_SUCCESS) {
        ws_resource *o = takeover_owned_of(r->connection);
        o->give = give;
        o->arg = arg;
    }
    return rv;
}

/* ---- The handoff from httpd to the engine ---- */

static void takeover_no_info(const SSL *ssl, int where, int ret)
{
    (void)ssl, (void)where, (void)ret;
}

/* Detach mod_ssl from the SSL object. mod_ssl frees its state for the connection, but neither sends
 * a close_notify nor frees our reference. */
static void takeover_detach_ssl(conn_rec *c, SSL *ssl)
{
    SSL_set_quiet_shutdown(ssl, 1);
    ap_shutdown_conn(c, 0);
    SSL_set_quiet_shutdown(ssl, 0);
    SSL_set_shutdown(ssl, 0);
    SSL_set_bio(ssl, NULL, NULL);
    SSL_set_info_callback(ssl, takeover_no_info);
    /* mod_ssl's key-log callback expects a conn_rec here, even at a KeyUpdate long after the
     * takeover. */
    SSL_set_app_data(ssl, ws_server_config_of(c->base_server)->stub);
}

static int takeover_pre_close_connection(conn_rec *c)
{
    ws_resource *o = takeover_owned_of(c);
    ws_engine *engine;
    apr_status_t rv = APR_EGENERAL;

    if (!o || !o->taken) {
        return OK;
    }
    o->taken = 0;
    if (o->newcomer.ssl) {
        takeover_detach_ssl(c, o->newcomer.ssl);
    }
    c->aborted = 1; /* so httpd only closes its descriptor, without a shutdown */
    if (o->give) {
        o->give(o->arg, o->newcomer.fd, o->newcomer.ssl);
        return OK;
    }
    if ((engine = ws_child_engine())) {
        rv = ws_engine_add(engine, &o->newcomer);
    }
    else {
        ws_new_conn_drop(&o->newcomer);
    }
    if (rv != APR_SUCCESS) {
        ws_counters_add(WS_COUNT_REFUSED_SERVER);
        ap_log_cerror(APLOG_MARK, APLOG_ERR, rv, c,
                      "websocket: the connection was lost after its "
                      "response");
    }
    return OK;
}

apr_status_t ws_takeover_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    (void)options;
    for (; s; s = s->next) {
        conn_rec *stub = apr_pcalloc(pchild, sizeof(*stub));
        /* Copy the configuration, because a virtual host without this module's directives shares
         * that of the main server. */
        ws_server_config *own = apr_pmemdup(pchild, ws_server_config_of(s), sizeof(*own));
        ap_set_module_config(s->module_config, &websocket_module, own);
        stub->pool = pchild;
        stub->base_server = s;
        stub->conn_config = ap_create_conn_config(pchild);
        stub->notes = apr_table_make(pchild, 1);
        stub->client_ip = (char *)"-";
        stub->local_ip = (char *)"-";
        stub->log_id = "-";
        own->stub = stub;
    }
    return APR_SUCCESS;
}

void ws_takeover_register(apr_pool_t *p)
{
    (void)p;
    gate_handle =
        ap_register_input_filter(GATE, takeover_gate, NULL, (ap_filter_type)(AP_FTYPE_NETWORK - 1));
    ap_hook_pre_connection(takeover_pre_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_pre_close_connection(takeover_pre_close_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, takeover_pre_handshake, NULL, NULL, APR_HOOK_MIDDLE);
}
