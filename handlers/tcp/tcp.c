/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Connects each client to a service on a TCP or unix socket. The service's bytes become binary
 * messages, or text messages in base64.
 *
 *     WebSocketHandler ws_tcp.so to=host:port|[address]:port|unix:/path [connect-timeout=TIME]
 *     WebSocketHandler ws_tcp.so tokens=FILE [parameter=NAME] [connect-timeout=TIME]
 *
 * Reference: docs/bridges.md. The handler looks up names in on_request, on an httpd thread.
 * Everything else happens on the connection's loop, which also watches the service's socket and
 * does not block.
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_base64.h>
#include <apr_strings.h>
#include <httpd.h>
#include <http_log.h>

#include "mod_websocket.h"

#include "websocket_parse.h"
#include "../outbox.h"
#include "base64.h"
#include "target.h"

/* Size of a read from the service, and of a decoded piece, bytes. Each read becomes one message. */
#define PIECE (48 * 1024)

/* Maximum number of reads that discard data before the socket is closed. If unread data remained,
 * the kernel would send a reset, which could destroy data that the service has not read yet. */
#define LAST_READS 16

/* Time without an acknowledgment from the service after which the kernel closes the connection
 * (TCP_USER_TIMEOUT), milliseconds. The kernel's keepalive only probes idle connections. */
#define UNACKNOWLEDGED_MAX (2 * 60 * 1000)

#define CONNECT_TIMEOUT (10 * 1000)
#define CONNECT_TIMEOUT_MAX (10 * 60 * 1000)

typedef struct {
    const char *to, *tokens, *parameter;
    apr_uint32_t timeout; /* milliseconds */
} tcp_config;

typedef struct {
    const char *target;   /* text of the target, as configured */
    tcp_address *address; /* the current address, followed by the others */
    int fd;               /* socket of the service; -1: none */
    ws_watch *watch;
    ws_timer *timer; /* runs while connecting */
    int base64;
    int up;    /* 1: connected */
    int full;  /* 1: the client's queue is full, so on_drain continues */
    int ended; /* 1: the service has closed its side */
    base64_state decoder;
    outbox rest;                 /* bytes that the service has not accepted */
    int waits;                   /* 1: waiting for the service to accept the bytes in `rest` */
    apr_uint64_t sent, received; /* number of bytes sent to and received from the service */
} bridge;

/* ---- Configuration ---- */

static const char *tcp_set_timeout(apr_pool_t *pconf, tcp_config *config, const char *value)
{
    apr_int64_t ms = config->timeout;
    const char *error = ws_parse_interval(pconf, value, 1, CONNECT_TIMEOUT_MAX, &ms);

    config->timeout = (apr_uint32_t)ms;
    return error;
}

static const char *tcp_configure(apr_pool_t *pconf, const char *key, const char *value, void **data)
{
    tcp_config *config = *data;

    if (!config) {
        *data = config = apr_pcalloc(pconf, sizeof(*config));
        config->timeout = CONNECT_TIMEOUT;
    }
    if (!key) {
        return (!config->to) == (!config->tokens)     ? "needs either to=TARGET or tokens=FILE"
               : config->parameter && !config->tokens ? "parameter= belongs to tokens="
                                                      : NULL;
    }
    if (!strcmp(key, "to")) {
        config->to = apr_pstrdup(pconf, value);
        return tcp_target_check(value);
    }
    if (!strcmp(key, "tokens")) {
        config->tokens = apr_pstrdup(pconf, value);
        return *value == '/' ? tcp_tokens_check(pconf, value) : "takes an absolute path";
    }
    if (!strcmp(key, "parameter")) {
        config->parameter = apr_pstrdup(pconf, value);
        return *value && !value[strcspn(value, "&=%+")] ? NULL : "takes the name of a parameter";
    }
    if (!strcmp(key, "connect-timeout")) {
        return tcp_set_timeout(pconf, config, value);
    }
    return "unknown key; the keys are to=, tokens=, parameter= and connect-timeout=";
}

/* ---- The handshake ---- */

/* Get the decoded value of a query argument. @return NULL: the argument is missing or malformed */
static const char *tcp_parameter_of(request_rec *r, const char *name)
{
    const char *query = r->args;
    apr_size_t size = query ? strlen(query) + 1 : 1;
    char *value = apr_palloc(r->pool, size);

    return ws_query_next(&query, name, value, size) > 0 ? value : NULL;
}

