/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Serves SockJS: starts sessions, hands responses to the child that has the session, and receives
 *  messages. A request that is waiting for frames does not occupy an httpd thread, unless its
 *  connection has to be relayed. */

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
#include "httpd/settings.h"
#include "httpd/sockjs_answers.h"
#include "httpd/sockjs_route.h"
#include "httpd/sockjs_session.h"
#include "httpd/sockjs_url.h"
#include "httpd/takeover.h"
#include "httpd/upgrade.h"

APLOG_USE_MODULE(websocket);

#define PLAIN "text/plain; charset=UTF-8"
#define SCRIPT "application/javascript; charset=UTF-8"

/* Maximum time that a request with messages occupies a thread because the handler does not read. */
#define SENT_LATEST apr_time_from_sec(5)

/* ---- Sessions ---- */

static int sockjs_add_header(void *headers, const char *name, const char *value)
{
    apr_table_add(headers, name, value);
    return 1;
}

/* Admit a session and start it. Takes ownership of the seat, which counts the session
 * (sockjs_session.h). @return OK, or the status to refuse with */
static int sockjs_admit(request_rec *r, const sockjs_url *url, ws_sockjs_seat *seat,
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
        status = ws_sockjs_connect(r, &n, seat, carrier) < 0 ? HTTP_SERVICE_UNAVAILABLE : OK;
    }
    else {
        seat->ticket.release(&seat->ticket);
    }
    ws_upgrade_release(&rq);
    return status;
}

/* ---- Responses that leave httpd ---- */

/* Let the kernel detect that the client is lost. */
static void sockjs_keep_alive(request_rec *r)
{
    const ws_settings *settings = ws_settings_of(r);
    if (settings) {
        ws_relay_keep_alive(r, settings);
    }
}

/* Deliver a response whose bytes are relayed. @return the return value for httpd's handler */
static int sockjs_relay(request_rec *r, ws_sockjs_delivery *d)
{
    int pair[2];
    if (ws_sockjs_pair(pair) < 0) {
        ws_sockjs_deliver(d, -1, NULL);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (ap_rflush(r) < 0) {
        close(pair[0]);
        close(pair[1]);
        ws_sockjs_deliver(d, -1, NULL);
        return DONE; /* httpd's check refused a header, and httpd sent an error */
    }
    ws_sockjs_deliver(d, pair[0], NULL);
    return ws_relay_body(r, pair[1]);
}

/* Deliver a response whose connection leaves httpd. @return the return value for httpd's handler */
static int sockjs_take_over(request_rec *r, ws_sockjs_delivery *d)
{
    conn_rec *c = r->connection;
    apr_status_t rv;
    ap_remove_input_filter_byhandle(c->input_filters, "reqtimeout");
    if ((rv = ws_takeover_to(r, ws_sockjs_deliver, d)) != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, rv, r, "websocket: cannot take over the connection");
        c->aborted = 1;
        c->keepalive = AP_CONN_CLOSE;
        ws_sockjs_deliver(d, -1, NULL);
        return DONE;
    }
    return OK;
}

/* Deliver a response to the child that has the session. @return the return value for httpd's
 * handler */
