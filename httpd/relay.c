/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Relays connections that cannot leave httpd. Each direction buffers at most one piece, so a slow
 *  receiver stops the sender (back-pressure). */

#include "httpd/relay.h"

#include <ap_mmn.h>
#include <apr_buckets.h>
#include <apr_portable.h>
#include <errno.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <util_filter.h>

#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/counters.h"
#include "httpd/takeover.h"

APLOG_USE_MODULE(websocket);

/* Size of a piece, bytes. */
#define PIECE (32 * 1024)

/* How often to check for events that poll() does not report, milliseconds. There are two such
 * events: the child is stopping, or the HTTP/2 connection has ended. */
#define TICK 1000

typedef struct relay {
    conn_rec *c;
    int pair;                 /**< the relay's end of the socket pair; the engine has the other
                               * end */
    apr_bucket_brigade *up;   /**< client input not yet written to the engine's socket */
    apr_bucket_brigade *down; /**< engine output not yet sent to the client; empty except in
                               * relay_carry_down() */
    char *buf;                /**< memory for the data in `down`, PIECE bytes */
    int headers_ended;        /**< 1: the upgrade request has ended; the stream continues */
    /** 1: the client's input has ended, and the engine's socket is shut down. */
    int up_ended;
    int down_broken; /**< 1: sending to the client has failed */
    int over;
} relay;

/* ---- From the client to the engine ---- */

static void relay_end_up(relay *w)
{
    w->up_ended = 1;
    apr_brigade_cleanup(w->up);
    shutdown(w->pair, SHUT_WR);
}

/* Send a bucket to the engine. @return 1: the whole bucket was sent; 0: the engine's socket is
 * full; -1: the socket is closed */
static int relay_send_bucket(relay *w, apr_bucket *b)
{
    const char *data;
    apr_size_t len;
    ssize_t sent;

    if (apr_bucket_read(b, &data, &len, APR_BLOCK_READ) != APR_SUCCESS) {
        return -1;
    }
    do {
        sent = len ? send(w->pair, data, len, MSG_NOSIGNAL) : 0;
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        return errno == EAGAIN ? 0 : -1;
    }
    if ((apr_size_t)sent < len) {
        apr_bucket_split(b, (apr_size_t)sent);
    }
    apr_bucket_delete(b);
    return (apr_size_t)sent == len;
}

/*
 * Carry one piece from the filters to the engine. The filters may hold input that poll() does not
 * report: decrypted bytes, or half of an HTTP/2 frame. Therefore the caller repeats this until the
 * filters return EAGAIN.
 * @return 1: repeat; 0: wait for events
 */
static int relay_carry_up(relay *w)
{
    if (APR_BRIGADE_EMPTY(w->up)) {
        apr_status_t rv =
            ap_get_brigade(w->c->input_filters, w->up, AP_MODE_READBYTES, APR_NONBLOCK_READ, PIECE);
        if (APR_STATUS_IS_EAGAIN(rv) || (rv == APR_SUCCESS && APR_BRIGADE_EMPTY(w->up))) {
            return 0;
        }
        if (rv != APR_SUCCESS) {
            relay_end_up(w);
            return 1;
        }
    }
    while (!APR_BRIGADE_EMPTY(w->up)) {
        apr_bucket *b = APR_BRIGADE_FIRST(w->up);
        int sent = 1;
        if (APR_BUCKET_IS_EOS(b) && w->headers_ended) {
            relay_end_up(w); /* END_STREAM */
            break;
        }
        if (APR_BUCKET_IS_METADATA(b)) {
            /* mod_http2 sends an EOS for the upgrade request, as if its body were complete. The
             * stream stays open. HTTP/1.1 has no such bucket. */
            w->headers_ended |= APR_BUCKET_IS_EOS(b);
            apr_bucket_delete(b);
        }
        else if ((sent = relay_send_bucket(w, b)) < 0) {
            relay_end_up(w);
            break;
        }
        if (!sent) {
            return 0;
        }
    }
    return 1;
}

/* ---- From the engine to the client ---- */