/* Choose the target for a request. @return the target; NULL: the caller must refuse with *status */
static const char *tcp_choose_target(request_rec *r, const tcp_config *config, int *status)
{
    const char *name = config->parameter ? config->parameter : "token", *token, *target, *error;

    if (config->to) {
        return config->to;
    }
    if (!(token = tcp_parameter_of(r, name)) || *token == '\0') {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "websocket: tcp: the request has no parameter %s", name);
        *status = HTTP_FORBIDDEN;
        return NULL;
    }
    if (!(target = tcp_tokens_find(r->pool, config->tokens, token, &error))) {
        *status = error ? HTTP_INTERNAL_SERVER_ERROR : HTTP_FORBIDDEN;
        ap_log_rerror(APLOG_MARK, error ? APLOG_ERR : APLOG_INFO, 0, r,
                      "websocket: tcp: no service for this token: %s",
                      error ? error : "it is not in the file");
    }
    return target;
}

static int tcp_on_request(ws_request *rq, void *data)
{
    request_rec *r = ws_request_rec(rq);
    apr_pool_t *pool = ws_request_pool(rq);
    const char *target, *error = "", *protocol;
    int status;
    bridge *b;

    if (!pool) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (!(target = tcp_choose_target(r, data, &status))) {
        return status;
    }
    b = apr_pcalloc(pool, sizeof(*b));
    b->fd = -1;
    b->target = apr_pstrdup(pool, target);
    if (!(b->address = tcp_target_resolve(pool, target, &error))) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "websocket: tcp: %s has no address: %s",
                      target, error);
        return HTTP_BAD_GATEWAY;
    }
    /* If `protocol=` has selected one of the two subprotocols, keep it. */
    protocol = ws_request_protocol(rq);
    if (!protocol || (strcmp(protocol, "binary") && strcmp(protocol, "base64"))) {
        if (ws_request_choose_protocol(rq, "binary") != APR_SUCCESS) {
            ws_request_choose_protocol(rq, "base64");
        }
        protocol = ws_request_protocol(rq);
    }
    b->base64 = protocol && !strcmp(protocol, "base64");
    ws_request_set_data(rq, b);
    return 0;
}

/* ---- Closing ---- */

static void tcp_give_up(ws_conn *c, bridge *b, int code, const char *what, int error)
{
    char reason[124];

    ws_conn_log(c, b->up ? WS_LOG_INFO : WS_LOG_WARNING, "the service %s %s: %s", b->target, what,
                strerror(error));
    apr_snprintf(reason, sizeof(reason), "the service %s: %s", what, strerror(error));
    b->ended = 1;
    ws_close(c, code, reason);
}

static void tcp_broken(ws_conn *c, bridge *b, int error)
{
    if (b->watch) {
        ws_watch_stop(c, b->watch);
        b->watch = NULL;
    }
    tcp_give_up(c, b, WS_CLOSE_BAD_GATEWAY, "has broken the connection", error);
}

/* ---- From the client to the service ---- */

static void tcp_watch_what_is_wanted(ws_conn *c, bridge *b)
{
    if (b->watch) {
        ws_watch_set(c, b->watch,
                     (b->full || b->ended ? 0 : WS_READABLE) | (b->waits ? WS_WRITABLE : 0));
    }
}

/* Write the queued bytes to the service. While the queue is not empty, nothing is read from the
 * client, so the queue holds at most one piece from on_frame. */
static void tcp_give(ws_conn *c, bridge *b)
{
    apr_size_t before = outbox_left(&b->rest);
    int waited = b->waits, error = outbox_write(&b->rest, b->fd);

    b->sent += before - outbox_left(&b->rest);
    b->waits = outbox_left(&b->rest) > 0;
    if (error) {
        tcp_broken(c, b, error);
    }
    else if (b->waits && !waited) {
        ws_pause(c);
    }
    else if (!b->waits && waited) {
        ws_resume(c);
    }
    tcp_watch_what_is_wanted(c, b);
}

static void tcp_to_service(ws_conn *c, bridge *b, const char *data, apr_size_t len)
{
    if (outbox_add(&b->rest, data, len) < 0) {
        tcp_give_up(c, b, WS_CLOSE_INTERNAL, "cannot be sent data", ENOMEM);
    }
    else if (!b->waits) {
        tcp_give(c, b);
    }
}

