/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Connects applications in any language. The handler sends each event of a connection as an HTTP
 * request, and the response contains the actions to take.
 *
 *     WebSocketHandler ws_http.so to=/chat.php [KEY=VALUE...]
 *
 * See docs/applications.md. A connection has at most one request in progress. Messages that arrive
 * in the meantime are sent together in the next request. In each child process, one thread per
 * WebSocketHandler line sends the requests (courier.c). Therefore the handler can repeat a close
 * event after the WebSocket has ended, and all WebSockets share the connections to the application.
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
#include <http_protocol.h>

#include "courier.h"
#include "describe.h"
#include "form.h"
#include "grip.h"
#include "orders.h"

/* Do not read from a client while at least this many bytes, or this many messages, of the client
 * are queued for the application. */
#define PENDING_MAX (64 * 1024)
#define MESSAGES_MAX 256

/* The state of a connection, in the connection's pool. Only the session is shared with other
 * threads. */
typedef struct {
    session *session;
    form pending; /* messages for the next request */
    unsigned messages;
    size_t bytes;
    int busy; /* 1: a request is in progress */
    int over; /* 1: the close event has been queued, or is not needed */
    answer opening;

    orders_grip grip;
    long keepalive;   /* idle time after which an empty request is sent, seconds; 0: never */
    ws_timer *silent; /* timer for the empty request; NULL: not running */
} client;

/* ---- Jobs ---- */

/* If the connection already exists, add its id for the control API. */
static void http_add_connection(form *f, const session *s)
{
    char id[20];
    if (s->conn) {
        form_add(f, "connection", id,
                 (size_t)snprintf(id, sizeof(id), "%016" APR_UINT64_T_HEX_FMT, s->conn));
    }
}

/* Create the fields that all events of style=form have. */
static form http_event(const session *s, const char *event)
{
    form f = {0};
    if (!s->grip) {
        form_add(&f, "event", event, strlen(event));
        form_add(&f, "id", s->id, strlen(s->id));
        http_add_connection(&f, s);
    }
    return f;
}

/* Queue a request. @return 0: out of memory */
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
    j->body = f->text;
    j->len = f->len;
    j->done = done;
    j->arg = arg;
    courier_take(j);
    return 1;
}

/* ---- Messages ---- */

/* Carry out the actions of an answer. @param c  NULL: the connection has ended */
static void http_obey(ws_conn *c, const session *s, const answer *a)
{
    client *k = c ? ws_data(c) : NULL;
    if (!s->grip) {
        orders_obey_form(c, a);
    }
    else if (k) {
        orders_obey_grip(c, &k->grip, a);
        k->keepalive = a->keepalive >= 0 ? a->keepalive : k->keepalive;
    }
}

static void http_fail(ws_conn *c, const answer *a)
{
    ws_conn_log(c, WS_LOG_WARNING, "http: the application's answer to a message: %s", a->error);
    if (a->kind == ANSWER_DOWN) {
        ws_close(c, WS_CLOSE_TRY_LATER, "the application did not answer");
    }
    else if (a->kind == ANSWER_REFUSAL) {
        ws_close(c, WS_CLOSE_POLICY, "the application refused the message");
    }
    else {
        ws_close(c, WS_CLOSE_INTERNAL, "the application's answer cannot be used");
    }
}

static void http_next(ws_conn *c);
static void http_arm(ws_conn *c);

static void http_answered(ws_conn *c, void *arg)
{
    job *j = arg;
    client *k = c ? ws_data(c) : NULL;
    if (j->answer.kind == ANSWER_GOOD) {
        http_obey(c, j->session, &j->answer);
    }
    else if (c) {
        http_fail(c, &j->answer);
    }
    if (k) {
        k->busy = 0;
        http_next(c);
        http_arm(c);
    }
    job_free(j);
}

/* Pass the result of a job to the connection's loop.  [the courier's thread] */
static void http_done(job *j)
{
    if (ws_run(j->session->conn, http_answered, j) != WS_QUEUED) {
        http_answered(NULL, j);
    }
}

/* Send the queued messages to the application. @return 0: out of memory */
static int http_ask_pending(client *k)
{
    form f = k->pending;
    memset(&k->pending, 0, sizeof(k->pending));
    k->messages = 0;
    k->bytes = 0;
    return http_ask(k->session, JOB_MESSAGES, &f, http_done, NULL);
}

/* Send the queued messages if the courier's queue has room. Otherwise close the connection. */
static void http_send(ws_conn *c, client *k)
{
    if (!courier_has_room(k->session->courier)) {
        ws_conn_log(c, WS_LOG_WARNING,
                    "http: too many connections wait for the application (queue=)");
        ws_close(c, WS_CLOSE_TRY_LATER, "too many connections wait for the application");
        return;
    }
    if (k->silent) {
        ws_timer_stop(c, k->silent);
        k->silent = NULL;
    }
    k->busy = 1;
    if (!http_ask_pending(k)) {
        ws_close(c, WS_CLOSE_INTERNAL, "out of memory");
    }
    ws_resume(c);
}