/* Carry one piece from the engine to the client. @return 1: repeat; 0: wait for events */
static int relay_carry_down(relay *w)
{
    ssize_t n;
    do {
        n = recv(w->pair, w->buf, PIECE, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        return 0;
    }
    if (n <= 0) {
        w->over = 1;
    }
    else if (!w->down_broken) {
        APR_BRIGADE_INSERT_TAIL(
            w->down, apr_bucket_transient_create(w->buf, (apr_size_t)n, w->c->bucket_alloc));
        /* Without a flush bucket, filters may keep data. With a flush bucket, this call blocks
         * while the client is slow, but not longer than Timeout. */
        APR_BRIGADE_INSERT_TAIL(w->down, apr_bucket_flush_create(w->c->bucket_alloc));
        w->down_broken = ap_pass_brigade(w->c->output_filters, w->down) != APR_SUCCESS;
        apr_brigade_cleanup(w->down);
    }
    return 1;
}

/* ---- Both directions ---- */

/* Get the descriptor to poll for input, or -1 if it is closed. Do not cache it, since a stopping
 * MPM closes the sockets of its threads. */
static int relay_client_fd(conn_rec *c)
{
    int fd = -1;
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 129)
    apr_pollfd_t p;
    memset(&p, 0, sizeof(p));
    if (ap_get_pollfd_from_conn(c, &p, NULL) != APR_SUCCESS) {
        return -1;
    }
    if (p.desc_type == APR_POLL_FILE) {
        apr_os_file_get(&fd, p.desc.f);
    }
    else if (p.desc_type == APR_POLL_SOCKET) {
        apr_os_sock_get(&fd, p.desc.s);
    }
#else /* these versions of httpd have no WebSockets over HTTP/2 */
    apr_os_sock_get(&fd, ap_get_conn_socket(c));
#endif
    return fd;
}

static void relay_wait_for_either(relay *w)
{
    int client = relay_client_fd(w->c), full = !APR_BRIGADE_EMPTY(w->up);
    /* poll() always reports a client's reset, even if no events are requested. With HTTP/2, it
     * would report the end of mod_http2's pipe, which has no meaning here. */
    struct pollfd p[2] = {{.fd = w->pair, .events = (short)(POLLIN | (full ? POLLOUT : 0))},
                          {.fd = (full || w->up_ended) && w->c->master ? -1 : client,
                           .events = full || w->up_ended ? 0 : POLLIN}};
    if (client < 0 && !w->up_ended) {
        w->c->aborted = 1;
        return;
    }
    poll(p, 2, TICK);
    if (p[1].events == 0 && p[1].revents && !w->c->master) {
        w->over = 1;
    }
}

static void relay_carry(relay *w)
{
    while (!w->over) {
        int more = 0;
        if (!w->up_ended) {
            more |= relay_carry_up(w);
        }
        more |= relay_carry_down(w);
        w->down_broken |= w->c->aborted;
        /* The filters may still hold messages that the client sent before it closed its side.
         * Deliver them first. */
        if (w->down_broken && (w->up_ended || (!more && APR_BRIGADE_EMPTY(w->up)))) {
            w->over = 1;
        }
        if (!more && !w->over) {
            relay_wait_for_either(w);
        }
        w->over |= ws_child_check();
    }
}

void ws_relay_keep_alive(request_rec *r, const ws_settings *settings)
{
    if (!r->connection->master) {
        ws_socket_keep_alive(relay_client_fd(r->connection), settings);
    }
}

static apr_status_t relay_hand_over(int *ours, ws_new_conn *n)
{
    ws_engine *engine = ws_child_engine();
    apr_status_t rv = ESHUTDOWN;
    int pair[2];

    n->relayed = 1;
    if (!engine || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        if (engine) {
            rv = errno;
        }
        n->fd = -1;
        ws_new_conn_drop(n);
        return rv;
    }
    *ours = pair[0];
    n->fd = pair[1];
    if ((rv = ws_engine_add(engine, n)) != APR_SUCCESS) {
        close(pair[0]);
    }
    return rv;
}

static void relay_log_lost(request_rec *r, apr_status_t rv)
{
    ws_counters_add(APR_STATUS_IS_EMFILE(rv) ? WS_COUNT_REFUSED_DESCRIPTORS
                                             : WS_COUNT_REFUSED_SERVER);
    ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "websocket: cannot relay the connection");
}

