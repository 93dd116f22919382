/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * An application in any language: the events of a connection are HTTP requests, and their answers say what
 * is to be done.
 *
 *     WebSocketHandler ws_http.so to=/chat.php [KEY=VALUE...]
 *
 * docs/applications.md tells all of it. A connection has one request under way at most; what comes meanwhile
 * goes in the next one. One thread for each line of the configuration and child process asks the application
 * (courier.c): close events are tried again when the connection is gone, and connections to the application
 * are kept and counted for all of them.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ap_mpm.h>
#include <apr_strings.h>
#include <httpd.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>

#include "courier.h"
#include "describe.h"
#include "form.h"

/* What waits for the application, before the client is not read any more. */
#define PENDING_MAX (64 * 1024)
#define MESSAGES_MAX 256

/* In the connection's pool. But for the session all is the loop's. */
typedef struct {
    session *session;
    form pending; /* messages of the next request */
    unsigned messages;
    size_t bytes;
    int busy; /* a request is under way */
    int over; /* the close event is on its way */
    answer opening;
} client;

/* ---- Jobs ---- */

static form http_event(const session *s, const char *event)
{
    form f = {0};
    form_add(&f, "event", event, strlen(event));
    form_add(&f, "id", s->id, strlen(s->id));
    return f;
}

/* @return 0: no memory */
static int http_ask(session *s, job_kind kind, form *f, void (*done)(job *j), void *arg)
{
    job *j = f->failed ? NULL : calloc(1, sizeof(*j));
    if (!j) {
        free(f->text);
        return 0;
    }
    session_ref(s);
    j->kind = kind;
    j->session = s;
    j->form = f->text;
    j->form_len = f->len;
    j->done = done;
    j->arg = arg;
    courier_take(j);
    return 1;
}

/* ---- Messages ---- */

static void http_publish(const answer *a, const char *data, size_t len)
{
    ws_status status = ws_publish(a->publish, a->type, data, len, 0, NULL, NULL);
    if (status < 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                     "websocket: http: not published to %s: %d", a->publish, (int)status);
    }
}

/* Without a connection, c NULL, only others can be told. */
static void http_say(ws_conn *c, const answer *a, const char *data, size_t len)
{
    if (a->publish) {
        http_publish(a, data, len);
    }
    else if (c) {
        ws_send(c, a->type, data, len);
    }
}

static void http_say_lines(ws_conn *c, const answer *a)
{
    for (const char *line = a->body, *end = a->body + a->len; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((newline ? newline : end) - line), text = len;
        if (text && line[text - 1] == '\r') {
            text--;
        }
        if (text) {
            http_say(c, a, line, text);
        }
        line += len + 1;
    }
}

static void http_subscribe(ws_conn *c, const answer *a)
{
    for (const struct curl_slist *name = a->unsubscribe; name; name = name->next) {
        ws_unsubscribe(c, name->data);
    }
    for (const struct curl_slist *name = a->subscribe; name; name = name->next) {
        ws_status status = ws_subscribe(c, name->data, NULL);
        if (status < 0) {
            ws_conn_log(c, WS_LOG_WARNING, "http: not subscribed to %s: %d", name->data,
                        (int)status);
        }
    }
}

static void http_obey(ws_conn *c, const answer *a)
{
    if (c) {
        http_subscribe(c, a);
    }
    if (a->lines && a->len) {
        http_say_lines(c, a);
    }
    else if (a->len) {
        http_say(c, a, a->body, a->len);
    }
    if (c && a->close) {
        ws_close(c, a->close, a->reason);
    }
}

static void http_fail(ws_conn *c, const answer *a)
{
    ws_conn_log(c, WS_LOG_WARNING, "http: the application's answer to a message: %s", a->error);
    if (a->kind == ANSWER_DOWN) {
        ws_close(c, WS_CLOSE_TRY_LATER, "the application does not answer");
    }
    else if (a->kind == ANSWER_REFUSAL) {
        ws_close(c, WS_CLOSE_POLICY, "the application refuses the message");
    }
    else {
        ws_close(c, WS_CLOSE_INTERNAL, "the application's answer cannot be used");
    }
}

