/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Counts the SockJS sessions in this child, connects them to the handler, and wraps WebSockets that
 * carry SockJS frames.
 */

#include "httpd/sockjs_session.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <errno.h>
#include <http_log.h>
#include <http_ssl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/counters.h"
#include "httpd/refusals.h"
#include "httpd/sockjs_directory.h"
#include "httpd/sockjs_url.h"

APLOG_USE_MODULE(websocket);

/* Defaults of WebSocketSockJS. Their units are bytes, milliseconds, milliseconds, and sessions of a
 * Location in each child. */
#define DEFAULT_RESPONSE (128 * 1024)
#define DEFAULT_HEARTBEAT 25000
#define DEFAULT_DELAY 5000
#define DEFAULT_SESSIONS 10000

/* Send buffer of a session's socket pair, bytes. It is small, because back-pressure only counts the
 * data in the send queues. */
#define PAIR_BUFFER (16 * 1024)

/* ---- Sessions ---- */

static void session_release(ws_ticket *ticket)
{
    ws_sockjs_seat *seat = (ws_sockjs_seat *)ticket;
    if (seat->listed) {
        ws_sockjs_directory_release(&seat->key);
    }
    __atomic_sub_fetch(seat->sessions, 1, __ATOMIC_RELAXED);
    free(seat);
}

ws_sockjs_seat *ws_sockjs_seat_new(request_rec *r, const ws_sockjs_key *key, int listed)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    apr_int64_t max = d->sockjs.sessions >= 0 ? d->sockjs.sessions : DEFAULT_SESSIONS;
    ws_sockjs_seat *seat = malloc(sizeof(*seat));
    if (!seat) {
        return NULL;
    }
    *seat = (ws_sockjs_seat){{session_release, NULL}, *key, &d->transports->sessions, listed};
    if (__atomic_add_fetch(seat->sessions, 1, __ATOMIC_RELAXED) > max) {
        ws_refusal_log(
            r, WS_REFUSAL_LIMIT,
            "SockJS: refused with 503: this child has %d sessions of %s (WebSocketSockJS "
            "sessions=)",
            (int)max, d->transports->base);
        session_release(&seat->ticket);
        return NULL;
    }
    return seat;
}

static ws_sockjs_options session_options_of(request_rec *r)
{
    const ws_sockjs_config *s = &ws_dir_config_of(r)->sockjs;
    return (ws_sockjs_options){
        .response = s->response >= 0 ? (apr_uint64_t)s->response : DEFAULT_RESPONSE,
        .heartbeat = s->heartbeat >= 0 ? (apr_uint32_t)s->heartbeat : DEFAULT_HEARTBEAT,
        .delay = s->delay >= 0 ? (apr_uint32_t)s->delay : DEFAULT_DELAY};
}

int ws_sockjs_pair(int pair[2])
{
    int size = PAIR_BUFFER;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        return -1;
    }
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return 0;
}

int ws_sockjs_connect(request_rec *r, ws_new_conn *n, ws_sockjs_seat *seat, ws_carrier carrier)
{
    ws_engine *engine = ws_child_engine();
    ws_sockjs_options options = session_options_of(r);
    int pair[2];
    apr_status_t rv = ESHUTDOWN;

    n->version = 13;
    n->carrier = carrier;
    n->secure = ap_ssl_conn_is_ssl(r->connection->master ? r->connection->master : r->connection);
    if (engine && (rv = ws_sockjs_pair(pair) < 0 ? errno : APR_SUCCESS) == APR_SUCCESS) {
        n->fd = pair[1];
        if (ws_sockjs_open(engine, &seat->key, &options, pair[0], n->settings, &seat->ticket)
            == 0) {
            rv = ws_engine_add(engine, n);
            /* After an error, the session ends, because its socket pair is closed. */
            return rv == APR_SUCCESS ? 0 : -1;
        }
    }
    else {
        session_release(&seat->ticket);
    }
    ws_new_conn_drop(n);
    ws_counters_add(APR_STATUS_IS_EMFILE(rv) ? WS_COUNT_REFUSED_DESCRIPTORS
                                             : WS_COUNT_REFUSED_SERVER);
    ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "websocket: SockJS: cannot create a session");
    return -1;
}

/* ---- WebSockets ---- */

/* Links a WebSocket to its SockJS session. */
typedef struct session_link {
    ws_ticket ticket; /* must be first; frees the link */
    ws_sockjs_key key;
} session_link;

static void session_unlink(ws_ticket *ticket)
{
    free(ticket);
}

/* Create a random key for a session to which no URL can refer. If loop is not NULL, the key selects
 * that loop for the session. */
static ws_sockjs_key session_random_key(ws_engine *engine, const ws_loop *loop)
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
    session_link *link = engine ? malloc(sizeof(*link)) : NULL;
    ws_sockjs_seat *seat = NULL;

    if (link) {
        *link = (session_link){{session_unlink, NULL}, session_random_key(engine, n->loop)};
        seat = ws_sockjs_seat_new(r, &link->key, 0);
    }
    inner.chain = NULL;
    inner.connecting = 0;
    if (!seat) {
        free(link);
        ws_new_conn_drop(&inner);
        return -1;
    }
    inner.loop = ws_sockjs_loop(engine, &link->key);
    if (ws_sockjs_connect(r, &inner, seat, WS_CARRIER_SOCKJS_WEBSOCKET) < 0) {
        free(link);
        return -1;
    }
    n->loop = inner.loop;
    n->location = ws_sockjs_location();
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
