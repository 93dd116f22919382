/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements the opening handshake. It checks the request, calls the handler's on_request, sends
 *  the 101 and hands the connection to the engine. Refusals are logged with their reason and
 *  counted. */

#include "httpd/upgrade.h"

#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <stdlib.h>
#include <string.h>
#include <util_filter.h>

#include "httpd/channel_acl.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/extensions.h"
#include "httpd/counters.h"
#include "httpd/handler_directory.h"
#include "httpd/hixie.h"
#include "httpd/htaccess.h"
#include "httpd/http2.h"
#include "httpd/limits.h"
#include "httpd/origin.h"
#include "httpd/reauthorize.h"
#include "httpd/relay.h"
#include "httpd/request_api.h"
#include "httpd/refusals.h"
#include "httpd/response_headers.h"
#include "httpd/settings.h"
#include "httpd/sockjs_session.h"
#include "httpd/takeover.h"
#include "httpd/token_conn.h"
#include "httpd/token_request.h"
#include "protocol/handshake.h"
#include "protocol/hixie.h"

APLOG_USE_MODULE(websocket);

static const char *upgrade_header(const request_rec *r, const char *name)
{
    return apr_table_get(r->headers_in, name);
}

static ws_handler_line *upgrade_by_protocol(request_rec *r, const ws_dir_config *d,
                                            const char **protocol);

/* Find the WebSocketHandler line for a request's subprotocols. @return the line, if its handler has
 * on_claim, the callback that claims or declines requests; otherwise NULL */
static ws_handler_line *upgrade_asked(request_rec *r)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    const char *protocol;
    ws_handler_line *line =
        d->handlers && !d->directory ? upgrade_by_protocol(r, d, &protocol) : NULL;
    return line && line->location.handler->on_claim ? line : NULL;
}

int ws_upgrade_is_asked(request_rec *r)
{
    return upgrade_asked(r) != NULL;
}

static int upgrade_declined(request_rec *r)
{
    ws_request rq = {.r = r};
    const ws_handler_line *line = upgrade_asked(r);
    rq.location = line ? line->base : NULL;
    return line && !line->location.handler->on_claim(&rq, line->location.config);
}

int ws_upgrade_wanted(request_rec *r)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    /* A subrequest for an error page or an SSI include also has the headers of the handshake. */
    int other = r->main || (r->prev && ap_is_HTTP_ERROR(r->prev->status));
    int set = d->handlers ? d->handlers->nelts || d->directory : d->site_page && *d->site_page;
    int off = d->transports && !d->transports->websocket;
    return set && !off && !other && ws_handshake_wanted(upgrade_header(r, "Upgrade"))
           && !upgrade_declined(r);
}

static int upgrade_refuse(ws_counter why, int status)
{
    ws_counters_add(why);
    return status;
}

void ws_upgrade_restore_args(request_rec *r)
{
    apr_size_t uri = strlen(r->uri), file = r->filename ? strlen(r->filename) : 0;
    int path_kept = r->uri == r->parsed_uri.path;
    if (path_kept && file && (file < uri || strcmp(r->filename + file - uri, r->uri))) {
        r->args = r->parsed_uri.query;
    }
}

/* The first arguments for logging a refused handshake, at level info. */
#define REFUSED APLOG_MARK, APLOG_INFO, 0

static void upgrade_require(request_rec *r, unsigned versions)
{
    char spoken[32];
    if (*ws_versions_text(versions, spoken)) {
        apr_table_setn(r->err_headers_out, "Sec-WebSocket-Version", apr_pstrdup(r->pool, spoken));
    }
    /* RFC 9110, section 15.5.22 */
    apr_table_setn(r->err_headers_out, "Upgrade", "websocket");
    apr_table_mergen(r->err_headers_out, "Connection", "Upgrade");
}

/* Check the headers that ws_handshake_check() does not check. @return NULL, or an error text */
static const char *upgrade_problem(request_rec *r, int version)
{
    const char *length = upgrade_header(r, "Content-Length"), *list;
    if ((upgrade_header(r, "Transfer-Encoding") && !r->connection->master) /* mod_http2 adds it */
        || (length && strcmp(length, "0") && (version != 76 || strcmp(length, "8")))) {
        return "the request has a body";
    }
    if (version > 13) {
        ws_hixie_request(r);
    }
    if ((list = upgrade_header(r, "Sec-WebSocket-Protocol")) && !ws_protocols_valid(list)) {
        return "Sec-WebSocket-Protocol is not a list of tokens without duplicates";
    }
    if (version <= 13 && (list = upgrade_header(r, "Sec-WebSocket-Extensions"))
        && !ws_extensions_valid(r, list)) {
        return "Sec-WebSocket-Extensions is not a list of extensions (RFC 6455, section 9.1)";
    }
    return NULL;
}

