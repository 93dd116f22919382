/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Serves SockJS: starts sessions, hands responses to the child that has the session, and receives
 *  messages. A request that waits for frames occupies no thread of httpd, unless its connection has
 *  to be relayed. */

#include "httpd/sockjs.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <errno.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/parse.h"
#include "httpd/channel_http.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/counters.h"
#include "httpd/http2.h"
#include "httpd/json_answer.h"
#include "httpd/query.h"
#include "httpd/refusals.h"
#include "httpd/relay.h"
#include "httpd/request_api.h"
#include "httpd/request_body.h"
#include "httpd/response_headers.h"
#include "httpd/sockjs_answers.h"
#include "httpd/sockjs_route.h"
#include "httpd/sockjs_url.h"
#include "httpd/takeover.h"
#include "httpd/upgrade.h"

APLOG_USE_MODULE(websocket);

/* Defaults of WebSocketSockJS: bytes; milliseconds; milliseconds; sessions of a Location in each
 * child. */
#define DEFAULT_RESPONSE (128 * 1024)
#define DEFAULT_HEARTBEAT 25000
#define DEFAULT_DELAY 5000
#define DEFAULT_SESSIONS 10000

/* Send buffer of a session's socket pair, bytes. Small, so that more data waits in the send queues,
 * where back-pressure counts it. */
#define PAIR_BUFFER (16 * 1024)

#define PLAIN "text/plain; charset=UTF-8"
#define SCRIPT "application/javascript; charset=UTF-8"

static ws_handler_line *sockjs_line; /* for WebSockets with SockJS frames */

void ws_sockjs_reset(apr_pool_t *pconf)
{
    ws_sockjs_config_reset(pconf);
    sockjs_line = NULL;
}

void ws_sockjs_begin(apr_pool_t *pconf)
{
    if (!sockjs_line) {
        sockjs_line = apr_pcalloc(pconf, sizeof(*sockjs_line));
        sockjs_line->location.handler = &ws_sockjs_websocket;
        sockjs_line->location.name = "sockjs";
        sockjs_line->location.internal = 1;
        APR_ARRAY_PUSH(ws_handler_lines, ws_handler_line *) = sockjs_line;
    }
}

/* ---- Sessions ---- */

/* The entry of a session in the directory, and in the count of its Location. */
typedef struct sockjs_seat {
    ws_ticket ticket; /* first */
    ws_sockjs_key key;
    unsigned *sessions;
    int listed;
} sockjs_seat;

static void sockjs_leave(ws_ticket *ticket)
{
    sockjs_seat *seat = (sockjs_seat *)ticket;
    if (seat->listed) {
        ws_sockjs_directory_release(&seat->key);
    }
    __atomic_sub_fetch(seat->sessions, 1, __ATOMIC_RELAXED);
    free(seat);
}

/* @return NULL: too many sessions, or out of memory */
static sockjs_seat *sockjs_seat_new(request_rec *r, const ws_sockjs_key *key, int listed)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    apr_int64_t max = d->sockjs.sessions >= 0 ? d->sockjs.sessions : DEFAULT_SESSIONS;
    sockjs_seat *seat = malloc(sizeof(*seat));
    if (!seat) {
        return NULL;
    }
    *seat = (sockjs_seat){{sockjs_leave, NULL}, *key, &d->transports->sessions, listed};
    if (__atomic_add_fetch(seat->sessions, 1, __ATOMIC_RELAXED) > max) {
        ws_refusal_log(
            r, WS_REFUSAL_LIMIT,
            "SockJS: refused with 503: this child has %d sessions of %s (WebSocketSockJS "
            "sessions=)",
            (int)max, d->transports->base);
        sockjs_leave(&seat->ticket);
        return NULL;
    }
    return seat;
}

