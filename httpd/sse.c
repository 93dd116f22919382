/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Accepts event streams (EventSource) and polls (long polling). The engine takes over their
 *  connections like those of WebSockets, or a relay copies the bytes. */

#include "httpd/sse.h"

#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "engine/hash.h"
#include "httpd/query.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/http2.h"
#include "httpd/json_answer.h"
#include "httpd/limits.h"
#include "httpd/relay.h"
#include "httpd/response_headers.h"
#include "httpd/settings.h"
#include "httpd/sse_stream.h"
#include "httpd/takeover.h"
#include "httpd/token_conn.h"
#include "httpd/upgrade.h"
#include "protocol/framing.h"

APLOG_USE_MODULE(websocket);

/* Timeout of a poll without wait=, and maximum for wait=, milliseconds. */
#define WAIT_DEFAULT 30000
#define WAIT_MAX 120000

/* Maximum for last=, messages. */
#define LAST_MAX 1000000

static ws_handler_line *registration;

void ws_sse_register(apr_pool_t *pconf)
{
    registration = apr_pcalloc(pconf, sizeof(*registration));
    registration->location.handler = &ws_sse_stream_handler;
    registration->location.name = "event-stream";
    APR_ARRAY_PUSH(ws_handler_lines, ws_handler_line *) = registration;
}

/* ---- The request ---- */

static int sse_accepts_events(const request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");
    return accept && ap_strcasestr(accept, "text/event-stream") != NULL;
}

int ws_sse_wanted(request_rec *r)
{
    return sse_accepts_events(r) || ws_argument(r, "after") || ws_argument(r, "last");
}

static int sse_take_over(request_rec *r, ws_new_conn *n, ws_sse_stream *s)
{
    conn_rec *c = r->connection;
    const char *head = ws_response_head(r, NULL);
    apr_status_t rv;

    if (!head) {
        ws_new_conn_drop(n);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (s->polls) {
        s->head = strndup(head, strlen(head) - 2); /* sse_stream.c adds Content-Length */
    }
    else {
        apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
        apr_brigade_puts(bb, NULL, NULL, head);
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
        if (ap_pass_brigade(c->output_filters, bb) != APR_SUCCESS) {
            c->aborted = 1;
        }
    }
    ap_remove_input_filter_byhandle(c->input_filters, "reqtimeout");
    rv = c->aborted || (s->polls && !s->head) ? APR_EGENERAL : ws_takeover(r, n);
    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, rv, r, "websocket: cannot take over the connection");
        c->aborted = 1;
        c->keepalive = AP_CONN_CLOSE;
        ws_new_conn_drop(n);
        return DONE;
    }
    return OK;
}

/* Read last=, unless a position is given. @return NULL, or the error */
static const char *sse_read_last(request_rec *r, ws_sse_stream *s, int resumes)
{
    const char *last = ws_argument(r, "last"), *wrong;
    apr_int64_t n;
    if (!last) {
        return NULL;
    }
    if ((wrong = ws_parse_count(r->pool, last, 1, LAST_MAX, &n))) {
        return apr_pstrcat(r->pool, "last= ", wrong, NULL);
    }
    for (unsigned i = 0; !resumes && i < s->count; i++) {
        s->channels[i].last = (apr_uint32_t)n;
    }
    return NULL;
}

/* Read the arguments of a subscriber's request. @return NULL, or the error */
static const char *sse_read_arguments(request_rec *r, ws_sse_stream *s)
{
    /* EventSource sends Last-Event-ID when it reconnects, with the arguments of the first URL. */
    const char *resumed = apr_table_get(r->headers_in, "Last-Event-ID");
    const char *wait = ws_argument(r, "wait"), *format = ws_argument(r, "format"), *wrong;
    const char *after = ws_argument(r, "after");
    apr_int64_t ms = WAIT_DEFAULT;
    if (after && *after && ws_argument(r, "last")) {
        return "after= and last= exclude each other: remove one";
    }
    after = resumed && *resumed ? resumed : after;
    if ((wrong = sse_read_last(r, s, after && *after))) {
        return wrong;
    }
    if (format && strcmp(format, "json") != 0) {
        return "format= takes json";
    }
    if (after && *after && !ws_sse_stream_resume(s, after)) {
        return "after= or Last-Event-ID takes a position for each channel, all or last";
    }
    if (wait && (wrong = ws_parse_interval(r->pool, wait, 0, WS_INTERVAL_MAX, &ms))) {
        return apr_pstrcat(r->pool, "wait= ", wrong, NULL);
    }
    s->json |= format != NULL;
    s->polls = !sse_accepts_events(r);
    s->wait = ms > WAIT_MAX ? WAIT_MAX : (apr_uint32_t)ms;
    return NULL;
}

/* ---- The warning about many streams ---- */