static void tcp_on_frame(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    bridge *b = ws_data(c);
    char bytes[PIECE + 8];

    if (b->fd < 0 || ws_conn_state(c) != WS_OPEN) {
        return;
    }
    if (!b->base64) {
        tcp_to_service(c, b, data, len); /* pass on text messages like binary messages */
        return;
    }
    if (type != WS_TEXT) {
        ws_close(c, WS_CLOSE_UNSUPPORTED, "with the subprotocol base64, messages must be text");
        return;
    }
    if (where & WS_FIRST) {
        memset(&b->decoder, 0, sizeof(b->decoder));
    }
    do {
        apr_size_t part = len < PIECE / 3 * 4 ? len : PIECE / 3 * 4;
        apr_ssize_t n = base64_decode(&b->decoder, (unsigned char *)bytes, data, part,
                                      part == len && (where & WS_LAST));
        if (n < 0) {
            ws_close(c, WS_CLOSE_BAD_DATA, "the message is not base64");
            return;
        }
        tcp_to_service(c, b, bytes, (apr_size_t)n);
        data += part;
        len -= part;
    } while (len && ws_conn_state(c) == WS_OPEN);
}

/* ---- From the service to the client ---- */

/* Encode bytes. @return the text's length, without the NUL that APR counts */
static apr_size_t tcp_to_base64(char *text, const char *bytes, int len)
{
    return (apr_size_t)apr_base64_encode_binary(text, (const unsigned char *)bytes, len) - 1;
}

static void tcp_from_service(ws_conn *c, bridge *b)
{
    char bytes[PIECE], text[(PIECE + 2) / 3 * 4 + 1];
    apr_ssize_t n = recv(b->fd, bytes, sizeof(bytes), 0);
    ws_status status;

    if (n == 0) {
        b->ended = 1; /* the service may still read the client's bytes */
        ws_close(c, WS_CLOSE_NORMAL, "the service has closed the connection");
    }
    else if (n > 0) {
        b->received += (apr_size_t)n;
        status = b->base64 ? ws_send(c, WS_TEXT, text, tcp_to_base64(text, bytes, (int)n))
                           : ws_send(c, WS_BINARY, bytes, (apr_size_t)n);
        b->full = status == WS_QUEUED;
    }
    else if (errno != EAGAIN && errno != EINTR) {
        tcp_broken(c, b, errno);
    }
    tcp_watch_what_is_wanted(c, b);
}

static void tcp_on_drain(ws_conn *c)
{
    bridge *b = ws_data(c);

    b->full = 0;
    if (b->up) {
        tcp_watch_what_is_wanted(c, b);
    }
}

static void tcp_exchange(ws_conn *c, int fd, unsigned events, void *arg)
{
    bridge *b = arg;

    (void)fd;
    /* Read even if the socket has an error, because read(2) first returns the data that arrived
     * before the error. */
    if (!b->ended && !b->full && (events & (WS_READABLE | WS_BROKEN))) {
        tcp_from_service(c, b);
    }
    if (b->waits && b->watch && (events & (WS_WRITABLE | WS_BROKEN))) {
        tcp_give(c, b);
    }
}

/* ---- Connecting ---- */