static int sockjs_respond(request_rec *r, const ws_sockjs_key *key, unsigned slot,
                          ws_sockjs_request *request)
{
    int relayed = ws_relay_reason(r, 1) != NULL;
    ws_sockjs_delivery *d;
    if (!relayed) {
        request->chunked = r->proto_num >= HTTP_VERSION(1, 1);
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
    sockjs_keep_alive(r);
    return relayed ? sockjs_relay(r, d) : sockjs_take_over(r, d);
}

/* ---- Requests that are waiting for frames ---- */

static const struct {
    ws_sockjs_kind kind;
    ws_carrier carrier;
    int post, script; /* whether the method is POST, and whether browsers omit Origin */
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

/* Read the argument `callback`. @return NULL, or the error */
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

/* Find a session, or start it in this child. @return OK, or the status to refuse with */
static int sockjs_find_or_begin(request_rec *r, const sockjs_url *url, const ws_sockjs_key *key,
                                unsigned *slot)
{
    ws_sockjs_owner owner = ws_sockjs_directory_claim(key, slot);
    ws_sockjs_seat *seat;
    if (owner == WS_SOCKJS_LOST || owner == WS_SOCKJS_NO_ROOM) {
        return owner == WS_SOCKJS_LOST ? HTTP_NOT_FOUND : HTTP_SERVICE_UNAVAILABLE;
    }
    if (owner == WS_SOCKJS_KNOWN) {
        return OK;
    }
    if (!(seat = ws_sockjs_seat_new(r, key, 1))) {
        ws_sockjs_directory_release(key);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    return sockjs_admit(r, url, seat, sockjs_receivers[url->what].carrier);
}

/* Check a request that will wait for frames. @return OK, or the return value for httpd's handler */
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

/* Get the messages, which are the argument d of a form, or the whole body. @return NULL: out of
 * memory */
static const char *sockjs_payload(request_rec *r, int jsonp, const char *body, apr_size_t *len)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type"), *query = body;
    char *value;
    if (!jsonp || !type || strncasecmp(type, "application/x-www-form-urlencoded", 33)) {
        return body;
    }
    value = apr_palloc(r->pool, *len + 1);
    if (ws_query_next(&query, "d", value, *len + 1) < 0) {
        value = apr_pstrdup(r->pool, "%"); /* not valid JSON, so the request is refused */
    }
    *len = strlen(value);
    return value;
}

static int sockjs_sent(request_rec *r, int jsonp)
{
    return ws_sockjs_say(r, jsonp ? HTTP_OK : HTTP_NO_CONTENT, PLAIN, jsonp ? "ok" : "");
}

/* Wait in httpd's thread until the handler reads again, but not for long. The messages have been
 * accepted in any case. If the handler still does not read them, the session refuses further
 * messages. */
static void sockjs_wait_for_handler(request_rec *r, const ws_sockjs_key *key, unsigned slot)
{
    ws_sockjs_request request = {.kind = WS_SOCKJS_ANSWER};
    ws_sockjs_delivery *d = ws_sockjs_delivery_new(key, slot, &request);
    int pair[2];
    if (!d || ws_sockjs_pair(pair) < 0) {
        ws_sockjs_deliver(d, -1, NULL);
        return;
    }
    ws_sockjs_deliver(d, pair[0], NULL);
    ws_relay_wait(r, pair[1], SENT_LATEST);
}

/* Respond later, so that the client stops sending (back-pressure). The client gets the response
 * when the handler reads again, and sends its next messages only then. */
static int sockjs_sent_later(request_rec *r, const ws_sockjs_key *key, unsigned slot, int jsonp)
{
    ws_sockjs_request request = {.kind = WS_SOCKJS_ANSWER};
    const char *head;
    ws_sockjs_delivery *d;
    if (ws_relay_reason(r, 1)) {
        sockjs_wait_for_handler(r, key, slot);
        return sockjs_sent(r, jsonp);
    }
    r->status = jsonp ? HTTP_OK : HTTP_NO_CONTENT;
    ap_set_content_type(r, PLAIN);
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    sockjs_keep_alive(r);
    if (!(head = ws_response_head(r, jsonp ? "Content-Length: 2\r\n" : NULL))) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    request.head = jsonp ? apr_pstrcat(r->pool, head, "ok", NULL) : head;
    request.head_len = strlen(request.head);
    d = ws_sockjs_delivery_new(key, slot, &request);
    return d ? sockjs_take_over(r, d) : HTTP_SERVICE_UNAVAILABLE;
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

/* ---- httpd's handler ---- */

int ws_sockjs_wanted(request_rec *r)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    sockjs_url url;
    if (!d->transports || !d->transports->sockjs || !ws_has_handler(d)
        || (r->prev && ap_is_HTTP_ERROR(r->prev->status))) {
        return 0;
    }
    ws_sockjs_url_parse(r, &url);
    return url.what != SOCKJS_NOTHING
           && !(url.what == SOCKJS_GREETING && ws_channel_http_wanted(r));
}

/* Answer a request for a WebSocket URL that is not a handshake. */
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