/* Maximum number of HTTP/1.1 connections from a browser to one server. If a browser has this many
 * streams, its other requests have to wait. */
#define BROWSER_CONNECTIONS 6

/* Number of open streams in this process. A hash of address and User-Agent selects the counter of a
 * client. If two clients share a counter, the warning comes too early. */
static apr_uint32_t hint_counts[1024]; /* atomic */

typedef struct hint_ticket {
    ws_ticket ticket; /* must be first */
    apr_uint32_t *count;
} hint_ticket;

static void hint_release(ws_ticket *ticket)
{
    __atomic_sub_fetch(((hint_ticket *)ticket)->count, 1, __ATOMIC_RELAXED);
    free(ticket);
}

/* Count a stream. Warn once if a client has so many that its other requests have to wait. */
static void hint_count(request_rec *r, ws_ticket **tickets)
{
    static int told;
    const char *agent = apr_table_get(r->headers_in, "User-Agent");
    const char *client = apr_pstrcat(r->pool, r->useragent_ip, " ", agent ? agent : "", NULL);
    hint_ticket *t = malloc(sizeof(*t));
    apr_uint32_t n;
    if (!t) {
        return;
    }
    t->count = &hint_counts[ws_hash(0, client, strlen(client)) % 1024];
    t->ticket.release = hint_release;
    t->ticket.next = *tickets;
    *tickets = &t->ticket;
    n = __atomic_add_fetch(t->count, 1, __ATOMIC_RELAXED);
    if (n >= BROWSER_CONNECTIONS && !__atomic_exchange_n(&told, 1, __ATOMIC_RELAXED)) {
        ap_log_rerror(
            APLOG_MARK, APLOG_WARNING, 0, r,
            "websocket: channels: one client has %u event streams open, and a browser opens at "
            "most six connections over HTTP/1.1: subscribe to several channels with one stream, "
            "or use a WebSocket",
            n);
    }
}

/* Admit a subscriber and hand its connection over. Takes ownership of the stream. @return the
 * return value for httpd's handler */
static int sse_serve(request_rec *r, const ws_settings *settings, ws_sse_stream *s)
{
    ws_new_conn n = {.fd = -1, .location = &registration->location, .framing = &ws_framing_raw};
    ws_ticket *tickets = NULL;
    const char *obstacle;
    int status;

    if ((status = ap_discard_request_body(r)) != OK
        || (status = ws_limits_admit(r, ws_dir_config_of(r)->limits, &tickets)) != OK
        || (status = ws_upgrade_keep_request(r, settings, &tickets)) != OK
        || (status = ws_token_conn_attach(r, settings, &tickets)) != OK) {
        ws_tickets_release(tickets);
        ws_sse_stream_free(s);
        return status;
    }
    if (!s->polls) {
        hint_count(r, &tickets);
    }
    s->ticket.next = tickets;
    n.ticket = &s->ticket;
    n.settings = settings;
    n.data = s;
    n.strings =
        (ws_strings){.uri = r->uri, .args = r->args, .user = r->user, .peer = r->useragent_ip};
    obstacle = ws_relay_reason(r, 1);
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "websocket: channel %s, the first of %u: %s%s%s",
                  s->channels[0].name, s->count, s->polls ? "a poll" : "an event stream",
                  obstacle ? ", which occupies a worker thread: " : "", obstacle ? obstacle : "");
    return obstacle ? ws_relay_answer(r, &n) : sse_take_over(r, &n, s);
}

/* Refuse an SSI include, because the page itself still needs the connection. */
static int sse_included(request_rec *r)
{
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  "websocket: refused with 403: a page includes %s (SSI), but a subscriber needs "
                  "a separate connection: let a script in the page subscribe",
                  r->uri);
    return HTTP_FORBIDDEN;
}

int ws_sse_serve(request_rec *r, const apr_array_header_t *names)
{
    const ws_settings *settings = ws_settings_of(r);
    ws_sse_stream *s = ws_sse_stream_new(names);
    const char *wrong;

    if (!settings || !ws_child_engine() || !s) {
        free(s);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if ((wrong = sse_read_arguments(r, s))) {
        ws_sse_stream_free(s);
        return ws_json_refuse(r, "channels", HTTP_BAD_REQUEST, wrong);
    }
    ap_set_content_type(r, s->polls ? "application/json" : "text/event-stream");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Accel-Buffering", "no"); /* tells proxies not to buffer */
    if (r->header_only || r->main || ws_http2_unwanted(r)) {
        const char *what = s->polls ? "a poll" : "an event stream";
        ws_sse_stream_free(s);
        return r->header_only ? OK : r->main ? sse_included(r) : ws_http2_send_to_http_1_1(r, what);
    }
    return sse_serve(r, settings, s);
}