static ws_sockjs_options sockjs_options_of(request_rec *r)
{
    const ws_sockjs_config *s = &ws_dir_config_of(r)->sockjs;
    return (ws_sockjs_options){
        .response = s->response >= 0 ? (apr_uint64_t)s->response : DEFAULT_RESPONSE,
        .heartbeat = s->heartbeat >= 0 ? (apr_uint32_t)s->heartbeat : DEFAULT_HEARTBEAT,
        .delay = s->delay >= 0 ? (apr_uint32_t)s->delay : DEFAULT_DELAY};
}

static int sockjs_pair(int pair[2])
{
    int size = PAIR_BUFFER;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        return -1;
    }
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return 0;
}

/* Start the session and the handler's connection. Takes ownership of the resources of n and seat,
 * even after an error. @return 0; -1 */
static int sockjs_connect(request_rec *r, ws_new_conn *n, sockjs_seat *seat, ws_carrier carrier)
{
    ws_engine *engine = ws_child_engine();
    ws_sockjs_options options = sockjs_options_of(r);
    int pair[2];
    apr_status_t rv = ESHUTDOWN;

    n->version = 13;
    n->carrier = carrier;
    n->secure = ap_ssl_conn_is_ssl(r->connection->master ? r->connection->master : r->connection);
    if (engine && (rv = sockjs_pair(pair) < 0 ? errno : APR_SUCCESS) == APR_SUCCESS) {
        n->fd = pair[1];
        if (ws_sockjs_open(engine, &seat->key, &options, pair[0], n->settings, &seat->ticket)
            == 0) {
            rv = ws_engine_add(engine, n);
            return rv == APR_SUCCESS ? 0 : -1; /* the session ends: its socket pair is closed */
        }
    }
    else {
        sockjs_leave(&seat->ticket);
    }
    ws_new_conn_drop(n);
    ws_counters_add(APR_STATUS_IS_EMFILE(rv) ? WS_COUNT_REFUSED_DESCRIPTORS
                                             : WS_COUNT_REFUSED_SERVER);
    ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "websocket: SockJS: no session could be begun");
    return -1;
}

static int sockjs_add_header(void *headers, const char *name, const char *value)
{
    apr_table_add(headers, name, value);
    return 1;
}

/* @return OK, or the status to refuse with */
static int sockjs_admit(request_rec *r, const sockjs_url *url, sockjs_seat *seat,
                        ws_carrier carrier)
{
    ws_request rq = {.r = r, .sockjs = 1, .headers = apr_table_make(r->pool, 4)};
    ws_new_conn n = {.fd = -1};
    char *uri = r->uri;
    int status;

    rq.loop = ws_sockjs_loop(ws_child_engine(), &seat->key);
    r->uri = apr_pstrdup(r->pool, url->base);
    status = ws_upgrade_admit(r, &rq, &n);
    r->uri = uri;
    if (status == OK) {
        apr_table_do(sockjs_add_header, r->err_headers_out, rq.headers, NULL);
        ws_upgrade_adopted(&rq);
        status = sockjs_connect(r, &n, seat, carrier) < 0 ? HTTP_SERVICE_UNAVAILABLE : OK;
    }
    else {
        sockjs_leave(&seat->ticket);
    }
    ws_upgrade_release(&rq);
    return status;
}

/* ---- WebSockets ---- */

/* The session of a WebSocket. */
typedef struct sockjs_link {
    ws_ticket ticket; /* first; releases it */
    ws_sockjs_key key;
} sockjs_link;

static void sockjs_unlink(ws_ticket *ticket)
{
    free(ticket);
}

/* A random key, so that no request has a URL for the session. It belongs to this loop, if one is
 * given. */
static ws_sockjs_key sockjs_random_key(ws_engine *engine, const ws_loop *loop)
{
    unsigned loops = ws_engine_loops(engine);
    ws_sockjs_key key;
    apr_generate_random_bytes((unsigned char *)&key, sizeof(key));
    if (loop) {
        for (unsigned i = 0; i < loops && ws_sockjs_loop(engine, &key) != loop; i++) {
            key.low++;
        }
    }
    return key;
}