/* Check the origin of a handshake. @return OK, or the status to refuse with */
static int upgrade_check_origin(request_rec *r, const ws_dir_config *d, int version)
{
    const char *origin = NULL, *host = upgrade_header(r, "Host");
    if (version == 8 || version == 7) { /* hybi-07 to hybi-12, section 5.1 */
        origin = upgrade_header(r, "Sec-WebSocket-Origin");
    }
    if (!origin) {
        origin = upgrade_header(r, "Origin");
    }
    if (ws_origin_allowed(d, origin, host)) {
        return OK;
    }
    ws_refusal_log(r, WS_REFUSAL_ORIGIN,
                   "handshake refused with 403: origin \"%s\" may not connect to %s "
                   "(WebSocketOrigin)",
                   origin, host);
    return upgrade_refuse(WS_COUNT_REFUSED_ORIGIN, HTTP_FORBIDDEN);
}

/* Check a handshake (RFC 6455, section 4.2.1). @return OK, or the status to refuse with */
static int upgrade_check(request_rec *r, const ws_dir_config *d, int *version)
{
    const ws_handshake h = {.method = r->method,
                            .http = r->proto_num,
                            .host = upgrade_header(r, "Host"),
                            .upgrade = upgrade_header(r, "Upgrade"),
                            .connection = upgrade_header(r, "Connection"),
                            .key = upgrade_header(r, "Sec-WebSocket-Key"),
                            .version = upgrade_header(r, "Sec-WebSocket-Version"),
                            .draft = upgrade_header(r, "Sec-WebSocket-Draft"),
                            .key1 = upgrade_header(r, "Sec-WebSocket-Key1"),
                            .key2 = upgrade_header(r, "Sec-WebSocket-Key2")};
    const char *problem = "", *more;
    /* RFC 8441 allows only the handshake of RFC 6455, for which mod_http2 generates a key. */
    unsigned drafts = r->connection->master ? WS_V76 | WS_V75 : 0;
    unsigned versions = ws_versions_of(d) & ~drafts;
    int status = ws_handshake_check(&h, versions, version, &problem);

    if (status == HTTP_UPGRADE_REQUIRED) {
        upgrade_require(r, versions);
    }
    else if (!status && (more = upgrade_problem(r, *version))) {
        status = HTTP_BAD_REQUEST;
        problem = more;
    }
    if (status) {
        ap_log_rerror(REFUSED, r, "websocket: handshake refused with %d: %s", status, problem);
        return upgrade_refuse(status == HTTP_UPGRADE_REQUIRED ? WS_COUNT_REFUSED_VERSION
                                                              : WS_COUNT_REFUSED_REQUEST,
                              status);
    }
    return upgrade_check_origin(r, d, *version);
}

/* Find the WebSocketHandler line for the offered subprotocols, in the client's order of preference.
 * *protocol is set to the selected subprotocol, or NULL. */
static ws_handler_line *upgrade_by_protocol(request_rec *r, const ws_dir_config *d,
                                            const char **protocol)
{
    const char *list = upgrade_header(r, "Sec-WebSocket-Protocol"), *token;
    ws_handler_line *otherwise = NULL;
    size_t len;

    while (list && (token = ws_header_list_next(&list, &len))) {
        for (int i = 0; i < d->handlers->nelts; i++) {
            ws_handler_line *reg = APR_ARRAY_IDX(d->handlers, i, ws_handler_line *);
            if ((*protocol = ws_handler_line_speaks(reg, token, len))) {
                return reg;
            }
        }
    }
    for (int i = 0; i < d->handlers->nelts; i++) {
        ws_handler_line *reg = APR_ARRAY_IDX(d->handlers, i, ws_handler_line *);
        if (!reg->protocols) {
            otherwise = reg;
        }
    }
    return otherwise;
}

/* Choose the WebSocketHandler line and the subprotocol of a handshake. @return OK, or the status to
 * refuse with */