static void tcp_connected(ws_conn *c, bridge *b)
{
    const unsigned unacknowledged = UNACKNOWLEDGED_MAX;
    int on = 1;

    b->up = 1;
    if (b->timer) {
        ws_timer_stop(c, b->timer);
        b->timer = NULL;
    }
    if (b->address->at.ss_family != AF_UNIX) {
        setsockopt(b->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(b->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        setsockopt(b->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged, sizeof(unacknowledged));
    }
    ws_conn_log(c, WS_LOG_DEBUG, "service %s is connected", b->target);
    ws_resume(c);
}

static void tcp_let_go(ws_conn *c, bridge *b)
{
    if (b->watch) {
        ws_watch_stop(c, b->watch);
        b->watch = NULL;
    }
    if (b->fd >= 0) {
        close(b->fd);
        b->fd = -1;
    }
}

static void tcp_connect_to_next(ws_conn *c, bridge *b, int error);

static void tcp_on_ready(ws_conn *c, int fd, unsigned events, void *arg)
{
    bridge *b = arg;
    int error = 0;
    socklen_t size = sizeof(error);

    if (b->up) {
        tcp_exchange(c, fd, events, arg);
        return;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
        error = errno;
    }
    if (error != 0) {
        tcp_let_go(c, b);
        b->address = b->address->next;
        tcp_connect_to_next(c, b, error);
        return;
    }
    tcp_connected(c, b);
    tcp_watch_what_is_wanted(c, b);
}

/* Try the next address. @param error  the error of the previous address, which is reported if no
 * address is left */
static void tcp_connect_to_next(ws_conn *c, bridge *b, int error)
{
    for (; b->address; b->address = b->address->next) {
        const tcp_address *a = b->address;
        int now;

        b->fd = socket(a->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        now = b->fd >= 0 && connect(b->fd, (const struct sockaddr *)&a->at, a->len) == 0;
        error = now ? 0 : errno;
        if (now || (b->fd >= 0 && error == EINPROGRESS)) {
            b->watch = ws_watch_start(c, b->fd, now ? WS_READABLE : WS_WRITABLE, tcp_on_ready, b);
            if (b->watch) {
                if (now) {
                    tcp_connected(c, b);
                }
                return;
            }
            error = ENOMEM;
        }
        tcp_let_go(c, b);
    }
    /* EAGAIN means that the backlog of a unix socket is full. EMFILE, ENOMEM and so on are errors
     * of this process. In all these cases, the client can try again later. */
    tcp_give_up(c, b,
                error == EAGAIN || error == EMFILE || error == ENFILE || error == ENOMEM
                    ? WS_CLOSE_TRY_LATER
                    : WS_CLOSE_BAD_GATEWAY,
                "cannot be reached", error);
}

static void tcp_too_late(ws_conn *c, void *arg)
{
    bridge *b = arg;

    b->timer = NULL;
    tcp_let_go(c, b);
    tcp_give_up(c, b, WS_CLOSE_BAD_GATEWAY, "cannot be reached", ETIMEDOUT);
}

static void tcp_on_open(ws_conn *c)
{
    const tcp_config *config = ws_config(c);
    bridge *b = ws_data(c);

    if (!b->base64 && ws_version(c) > 13) {
        ws_close(c, WS_CLOSE_UNSUPPORTED, "this version has no binary messages: use base64");
        return;
    }
    ws_pause(c);
    tcp_connect_to_next(c, b, 0);
    if (!b->up && b->fd >= 0
        && !(b->timer = ws_timer_start(c, config->timeout, 0, tcp_too_late, b))) {
        tcp_give_up(c, b, WS_CLOSE_INTERNAL, "cannot be watched", ENOMEM);
    }
}

/* ---- The client has closed ---- */

/* Close the connection to the service. If the client has closed its connection properly, do the
 * same with the service. If the client's connection broke, its data may be incomplete, so send a
 * reset that shows this to the service. */
static void tcp_hang_up(const bridge *b, int cut)
{
    char bytes[PIECE];

    if (cut) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        setsockopt(b->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    else {
        shutdown(b->fd, SHUT_WR);
        for (int i = 0; i < LAST_READS && recv(b->fd, bytes, sizeof(bytes), 0) > 0; i++) {
        }
    }
    close(b->fd);
}

static void tcp_on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    bridge *b = ws_data(c);

    (void)reason, (void)len;
    if (b->up) {
        ws_conn_log(c, WS_LOG_DEBUG,
                    "connection to service %s is closed: %" APR_UINT64_T_FMT
                    " bytes to it, %" APR_UINT64_T_FMT " bytes from it",
                    b->target, b->sent, b->received);
    }
    if (b->fd >= 0) {
        tcp_hang_up(b, b->waits || code == WS_CLOSE_ABNORMAL);
    }
    outbox_clear(&b->rest);
}

WS_HANDLER(tcp) = {.flags = WS_ANY_SIZE | WS_LOSSLESS,
                   .configure = tcp_configure,
                   .repeatable_keys = "",
                   .on_request = tcp_on_request,
                   .on_open = tcp_on_open,
                   .on_frame = tcp_on_frame,
                   .on_drain = tcp_on_drain,
                   .on_close = tcp_on_close};
