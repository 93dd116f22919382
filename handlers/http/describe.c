/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "describe.h"

#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <httpd.h>
#include <http_protocol.h>

#include "websocket_loopback.h"

/* What collects headers. */
typedef struct {
    apr_pool_t *p;
    session *session;
    int local, failed;
} describing;

/* Those of the handshake, of one connection (RFC 9110, section 7.6.1) and of a body; and those that others
 * would believe. */
static int describe_keeps(const char *name, int local)
{
    static const char *const names[] = {
        "Host",  "Connection",      "Upgrade",       "Transfer-Encoding",
        "TE",    "Trailer",         "Keep-Alive",    "Expect",
        "Range", "Accept-Encoding", "X-Remote-User", NULL};
    static const char *const beginnings[] = {"Sec-WebSocket-", "WebSocket-", "Content-", "If-",
                                             "Proxy-",         NULL};
    for (const char *const *n = names; *n; n++) {
        if (!strcasecmp(name, *n)) {
            return 0;
        }
    }
    for (const char *const *b = beginnings; *b; b++) {
        if (!strncasecmp(name, *b, strlen(*b))) {
            return 0;
        }
    }
    return local || strcasecmp(name, "X-Forwarded-For");
}

static void describe_add(describing *d, const char *name, const char *value)
{
    const char *line = apr_pstrcat(d->p, name, *value ? ": " : ";", value, NULL);
    struct curl_slist *longer = curl_slist_append(d->session->headers, line);
    d->failed |= !longer;
    d->session->headers = longer ? longer : d->session->headers;
}

static int describe_header(void *arg, const char *name, const char *value)
{
    describing *d = arg;
    if (describe_keeps(name, d->local)) {
        describe_add(d, name, value);
    }
    return 1;
}

/* To the address at which the client has come, with TLS if it has come so: there is this virtual host. */
static const char *describe_local(request_rec *r, const char *to, describing *d)
{
    const char *host = apr_table_get(r->headers_in, "Host");
    const char *scheme = ap_http_scheme(r), *ip = r->connection->local_ip, *open = "", *close = "";
    APR_OPTIONAL_FN_TYPE(ws_loopback_value) *value = APR_RETRIEVE_OPTIONAL_FN(ws_loopback_value);
    const char *credential = value ? value(r) : NULL;

    if (!host || !*host || host[strcspn(host, "@/?#\\ ")] || !credential) {
        return NULL;
    }
    if (strchr(ip, ':')) {
        open = "[";
        close = "]";
    }
    describe_add(d, WS_LOOPBACK_HEADER, credential);
    d->session->connect_to = curl_slist_append(
        NULL, apr_psprintf(d->p, "::%s%s%s:%u", open, ip, close, r->connection->local_addr->port));
    d->failed |= !d->session->connect_to;
    return apr_pstrcat(d->p, scheme, "://", host, to, NULL);
}

static const char *describe_remote(request_rec *r, const char *to, describing *d)
{
    const char *before = apr_table_get(r->headers_in, "X-Forwarded-For");
    describe_add(d, "X-Forwarded-For",
                 before ? apr_pstrcat(d->p, before, ", ", r->useragent_ip, NULL) : r->useragent_ip);
    if (r->user) {
        describe_add(d, "X-Remote-User", r->user);
    }
    return to;
}

static int describe_id(session *s)
{
    unsigned char bytes[16];
    if (apr_generate_random_bytes(bytes, sizeof(bytes)) != APR_SUCCESS) {
        return 0;
    }
    ap_bin2hex(bytes, sizeof(bytes), s->id);
    return 1;
}

int describe_session(ws_request *rq, const http_config *config, session *s)
{
    request_rec *r = ws_request_rec(rq);
    describing d = {r->pool, s, *config->to == '/', 0};
    const char *url =
        d.local ? describe_local(r, config->to, &d) : describe_remote(r, config->to, &d);
    if (!url) {
        return HTTP_BAD_REQUEST;
    }
    if (r->args) {
        url = apr_pstrcat(r->pool, url, strchr(config->to, '?') ? "&" : "?", r->args, NULL);
    }
    apr_table_do(describe_header, &d, r->headers_in, NULL);
    describe_add(&d, "Content-Type", "application/x-www-form-urlencoded");
    s->headers = d.failed ? s->headers : curl_slist_append(s->headers, "Expect:");
    s->url = strdup(url);
    return d.failed || !s->url || !describe_id(s) ? HTTP_SERVICE_UNAVAILABLE : 0;
}
