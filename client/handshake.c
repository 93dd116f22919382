/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sends the WebSocket request, checks the response, and hands the connection to the engine. After a
 * redirect to another server, credentials and headers that may contain secrets are not sent.
 */

#include <apr_strings.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/connector.h"
#include "engine/handoff.h"
#include "protocol/deflate.h"
#include "protocol/handshake.h"
#include "protocol/extension_header.h"

/* ---- The request ---- */

static int handshake_takeover(const ws_connector *t)
{
    return t->o.deflate == WS_DEFLATE_OFFER;
}

/* Get the headers that may be sent to another server. Any other header may contain a secret. */
static const char *const *handshake_harmless_headers(const ws_connector *t)
{
    apr_array_header_t *kept = apr_array_make(t->once, 8, sizeof(const char *));
    for (const char *const *h = t->o.headers; h && *h; h += 2) {
        if (!strcasecmp(h[0], "User-Agent") || !strcasecmp(h[0], "Accept-Language")) {
            APR_ARRAY_PUSH(kept, const char *) = h[0];
            APR_ARRAY_PUSH(kept, const char *) = h[1];
        }
    }
    APR_ARRAY_PUSH(kept, const char *) = NULL;
    return (const char *const *)kept->elts;
}

static ws_client_request handshake_ask_of(const ws_connector *t, char host[WS_AUTHORITY_SIZE])
{
    return (ws_client_request){
        .host = ws_url_authority(&t->url, 0, host),
        .target = t->url.target,
        .key = t->key,
        .version = t->o.version,
        .protocols = t->o.protocols,
        .extensions = t->o.pass_extensions ? t->o.pass_extensions
                      : t->o.deflate       ? ws_deflate_offer(handshake_takeover(t))
                                           : NULL,
        .origin = t->o.origin,
        .authorization = ws_connector_credentials(t, &t->url),
        .headers = t->other_server ? handshake_harmless_headers(t) : t->o.headers};
}

void ws_connector_ask(ws_connector *t)
{
    unsigned char random[16];
    char host[WS_AUTHORITY_SIZE];
    ws_client_request ask;
    ws_random(random, sizeof(random));
    ws_key_text(random, t->key);
    ask = handshake_ask_of(t, host);
    t->out_len = ws_client_request_write(&ask, NULL, 0);
    t->out = apr_palloc(t->once, t->out_len + 1);
    ws_client_request_write(&ask, t->out, t->out_len + 1);
    t->out_sent = 0;
    t->stage = WS_AT_ANSWER;
    ws_connector_answered(t);
}

/* ---- Extensions ---- */

/* Join all values of a header to one list. @return NULL: the header is missing */
static char *handshake_joined(const ws_connector *t, const ws_client_response *a, const char *name)
{
    const char *value;
    char *all = NULL;
    size_t at = 0;
    while ((value = ws_client_response_header(a, name, &at))) {
        all = all ? apr_pstrcat(t->once, all, ", ", value, NULL) : apr_pstrdup(t->once, value);
    }
    return all;
}

/* Get the configuration of permessage-deflate of the connector's engine. */
static const ws_deflate_config *handshake_deflate_config(const ws_connector *t)
{
    /* The configuration for engines that have none. It is static, because connections keep a
     * pointer to it. */
    static const ws_deflate_config plain = {.level = 6,
                                            .window = WS_DEFLATE_BITS_MAX,
                                            .client_window = WS_DEFLATE_BITS_MAX,
                                            .takeover = 1,
                                            .threshold = 64};
    const ws_deflate_config *config = t->handle.loop->engine->options.deflate;
    return config ? config : &plain;
}