int ws_sockjs_wrap(request_rec *r, ws_new_conn *n)
{
    ws_new_conn inner = *n;
    ws_engine *engine = ws_child_engine();
    sockjs_link *link = engine ? malloc(sizeof(*link)) : NULL;
    sockjs_seat *seat = NULL;

    if (link) {
        *link = (sockjs_link){{sockjs_unlink, NULL}, sockjs_random_key(engine, n->loop)};
        seat = sockjs_seat_new(r, &link->key, 0);
    }
    inner.chain = NULL;
    inner.connecting = 0;
    if (!seat) {
        free(link);
        ws_new_conn_drop(&inner);
        return -1;
    }
    inner.loop = ws_sockjs_loop(engine, &link->key);
    if (sockjs_connect(r, &inner, seat, WS_CARRIER_SOCKJS_WEBSOCKET) < 0) {
        free(link);
        return -1;
    }
    n->loop = inner.loop;
    n->location = &sockjs_line->location;
    n->data = &link->key;
    n->ticket = &link->ticket;
    n->pool = NULL;
    n->strings.headers = NULL;
    return 0;
}

int ws_sockjs_frames(request_rec *r)
{
    sockjs_url url;
    ws_sockjs_url_parse(r, &url);
    return url.what == SOCKJS_WEBSOCKET;
}

char *ws_sockjs_handler_uri(request_rec *r)
{
    sockjs_url url;
    ws_sockjs_url_parse(r, &url);
    return url.what == SOCKJS_WEBSOCKET || url.what == SOCKJS_RAW_WEBSOCKET
               ? apr_pstrdup(r->pool, url.base)
               : r->uri;
}

/* ---- Responses that leave httpd ---- */

/* @return as a handler of httpd */
static int sockjs_relay(request_rec *r, ws_sockjs_delivery *d)
{
    int pair[2];
    if (sockjs_pair(pair) < 0) {
        ws_sockjs_deliver(d, -1, NULL);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (d->request.kind != WS_SOCKJS_ANSWER && ap_rflush(r) < 0) {
        close(pair[0]);
        close(pair[1]);
        ws_sockjs_deliver(d, -1, NULL);
        return DONE; /* httpd's check refused a header, and httpd sent an error */
    }
    ws_sockjs_deliver(d, pair[0], NULL);
    return ws_relay_body(r, pair[1]);
}

/* @return as a handler of httpd */
static int sockjs_take_over(request_rec *r, ws_sockjs_delivery *d)
{
    conn_rec *c = r->connection;
    apr_status_t rv;
    ap_remove_input_filter_byhandle(c->input_filters, "reqtimeout");
    if ((rv = ws_takeover_to(r, ws_sockjs_deliver, d)) != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, rv, r,
                      "websocket: the connection could not be taken over");
        c->aborted = 1;
        c->keepalive = AP_CONN_CLOSE;
        ws_sockjs_deliver(d, -1, NULL);
        return DONE;
    }
    return OK;
}

/* @return as a handler of httpd */
static int sockjs_respond(request_rec *r, const ws_sockjs_key *key, unsigned slot,
                          ws_sockjs_request *request)
{
    int framed = request->kind != WS_SOCKJS_ANSWER, relayed = ws_relay_reason(r, 1) != NULL;
    ws_sockjs_delivery *d;
    if (!relayed) {
        request->chunked = framed && r->proto_num >= HTTP_VERSION(1, 1);
        request->head =
            ws_response_head(r, request->chunked ? "Transfer-Encoding: chunked\r\n" : NULL);
        if (!request->head) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        request->head_len = strlen(request->head);
    }
    if (!(d = ws_sockjs_delivery_new(key, slot, request))) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    return relayed ? sockjs_relay(r, d) : sockjs_take_over(r, d);
}

/* ---- Requests that wait for frames ---- */

