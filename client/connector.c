/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Name, address, proxy, TLS: the way to a server, until the handshake can begin. */

#include "client/connector.h"

#include <apr_base64.h>
#include <apr_strings.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/handoff.h"
#include "protocol/handshake.h"

static void set_alarm(ws_connector *t, apr_uint32_t ms)
{
    if (ms == WS_NEVER) {
        ws_timer_wheel_clear(&t->guest.loop->wheel, &t->alarm);
    }
    else {
        ws_timer_wheel_set(&t->guest.loop->wheel, &t->alarm, ws_clock() + ms);
    }
}

/* ---- The end ---- */

/* Let go of what leads to the server. */
static void hang_up(ws_connector *t)
{
    ws_source_unwatch(&t->guest);
    ws_timer_wheel_clear(&t->guest.loop->wheel, &t->alarm);
    if (t->lookup) {
        ws_lookup_cancel(t->lookup);
        t->lookup = NULL;
    }
    SSL_free(t->ssl);
    t->ssl = NULL;
    if (t->fd >= 0) {
        close(t->fd);
        t->fd = -1;
    }
    if (t->found.addresses) {
        freeaddrinfo(t->found.addresses);
        t->found.addresses = NULL;
    }
    SSL_CTX_free(t->found.tls);
    t->found.tls = NULL;
    t->in_len = 0;
}

void ws_connector_end(ws_connector *t)
{
    hang_up(t);
    t->stage = WS_AT_END;
    ws_source_leave(&t->guest);
}

void ws_connector_fail(ws_connector *t, int status, const char *format, ...)
{
    const ws_engine_options *options = &t->guest.loop->engine->options;
    char reason[WS_TLS_ERROR], host[WS_AUTHORITY_SIZE] = "-", line[WS_TLS_ERROR + 512];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    if (t->url.host) {
        ws_url_authority(&t->url, 1, host);
    }
    if (options->logs(WS_LOG_INFO, &t->settings)) {
        snprintf(line, sizeof(line), "no connection to %.300s: %s", host, reason);
        options->log(WS_LOG_INFO, &t->settings, NULL, line);
    }
    ws_connector_end(t);
    if (t->o.on_failure) {
        t->o.on_failure(t->o.data, reason, status);
    }
}

static void took_too_long(ws_alarm *a)
{
    ws_connector *t = (ws_connector *)((char *)a - offsetof(ws_connector, alarm));
    switch (t->stage) {
    case WS_AT_LOOKUP:
        ws_connector_fail(t, 0, "lookup: no answer in %u ms", t->o.lookup_timeout);
        break;
    case WS_AT_PROXY:
        ws_connector_fail(t, 0, "proxy: no answer in %u ms", t->o.handshake_timeout);
        break;
    case WS_AT_TLS:
        ws_connector_fail(t, 0, "tls: no answer in %u ms", t->o.handshake_timeout);
        break;
    default:
        ws_connector_fail(t, 0, "handshake: no answer in %u ms", t->o.handshake_timeout);
    }
}

/* ---- TLS ---- */

static void shake_hands(ws_connector *t)
{
    int n;
    ERR_clear_error();
    n = SSL_connect(t->ssl);
    if (n == 1) {
        ws_connector_ask(t);
    }
    else if (ws_connector_wanted(t, n) < 0) {
        ws_connector_fail(t, 0, "%s", t->error);
    }
}

/* The server's end of the line. */
static void secure(ws_connector *t)
{
    const char *name = t->o.server_name ? t->o.server_name : t->url.host;
    if (!t->url.secure) {
        ws_connector_ask(t);
        return;
    }
    t->stage = WS_AT_TLS;
    if (!(t->ssl = ws_tls_connect(t->found.tls, t->fd, name, t->o.insecure))) {
        ws_connector_fail(t, 0, "tls: \"%s\" cannot be the name of a server", name);
        return;
    }
    shake_hands(t);
}

/* ---- The proxy: RFC 9110, section 9.3.6 ---- */

const char *ws_connector_credentials(const ws_connector *t, const ws_url *url)
{
    char *text, *coded;
    if (!url->user) {
        return NULL;
    }
    text = apr_pstrcat(t->pool, url->user, ":", url->password, NULL);
    coded = apr_palloc(t->pool, (apr_size_t)apr_base64_encode_len((int)strlen(text)));
    apr_base64_encode_binary(coded, (unsigned char *)text, (int)strlen(text));
    return apr_pstrcat(t->pool, "Basic ", coded, NULL);
}