static void http_next(ws_conn *c)
{
    client *k = ws_data(c);
    if (!k->busy && k->messages && !k->grip.detached && ws_conn_state(c) == WS_OPEN) {
        http_send(c, k);
    }
}

static void http_silent(ws_conn *c, void *arg)
{
    client *k = arg;
    k->silent = NULL;
    if (!k->busy && ws_conn_state(c) == WS_OPEN) {
        http_send(c, k);
    }
}

/* Start the timer for Keep-Alive-Interval, which exists with style=grip. */
static void http_arm(ws_conn *c)
{
    client *k = ws_data(c);
    if (k->keepalive && !k->busy && !k->silent && !k->grip.detached
        && ws_conn_state(c) == WS_OPEN) {
        k->silent = ws_timer_start(c, (apr_uint32_t)(k->keepalive * 1000), 0, http_silent, k);
    }
}

static void http_add(ws_conn *c, client *k, size_t len)
{
    k->messages++;
    k->bytes += len;
    http_next(c);
    if (k->bytes >= PENDING_MAX || k->messages >= MESSAGES_MAX) {
        ws_pause(c);
    }
}

static void http_add_field(client *k, ws_type type, const char *data, size_t len)
{
    const char *name = type == WS_TEXT ? "text" : "binary";
    if (!k->messages) {
        k->pending = http_event(k->session, "message");
    }
    form_add(&k->pending, "type%5B%5D", name, strlen(name));
    form_add(&k->pending, "data%5B%5D", data, len);
}

static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    client *k = ws_data(c);
    if (k->grip.detached) {
        return;
    }
    if (k->session->grip) {
        grip_add(&k->pending, type == WS_TEXT ? GRIP_TEXT : GRIP_BINARY, data, len);
    }
    else {
        http_add_field(k, type, data, len);
    }
    http_add(c, k, len);
}

static void http_add_control(ws_conn *c, grip_kind kind)
{
    client *k = ws_data(c);
    if (k->session->grip && !k->grip.detached) {
        grip_add(&k->pending, kind, NULL, 0);
        http_add(c, k, 0);
    }
}

static void on_ping(ws_conn *c, const char *data, apr_size_t len)
{
    (void)data, (void)len;
    http_add_control(c, GRIP_PING);
}

static void on_pong(ws_conn *c, const char *data, apr_size_t len)
{
    (void)data, (void)len;
    http_add_control(c, GRIP_PONG);
}

/* ---- The end ---- */

static void http_closed(job *j)
{
    if (j->answer.kind == ANSWER_DOWN || j->answer.kind == ANSWER_BAD) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
            "websocket: http: the application was not notified of the end of connection %s, "
            "%.*s: %s",
            j->session->id, (int)strcspn(j->session->url, "?"), j->session->url, j->answer.error);
    }
    else if (j->answer.kind == ANSWER_GOOD) {
        http_obey(NULL, j->session, &j->answer);
    }
    job_free(j);
}

static void http_leave(client *k, int code, const char *reason, apr_size_t len)
{
    form f = {0};
    char number[16];
    if (k->over || k->grip.detached) {
        return;
    }
    k->over = 1;
    if (k->messages) {
        http_ask_pending(k);
    }
    if (k->session->grip) {
        grip_add_close(&f, code, reason, len);
    }
    else {
        f = http_event(k->session, "close");
        form_add(&f, "code", number, (size_t)snprintf(number, sizeof(number), "%d", code));
        form_add(&f, "reason", reason, len);
    }
    http_ask(k->session, JOB_CLOSE, &f, http_closed, NULL);
}

static void on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    http_leave(ws_data(c), code, reason, len);
}

/* Release the state of a connection. This runs when the connection has ended, or when the handshake
 * has been refused. */
static apr_status_t http_forget(void *data)
{
    client *k = data;
    http_leave(k, WS_CLOSE_ABNORMAL, "", 0);
    free(k->pending.text);
    free(k->grip.prefix);
    answer_free(&k->opening);
    session_unref(k->session);
    return APR_SUCCESS;
}

/* ---- The handshake ---- */

/* The result of the open event, for which an httpd thread is waiting. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t told;
    int over;
    answer *answer;
} outcome;

/* Pass the result of the open event to the waiting thread.  [the courier's thread] */
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
    if (s->grip) {
        grip_add(&f, GRIP_OPEN, NULL, 0);
    }
    else {
        form_add(&f, "protocols", protocols ? protocols : "", protocols ? strlen(protocols) : 0);
    }
    if (!http_ask(s, JOB_OPEN, &f, http_opened, &o)) {
        return 0;
    }
    pthread_mutex_lock(&o.lock);
    while (!o.over) { /* the loop ends, because the courier has a time limit */
        pthread_cond_wait(&o.told, &o.lock);
    }
    pthread_mutex_unlock(&o.lock);
    return 1;
}

