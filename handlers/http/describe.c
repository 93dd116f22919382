/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** In the handshake of a connection, determines the URL and the headers of the HTTP requests that
 *  the handler will send to the application for this connection. Does not copy any headers of the
 *  client that the application would trust, such as X-Remote-User. */

#include "describe.h"

#include <string.h>

#include <apr_general.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <httpd.h>
#include <http_log.h>
#include <http_protocol.h>

#include "grip.h"

/* The state while headers are collected. */
typedef struct {
    apr_pool_t *p;
    session *session;
    int local, grip, failed;
    const char *wrong; /* name of a header whose value would add a line to the request */
} describing;

/* Whether two header names are the same. CGI maps "_" and "-" to the same variable. */
static int describe_same(const char *name, const char *other, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i] == '_' ? '-' : (char)apr_tolower(name[i]);
        if (c != apr_tolower(other[i])) { /* also detects the end of `name` */
            return 0;
        }
    }
    return 1;
}

/* Whether to keep a header. Drop hop-by-hop headers (RFC 9110, section 7.6.1), headers of the
 * handshake and of a body, and headers that an application would trust. */
static int describe_keeps(const char *name, const describing *d)
{
    static const char *const names[] = {"Host",
                                        "Connection",
                                        "Upgrade",
                                        "Transfer-Encoding",
                                        "TE",
                                        "Trailer",
                                        "Keep-Alive",
                                        "Expect",
                                        "Range",
                                        "Accept-Encoding",
                                        "X-Remote-User",
                                        "Connection-Id",
                                        "Grip-Sig",
                                        NULL};
    static const char *const beginnings[] = {"Sec-WebSocket-", "WebSocket-", "Content-", "If-",
                                             "Proxy-",         "Meta-",      NULL};
    for (const char *const *n = names; *n; n++) {
        if (describe_same(name, *n, strlen(*n) + 1)) {
            return 0;
        }
    }
    if (d->grip && !strcasecmp(name, "Accept")) {
        return 0;
    }
    for (const char *const *b = beginnings; *b; b++) {
        if (describe_same(name, *b, strlen(*b))) {
            return 0;
        }
    }
    return d->local || !describe_same(name, "X-Forwarded-For", sizeof("X-Forwarded-For"));
}

/* libcurl sends lines unchanged, and modules of httpd may have decoded the client's bytes. */
static void describe_add(describing *d, const char *name, const char *value)
{
    const char *line = apr_pstrcat(d->p, name, *value ? ": " : ";", value, NULL);
    struct curl_slist *longer;
    if (*ap_scan_vchar_obstext(name) || *ap_scan_http_field_content(value)) {
        d->wrong = name;
        return;
    }
    longer = curl_slist_append(d->session->headers, line);
    d->failed |= !longer;
    d->session->headers = longer ? longer : d->session->headers;
}

static int describe_header(void *arg, const char *name, const char *value)
{
    describing *d = arg;
    if (describe_keeps(name, d)) {
        describe_add(d, name, value);
    }
    return 1;
}

/* Build the claims of the loopback credential. @return 0: out of memory, or the claims are too long
 * for a credential */
static int describe_claims(request_rec *r, const char *to, const char *dir, session *s)
{
    APR_OPTIONAL_FN_TYPE(ws_loopback_claims) *claims = APR_RETRIEVE_OPTIONAL_FN(ws_loopback_claims);
    const char *path = apr_pstrmemdup(r->pool, to, strcspn(to, "?"));
    const char *text = claims ? claims(r, path, dir) : NULL;
    s->claims = text ? strdup(text) : NULL;
    return s->claims != NULL;
}

/* Send the request to the address that the client has connected to, with TLS if the client uses it,
 * so that the same virtual host serves it. */
static const char *describe_local(request_rec *r, const char *to, const char *dir, describing *d)
{
    const char *host = apr_table_get(r->headers_in, "Host");
    const char *scheme = ap_http_scheme(r), *ip = r->connection->local_ip, *open = "", *close = "";

    if (!host || !*host || host[strcspn(host, "@/?#\\ ")]
        || !describe_claims(r, to, dir, d->session)) {
        return NULL;
    }
    if (strchr(ip, ':')) {
        open = "[";
        close = "]";
    }
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

static void describe_style(ws_request *rq, describing *d)
{
    const char *protocols = ws_request_protocols(rq);
    if (!d->grip) {
        describe_add(d, "Content-Type", "application/x-www-form-urlencoded");
        return;
    }
    describe_add(d, "Content-Type", GRIP_TYPE);
    describe_add(d, "Accept", GRIP_TYPE);
    describe_add(d, "Connection-Id", d->session->id);
    describe_add(d, "Sec-WebSocket-Extensions", "grip");
    if (protocols && *protocols) {
        describe_add(d, "Sec-WebSocket-Protocol", protocols);
    }
}

int describe_session(ws_request *rq, const http_config *config, session *s)
{
    request_rec *r = ws_request_rec(rq);
    const char *to = apr_table_get(r->notes, WS_LOOPBACK_NOTE_PATH);
    describing d = {.p = r->pool, .session = s, .grip = config->grip};
    const char *url;
    to = to ? to : config->to;
    if (!strcmp(to, HTTP_TO_HTACCESS)) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    d.local = *to == '/';
    url = d.local ? describe_local(r, to, apr_table_get(r->notes, WS_LOOPBACK_NOTE_DIR), &d)
                  : describe_remote(r, to, &d);
    if (!url || !describe_id(s)) {
        return HTTP_BAD_REQUEST;
    }
    if (r->args) {
        url = apr_pstrcat(r->pool, url, strchr(to, '?') ? "&" : "?", r->args, NULL);
    }
    apr_table_do(describe_header, &d, r->headers_in, NULL);
    describe_style(rq, &d);
    if (d.wrong) {
        ap_log_rerror(
            APLOG_MARK, APLOG_ERR, 0, r,
            "websocket: http: handshake refused with 400: request header \"%s\" contains control "
            "characters; find the directive that sets it",
            ap_escape_logitem(r->pool, d.wrong));
        return HTTP_BAD_REQUEST;
    }
    s->headers = d.failed ? s->headers : curl_slist_append(s->headers, "Expect:");
    s->url = strdup(url);
    return d.failed || !s->url || !s->headers ? HTTP_SERVICE_UNAVAILABLE : 0;
}