static void proxy_answered(ws_connector *t)
{
    apr_size_t head;
    ws_client_response answer;
    const char *wrong;
    if (!ws_connector_send(t, "proxy") || !(head = ws_connector_read_head(t, "proxy"))) {
        return;
    }
    if (ws_client_response_parse(&answer, t->in, head, &wrong) < 0) {
        ws_connector_fail(t, 0, "proxy: %s", wrong);
    }
    else if (answer.status / 100 != 2) {
        ws_connector_fail(t, answer.status, "proxy: it answered %d", answer.status);
    }
    else if (t->in_len > head) { /* nobody behind it has been spoken to */
        ws_connector_fail(t, 0, "proxy: something comes behind its answer");
    }
    else {
        t->in_len = 0;
        secure(t);
    }
}

static void ask_proxy(ws_connector *t)
{
    char to[WS_AUTHORITY_SIZE];
    const char *credentials = ws_connector_credentials(t, &t->proxy);
    ws_url_authority(&t->url, 1, to);
    t->out = apr_pstrcat(t->pool, "CONNECT ", to, " HTTP/1.1\r\nHost: ", to, "\r\n",
                         credentials ? "Proxy-Authorization: " : "", credentials ? credentials : "",
                         credentials ? "\r\n" : "", "\r\n", NULL);
    t->out_len = strlen(t->out);
    t->out_sent = 0;
    t->stage = WS_AT_PROXY;
    proxy_answered(t);
}

/* ---- Addresses ---- */

static void connected(ws_connector *t)
{
    int on = 1;
    setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    set_alarm(t, t->o.handshake_timeout);
    if (t->proxy.host) {
        ask_proxy(t);
    }
    else {
        secure(t);
    }
}

/* The local address to connect from, if it is of this family. @return its length, or 0 */
static socklen_t source_of(const ws_connector *t, int family, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof(*out));
    out->ss_family = (sa_family_t)family;
    if (family == AF_INET && inet_pton(AF_INET, t->o.source, &v4->sin_addr) == 1) {
        return sizeof(*v4);
    }
    return family == AF_INET6 && inet_pton(AF_INET6, t->o.source, &v6->sin6_addr) == 1 ? sizeof(*v6)
                                                                                       : 0;
}

/* @return 0, or -1 with errno set */
static int open_socket(ws_connector *t)
{
    const struct addrinfo *a = t->address;
    struct sockaddr_storage source;
    int late = 1;
    t->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (t->fd < 0) {
        return -1;
    }
    if (t->o.source) {
        socklen_t len = source_of(t, a->ai_family, &source);
        if (!len) {
            errno = EAFNOSUPPORT;
            return -1;
        }
        /* The port is chosen with the server's address in view: one serves for many servers. */
        setsockopt(t->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof(late));
        if (bind(t->fd, (struct sockaddr *)&source, len) < 0) {
            return -1;
        }
    }
    return connect(t->fd, a->ai_addr, a->ai_addrlen);
}

/* Try the address, and those behind it. */
static void try_addresses(ws_connector *t)
{
    for (; t->address; t->address = t->address->ai_next) {
        if (open_socket(t) == 0) {
            connected(t);
            return;
        }
        if (errno == EINPROGRESS && ws_source_watch(&t->guest, t->fd, WS_WRITABLE) == APR_SUCCESS) {
            set_alarm(t, t->o.connect_timeout);
            return;
        }
        snprintf(t->error, sizeof(t->error), "connect: %s", strerror(errno));
        if (t->fd >= 0) {
            close(t->fd);
            t->fd = -1;
        }
    }
    ws_connector_fail(t, 0, "%s", t->error);
}

static void try_next(ws_connector *t)
{
    ws_source_unwatch(&t->guest);
    close(t->fd);
    t->fd = -1;
    t->address = t->address->ai_next;
    try_addresses(t);
}

static void time_is_over(ws_alarm *a)
{
    ws_connector *t = (ws_connector *)((char *)a - offsetof(ws_connector, alarm));
    if (t->stage == WS_AT_CONNECT) {
        snprintf(t->error, sizeof(t->error), "connect: no answer in %u ms", t->o.connect_timeout);
        try_next(t);
    }
    else {
        took_too_long(a);
    }
}

static void found(void *arg, ws_found *f)
{
    ws_connector *t = arg;
    t->lookup = NULL;
    t->found = *f;
    if (*f->error) {
        ws_connector_fail(t, 0, "%s", f->error);
        return;
    }
    t->stage = WS_AT_CONNECT;
    t->address = f->addresses;
    try_addresses(t);
}

static void look_up(ws_connector *t)
{
    const ws_url *to = t->proxy.host ? &t->proxy : &t->url;
    const ws_tls_files files = {t->o.ca_file, t->o.certificate, t->o.key, t->o.insecure};
    t->stage = WS_AT_LOOKUP;
    t->alarm.fn = time_is_over;
    set_alarm(t, t->o.lookup_timeout);
    t->lookup =
        ws_lookup_start(t->guest.loop, to->host, to->port, t->url.secure ? &files : NULL, found, t);
    if (!t->lookup) {
        ws_connector_fail(t, 0, "lookup: out of memory");
    }
}

