/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements SOCKS5 proxies (RFC 1928) with user and password (RFC 1929). The proxy looks up the
 * server's name.
 */

#include <apr_strings.h>
#include <arpa/inet.h>
#include <string.h>

#include "client/connector.h"

enum { GREETED, AUTHENTICATED, ASKED };

static const char who[] = "proxy";

static void socks_send_bytes(ws_connector *t, const void *data, apr_size_t len, int step)
{
    t->out = apr_pmemdup(t->once, data, len);
    t->out_len = len;
    t->out_sent = 0;
    t->socks_step = (unsigned char)step;
}

int ws_connector_ask_socks(ws_connector *t)
{
    const unsigned char greeting[] = {5, t->proxy.user ? 2 : 1, 0, 2};
    t->in_len = 0;
    t->in_max = t->o.max_answer;
    socks_send_bytes(t, greeting, t->proxy.user ? 4 : 3, GREETED);
    return ws_connector_socks_answered(t);
}

/* Read until n bytes have arrived. @return whether n bytes have arrived */
static int socks_has(ws_connector *t, apr_size_t n)
{
    while (t->in_len < n) {
        apr_ssize_t got = ws_connector_receive(t);
        if (got < 0) {
            ws_connector_lost(t, who, got);
        }
        if (got <= 0) {
            return 0;
        }
    }
    return 1;
}

static int socks_authenticate(ws_connector *t)
{
    unsigned char text[513], *out = text;
    size_t user = strlen(t->proxy.user), password = strlen(t->proxy.password);
    if (user > 255 || password > 255) {
        ws_connector_fail(t, 0, "proxy: user or password is longer than 255 bytes");
        return 0;
    }
    *out++ = 1;
    *out++ = (unsigned char)user;
    out = (unsigned char *)memcpy(out, t->proxy.user, user) + user;
    *out++ = (unsigned char)password;
    out = (unsigned char *)memcpy(out, t->proxy.password, password) + password;
    socks_send_bytes(t, text, (apr_size_t)(out - text), AUTHENTICATED);
    return ws_connector_socks_answered(t);
}

static int socks_ask(ws_connector *t)
{
    unsigned char text[4 + 1 + 255 + 2] = {5, 1, 0}, *out = text + 4;
    const char *host = t->url.host;
    size_t len = strlen(host);
    if (inet_pton(AF_INET, host, out) == 1) {
        text[3] = 1;
        out += 4;
    }
    else if (inet_pton(AF_INET6, host, out) == 1) {
        text[3] = 4;
        out += 16;
    }
    else if (len > 255) {
        ws_connector_fail(t, 0, "proxy: the host's name is longer than 255 bytes");
        return 0;
    }
    else {
        text[3] = 3;
        *out++ = (unsigned char)len;
        out = (unsigned char *)memcpy(out, host, len) + len;
    }
    *out++ = (unsigned char)(t->url.port >> 8);
    *out++ = (unsigned char)t->url.port;
    socks_send_bytes(t, text, (apr_size_t)(out - text), ASKED);
    return ws_connector_socks_answered(t);
}

static int socks_chosen(ws_connector *t)
{
    unsigned method = (unsigned char)t->in[1];
    if (t->in[0] != 5) {
        ws_connector_fail(t, 0, "proxy: it is not a SOCKS5 proxy");
    }
    else if (method == 0 || (method == 2 && t->proxy.user)) {
        t->in_len = 0;
        return (method ? socks_authenticate : socks_ask)(t);
    }
    else {
        ws_connector_fail(t, 0, "proxy: it requires other credentials");
    }
    return 0;
}

static int socks_answered(ws_connector *t)
{
    static const char *const reasons[] = {"",
                                          "general failure",
                                          "its rules forbid it",
                                          "network is unreachable",
                                          "host is unreachable",
                                          "connection refused",
                                          "time to live expired",
                                          "command is not supported",
                                          "address type is not supported"};
    const unsigned char *in = (const unsigned char *)t->in;
    apr_size_t len = 4 + 2 + (in[3] == 1 ? 4u : in[3] == 4 ? 16u : 1u + in[4]);
    if (in[0] != 5 || (in[3] != 1 && in[3] != 3 && in[3] != 4)) {
        ws_connector_fail(t, 0, "proxy: its answer is not SOCKS5");
    }
    else if (in[1] != 0) {
        ws_connector_fail(t, 0, "proxy: %s",
                          in[1] < sizeof(reasons) / sizeof(*reasons) ? reasons[in[1]]
                                                                     : "unknown failure");
    }
    else if (socks_has(t, len)) {
        /* The server cannot have sent data, since it has not received a request yet. */
        if (t->in_len > len) {
            ws_connector_fail(t, 0, "proxy: unexpected data after its answer");
            return 0;
        }
        return 1;
    }
    return 0;
}

int ws_connector_socks_answered(ws_connector *t)
{
    if (!ws_connector_send(t, who) || !socks_has(t, t->socks_step == ASKED ? 5 : 2)) {
        return 0;
    }
    if (t->socks_step == GREETED) {
        return socks_chosen(t);
    }
    else if (t->socks_step == ASKED) {
        return socks_answered(t);
    }
    else if (t->in[1] != 0) {
        ws_connector_fail(t, 0, "proxy: it refuses user and password");
    }
    else {
        t->in_len = 0;
        return socks_ask(t);
    }
    return 0;
}
