/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/sse.h"

#include <apr_base64.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <http_log.h>
#include <http_protocol.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/json.h"
#include "base/parse.h"
#include "httpd/query.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/limits.h"
#include "httpd/response_headers.h"
#include "httpd/takeover.h"
#include "httpd/upgrade.h"

APLOG_USE_MODULE(websocket);

/* So often a line that means nothing is sent, which keeps proxies from ending a silent answer, ms. */
#define HEARTBEAT 15000

/* How long a poll waits for a message, if its wait= does not say, and at most; milliseconds. */
#define WAIT_DEFAULT 30000
#define WAIT_MAX 120000

/* A poll is answered as soon as there is so much, bytes. */
#define ANSWER_MAX (1024 * 1024)

/* The form of an event that all streams share. */
#define AS_EVENT 2

/* A subscriber. Belongs to its connection. */
typedef struct stream {
    ws_ticket ticket; /* releases it */
    ws_subscription how;
    int polls;
    apr_uint32_t wait;  /* of a poll, milliseconds */
    char *head;         /* of a poll's answer; NULL: somebody else sends it */
    ws_strbuf messages; /* of a poll */
    ws_position at;
    int gap, live, answered;
    char channel[WS_CHANNEL_MAX + 1];
} stream;

static void add_position(ws_strbuf *t, const char *before, ws_position p, const char *behind)
{
    char text[WS_POSITION_SIZE];
    if (p.epoch) {
        ws_strbuf_printf(t, "%s%s%s", before, ws_print_position(p, text), behind);
    }
}

/* ---- EventSource: HTML Living Standard, section 9.2 ---- */

/* A line for each of the data's, whichever way they end. */
static void add_lines(ws_strbuf *t, const char *data, apr_size_t len)
{
    const char *end = data + len;
    for (;;) {
        const char *eol = data;
        while (eol < end && *eol != '\n' && *eol != '\r') {
            eol++;
        }
        ws_strbuf_puts(t, "data: ");
        ws_strbuf_add(t, data, (apr_size_t)(eol - data));
        ws_strbuf_puts(t, "\n");
        if (eol == end) {
            return;
        }
        data = eol + (*eol == '\r' && eol + 1 < end && eol[1] == '\n' ? 2 : 1);
    }
}

static char *base64(const char *data, apr_size_t len)
{
    char *text = malloc((apr_size_t)apr_base64_encode_len((int)len) + 1);
    if (text) {
        apr_base64_encode_binary(text, (const unsigned char *)data, (int)len);
    }
    return text;
}

static int as_event(const ws_event *e)
{
    ws_strbuf t = {NULL, 0, 0, 0};
    int form = WS_FORM_NONE;

    if (ws_event_has_form(e, AS_EVENT)) {
        return AS_EVENT;
    }
    if (e->kind != WS_EVENT_GAP) { /* what comes next has one */
        add_position(&t, "id: ", e->position, "\n");
    }
    if (e->kind == WS_EVENT_MESSAGE && e->type == WS_TEXT) {
        add_lines(&t, e->data, e->len);
    }
    else if (e->kind == WS_EVENT_MESSAGE) {
        char *text = base64(e->data, e->len);
        ws_strbuf_puts(&t, "event: binary\n");
        add_lines(&t, text ? text : "", text ? strlen(text) : 0);
        t.broken |= !text;
        free(text);
    }
    else {
        ws_strbuf_puts(&t,
                       e->kind == WS_EVENT_GAP ? "event: gap\ndata:\n" : "event: live\ndata:\n");
    }
    ws_strbuf_puts(&t, "\n");
    if (!t.broken) {
        form = ws_event_form(e, AS_EVENT, WS_TEXT, t.data, t.len);
    }
    ws_strbuf_free(&t);
    return form;
}

static void beat(ws_conn *c, void *arg)
{
    (void)arg;
    ws_send(c, WS_TEXT, ":\n\n", 3);
}

/* ---- Long polling ---- */

static void answer(ws_conn *c, stream *s)
{
    ws_strbuf body = {NULL, 0, 0, 0}, t = {NULL, 0, 0, 0};
    if (s->answered) {
        return;
    }
    s->answered = 1;
    ws_strbuf_puts(&body, "{\"channel\":");
    ws_strbuf_json(&body, s->channel, strlen(s->channel));
    ws_strbuf_puts(&body, ",\"messages\":[");
    ws_strbuf_add(&body, s->messages.data, s->messages.len);
    ws_strbuf_printf(&body, "],\"gap\":%s", s->gap ? "true" : "false");
    add_position(&body, ",\"position\":\"", s->at, "\"");
    ws_strbuf_puts(&body, "}\n");
    if (s->head) {
        ws_strbuf_printf(&t, "%sContent-Length: %" APR_SIZE_T_FMT "\r\n\r\n", s->head, body.len);
    }
    ws_strbuf_add(&t, body.data, body.len);
    if (!t.broken && !body.broken && !s->messages.broken) {
        ws_send(c, WS_TEXT, t.data, t.len);
    }
    ws_close(c, WS_CLOSE_NORMAL, NULL);
    ws_strbuf_free(&body);
    ws_strbuf_free(&t);
}

