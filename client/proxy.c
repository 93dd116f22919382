/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Selects the proxy for a URL, from the options or the environment, and sends CONNECT to an HTTP
 * proxy (RFC 9110, section 9.3.6).
 */

#include <apr_strings.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/parse.h"
#include "client/connector.h"

/* ---- The environment ---- */

/* Whether the first `bits` bits of two addresses are the same. */
static int proxy_same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned bytes = bits / 8, rest = bits % 8;
    return memcmp(a, b, bytes) == 0 && (!rest || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0);
}

/* Whether host is the address in the entry, or belongs to the network in the entry
 * ("192.0.2.0/24"). */
static int proxy_in_network(const char *host, const char *entry)
{
    unsigned char a[sizeof(struct in6_addr)], b[sizeof(struct in6_addr)];
    char network[64];
    const char *slash = strchr(entry, '/');
    size_t len = slash ? (size_t)(slash - entry) : strlen(entry);
    int family = strchr(host, ':') ? AF_INET6 : AF_INET;
    apr_int64_t most = family == AF_INET ? 32 : 128, bits = most;
    if (len >= sizeof(network)) {
        return 0;
    }
    memcpy(network, entry, len);
    network[len] = '\0';
    if (slash && ws_parse_count(NULL, slash + 1, 0, most, &bits)) {
        return 0;
    }
    return inet_pton(family, host, a) == 1 && inet_pton(family, network, b) == 1
           && proxy_same_bits(a, b, (unsigned)bits);
}

/* Whether host is the domain in the entry, or a subdomain of it. A dot before or after the domain
 * is ignored. */
static int proxy_in_domain(const char *host, const char *entry)
{
    size_t host_len = strlen(host), len;
    host_len -= host_len && host[host_len - 1] == '.';
    entry += *entry == '*' && entry[1] == '.';
    entry += *entry == '.';
    len = strlen(entry);
    len -= len && entry[len - 1] == '.';
    return len && host_len >= len && !strncasecmp(host + host_len - len, entry, len)
           && (host_len == len || host[host_len - len - 1] == '.');
}

/* Whether an element of no_proxy matches the URL. If the element has a port, the port must match,
 * too. */
static int proxy_names_url(const ws_url *url, char *entry)
{
    char *colon = strrchr(entry, ':'), *end = strchr(entry, ']');
    int bracketed = *entry == '[' && end;
    if (colon && (bracketed ? colon == end + 1 : strchr(entry, ':') == colon)) {
        apr_int64_t port;
        if (ws_parse_count(NULL, colon + 1, 1, 65535, &port) || port != url->port) {
            return 0;
        }
        *colon = '\0';
    }
    if (bracketed) {
        *end = '\0';
        entry++;
    }
    return !strcmp(entry, "*") || proxy_in_network(url->host, entry)
           || proxy_in_domain(url->host, entry);
}

static const char *proxy_variable(const char *lower, const char *upper)
{
    const char *value = getenv(lower);
    return value || !upper ? value : getenv(upper);
}

static int proxy_needs_none(ws_connector *t)
{
    const char *list = proxy_variable("no_proxy", "NO_PROXY");
    char *rest = list ? apr_pstrdup(t->once, list) : NULL, *entry, *last = NULL;
    for (entry = rest ? strtok_r(rest, ", \t", &last) : NULL; entry;
         entry = strtok_r(NULL, ", \t", &last)) {
        if (proxy_names_url(&t->url, entry)) {
            return 1;
        }
    }
    return 0;
}

/* Get the proxy from the environment. HTTP_PROXY in capitals is ignored, because in a CGI program,
 * a client can set it with a header. */
static const char *proxy_from_environment(ws_connector *t)
{
    const char *proxy = t->url.secure ? proxy_variable("https_proxy", "HTTPS_PROXY")
                                      : proxy_variable("http_proxy", NULL);
    proxy = proxy ? proxy : proxy_variable("all_proxy", "ALL_PROXY");
    return proxy && *proxy && !proxy_needs_none(t) ? proxy : NULL;
}