static const struct {
    ws_sockjs_kind kind;
    ws_carrier carrier;
    int post, script; /* method is POST; browsers send it for pages of any site */
    const char *type, *what;
} sockjs_receivers[] = {
    [SOCKJS_XHR] = {WS_SOCKJS_XHR, WS_CARRIER_XHR, 1, 0, SCRIPT, "a poll"},
    [SOCKJS_XHR_STREAMING] = {WS_SOCKJS_XHR_STREAMING, WS_CARRIER_XHR_STREAMING, 1, 0, SCRIPT,
                              "a stream"},
    [SOCKJS_EVENTSOURCE] = {WS_SOCKJS_EVENTSOURCE, WS_CARRIER_EVENTSOURCE, 0, 0,
                            "text/event-stream; charset=UTF-8", "an event stream"},
    [SOCKJS_HTMLFILE] = {WS_SOCKJS_HTMLFILE, WS_CARRIER_HTMLFILE, 0, 1, "text/html; charset=UTF-8",
                         "a stream"},
    [SOCKJS_JSONP] = {WS_SOCKJS_JSONP, WS_CARRIER_JSONP, 0, 1, SCRIPT, "a poll"}};

/* @return NULL, or the error */
static const char *sockjs_callback(request_rec *r, ws_sockjs_request *request)
{
    const char *name = ws_argument(r, "c");
    name = name ? name : ws_argument(r, "callback");
    if (!name || !*name) {
        return "\"callback\" parameter required\n";
    }
    if (!ws_sockjs_callback_valid(name)) {
        return "invalid \"callback\" parameter\n";
    }
    apr_cpystrn(request->callback, name, sizeof(request->callback));
    return NULL;
}

/* @return OK, or the status to refuse with */
static int sockjs_find_or_begin(request_rec *r, const sockjs_url *url, const ws_sockjs_key *key,
                                unsigned *slot)
{
    ws_sockjs_place place = ws_sockjs_directory_claim(key, slot);
    sockjs_seat *seat;
    if (place == WS_SOCKJS_LOST || place == WS_SOCKJS_NO_ROOM) {
        return place == WS_SOCKJS_LOST ? HTTP_NOT_FOUND : HTTP_SERVICE_UNAVAILABLE;
    }
    if (place == WS_SOCKJS_KNOWN) {
        return OK;
    }
    if (!(seat = sockjs_seat_new(r, key, 1))) {
        ws_sockjs_directory_release(key);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    return sockjs_admit(r, url, seat, sockjs_receivers[url->what].carrier);
}

/* @return OK, or the return value for the handler */
static int sockjs_receive_refused(request_rec *r, const sockjs_url *url, ws_sockjs_request *request)
{
    const char *wrong = NULL;
    int status = ap_discard_request_body(r);
    if (status == OK && ws_http2_unwanted(r)) {
        ws_http2_send_to_http_1_1(r, sockjs_receivers[url->what].what);
        return DONE;
    }
    if (status == OK && (request->kind == WS_SOCKJS_JSONP || request->kind == WS_SOCKJS_HTMLFILE)) {
        wrong = sockjs_callback(r, request);
    }
    if (wrong) {
        ws_sockjs_say(r, HTTP_INTERNAL_SERVER_ERROR, PLAIN, wrong);
        return DONE;
    }
    return status != OK ? status : r->main ? HTTP_FORBIDDEN : OK;
}

static int sockjs_receive(request_rec *r, const sockjs_url *url)
{
    ws_sockjs_request request = {.kind = sockjs_receivers[url->what].kind};
    ws_sockjs_key key;
    unsigned slot;
    int status;

    if (r->method_number != (sockjs_receivers[url->what].post ? M_POST : M_GET)) {
        return ws_sockjs_wrong_method(r,
                                      sockjs_receivers[url->what].post ? "OPTIONS, POST" : "GET");
    }
    if (ws_sockjs_foreign(r, sockjs_receivers[url->what].script)) {
        return HTTP_FORBIDDEN;
    }
    ws_sockjs_add_cors(r);
    ws_sockjs_add_no_cache(r);
    if ((status = sockjs_receive_refused(r, url, &request)) != OK) {
        return status == DONE ? OK : status;
    }
    if ((status = ws_sockjs_url_key(r, url, &key)) != OK) {
        return status;
    }
    ws_sockjs_add_cookie(r);
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    if (!r->header_only && (status = sockjs_find_or_begin(r, url, &key, &slot)) != OK) {
        return status;
    }
    ap_set_content_type(r, sockjs_receivers[url->what].type);
    return r->header_only ? OK : sockjs_respond(r, &key, slot, &request);
}

/* ---- Requests with messages ---- */

/* The messages: the argument d of a form, or else the whole body. @return NULL: out of memory */
static const char *sockjs_payload(request_rec *r, int jsonp, const char *body, apr_size_t *len)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type"), *query = body;
    char *value;
    if (!jsonp || !type || strncasecmp(type, "application/x-www-form-urlencoded", 33)) {
        return body;
    }
    value = apr_palloc(r->pool, *len + 1);
    if (ws_query_next(&query, "d", value, *len + 1) < 0) {
        value = apr_pstrdup(r->pool, "%"); /* invalid JSON */
    }
    *len = strlen(value);
    return value;
}