static void http_next(ws_conn *c);

static void http_answered(ws_conn *c, void *arg)
{
    job *j = arg;
    client *k = c ? ws_data(c) : NULL;
    if (j->answer.kind == ANSWER_GOOD) {
        http_obey(c, &j->answer);
    }
    else if (c) {
        http_fail(c, &j->answer);
    }
    if (k) {
        k->busy = 0;
        http_next(c);
    }
    job_free(j);
}

/* On the courier's thread. */
static void http_done(job *j)
{
    if (ws_run(j->session->conn, http_answered, j) != WS_QUEUED) {
        http_answered(NULL, j);
    }
}

/* What has come goes to the application. @return 0: no memory */
static int http_ask_pending(client *k)
{
    form f = k->pending;
    memset(&k->pending, 0, sizeof(k->pending));
    k->messages = 0;
    k->bytes = 0;
    return http_ask(k->session, JOB_MESSAGES, &f, http_done, NULL);
}

static void http_next(ws_conn *c)
{
    client *k = ws_data(c);
    if (k->busy || !k->messages || ws_conn_state(c) != WS_OPEN) {
        return;
    }
    if (!courier_has_room(k->session->courier)) {
        ws_conn_log(c, WS_LOG_WARNING,
                    "http: as many connections wait for the application as queue= allows");
        ws_close(c, WS_CLOSE_TRY_LATER, "too many wait for the application");
        return;
    }
    k->busy = 1;
    if (!http_ask_pending(k)) {
        ws_close(c, WS_CLOSE_INTERNAL, "out of memory");
    }
    ws_resume(c);
}

static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    client *k = ws_data(c);
    const char *name = type == WS_TEXT ? "text" : "binary";
    if (!k->messages) {
        k->pending = http_event(k->session, "message");
    }
    form_add(&k->pending, "type%5B%5D", name, strlen(name));
    form_add(&k->pending, "data%5B%5D", data, len);
    k->messages++;
    k->bytes += len;
    http_next(c);
    if (k->bytes >= PENDING_MAX || k->messages >= MESSAGES_MAX) {
        ws_pause(c);
    }
}

/* ---- The end ---- */

static void http_closed(job *j)
{
    if (j->answer.kind != ANSWER_GOOD) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                     "websocket: http: the application was not told of a connection's end: id %s, "
                     "%s: %s",
                     j->session->id, j->session->url, j->answer.error);
    }
    else {
        http_obey(NULL, &j->answer);
    }
    job_free(j);
}

static void http_leave(client *k, int code, const char *reason, apr_size_t len)
{
    form f = http_event(k->session, "close");
    char number[16];
    if (k->over) {
        return;
    }
    k->over = 1;
    if (k->messages) {
        http_ask_pending(k);
    }
    form_add(&f, "code", number, (size_t)snprintf(number, sizeof(number), "%d", code));
    form_add(&f, "reason", reason, len);
    http_ask(k->session, JOB_CLOSE, &f, http_closed, NULL);
}

static void on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    http_leave(ws_data(c), code, reason, len);
}

/* The connection has ended, or has not come to be. */
static apr_status_t http_forget(void *data)
{
    client *k = data;
    http_leave(k, WS_CLOSE_ABNORMAL, "", 0);
    free(k->pending.text);
    answer_free(&k->opening);
    session_unref(k->session);
    return APR_SUCCESS;
}

/* ---- The handshake ---- */

/* What a thread of httpd waits for. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t told;
    int over;
    answer *answer;
} outcome;

/* On the courier's thread. */
static void http_opened(job *j)
{
    outcome *o = j->arg;
    pthread_mutex_lock(&o->lock);
    *o->answer = j->answer;
    memset(&j->answer, 0, sizeof(j->answer));
    o->over = 1;
    pthread_cond_signal(&o->told);
    pthread_mutex_unlock(&o->lock);
    job_free(j);
}