static void waited(ws_conn *c, void *arg)
{
    answer(c, arg);
}

static void collect(stream *s, const ws_event *e)
{
    ws_strbuf *t = &s->messages;
    char *text = e->type == WS_BINARY ? base64(e->data, e->len) : NULL;
    ws_strbuf_puts(t, t->len ? ",{\"data\":" : "{\"data\":");
    if (e->type == WS_BINARY) {
        ws_strbuf_printf(t, "\"%s\",\"encoding\":\"base64\"", text ? text : "");
        t->broken |= !text;
    }
    else {
        ws_strbuf_json(t, e->data, e->len);
    }
    add_position(t, ",\"position\":\"", e->position, "\"");
    ws_strbuf_puts(t, "}");
    free(text);
}

static void on_polled_event(ws_conn *c, stream *s, const ws_event *e)
{
    if (s->answered) {
        return;
    }
    if (e->kind == WS_EVENT_MESSAGE) {
        collect(s, e);
    }
    s->gap |= e->kind == WS_EVENT_GAP;
    s->live |= e->kind == WS_EVENT_LIVE;
    if (e->position.epoch) {
        s->at = e->position;
    }
    if ((s->live && (s->messages.len || s->gap)) || s->messages.len > ANSWER_MAX) {
        answer(c, s);
    }
}

/* ---- The handler ---- */

static void on_open(ws_conn *c)
{
    stream *s = ws_data(c);
    if (ws_subscribe(c, s->channel, &s->how) < 0) {
        ws_close(c, WS_CLOSE_TRY_LATER, NULL);
        return;
    }
    if (s->polls) {
        ws_timer_start(c, s->wait, 0, waited, s);
    }
    else {
        ws_timer_start(c, HEARTBEAT, HEARTBEAT, beat, NULL);
    }
}

static int on_channel(ws_conn *c, const ws_event *e)
{
    stream *s = ws_data(c);
    if (e->kind == WS_EVENT_JOIN || e->kind == WS_EVENT_LEAVE) {
        return WS_FORM_NONE;
    }
    if (!s->polls) {
        return as_event(e);
    }
    on_polled_event(c, s, e);
    return WS_FORM_NONE;
}

static const ws_handler handler = {.on_open = on_open, .on_channel = on_channel};

static ws_handler_line *registration;

void ws_sse_register(apr_pool_t *pconf)
{
    registration = apr_pcalloc(pconf, sizeof(*registration));
    registration->location.handler = &handler;
    registration->location.name = "event-stream";
    APR_ARRAY_PUSH(ws_handler_lines, ws_handler_line *) = registration;
}

/* ---- The request ---- */

static int accepts_events(const request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");
    return accept && ap_strcasestr(accept, "text/event-stream") != NULL;
}

int ws_sse_wanted(request_rec *r)
{
    return accepts_events(r) || ws_argument(r, "after") != NULL;
}

static void release(ws_ticket *ticket)
{
    stream *s = (stream *)ticket;
    ws_strbuf_free(&s->messages);
    free(s->head);
    free(s);
}

static int add_line(void *t, const char *name, const char *value)
{
    ws_strbuf_printf(t, "%s: %s\r\n", name, value);
    return 1;
}

/* The headers of an answer that is not httpd's to send; NULL if one of them may not be sent. */
static const apr_table_t *headers_of(request_rec *r)
{
    static const char *const ours[] = {"Date",       "Server",         "Content-Type",
                                       "Connection", "Content-Length", "Transfer-Encoding"};
    apr_table_t *before[2] = {apr_table_copy(r->pool, r->headers_out),
                              apr_table_copy(r->pool, r->err_headers_out)};
    char *date = apr_palloc(r->pool, APR_RFC822_DATE_LEN);
    apr_table_t *first = apr_table_make(r->pool, 4), *all;

    ws_upgrade_run_mod_headers(r);
    all = apr_table_overlay(r->pool, r->headers_out, r->err_headers_out);
    for (unsigned i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
        apr_table_unset(all, ours[i]);
    }
    apr_rfc822_date(date, apr_time_now());
    apr_table_setn(first, "Date", date);
    apr_table_setn(first, "Server", ap_get_server_banner());
    apr_table_setn(first, "Content-Type", r->content_type);
    apr_table_setn(first, "Connection", "close");
    all = apr_table_overlay(r->pool, first, all);
    if (!ws_response_headers_valid(r, all)) {
        r->headers_out = before[0];
        r->err_headers_out = before[1];
        r->content_type = NULL;
        return NULL;
    }
    return all;
}

static ws_strbuf head_of(const apr_table_t *headers)
{
    ws_strbuf t = {NULL, 0, 0, 0};
    ws_strbuf_puts(&t, "HTTP/1.1 200 OK\r\n");
    apr_table_do(add_line, &t, headers, NULL);
    return t;
}

