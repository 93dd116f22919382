/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Starts and ends connectors, which are outgoing connections that are being made. Looks up the
 * server's name, and enforces the time limits.
 */

#include "client/connector.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "engine/handoff.h"
#include "protocol/handshake.h"

static void connector_time_is_over(ws_alarm *a)
{
    ws_connector *t = (ws_connector *)((char *)a - offsetof(ws_connector, alarm));
    switch (t->stage) {
    case WS_AT_CONNECT:
        ws_connector_try_tick(t);
        break;
    case WS_AT_BODY:
        t->body.cut = 1;
        ws_connector_body_over(t);
        break;
    case WS_AT_LOOKUP:
        ws_connector_fail(t, 0, "lookup: no answer in %u ms", t->o.lookup_timeout);
        break;
    case WS_AT_PROXY_TLS:
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

/* ---- Name lookup ---- */

/* Handle the first result of the lookup. */
static void connector_found_some(ws_connector *t, ws_found *f)
{
    if (f->addresses) { /* the addresses are NULL for a unix socket */
        t->found.addresses = f->addresses;
    }
    t->found.tls = f->tls;
    if (*f->error) {
        ws_connector_fail(t, 0, "%s", f->error);
    }
    else {
        ws_connector_try(t);
    }
}

static void connector_found(void *arg, ws_found *f)
{
    ws_connector *t = arg;
    if (!f->more) {
        t->lookup = NULL;
    }
    if (t->stage == WS_AT_LOOKUP) {
        connector_found_some(t, f);
    }
    else {
        ws_addresses *more = f->addresses;
        ws_connector_try_more(t, more);
        free(more);
    }
}

/* Use the unix socket of the options as the only address. @return 0, or -1: the attempt has
 * failed */
static int connector_use_unix_socket(ws_connector *t)
{
    struct sockaddr_un *name;
    ws_addresses *one;
    if (!(one = calloc(1, sizeof(*one) + sizeof(ws_address)))) {
        ws_connector_fail(t, 0, "request: out of memory");
        return -1;
    }
    name = (struct sockaddr_un *)&one->list[0].address;
    name->sun_family = AF_UNIX;
    strcpy(name->sun_path, t->o.unix_socket);
    one->count = 1;
    one->list[0].len = sizeof(*name);
    t->found.addresses = one;
    return 0;
}

static void connector_look_up(ws_connector *t)
{
    const ws_url *url = t->proxy.host ? &t->proxy : &t->url;
    /* The client certificate may be sent only to the server in the original URL. */
    int own = t->url.secure && !t->other_server;
    const ws_tls_files files = {t->o.ca_file, own ? t->o.certificate : NULL, own ? t->o.key : NULL,
                                t->o.insecure, t->o.key_log};
    int tls = (t->url.secure && !ws_connector_own_tls(t)) || (t->proxy.host && t->proxy.secure);
    const char *host = url->host;
    unsigned port = url->port;
    t->stage = WS_AT_LOOKUP;
    t->alarm.fn = connector_time_is_over;
    ws_connector_connect_to(t, &host, &port);
    if (t->o.unix_socket && connector_use_unix_socket(t) < 0) {
        return;
    }
    ws_connector_alarm(t, t->o.lookup_timeout);
    t->lookup_until = ws_clock() + t->o.lookup_timeout;
    t->lookup = ws_lookup_start(t->handle.loop, t->o.unix_socket ? NULL : host, port,
                                tls ? &files : NULL, connector_found, t);
    if (!t->lookup) {
        ws_connector_fail(t, 0, "lookup: out of memory");
    }
}

static void connector_again(ws_connector *t)
{
    const char *wrong;
    ws_connector_hang_up(t);
    t->interim = 0;
    memset(&t->body, 0, sizeof(t->body));
    if ((wrong = ws_connector_choose_proxy(t))) {
        ws_connector_fail(t, 0, "%s", wrong);
    }
    else {
        connector_look_up(t);
    }
}

/* ---- Start ---- */

static void connector_ready(ws_source *s, const ws_ready *r)
{
    ws_connector *t = (ws_connector *)s;
    (void)r;
    switch (t->stage) {
    case WS_AT_PROXY_TLS:
    case WS_AT_PROXY:
    case WS_AT_TLS:
        ws_connector_transport_ready(t);
        break;
    case WS_AT_ANSWER:
        ws_connector_answered(t);
        break;
    case WS_AT_BODY:
        ws_connector_body_came(t);
        break;
    default:
        break;
    }
}

static void connector_stop(ws_handle *h)
{
    ws_connector *t = (ws_connector *)h;
    if (t->stage == WS_AT_OPEN) { /* on_close will report the end */
        ws_connector_end(t);
        return;
    }
    ws_connector_fail(t, 0, "stopped");
    ws_lookup_settle();
}

static void connector_free(ws_connector *t)
{
    ws_loop *loop = t->handle.loop;
    int counted = t->counted;
    free(t->in);
    SSL_CTX_free(t->tls);
    apr_pool_destroy(t->pool); /* t is allocated from it */
    if (counted) {
        ws_loop_left(loop, 1);
    }
}

static void connector_release(ws_handle *h)
{
    ws_connector *t = (ws_connector *)h;
    if (t->started) {
        connector_free(t);
    }
    else {
        t->released = 1; /* the task still points to t, and will free it */
    }
}

/* Check the options. @return NULL, or an error text that begins with the stage */
static const char *connector_check_options(ws_connector *t)
{
    const ws_connect_options *o = &t->o;
    const char *wrong;
    if (o->version != 13 && o->version != 8) {
        return apr_psprintf(t->once, "request: version %d is neither 13 nor 8", o->version);
    }
    if (o->protocols && *o->protocols && !ws_protocols_valid(o->protocols)) {
        return "request: the subprotocols are not a list of tokens without duplicates";
    }
    for (const char *const *h = o->headers; h && *h; h += 2) {
        if ((wrong = ws_header_wrong(h[0], h[1]))) {
            return apr_pstrcat(t->once, "request: ", wrong, NULL);
        }
    }
    if (o->origin && ws_header_wrong("Origin", o->origin)) {
        return "request: the origin has a control character";
    }
    if (o->unix_socket && !*o->unix_socket) {
        return "request: the unix socket's path is empty";
    }
    if (o->unix_socket && strlen(o->unix_socket) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        return "request: the unix socket's path is too long";
    }
    if (o->source && !ws_is_address(o->source)) {
        return apr_psprintf(t->once, "request: the source \"%s\" is not an IPv4 or IPv6 address",
                            o->source);
    }
    if (o->key && !o->certificate) {
        return "request: the key has no certificate: set both, or none of them";
    }
    return ws_connector_check_connect_to(t);
}

static const char *connector_check_url(ws_connector *t)
{
    const char *wrong;
    char *room = apr_palloc(t->once, WS_URL_ROOM(strlen(t->o.url)));
    if (ws_url_parse(&t->url, t->o.url, room, &wrong) < 0) {
        t->url.host = NULL;
        return apr_pstrcat(t->once, "url: ", wrong, NULL);
    }
    if (t->url.http || t->url.socks) {
        return "url: the URL does not start with ws:// or wss://";
    }
    if (t->url.international && (wrong = ws_connector_international(t, &t->url))) {
        return apr_pstrcat(t->once, "url: ", wrong, NULL);
    }
    return NULL;
}

const char *ws_connector_check(ws_connector *t)
{
    const char *wrong = t->o.url ? connector_check_url(t) : NULL;
    return wrong ? wrong : connector_check_options(t);
}

static void connector_begin(ws_connector *t)
{
    const char *wrong;
    memset(&t->url, 0, sizeof(t->url));
    memset(&t->proxy, 0, sizeof(t->proxy));
    apr_pool_clear(t->once);
    t->other_server = 0;
    t->redirects = 0;
    if ((wrong = ws_connector_check(t))) {
        ws_connector_fail(t, 0, "%s", wrong);
    }
    else {
        connector_again(t);
    }
}

static void connector_start(ws_loop *loop, ws_task *task)
{
    ws_connector *t = (ws_connector *)((char *)task - offsetof(ws_connector, start));
    t->started = 1;
    if (!t->handle.loop) {
        ws_handle_open(loop, &t->handle);
    }
    if (t->released) {
        connector_free(t);
    }
    else if (t->stage == WS_AT_START) { /* if the stage differs, the attempt has been cancelled */
        if (__atomic_load_n(&loop->engine->stopping, __ATOMIC_ACQUIRE)) {
            connector_stop(&t->handle);
        }
        else if (t->o.delay) {
            ws_connector_begin_in(t, t->o.delay);
        }
        else {
            connector_begin(t);
        }
    }
}

void ws_connector_init(ws_connector *t)
{
    t->fd = -1;
    t->counted = 1;
    t->begin = connector_begin;
    t->again = connector_again;
    t->start.fn = connector_start;
    t->handle.source.ready = connector_ready;
    t->handle.stop = connector_stop;
    t->handle.release = connector_release;
}

int ws_connector_cancel(ws_loop *loop, ws_attempt id)
{
    ws_handle *h;
    LIST_FOREACH(h, &loop->event.handles, of_loop)
    {
        /* cppcheck-suppress uninitvar -- LIST_FOREACH sets it */
        if (h->release == connector_release && ((ws_connector *)h)->id == id) {
            ws_connector_end((ws_connector *)h);
            return 1;
        }
    }
    return 0;
}

void ws_connector_end_waiting(ws_loop *loop)
{
    ws_handle *next;
    for (ws_handle *h = LIST_FIRST(&loop->event.handles); h; h = next) {
        ws_connector *t = (ws_connector *)h;
        next = LIST_NEXT(h, of_loop);
        if (h->release == connector_release && t->stage == WS_AT_START && t->wait) {
            ws_connector_fail(t, 0, "stopped");
        }
    }
}
