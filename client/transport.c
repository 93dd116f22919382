/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Prepares a connected socket for the WebSocket handshake: sends the request to the proxy, and
 * starts TLS with the proxy and the server.
 */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>

#include "client/connector.h"

static void transport_ask_proxy(ws_connector *t);

static void transport_shake_hands(ws_connector *t)
{
    int n;
    ERR_clear_error();
    n = SSL_connect(t->ssl);
    if (n == 1) {
        (t->stage == WS_AT_PROXY_TLS ? transport_ask_proxy : ws_connector_ask)(t);
    }
    else if (ws_connector_wanted(t, n) < 0) {
        ws_connector_fail(t, 0, "%s%s", t->stage == WS_AT_PROXY_TLS ? "proxy: " : "", t->error);
    }
}

static void transport_start_tls(ws_connector *t, const char *name, ws_connect_stage stage)
{
    SSL_CTX *own = stage == WS_AT_TLS ? ws_connector_own_tls(t) : NULL;
    t->stage = stage;
    if (!(t->ssl = own ? ws_tls_connect(own, t->fd, name, 0)
                       : ws_tls_connect(t->found.tls, t->fd, name, t->o.insecure))) {
        ws_connector_fail(t, 0, "tls: \"%s\" is not a valid server name", name);
        return;
    }
    if (stage == WS_AT_PROXY_TLS) {
        /* Remove the client certificate, which is for the server, not for the proxy. */
        SSL_certs_clear(t->ssl);
    }
    transport_shake_hands(t);
}

static void transport_secure(ws_connector *t)
{
    if (t->url.secure) {
        transport_start_tls(
            t, t->o.server_name && !t->other_server ? t->o.server_name : t->url.host, WS_AT_TLS);
    }
    else {
        ws_connector_ask(t);
    }
}

/* Continue after the proxy has connected to the server. */
static void transport_tunneled(ws_connector *t)
{
    int fd;
    t->in_len = 0;
    if (t->ssl && t->url.secure) {
        if ((fd = ws_tunnel_start(t->handle.loop, (ws_handle_unwatch(&t->handle), t->fd), t->ssl))
            < 0) {
            ws_connector_fail(t, 0, "proxy: cannot create a tunnel");
            return;
        }
        t->fd = fd;
        t->ssl = NULL;
    }
    transport_secure(t);
}

static void transport_ask_proxy(ws_connector *t)
{
    if (ws_connector_ask_proxy(t)) {
        transport_tunneled(t);
    }
}

void ws_connector_transport_ready(ws_connector *t)
{
    if (t->stage != WS_AT_PROXY) {
        transport_shake_hands(t);
    }
    else if (ws_connector_proxy_answered(t)) {
        transport_tunneled(t);
    }
}

void ws_connector_connected(ws_connector *t)
{
    int on = 1;
    setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ws_connector_alarm(t, t->o.handshake_timeout);
    if (t->proxy.host && t->proxy.secure) {
        transport_start_tls(t, t->proxy.host, WS_AT_PROXY_TLS);
    }
    else if (t->proxy.host) {
        transport_ask_proxy(t);
    }
    else {
        transport_secure(t);
    }
}