/* What the engine says to its end of a pair of sockets is the body of an ordinary answer. */
static int pump(request_rec *r, ws_new_conn *n)
{
    char buffer[8192];
    int pair[2];
    if (ap_rflush(r) < 0) { /* httpd's check refuses a header: it has answered */
        ws_new_conn_drop(n);
        return DONE;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        ws_new_conn_drop(n);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    n->fd = pair[0];
    n->relayed = 1;
    if (ws_engine_add(ws_child_engine(), n) != APR_SUCCESS) {
        close(pair[1]);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    for (;;) {
        struct pollfd p = {.fd = pair[1], .events = POLLIN};
        ssize_t got;
        if (poll(&p, 1, 1000) < 0 && errno != EINTR) {
            break;
        }
        got = read(pair[1], buffer, sizeof(buffer));
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR) || r->connection->aborted
            || (got > 0 && (ap_rwrite(buffer, (int)got, r) < 0 || ap_rflush(r) < 0))
            || (got < 0 && ws_child_check())) {
            break;
        }
    }
    close(pair[1]);
    return OK;
}

static int take_over(request_rec *r, ws_new_conn *n, stream *s)
{
    conn_rec *c = r->connection;
    const apr_table_t *headers = headers_of(r);
    ws_strbuf head;
    apr_status_t rv;

    if (!headers) {
        ws_new_conn_drop(n);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    head = head_of(headers);
    if (s->polls) {
        ws_strbuf_add(&head, "", 1);
        s->head = head.data; /* it goes out with the answer */
    }
    else {
        apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
        ws_strbuf_puts(&head, "\r\n");
        apr_brigade_write(bb, NULL, NULL, head.data, head.len);
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
        if (ap_pass_brigade(c->output_filters, bb) != APR_SUCCESS) {
            c->aborted = 1;
        }
        ws_strbuf_free(&head);
    }
    ap_remove_input_filter_byhandle(c->input_filters, "reqtimeout");
    rv = c->aborted || head.broken ? APR_EGENERAL : ws_takeover(r, n);
    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, rv, r,
                      "websocket: the connection could not be taken over");
        c->aborted = 1;
        c->keepalive = AP_CONN_CLOSE;
        ws_new_conn_drop(n);
        return DONE;
    }
    return OK;
}

int ws_sse_serve(request_rec *r, const char *channel)
{
    const ws_settings *settings = ws_settings_of(r);
    const char *after = apr_table_get(r->headers_in, "Last-Event-ID"), *wait, *obstacle;
    ws_new_conn n = {.fd = -1, .location = &registration->location, .version = WS_VERSION_STREAM};
    ws_ticket *tickets = NULL;
    stream *s;
    ws_position position = {0, 0};
    apr_int64_t ms = WAIT_DEFAULT;
    int status;

    if (!after || !*after) {
        after = ws_argument(r, "after");
    }
    wait = ws_argument(r, "wait");
    if ((after && *after && !ws_parse_position(after, &position))
        || (wait && ws_parse_interval(NULL, wait, 0, WS_INTERVAL_MAX, &ms))) {
        return HTTP_BAD_REQUEST;
    }
    ap_set_content_type(r, accepts_events(r) ? "text/event-stream" : "application/json");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Accel-Buffering", "no"); /* for proxies that collect */
    if (r->header_only) {
        return OK;
    }
    if (!settings || !ws_child_engine() || !(s = calloc(1, sizeof(*s)))) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    s->ticket.release = release;
    s->polls = !accepts_events(r);
    s->wait = ms > WAIT_MAX ? WAIT_MAX : (apr_uint32_t)ms;
    apr_cpystrn(s->channel, channel, sizeof(s->channel));
    if (after && *after) {
        s->how.flags = WS_RESUME;
        s->how.after = position;
    }
    if ((status = ap_discard_request_body(r)) != OK
        || (status = ws_limits_admit(r, ws_dir_config_of(r)->limits, &tickets)) != OK
        || (status = ws_upgrade_keep_request(r, settings, &tickets)) != OK) {
        ws_tickets_release(tickets);
        release(&s->ticket);
        return status;
    }
    s->ticket.next = tickets;
    n.ticket = &s->ticket;
    n.settings = settings;
    n.data = s;
    n.strings =
        (ws_strings){.uri = r->uri, .args = r->args, .user = r->user, .peer = r->useragent_ip};
    obstacle = ws_dir_config_of(r)->relay > 0 ? "WebSocketRelay is on"
                                              : ws_takeover_obstacle(r->connection);
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "websocket: channel %s: %s%s%s", channel,
                  s->polls ? "a poll" : "an event stream",
                  obstacle ? ", with a thread of httpd's: " : "", obstacle ? obstacle : "");
    return obstacle ? pump(r, &n) : take_over(r, &n, s);
}