static int upgrade_choose(request_rec *r, const ws_dir_config *d, const char **protocol,
                          ws_handler_line **reg)
{
    const char *name;
    apr_size_t len;

    *protocol = NULL;
    if (!d->handlers) {
        int status = ws_htaccess_choose(r, d, reg);
        return status == OK ? OK : upgrade_refuse(WS_COUNT_REFUSED_SERVER, status);
    }
    if (d->directory) {
        if (!(*reg = ws_handler_directory_find(d->directory, r->uri, &name, &len))) {
            ap_log_rerror(REFUSED, r,
                          "websocket: handshake refused with 404: no handler \"%.*s\" in %s "
                          "(WebSocketHandlerDirectory)",
                          (int)len, name, ws_handler_directory_path(d->directory));
            return upgrade_refuse(WS_COUNT_REFUSED_REQUEST, HTTP_NOT_FOUND);
        }
    }
    else if (!(*reg = upgrade_by_protocol(r, d, protocol))) {
        const char *offered = upgrade_header(r, "Sec-WebSocket-Protocol");
        ap_log_rerror(REFUSED, r,
                      "websocket: handshake refused with 400: no handler has a subprotocol of "
                      "\"%s\", and there is no default handler (a WebSocketHandler without "
                      "protocol=)",
                      offered ? offered : "");
        return upgrade_refuse(WS_COUNT_REFUSED_SUBPROTOCOL, HTTP_BAD_REQUEST);
    }
    return OK;
}

/* ---- The response ---- */

static int upgrade_add_header(void *headers, const char *name, const char *value)
{
    apr_table_add(headers, name, value);
    return 1;
}

/*
 * Send the 101, which mod_http2 changes to a 200. If the response were sent as an interim response,
 * mod_http2 would parse its text and merge headers with the same name, which breaks two Set-Cookie
 * headers. The filter of mod_http2 for final responses does not merge headers. Any brigade makes
 * that filter send the headers.
 */
static void upgrade_send_answer(request_rec *r)
{
    conn_rec *c = r->connection;
    ap_filter_t *f = c->master ? r->proto_output_filters : NULL;
    while (f && strcasecmp(f->frec->name, "h2_c2_response_out")) {
        f = f->next;
    }
    if (f) {
        apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
        ap_pass_brigade(f, bb);
    }
    else {
        ap_send_interim_response(r, 1);
    }
}

/* Build the headers of the 101 (RFC 6455, section 4.2.2). @return whether all headers are valid */
static int upgrade_make_101(request_rec *r, const ws_request *rq, int version)
{
    apr_table_t *first = apr_table_make(r->pool, 2), *others;

    apr_table_do(upgrade_add_header, r->err_headers_out, rq->headers, NULL);
    ws_response_run_header_filters(r);
    others = apr_table_overlay(r->pool, r->err_headers_out, r->headers_out);
    apr_table_clear(r->err_headers_out);
    apr_table_unset(others, "Upgrade");
    apr_table_unset(others, "Connection");
    /* In version 75, these headers must be the first ones (hixie-75, section 3.1). */
    apr_table_setn(first, "Upgrade", version > 13 ? "WebSocket" : "websocket");
    apr_table_setn(first, "Connection", "Upgrade");
    r->headers_out = apr_table_overlay(r->pool, first, others);

    r->status = HTTP_SWITCHING_PROTOCOLS;
    r->status_line = ap_get_status_line(HTTP_SWITCHING_PROTOCOLS);
    if (version > 13) {
        ws_hixie_answer_headers(r, version, rq->protocol);
    }
    else {
        char accept[WS_ACCEPT_SIZE];
        ws_accept_key(upgrade_header(r, "Sec-WebSocket-Key"), accept);
        apr_table_set(r->headers_out, "Sec-WebSocket-Accept", accept);
        if (rq->protocol) {
            apr_table_setn(r->headers_out, "Sec-WebSocket-Protocol", rq->protocol);
        }
        if (rq->extensions) {
            apr_table_setn(r->headers_out, "Sec-WebSocket-Extensions", rq->extensions);
        }
    }
    return ws_response_headers_valid(r, r->headers_out);
}

/* Send the 101. @return OK; DONE: the client has closed the connection; or the status to refuse
 * with */