int ws_relay(request_rec *r, ws_new_conn *n)
{
    conn_rec *c = r->connection;
    relay w = {.c = c};
    apr_status_t rv;

    /* The HTTP exchange has ended, so keep only the connection's filters. */
    r->input_filters = r->proto_input_filters = c->input_filters;
    r->output_filters = r->proto_output_filters = c->output_filters;
    c->keepalive = AP_CONN_CLOSE;

    n->secure = ap_ssl_conn_is_ssl(c);
    /* Other framings than that of RFC 6455 have no pings, so use TCP keepalive. */
    if (ws_new_conn_framing(n)) {
        ws_relay_keep_alive(r, n->settings);
    }
    if ((rv = relay_hand_over(&w.pair, n)) != APR_SUCCESS) {
        relay_log_lost(r, rv);
        c->aborted = 1;
        return DONE;
    }
    w.up = apr_brigade_create(r->pool, c->bucket_alloc);
    w.down = apr_brigade_create(r->pool, c->bucket_alloc);
    w.buf = apr_palloc(r->pool, PIECE);
    relay_carry(&w);
    close(w.pair);
    return OK;
}

/* ---- Responses, in one direction only ---- */

/* Wait for data from the engine. Any input of the client is the next request, so this only checks
 * whether the client has closed the connection, as other modules of httpd do. @return whether the
 * client is connected */
static int relay_wait_for_engine(conn_rec *c, int pair)
{
    struct pollfd p[2] = {{.fd = pair, .events = POLLIN},
                          {.fd = c->master ? -1 : relay_client_fd(c), .events = POLLRDHUP}};
    poll(p, 2, TICK);
    return !c->aborted && !p[1].revents;
}

/* Carry one piece of a response. @return 1: repeat; 0: the response has ended */
static int relay_carry_answer(request_rec *r, int pair, char *buf)
{
    ssize_t n = recv(pair, buf, PIECE, 0);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    return n > 0 && ap_rwrite(buf, (int)n, r) >= 0 && ap_rflush(r) >= 0;
}

int ws_relay_body(request_rec *r, int fd)
{
    char *buf = apr_palloc(r->pool, PIECE);
    while (relay_wait_for_engine(r->connection, fd) && relay_carry_answer(r, fd, buf)
           && !ws_child_check()) {
    }
    close(fd);
    return OK;
}

void ws_relay_wait(request_rec *r, int fd, apr_interval_time_t most)
{
    apr_time_t until = apr_time_now() + most;
    char byte;
    while (relay_wait_for_engine(r->connection, fd) && recv(fd, &byte, 1, 0) != 0
           && !ws_child_check() && apr_time_now() < until) {
    }
    close(fd);
}

int ws_relay_answer(request_rec *r, ws_new_conn *n)
{
    const ws_settings *settings = n->settings;
    apr_status_t rv;
    int pair;

    if (ap_rflush(r) < 0) { /* httpd's check refused a header, and httpd sent an error */
        ws_new_conn_drop(n);
        return DONE;
    }
    n->secure = ap_ssl_conn_is_ssl(r->connection);
    if ((rv = relay_hand_over(&pair, n)) != APR_SUCCESS) {
        relay_log_lost(r, rv);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    ws_relay_keep_alive(r, settings);
    return ws_relay_body(r, pair);
}

/* ---- Reasons ---- */

const char *ws_relay_reason(request_rec *r, int answers)
{
    static int logged;
    const char *why;
    if (ws_dir_config_of(r)->relay > 0) {
        return "WebSocketRelay is on";
    }
    why = ws_takeover_obstacle(r->connection);
    if (!why && answers) {
        why = ws_takeover_answer_obstacle(r);
    }
    if (why && !r->connection->master && !__atomic_exchange_n(&logged, 1, __ATOMIC_RELAXED)) {
        ap_log_rerror(
            APLOG_MARK, APLOG_WARNING, 0, r,
            "websocket: the connection is relayed: %s. Each relayed connection occupies a worker "
            "thread: remove the filter from this Location, or increase MaxRequestWorkers. Further "
            "relayed connections are logged at level debug",
            why);
    }
    return why;
}
