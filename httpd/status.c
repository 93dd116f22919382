/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Serves the status page, and closes connections on request. Only a POST with a header that other
 *  sites cannot set closes a connection. */

#include "httpd/status.h"

#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include <scoreboard.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "base/parse.h"
#include "httpd/config.h"
#include "httpd/counters.h"
#include "httpd/connections.h"
#include "httpd/json_answer.h"
#include "httpd/metrics.h"
#include "httpd/query.h"
#include "httpd/refusals.h"
#include "httpd/shm.h"
#include "httpd/upgrade.h"

APLOG_USE_MODULE(websocket);

#define LIMIT_DEFAULT 50
#define LIMIT_MAX 1000

/* The value of the header WebSocket-Status in a request that closes a connection. */
#define CLOSE_WORD "close"

/* The page is in status.html. The assembler includes it. */
__asm__(".pushsection .rodata\n"
        ".hidden ws_status_html\n"
        ".global ws_status_html\n"
        "ws_status_html:\n"
        ".incbin \"httpd/status.html\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char ws_status_html[];

/* ---- The query string ---- */

/* Read a numeric argument into *n. If the argument is missing, *n is unchanged.
 * @return NULL, or the error */
static const char *status_read_number(request_rec *r, const char *name, unsigned max, unsigned *n)
{
    const char *text = ws_argument(r, name);
    apr_int64_t value = *n;
    const char *wrong = text ? ws_parse_count(r->pool, text, 0, max, &value) : NULL;
    *n = (unsigned)value;
    return wrong ? apr_pstrcat(r->pool, name, "= ", wrong, NULL) : NULL;
}

/* Read the arguments of the list. @return NULL, or the error */
static const char *status_read_query(request_rec *r, ws_connections_query *q)
{
    const char *filter = ws_argument(r, "filter"), *sort = ws_argument(r, "sort"), *wrong;
    unsigned descending = 0;
    if (filter && strlen(filter) > WS_CONNECTIONS_FILTER) {
        return apr_psprintf(r->pool, "filter= takes at most %d bytes", WS_CONNECTIONS_FILTER);
    }
    apr_cpystrn(q->filter, filter ? filter : "", sizeof(q->filter));
    q->sort = sort ? NULL : ws_connections_sorts[0];
    for (const char *const *s = ws_connections_sorts; sort && *s; s++) {
        if (!strcmp(*s, sort)) {
            q->sort = *s;
        }
    }
    q->limit = LIMIT_DEFAULT;
    q->offset = 0;
    if (!q->sort) {
        return "sort= takes the name of a column, such as start or bytes_in";
    }
    if ((wrong = status_read_number(r, "descending", 1, &descending))
        || (wrong = status_read_number(r, "limit", LIMIT_MAX, &q->limit))
        || (wrong = status_read_number(r, "offset", WS_CONNECTIONS_MAX - q->limit, &q->offset))) {
        return wrong;
    }
    q->descending = (int)descending;
    return NULL;
}

/* ---- JSON ---- */

static void status_put_text(ws_strbuf *t, const char *name, const char *value)
{
    ws_strbuf_printf(t, ",\"%s\":", name);
    ws_strbuf_json(t, *value ? value : NULL, strlen(value));
}

static void status_put_number(ws_strbuf *t, const char *name, apr_uint64_t n)
{
    ws_strbuf_printf(t, ",\"%s\":%" APR_UINT64_T_FMT, name, n);
}

static void status_put_connection(ws_strbuf *t, const ws_connection_info *l)
{
    static const char *const ways[] = {"direct", "tls", "relay", "sockjs", "outgoing"};
    const char *way = l->carrier                                    ? ws_carrier_name(l->carrier)
                      : l->transport < sizeof(ways) / sizeof(*ways) ? ways[l->transport]
                                                                    : "";
    ws_strbuf_printf(t, "{\"id\":\"%016" APR_UINT64_T_HEX_FMT "\",\"start\":\"", l->id);
    ws_strbuf_time(t, l->start);
    ws_strbuf_puts(t, "\"");
    status_put_text(t, "address", ws_connection_text(l, WS_LISTED_ADDRESS));
    status_put_text(t, "user", ws_connection_text(l, WS_LISTED_USER));
    status_put_text(t, "vhost", ws_connection_text(l, WS_LISTED_VHOST));
    status_put_text(t, "uri", ws_connection_text(l, WS_LISTED_URI));
    status_put_text(t, "subprotocol", ws_connection_text(l, WS_LISTED_SUBPROTOCOL));
    status_put_text(t, "handler", ws_connection_text(l, WS_LISTED_HANDLER));
    status_put_text(t, "way", way);
    status_put_number(t, "version", l->version);
    status_put_number(t, "messages_in", l->messages_in);
    status_put_number(t, "messages_out", l->messages_out);
    status_put_number(t, "bytes_in", l->bytes_in);
    status_put_number(t, "bytes_out", l->bytes_out);
    status_put_number(t, "wire_in", l->wire_in);
    status_put_number(t, "wire_out", l->wire_out);
    status_put_number(t, "queued", l->queued);
    status_put_number(t, "pid", l->pid);
    ws_strbuf_puts(t, "}");
}

static void status_put_children(ws_strbuf *t)
{
    const char *comma = "";
    for (unsigned s = 0; s < ws_shm_slots(); s++) {
        ws_shm_owner owner;
        if (!ws_shm_owner_of(s, &owner)) {
            continue;
        }
        ws_strbuf_printf(t, "%s{\"pid\":%ld,\"generation\":%d,\"started\":\"", comma,
                         (long)owner.pid, owner.generation);
        ws_strbuf_time(t, owner.started_at);
        ws_strbuf_puts(t, "\"");
        status_put_number(t, "process", owner.process & 0xFFFF); /* the same number as in ids */
        status_put_number(t, "connections", ws_counters_open(s));
        ws_strbuf_puts(t, "}");
        comma = ",";
    }
}

static void status_make_json(request_rec *r, const ws_connections_query *q, ws_strbuf *t)
{
    ws_connections list;
    ws_connections_make(r->pool, q, &list);

    ws_strbuf_puts(t, "{\"now\":\"");
    ws_strbuf_time(t, apr_time_now());
    ws_strbuf_puts(t, "\",\"version\":\"" WS_VERSION "\",\"started\":\"");
    ws_strbuf_time(t, ap_get_scoreboard_global()->restart_time);
    ws_strbuf_printf(t, "\",\"closing\":%s,\"counters\":",
                     ws_dir_config_of(r)->status_close > 0 ? "true" : "false");
    ws_metrics_json(t);
    ws_strbuf_puts(t, ",\"children\":[");
    status_put_children(t);
    ws_strbuf_puts(t, "],\"missing\":[");
    for (unsigned i = 0; i < list.missing_count; i++) {
        ws_strbuf_printf(t, "%s%u", i ? "," : "", list.missing[i]);
    }
    ws_strbuf_puts(t, "]");
    status_put_number(t, "matching", list.matching);
    status_put_number(t, "offset", q->offset);
    status_put_number(t, "limit", q->limit);
    ws_strbuf_puts(t, ",\"connections\":[");
    for (unsigned i = 0; i < list.count; i++) {
        ws_strbuf_puts(t, i ? "," : "");
        status_put_connection(t, list.first[i]);
    }
    ws_strbuf_puts(t, "]}\n");
}

/* ---- Responses ---- */

static int status_send_text(request_rec *r, const char *type, ws_strbuf *t)
{
    int status = OK;
    ap_set_content_type(r, type);
    ap_set_content_length(r, (apr_off_t)t->len);
    if (t->broken) {
        status = HTTP_INTERNAL_SERVER_ERROR;
    }
    else if (!r->header_only) {
        ap_rwrite(t->data, (int)t->len, r);
    }
    ws_strbuf_free(t);
    return status;
}

static int status_wants_json(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");
    return accept && ap_strstr_c(accept, "application/json") && !ap_strstr_c(accept, "text/html");
}

static int status_show(request_rec *r)
{
    ws_connections_query q;
    const char *wrong;
    ws_strbuf t = {0};
    /* The list contains private data, and changes every second. */
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    if (ws_argument(r, "prometheus")) {
        ws_metrics_prometheus(&t);
        return status_send_text(r, "text/plain; version=0.0.4; charset=utf-8", &t);
    }
    apr_table_mergen(r->headers_out, "Vary", "Accept");
    if (status_wants_json(r)) {
        if ((wrong = ws_arguments_wrong(r)) || (wrong = status_read_query(r, &q))) {
            return ws_json_refuse(r, "status page", HTTP_BAD_REQUEST, wrong);
        }
        status_make_json(r, &q, &t);
        return status_send_text(r, "application/json", &t);
    }
    /* The page is self-contained. This header forbids browsers to show the page in a frame, which
     * prevents clickjacking. */
    apr_table_setn(
        r->headers_out, "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
    ws_strbuf_puts(&t, ws_status_html);
    return status_send_text(r, "text/html; charset=utf-8", &t);
}

/*
 * Protection against CSRF. A page on another site can send a POST with the user's credentials, but
 * not with a custom header. For such a header, the browser would first send a CORS preflight
 * request, which this server refuses. Browsers also send the origin of a request, which this
 * function checks.
 */
static const char *status_foreign(request_rec *r)
{
    const char *word = apr_table_get(r->headers_in, "WebSocket-Status");
    return word && !strcmp(word, CLOSE_WORD) ? ws_foreign_page(r)
                                             : "it has no header \"WebSocket-Status: " CLOSE_WORD
                                               "\"";
}

static int status_close_one(request_rec *r)
{
    const char *id = ws_argument(r, "close"), *problem = status_foreign(r);
    ws_strbuf t = {0};
    ws_id number;
    int closed;

    if (ws_dir_config_of(r)->status_close <= 0) {
        problem = "this section is read-only (WebSocketStatusClose off)";
    }
    if (problem) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "websocket: refused to close a connection: %s", problem);
        return HTTP_FORBIDDEN;
    }
    if (!id || !ws_parse_id(id, strlen(id), &number)) {
        return HTTP_BAD_REQUEST;
    }
    if ((closed = ap_discard_request_body(r)) != OK) {
        return closed;
    }
    if ((closed = ws_connections_close(number)) < 0) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "websocket: cannot close connection %s: its child does not answer", id);
        return HTTP_GATEWAY_TIME_OUT;
    }
    if (!closed) {
        return HTTP_NOT_FOUND;
    }
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r,
                  "websocket: closing connection %s as requested by %s", id,
                  r->user ? r->user : r->useragent_ip);
    ws_strbuf_printf(&t, "{\"closed\":\"%s\"}\n", id);
    return status_send_text(r, "application/json", &t);
}

int ws_status_handler(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, "websocket-status")) {
        return DECLINED;
    }
    if (ws_dir_config_of(r)->access.overruled) {
        ws_refusal_log(
            r, WS_REFUSAL_ACCESS,
            "status page refused with 403: a later section, such as a virtual host's <Location "
            "\"/\">, replaces the Require of the section with SetHandler: add \"AuthMerging "
            "And\" to that later section, or move the page to a separate virtual host");
        return HTTP_FORBIDDEN;
    }
    if (!ws_access_decided(r)) {
        ws_refusal_log(
            r, WS_REFUSAL_ACCESS,
            "status page refused with 403: no Require protects %s: add one to its section, such as "
            "\"Require local\"",
            r->method_number == M_POST ? "closing connections" : "it");
        return HTTP_FORBIDDEN;
    }
    ws_upgrade_restore_args(r);
    r->allowed |= AP_METHOD_BIT << M_GET | AP_METHOD_BIT << M_POST;
    switch (r->method_number) {
    case M_GET:
        return status_show(r);
    case M_POST:
        return status_close_one(r);
    default:
        return DECLINED;
    }
}

void ws_status_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_handler(ws_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
}