/* Set *chain to the negotiated extensions, or NULL. @return NULL, or an error text */
static const char *handshake_extend(const ws_connector *t, const ws_client_response *a,
                                    ws_chain **chain)
{
    static ws_extension_use use = {&ws_deflate, WS_DEFLATE_NAME, NULL, 0};
    const ws_deflate_config *config = handshake_deflate_config(t);
    ws_negotiation n = {0};
    ws_offer answer;
    const char *wrong;
    char *list = handshake_joined(t, a, "Sec-WebSocket-Extensions");

    *chain = NULL;
    if (!list) {
        return NULL;
    }
    if (t->o.pass_extensions) {
        return !ws_deflate_answers(apr_pstrdup(t->once, t->o.pass_extensions), list)
                   ? "the server's Sec-WebSocket-Extensions answers none of the client's offers"
               : (*chain = ws_chain_passing()) ? NULL
                                               : "out of memory";
    }
    switch (ws_offer_next(&list, &answer)) {
    case 0:
        return NULL;
    case 1:
        break;
    default:
        return "the answer's Sec-WebSocket-Extensions is malformed";
    }
    if (strcmp(answer.name, WS_DEFLATE_NAME)) {
        return "the server chose an extension that was not offered";
    }
    if ((wrong = ws_deflate_agree(config, handshake_takeover(t), &answer, &n.agreed))) {
        return wrong;
    }
    /* Several loops may write this pointer, but all write the same value. */
    __atomic_store_n(&use.config, (void *)config, __ATOMIC_RELAXED);
    if (!(*chain = ws_chain_new(1))) {
        return "out of memory";
    }
    ws_chain_add(*chain, &use, &n);
    if (ws_offer_next(&list, &answer) != 0) {
        ws_chain_free(*chain);
        *chain = NULL;
        return "the server chose an extension twice, or one that was not offered";
    }
    return NULL;
}

/* ---- Success ---- */

/* Copy the response headers that the handler reads with ws_response_header(). */
static const char *const *handshake_kept_headers(const ws_connector *t, const ws_client_response *a)
{
    const char *names = t->o.handler->keep_headers, *name;
    apr_array_header_t *kept;
    size_t len;
    if (!names) {
        return NULL;
    }
    kept = apr_array_make(t->once, 4, sizeof(const char *));
    while ((name = ws_header_list_next(&names, &len))) {
        const char *value;
        name = apr_pstrmemdup(t->once, name, len);
        if ((value = handshake_joined(t, a, name))) {
            APR_ARRAY_PUSH(kept, const char *) = name;
            APR_ARRAY_PUSH(kept, const char *) = value;
        }
    }
    APR_ARRAY_PUSH(kept, const char *) = NULL;
    return (const char *const *)kept->elts;
}

static const char *handshake_peer_of(const ws_connector *t)
{
    char host[64];
    const ws_address *a = &t->peer;
    if (a->address.ss_family == AF_UNIX) {
        return t->o.unix_socket;
    }
    return getnameinfo((const struct sockaddr *)&a->address, a->len, host, sizeof(host), NULL, 0,
                       NI_NUMERICHOST)
                   == 0
               ? apr_pstrdup(t->once, host)
               : NULL;
}

static ws_outgoing *handshake_outgoing_of(const ws_connector *t)
{
    size_t len = strlen(t->url.host) + 1;
    ws_outgoing *o = calloc(1, sizeof(*o) + len);
    if (o) {
        memcpy(o->host, t->url.host, len);
        o->settings = t->settings;
        o->settings.vhost = o->host;
        o->location.handler = t->o.handler;
        o->location.name = "outgoing";
        o->location.engine = t->handle.loop->engine;
        o->location.index = o->location.engine->options.location_count;
    }
    return o;
}

static void handshake_become_connection(ws_connector *t)
{
    const ws_client_response *a = &t->answer;
    ws_loop *loop = t->handle.loop;
    char host[WS_AUTHORITY_SIZE];
    const char *wrong, *protocol, *query = strchr(t->url.target, '?');
    ws_client_request ask = handshake_ask_of(t, host);
    int stays;
    ws_new_conn n = {.fd = t->fd,
                     .ssl = t->ssl,
                     .secure = t->url.secure,
                     .version = t->o.version,
                     .data = t->o.data,
                     .early = t->in,
                     .early_len = t->in_len};

    if (ws_client_response_check(a, &ask, &protocol, &wrong) < 0
        || (wrong = handshake_extend(t, a, &n.chain))) {
        ws_connector_fail(t, a->status, "handshake: %s", wrong);
        return;
    }
    if (!(n.outgoing = handshake_outgoing_of(t))) {
        ws_chain_free(n.chain);
        ws_connector_fail(t, a->status, "handshake: out of memory");
        return;
    }
    n.strings.uri = apr_pstrmemdup(t->once, t->url.target, strcspn(t->url.target, "?"));
    n.strings.args = query ? query + 1 : NULL;
    n.strings.peer = handshake_peer_of(t);
    n.strings.protocol = protocol;
    n.strings.headers = handshake_kept_headers(t, a);
    ws_handle_unwatch(&t->handle);
    t->fd = -1; /* the connection owns it now */
    t->ssl = NULL;
    ws_loop_entered(loop, 1);
    if (!(stays = ws_connector_stays(t, n.outgoing))) {
        ws_connector_end(t);
    }
    if (ws_handoff_here(loop, &n) != APR_SUCCESS) {
        t->outgoing = NULL; /* the connection has been freed */
        if (stays) {
            ws_connector_end(t);
        }
        if (t->o.on_failure) {
            t->o.on_failure(t->o.data, "handshake: out of memory", 0);
        }
    }
}