static int sockjs_sent(request_rec *r, int jsonp)
{
    return ws_sockjs_say(r, jsonp ? HTTP_OK : HTTP_NO_CONTENT, PLAIN, jsonp ? "ok" : "");
}

/* Back-pressure: the client gets the response, and can send more, when the handler reads again. */
static int sockjs_sent_later(request_rec *r, const ws_sockjs_key *key, unsigned slot, int jsonp)
{
    ws_sockjs_request request = {.kind = WS_SOCKJS_ANSWER};
    r->status = jsonp ? HTTP_OK : HTTP_NO_CONTENT;
    ap_set_content_type(r, PLAIN);
    if (ws_relay_reason(r, 1) || jsonp) {
        int pair[2];
        ws_sockjs_delivery *d = ws_sockjs_delivery_new(key, slot, &request);
        if (!d || sockjs_pair(pair) < 0) {
            ws_sockjs_deliver(d, -1, NULL);
            return sockjs_sent(r, jsonp);
        }
        ws_sockjs_deliver(d, pair[0], NULL);
        ws_relay_body(r, pair[1]);
        return sockjs_sent(r, jsonp);
    }
    return sockjs_respond(r, key, slot, &request);
}

static int sockjs_input(request_rec *r, const ws_sockjs_key *key, unsigned slot, int jsonp,
                        ws_strbuf *frames)
{
    switch (ws_sockjs_route_input(key, slot, frames)) {
    case WS_SOCKJS_TAKEN:
        return sockjs_sent(r, jsonp);
    case WS_SOCKJS_WAITS:
        return sockjs_sent_later(r, key, slot, jsonp);
    case WS_SOCKJS_UNKNOWN:
        return ws_sockjs_say(r, HTTP_NOT_FOUND, PLAIN, "");
    default:
        return HTTP_SERVICE_UNAVAILABLE;
    }
}

static int sockjs_send_body(request_rec *r, const ws_sockjs_key *key, unsigned slot, int jsonp)
{
    ws_strbuf frames = {NULL, 0, 0, 0};
    const char *body, *why;
    apr_size_t len;
    int status = ws_body_read(r, &body, &len, &why);
    if (status != OK) {
        return why ? ws_sockjs_say(r, status, PLAIN, why) : status;
    }
    body = sockjs_payload(r, jsonp, body, &len);
    switch (ws_sockjs_parse(body, len, &frames)) {
    case WS_SOCKJS_PARSED:
        return sockjs_input(r, key, slot, jsonp, &frames);
    case WS_SOCKJS_EMPTY:
        ws_strbuf_free(&frames);
        return ws_sockjs_say(r, HTTP_INTERNAL_SERVER_ERROR, PLAIN, "Payload expected.\n");
    case WS_SOCKJS_BROKEN:
        ws_strbuf_free(&frames);
        return ws_sockjs_say(r, HTTP_INTERNAL_SERVER_ERROR, PLAIN, "Broken JSON encoding.\n");
    default:
        ws_strbuf_free(&frames);
        return HTTP_SERVICE_UNAVAILABLE;
    }
}