static int upgrade_send_101(request_rec *r, const ws_request *rq, int version)
{
    conn_rec *c = r->connection;
    apr_table_t *before[2] = {apr_table_copy(r->pool, r->headers_out),
                              apr_table_copy(r->pool, r->err_headers_out)};

    if (!upgrade_make_101(r, rq, version)) {
        /* Restore the headers from before the 101, since httpd adds those of the error response. */
        r->headers_out = before[0];
        r->err_headers_out = before[1];
        r->status = HTTP_OK;
        r->status_line = NULL;
        return upgrade_refuse(WS_COUNT_REFUSED_SERVER, HTTP_INTERNAL_SERVER_ERROR);
    }
    /* Remove the filter of mod_reqtimeout, which is meant to limit the time of requests, not of
     * connections. */
    ap_remove_input_filter_byhandle(c->input_filters, "reqtimeout");
    upgrade_send_answer(r);
    if (c->aborted || c->data_in_output_filters) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "websocket: the client disconnected before "
                      "the 101 response was sent");
        c->keepalive = AP_CONN_CLOSE;
        return upgrade_refuse(WS_COUNT_REFUSED_LOST, DONE);
    }
    return OK;
}

/* ---- The whole handshake ---- */

/* Whether httpd has a status line and an error page for this status. If not, it would send 500. */
static int upgrade_has_page(int status)
{
    return atoi(ap_get_status_line(status)) == status;
}

/* Send a refusal, with the handler's body if it has set one. */
static int upgrade_send_body(const ws_request *rq, int status)
{
    request_rec *r = rq->r;
    r->status = status;
    r->status_line = upgrade_has_page(status) ? NULL : apr_psprintf(r->pool, "%d Refused", status);
    if (rq->body_type) {
        ap_set_content_type(r, rq->body_type);
    }
    ap_set_content_length(r, (apr_off_t)rq->body_len);
    ap_rwrite(rq->body ? rq->body : "", (int)rq->body_len, r);
    return DONE;
}

static int upgrade_ask_handler(ws_request *rq, const ws_handler_line *reg)
{
    const ws_handler *h = reg->location.handler;
    int status;
    const ws_dir_config *d = ws_dir_config_of(rq->r);
    rq->location = reg->base;
    rq->extended = d->extensions && d->extensions->nelts;
    status = h->on_request ? h->on_request(rq, reg->location.config) : 0;
    if (status == 0) {
        return OK;
    }
    if (status < (rq->body ? 200 : 300) || status > 599) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, rq->r,
                      "websocket: handler %s returned %d from on_request, which is neither 0 nor a "
                      "status of 300 to 599: refused with 500",
                      reg->location.name, status);
        status = HTTP_INTERNAL_SERVER_ERROR;
    }
    else {
        ap_log_rerror(REFUSED, rq->r, "websocket: handler %s refuses with %d", reg->location.name,
                      status);
    }
    apr_table_do(upgrade_add_header, rq->r->err_headers_out, rq->headers, NULL);
    return upgrade_refuse(WS_COUNT_REFUSED_HANDLER, rq->body || !upgrade_has_page(status)
                                                        ? upgrade_send_body(rq, status)
                                                        : status);
}

int ws_upgrade_keep_request(request_rec *r, const ws_settings *settings, ws_ticket **tickets)
{
    int status = OK;
    if (settings->recheck) {
        status = ws_reauthorize_save(r, WS_HEADERS_AS_READ, tickets);
    }
    if (status == OK
        && (ws_channelrule_needs_request(settings->may[0])
            || ws_channelrule_needs_request(settings->may[1]))) {
        status = ws_reauthorize_save(r, WS_HEADERS_AS_CHANGED, tickets);
    }
    return status;
}

int ws_upgrade_admit(request_rec *r, ws_request *rq, ws_new_conn *n)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    ws_handler_line *reg;
    const char *why;
    int status;

    if ((status = upgrade_choose(r, d, &rq->protocol, &reg)) != OK) {
        return status;
    }
    if (!ws_child_engine() || reg->started != APR_SUCCESS || !(n->settings = ws_settings_of(r))) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, reg->started, r,
                      "websocket: handshake refused with 503: handler %s %s", reg->location.name,
                      reg->started != APR_SUCCESS ? "could not start in this child"
                                                  : "has no event loop in this child");
        return upgrade_refuse(WS_COUNT_REFUSED_SERVER, HTTP_SERVICE_UNAVAILABLE);
    }
    if ((status = ws_token_request_admit(r, &why)) != OK) {
        return upgrade_refuse(WS_COUNT_REFUSED_TOKEN, status);
    }
    if ((status = ws_limits_admit(r, d->limits, &rq->ticket)) != OK
        || (status = ws_upgrade_keep_request(r, n->settings, &rq->ticket)) != OK
        || (status = ws_token_conn_attach(r, n->settings, &rq->ticket)) != OK
        || (status = upgrade_ask_handler(rq, reg)) != OK) {
        return status;
    }
    n->loop = rq->loop;
    n->location = &reg->location;
    n->data = rq->data;
    n->pool = rq->pool;
    n->ticket = rq->ticket;
    n->strings.uri = r->uri;
    n->strings.args = r->args;
    n->strings.user = r->user;
    n->strings.peer = r->useragent_ip;
    n->strings.protocol = rq->protocol;
    n->strings.headers = ws_request_kept(r, reg->location.handler->keep_headers);
    return OK;
}