/* ---- Refusals and redirects ---- */

static int handshake_same_server(const ws_url *a, const ws_url *b)
{
    return !strcasecmp(a->host, b->host) && a->port == b->port && a->secure == b->secure;
}

static void handshake_redirect(ws_connector *t, const ws_client_response *a)
{
    char text[WS_URL_SIZE];
    const char *wrong = "the URL is too long", *location;
    size_t at = 0;
    ws_url to;

    if (!(location = ws_client_response_header(a, "Location", &at))) {
        ws_connector_fail(t, a->status, "redirect: server answered %d without a Location",
                          a->status);
        return;
    }
    if (t->redirects++ == t->o.redirects) {
        ws_connector_fail(t, a->status, "redirect: more than %u redirects", t->o.redirects);
        return;
    }
    if (ws_url_resolve(&t->url, location, text) < 0
        || ws_url_parse(&to, text, apr_palloc(t->once, WS_URL_ROOM(strlen(text))), &wrong) < 0) {
        ws_connector_fail(t, a->status, "redirect: %s", wrong);
        return;
    }
    if (t->url.secure && !to.secure) {
        ws_connector_fail(t, a->status, "redirect: from wss to ws");
        return;
    }
    if (to.socks) {
        ws_connector_fail(t, a->status, "redirect: not to a WebSocket URL");
        return;
    }
    if (to.international && (wrong = ws_connector_international(t, &to))) {
        ws_connector_fail(t, a->status, "redirect: %s", wrong);
        return;
    }
    if (handshake_same_server(&t->url, &to)) {
        to.user = to.user ? to.user : t->url.user;
        to.password = to.user == t->url.user ? t->url.password : to.password;
    }
    else {
        t->other_server = 1;
    }
    t->url = to;
    t->again(t);
}

static void handshake_final_answer(ws_connector *t)
{
    int status = t->answer.status;
    int moved = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    if (status != 101 && !(t->o.redirects && moved)) {
        ws_connector_refused(t);
        return;
    }
    ws_connector_tell_response(t);
    if (t->stage == WS_AT_END) { /* on_response has cancelled the attempt */
        return;
    }
    if (status == 101) {
        handshake_become_connection(t);
    }
    else {
        handshake_redirect(t, &t->answer);
    }
}

void ws_connector_answered(ws_connector *t)
{
    static const char who[] = "handshake";
    const char *wrong;
    apr_size_t head;

    if (!ws_connector_send(t, who)) {
        return;
    }
    while ((head = ws_connector_read_head(t, who))) {
        if (ws_client_response_parse(&t->answer, apr_pmemdup(t->once, t->in, head), head, &wrong)
            < 0) {
            ws_connector_fail(t, 0, "handshake: %s", wrong);
            return;
        }
        t->in_len -= head;
        memmove(t->in, t->in + head, t->in_len);
        if (t->answer.status >= 200 || t->answer.status == 101) {
            handshake_final_answer(t);
            return;
        }
        /* This is an interim response (RFC 9110, section 15.2), so another one follows. */
        ws_connector_tell_response(t);
        if (t->stage == WS_AT_END) {
            return;
        }
        if (++t->interim > WS_INTERIM_MAX) {
            ws_connector_fail(t, 0, "handshake: more than %d interim (1xx) answers",
                              WS_INTERIM_MAX);
            return;
        }
    }
}