static int sockjs_send(request_rec *r, const sockjs_url *url)
{
    int jsonp = url->what == SOCKJS_JSONP_SEND, status;
    ws_sockjs_key key;
    unsigned slot;

    if (r->method_number != M_POST) {
        return ws_sockjs_wrong_method(r, jsonp ? "POST" : "OPTIONS, POST");
    }
    if (ws_sockjs_foreign(r, jsonp)) {
        return HTTP_FORBIDDEN;
    }
    ws_sockjs_add_cors(r);
    ws_sockjs_add_no_cache(r);
    if ((status = ws_sockjs_url_key(r, url, &key)) != OK) {
        return status;
    }
    if (ws_sockjs_directory_find(&key, &slot) != WS_SOCKJS_KNOWN) {
        status = ws_json_discard(r, HTTP_NOT_FOUND);
        return status != OK ? status : ws_sockjs_say(r, HTTP_NOT_FOUND, PLAIN, "");
    }
    ws_sockjs_add_cookie(r);
    return sockjs_send_body(r, &key, slot, jsonp);
}

/* ---- The handler of httpd ---- */

int ws_sockjs_wanted(request_rec *r)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    sockjs_url url;
    if (!d->transports || !d->transports->sockjs || !d->handlers
        || !(d->handlers->nelts || d->directory)
        || (r->prev && ap_is_HTTP_ERROR(r->prev->status))) {
        return 0;
    }
    ws_sockjs_url_parse(r, &url);
    return url.what != SOCKJS_NOTHING
           && !(url.what == SOCKJS_GREETING && ws_channel_http_wanted(r));
}

/* Answer a request for a WebSocket URL that is no handshake. */
static int sockjs_no_handshake(request_rec *r)
{
    if (!ws_dir_config_of(r)->transports->websocket) {
        return HTTP_NOT_FOUND;
    }
    return r->method_number != M_GET ? ws_sockjs_wrong_method(r, "GET")
                                     : ws_sockjs_say(r, HTTP_BAD_REQUEST, PLAIN,
                                                     "Can \"Upgrade\" only to \"WebSocket\".\n");
}

static int sockjs_page(request_rec *r, sockjs_what what)
{
    if (r->method_number != M_GET) {
        return ws_sockjs_wrong_method(r, what == SOCKJS_INFO ? "OPTIONS, GET" : "GET");
    }
    return what == SOCKJS_GREETING ? ws_sockjs_greeting(r)
           : what == SOCKJS_INFO   ? ws_sockjs_info(r)
                                   : ws_sockjs_iframe(r);
}

int ws_sockjs_handler(request_rec *r)
{
    sockjs_url url;
    if (!ws_sockjs_wanted(r)) {
        return DECLINED;
    }
    ws_upgrade_restore_args(r);
    ws_sockjs_url_parse(r, &url);
    if (url.what == SOCKJS_WEBSOCKET || url.what == SOCKJS_RAW_WEBSOCKET) {
        return sockjs_no_handshake(r);
    }
    if (!ws_child_engine()) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if ((url.what == SOCKJS_INFO || r->method_number == M_OPTIONS) && ws_sockjs_foreign(r, 0)) {
        return HTTP_FORBIDDEN;
    }
    if (r->method_number == M_OPTIONS
        && (url.what == SOCKJS_INFO || url.what == SOCKJS_XHR || url.what == SOCKJS_XHR_SEND
            || url.what == SOCKJS_XHR_STREAMING)) {
        return ws_sockjs_preflight(r, url.what == SOCKJS_INFO ? "OPTIONS, GET" : "OPTIONS, POST");
    }
    return url.what == SOCKJS_XHR_SEND || url.what == SOCKJS_JSONP_SEND ? sockjs_send(r, &url)
           : url.what >= SOCKJS_XHR                                     ? sockjs_receive(r, &url)
                                                                        : sockjs_page(r, url.what);
}