/* Parse the proxy's URL. @return NULL, or the error */
static const char *proxy_parse(ws_connector *t, const char *text)
{
    const char *wrong;
    text = strstr(text, "://") ? text : apr_pstrcat(t->once, "http://", text, NULL);
    if (ws_url_parse(&t->proxy, text, apr_palloc(t->once, WS_URL_ROOM(strlen(text))), &wrong) < 0
        || (!t->proxy.http && !t->proxy.socks)) {
        return "proxy: its URL is not an http://host:port, https or socks5 URL";
    }
    if (t->proxy.international && (wrong = ws_connector_international(t, &t->proxy))) {
        return apr_pstrcat(t->once, "proxy: ", wrong, NULL);
    }
    return NULL;
}

const char *ws_connector_choose_proxy(ws_connector *t)
{
    const char *text = t->o.proxy, *wrong;
    memset(&t->proxy, 0, sizeof(t->proxy));
    if (!text && t->o.proxy_environment && t->url.host && !t->o.unix_socket) {
        text = proxy_from_environment(t);
    }
    if (!text || !*text) {
        return NULL;
    }
    if (t->o.unix_socket) {
        return "proxy: a unix socket cannot be reached through a proxy";
    }
    if (*t->o.connect_to) {
        return "request: other addresses (connect_to) cannot be combined with a proxy: remove "
               "them, or use no proxy";
    }
    if ((wrong = proxy_parse(t, text))) {
        t->proxy.host = NULL;
    }
    return wrong;
}

/* ---- CONNECT ---- */

int ws_connector_proxy_answered(ws_connector *t)
{
    apr_size_t head;
    const char *wrong;
    if (t->proxy.socks) {
        return ws_connector_socks_answered(t);
    }
    if (!ws_connector_send(t, "proxy")) {
        return 0;
    }
    while ((head = ws_connector_read_head(t, "proxy"))) {
        if (ws_client_response_parse(&t->answer, apr_pmemdup(t->once, t->in, head), head, &wrong)
            < 0) {
            ws_connector_fail(t, 0, "proxy: %s", wrong);
            return 0;
        }
        t->in_len -= head;
        memmove(t->in, t->in + head, t->in_len);
        if (t->answer.status >= 200 || t->answer.status == 101) {
            break;
        }
        /* This is an interim response (RFC 9110, section 15.2), so another one follows. */
        ws_connector_tell_response(t);
        if (t->stage == WS_AT_END) {
            return 0;
        }
        if (++t->interim > WS_INTERIM_MAX) {
            ws_connector_fail(t, 0, "proxy: more than %d interim (1xx) answers", WS_INTERIM_MAX);
            return 0;
        }
    }
    if (!head) {
        return 0;
    }
    if (t->answer.status / 100 != 2) {
        ws_connector_refused(t);
    }
    else if (t->in_len > 0) {
        /* The server cannot have sent data, since it has not received a request yet. */
        ws_connector_fail(t, 0, "proxy: unexpected data after its answer");
    }
    else {
        ws_connector_tell_response(t);
        return t->stage != WS_AT_END;
    }
    return 0;
}

int ws_connector_ask_proxy(ws_connector *t)
{
    char to[WS_AUTHORITY_SIZE];
    const char *credentials = ws_connector_credentials(t, &t->proxy);
    t->stage = WS_AT_PROXY;
    if (t->proxy.socks) {
        return ws_connector_ask_socks(t);
    }
    ws_url_authority(&t->url, 1, to);
    t->out = apr_pstrcat(t->once, "CONNECT ", to, " HTTP/1.1\r\nHost: ", to, "\r\n",
                         credentials ? "Proxy-Authorization: " : "", credentials ? credentials : "",
                         credentials ? "\r\n" : "", "\r\n", NULL);
    t->out_len = strlen(t->out);
    t->out_sent = 0;
    return ws_connector_proxy_answered(t);
}