void ws_upgrade_adopted(ws_request *rq)
{
    rq->pool = NULL;
    rq->ticket = NULL;
    rq->chain = NULL;
}

void ws_upgrade_release(ws_request *rq)
{
    ws_chain_free(rq->chain);
    if (rq->pool) {
        apr_pool_destroy(rq->pool);
    }
    ws_tickets_release(rq->ticket);
}

/* Hand the connection to the engine, directly or through a relay. Must be called after the 101 has
 * been sent. @return the return value for httpd's handler */
static int upgrade_hand_over(request_rec *r, ws_request *rq, ws_new_conn *n)
{
    const char *obstacle = ws_relay_reason(r, 0);
    apr_status_t rv;
    if (obstacle) {
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "websocket: the connection is relayed: %s",
                      obstacle);
        ws_upgrade_adopted(rq);
        return ws_relay(r, n);
    }
    if ((rv = ws_takeover(r, n)) != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "websocket: cannot take over the connection");
        r->connection->aborted = 1;
        return upgrade_refuse(APR_STATUS_IS_EMFILE(rv) ? WS_COUNT_REFUSED_DESCRIPTORS
                                                       : WS_COUNT_REFUSED_SERVER,
                              DONE);
    }
    ws_upgrade_adopted(rq);
    return OK;
}

static int upgrade_run(request_rec *r, ws_request *rq)
{
    ws_new_conn n = {.fd = -1};
    int version, status = upgrade_check(r, ws_dir_config_of(r), &version);

    if (status != OK) {
        return status;
    }
    rq->version = version;
    if ((status = ws_upgrade_admit(r, rq, &n)) != OK) {
        return status;
    }
    if (rq->passes) {
        if (!(rq->chain = ws_chain_passing())) {
            return upgrade_refuse(WS_COUNT_REFUSED_SERVER, HTTP_SERVICE_UNAVAILABLE);
        }
    }
    else if (version <= 13) {
        rq->chain = ws_extensions_negotiate(
            r, n.settings, upgrade_header(r, "Sec-WebSocket-Extensions"), &rq->extensions);
    }
    if ((status = upgrade_send_101(r, rq, version)) != OK) {
        return status;
    }
    n.version = version;
    n.chain = rq->chain;
    if (version == 76) { /* a proxy may hold back the third key until the 101 has arrived */
        n.connecting = 1;
        ws_hixie_numbers(upgrade_header(r, "Sec-WebSocket-Key1"),
                         upgrade_header(r, "Sec-WebSocket-Key2"), n.numbers);
    }
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r,
                  "websocket: version %d, handler %s, subprotocol %s", version, n.location->name,
                  rq->protocol ? rq->protocol : "none");
    if (rq->sockjs) {
        rq->ticket = NULL; /* the session now owns the ticket */
        rq->pool = NULL;
        if (ws_sockjs_wrap(r, &n) < 0) {
            r->connection->aborted = 1;
            return upgrade_refuse(WS_COUNT_REFUSED_SERVER, DONE);
        }
    }
    return upgrade_hand_over(r, rq, &n);
}

int ws_upgrade_handler(request_rec *r)
{
    ws_request rq = {.r = r, .sockjs = ws_sockjs_frames(r)};
    char *uri = r->uri;
    int status;

    if (!ws_upgrade_wanted(r)) {
        return DECLINED;
    }
    ws_upgrade_restore_args(r);
    r->uri = ws_sockjs_handler_uri(r);
    rq.headers = apr_table_make(r->pool, 4);
    status = ws_http2_begin(r) ? upgrade_run(r, &rq) : ws_http2_send_to_http_1_1(r, "a WebSocket");
    ws_http2_end(r);
    ws_upgrade_release(&rq);
    r->uri = uri;
    return status;
}