void ws_connector_again(ws_connector *t)
{
    hang_up(t);
    look_up(t);
}

/* ---- The beginning ---- */

static void ready(ws_source *g, unsigned events)
{
    ws_connector *t = (ws_connector *)g;
    int error = 0;
    socklen_t len = sizeof(error);
    (void)events;
    switch (t->stage) {
    case WS_AT_CONNECT:
        if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
            snprintf(t->error, sizeof(t->error), "connect: %s", strerror(error ? error : errno));
            try_next(t);
        }
        else {
            connected(t);
        }
        break;
    case WS_AT_PROXY:
        proxy_answered(t);
        break;
    case WS_AT_TLS:
        shake_hands(t);
        break;
    case WS_AT_ANSWER:
        ws_connector_answered(t);
        break;
    default:
        break;
    }
}

static void stop(ws_source *g)
{
    ws_connector_fail((ws_connector *)g, 0, "stopped");
    ws_lookup_settle();
}

static void free_trial(ws_connector *t)
{
    ws_loop *loop = t->guest.loop;
    free(t->in);
    apr_pool_destroy(t->pool); /* t stands in it */
    ws_loop_left(loop, 1);
}

static void forget(ws_source *g)
{
    ws_connector *t = (ws_connector *)g;
    if (t->started) {
        free_trial(t);
    }
    else {
        t->orphan = 1; /* the task still points to it */
    }
}

static void begin(ws_connector *t)
{
    const char *wrong;
    if (ws_url_parse(&t->url, t->o.url, apr_palloc(t->pool, WS_URL_ROOM(strlen(t->o.url))), &wrong)
        < 0) {
        t->url.host = NULL;
        ws_connector_fail(t, 0, "url: %s", wrong);
        return;
    }
    if (t->url.http) {
        ws_connector_fail(t, 0, "url: the URL does not start with ws:// or wss://");
        return;
    }
    if (t->o.version != 13 && t->o.version != 8) {
        ws_connector_fail(t, 0, "request: version %d is neither 13 nor 8", t->o.version);
        return;
    }
    if (t->o.protocols && *t->o.protocols && !ws_protocols_valid(t->o.protocols)) {
        ws_connector_fail(t, 0, "request: the subprotocols are no list of different tokens");
        return;
    }
    if (t->o.proxy
        && (ws_url_parse(&t->proxy, t->o.proxy,
                         apr_palloc(t->pool, WS_URL_ROOM(strlen(t->o.proxy))), &wrong)
                < 0
            || !t->proxy.http || t->proxy.secure)) {
        t->proxy.host = NULL;
        ws_connector_fail(t, 0, "proxy: its URL is not http://host:port");
        return;
    }
    for (const char *const *h = t->o.headers; h && *h; h += 2) {
        if ((wrong = ws_header_wrong(h[0], h[1]))) {
            ws_connector_fail(t, 0, "request: %s", wrong);
            return;
        }
    }
    if (t->o.origin && (wrong = ws_header_wrong("Origin", t->o.origin))) {
        ws_connector_fail(t, 0, "request: the origin has a control character");
        return;
    }
    look_up(t);
}

static void delay_is_over(ws_alarm *a)
{
    begin((ws_connector *)((char *)a - offsetof(ws_connector, alarm)));
}

static void start(ws_loop *loop, ws_task *task)
{
    ws_connector *t = (ws_connector *)((char *)task - offsetof(ws_connector, start));
    t->started = 1;
    if (!t->guest.loop) {
        ws_source_enter(loop, &t->guest);
    }
    if (t->orphan) {
        free_trial(t);
    }
    else if (t->stage == WS_AT_START) { /* it may have been given up, too */
        if (__atomic_load_n(&loop->engine->stopping, __ATOMIC_ACQUIRE)) {
            stop(&t->guest);
        }
        else if (t->o.delay) {
            t->alarm.fn = delay_is_over;
            set_alarm(t, t->o.delay);
        }
        else {
            begin(t);
        }
    }
}

void ws_connector_init(ws_connector *t)
{
    t->fd = -1;
    t->start.fn = start;
    t->guest.ready = ready;
    t->guest.stop = stop;
    t->guest.free = forget;
}

int ws_connector_cancel(ws_loop *loop, ws_attempt id)
{
    for (ws_source *g = loop->guests; g; g = g->next) {
        if (g->free == forget && ((ws_connector *)g)->id == id) {
            ws_connector_end((ws_connector *)g);
            return 1;
        }
    }
    return 0;
}