static void http_add_headers(ws_request *rq, const answer *a)
{
    for (const struct curl_slist *h = a->headers; h; h = h->next) {
        char *name = apr_pstrdup(ws_request_rec(rq)->pool, h->data);
        char *colon = strchr(name, ':');
        *colon = '\0';
        ws_request_add_header(rq, name, colon + 1 + (colon[1] == ' '));
    }
}

/* Refuse the handshake with the application's status and body. */
static int http_refuse(request_rec *r, const answer *a)
{
    int status = a->status >= 400 && a->status <= 599 ? (int)a->status : HTTP_BAD_GATEWAY;
    ap_log_rerror(APLOG_MARK, a->kind == ANSWER_REFUSAL ? APLOG_INFO : APLOG_WARNING, 0, r,
                  "websocket: http: the application's answer to the handshake: %s", a->error);
    if (status == a->status && a->len && a->type == WS_TEXT) {
        const char *text = a->html ? a->body : ap_escape_html(r->pool, a->body);
        ap_custom_response(r, status, apr_pstrcat(r->pool, "\"", text, NULL));
    }
    if (atoi(ap_get_status_line(status))
        != status) { /* httpd would send 500 for a status without a text */
        r->status_line = apr_psprintf(r->pool, "%d Refused", status);
    }
    return status;
}

static int http_accept(ws_request *rq, const answer *a)
{
    if (a->protocol && ws_request_choose_protocol(rq, a->protocol) != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, ws_request_rec(rq),
                      "websocket: http: the application chose a subprotocol that the client did "
                      "not offer");
        return HTTP_BAD_GATEWAY;
    }
    http_add_headers(rq, a);
    return 0;
}

/* If the application is a page on this server, a handshake needs two workers: one for the
 * handshake, and one for the open event. If handshakes occupied all workers, they would wait for
 * each other forever. Therefore handshakes may occupy only half of a child's threads. With one
 * thread per child, the administrator has to configure enough children. */
static int http_open_waiting, http_open_max;

static int http_ask_open_of_half(ws_request *rq, client *k)
{
    int asked = 0;
    if (__atomic_add_fetch(&http_open_waiting, 1, __ATOMIC_RELAXED) <= http_open_max) {
        asked = http_ask_open(rq, k->session, &k->opening);
    }
    else {
        ap_log_rerror(
            APLOG_MARK, APLOG_WARNING, 0, ws_request_rec(rq),
            "websocket: http: handshake refused with 503: %d other handshakes wait for the "
            "application and occupy half of this child's threads (increase "
            "ThreadsPerChild and MaxRequestWorkers)",
            http_open_max);
        ws_request_add_header(rq, "Retry-After", "1");
    }
    __atomic_sub_fetch(&http_open_waiting, 1, __ATOMIC_RELAXED);
    return asked;
}

static int http_open(ws_request *rq, client *k)
{
    request_rec *r = ws_request_rec(rq);
    int asked = k->session->claims && http_open_max ? http_ask_open_of_half(rq, k)
                                                    : http_ask_open(rq, k->session, &k->opening);
    if (!asked) {
        k->over = 1;
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (k->opening.kind == ANSWER_GOOD) {
        return http_accept(rq, &k->opening);
    }
    /* If the request was sent but not answered, the application may have received the open event,
     * so a close event must follow. */
    k->over = k->opening.status || !k->opening.asked;
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
    k->session->grip = config->grip;
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
    k->grip.control = k->opening.control;
    k->grip.prefix = k->opening.prefix;
    k->opening.prefix = NULL;
    http_obey(c, k->session, &k->opening);
    http_arm(c);
    answer_free(&k->opening);
}

/* ---- The child process ---- */

static apr_status_t http_start(apr_pool_t *pchild, void *data, ws_location *here)
{
    http_config *config = data;
    int threads = 1;
    (void)pchild, (void)here;
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    http_open_max = threads > 1 ? threads / 2 : 0;
    ap_mpm_query(AP_MPMQ_IS_ASYNC, &config->keepalive);
    config->sign = APR_RETRIEVE_OPTIONAL_FN(ws_loopback_sign);
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
                    .repeatable_keys = "",
                    .start = http_start,
                    .stop = http_stop,
                    .on_request = on_request,
                    .on_open = on_open,
                    .on_message = on_message,
                    .on_pong = on_pong,
                    .on_ping = on_ping,
                    .on_close = on_close};