static int http_ask_open(ws_request *rq, session *s, answer *a)
{
    outcome o = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, a};
    const char *protocols = ws_request_protocols(rq);
    form f = http_event(s, "open");
    form_add(&f, "protocols", protocols ? protocols : "", protocols ? strlen(protocols) : 0);
    if (!http_ask(s, JOB_OPEN, &f, http_opened, &o)) {
        return 0;
    }
    pthread_mutex_lock(&o.lock);
    while (!o.over) { /* its time is limited */
        pthread_cond_wait(&o.told, &o.lock);
    }
    pthread_mutex_unlock(&o.lock);
    return 1;
}

/* With the application's own words. */
static int http_refuse(request_rec *r, const answer *a)
{
    int status = a->status >= 400 && a->status <= 599 ? (int)a->status : HTTP_BAD_GATEWAY;
    ap_log_rerror(APLOG_MARK, a->kind == ANSWER_REFUSAL ? APLOG_INFO : APLOG_WARNING, 0, r,
                  "websocket: http: the application's answer to the handshake: %s", a->error);
    if (status == a->status && a->len && a->type == WS_TEXT) {
        const char *text = a->html ? a->body : ap_escape_html(r->pool, a->body);
        ap_custom_response(r, status, apr_pstrcat(r->pool, "\"", text, NULL));
    }
    return status;
}

static int http_accept(ws_request *rq, const answer *a)
{
    if (a->protocol && ws_request_choose_protocol(rq, a->protocol) != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, ws_request_rec(rq),
                      "websocket: http: the application chooses a subprotocol that the client does "
                      "not offer");
        return HTTP_BAD_GATEWAY;
    }
    for (const struct curl_slist *cookie = a->cookies; cookie; cookie = cookie->next) {
        ws_request_add_header(rq, "Set-Cookie", cookie->data);
    }
    return 0;
}

static int http_open(ws_request *rq, client *k)
{
    request_rec *r = ws_request_rec(rq);
    if (!http_ask_open(rq, k->session, &k->opening)) {
        k->over = 1;
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (k->opening.kind == ANSWER_GOOD) {
        return http_accept(rq, &k->opening);
    }
    /* Whether it has seen the event is open only where there was no answer. */
    k->over = k->opening.status != 0;
    return http_refuse(r, &k->opening);
}

static int http_too_busy(ws_request *rq, const http_config *config)
{
    if (config->courier && !courier_is_open(config->courier) && courier_has_room(config->courier)) {
        return 0;
    }
    ws_request_add_header(
        rq, "Retry-After",
        apr_psprintf(ws_request_rec(rq)->pool, "%u", (config->retry + 999) / 1000));
    return 1;
}

static int on_request(ws_request *rq, void *data)
{
    http_config *config = data;
    apr_pool_t *pool;
    client *k;
    int status;

    if (http_too_busy(rq, config) || !(pool = ws_request_pool(rq))) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    k = apr_pcalloc(pool, sizeof(*k));
    if (!(k->session = session_new(config->courier))) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    k->over = 1;
    apr_pool_cleanup_register(pool, k, http_forget, apr_pool_cleanup_null);
    if ((status = describe_session(rq, config, k->session))) {
        return status;
    }
    k->over = 0;
    ws_request_set_data(rq, k);
    return http_open(rq, k);
}

static void on_open(ws_conn *c)
{
    client *k = ws_data(c);
    k->session->conn = ws_conn_id(c);
    http_obey(c, &k->opening);
    answer_free(&k->opening);
}

/* ---- The child process ---- */

static apr_status_t http_start(apr_pool_t *pchild, void *data, ws_location *here)
{
    http_config *config = data;
    (void)pchild, (void)here;
    ap_mpm_query(AP_MPMQ_IS_ASYNC, &config->keepalive);
    config->courier = courier_start(config);
    return config->courier ? APR_SUCCESS : APR_ENOMEM;
}

static void http_stop(void *data)
{
    http_config *config = data;
    courier_stop(config->courier);
    config->courier = NULL;
}

WS_HANDLER(http) = {.configure = http_configure,
                    .start = http_start,
                    .stop = http_stop,
                    .on_request = on_request,
                    .on_open = on_open,
                    .on_message = on_message,
                    .on_close = on_close};
