/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements the functions of include/mod_websocket.h that handlers call in on_request. Also
 *  copies the request headers that a connection keeps. wshandler-test links this file too, so it
 *  must not call httpd functions. */

#include "httpd/request_api.h"

#include <apr_strings.h>
#include <string.h>

#include "client/connect.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/settings.h"
#include "httpd/ssl_proxy.h"
#include "protocol/deflate.h"
#include "protocol/extension_header.h"
#include "protocol/handshake.h"
#include "websocket_parse.h"

struct request_rec *ws_request_rec(ws_request *rq)
{
    return rq->r;
}

const char *ws_request_location(ws_request *rq)
{
    return rq->location;
}

const char *ws_request_header(ws_request *rq, const char *name)
{
    return apr_table_get(rq->r->headers_in, name);
}

const char *ws_request_protocols(ws_request *rq)
{
    return ws_request_header(rq, "Sec-WebSocket-Protocol");
}

apr_status_t ws_request_choose_protocol(ws_request *rq, const char *protocol)
{
    const char *offered = ws_request_protocols(rq);
    if (protocol && (!offered || !ws_header_list_has(offered, protocol, strlen(protocol), 0))) {
        return APR_EINVAL;
    }
    rq->protocol = apr_pstrdup(rq->r->pool, protocol);
    return APR_SUCCESS;
}

const char *ws_request_protocol(ws_request *rq)
{
    return rq->protocol;
}

/* Whether a handler cannot set a header, because the protocol reserves it. */
static int request_api_reserved(const char *name)
{
    static const char *const names[] = {"Connection", "Upgrade", "Content-Length",
                                        "Transfer-Encoding", NULL};
    for (const char *const *n = names; *n; n++) {
        if (!strcasecmp(name, *n)) {
            return 1;
        }
    }
    return !strncasecmp(name, "Sec-WebSocket-", 14) || !strncasecmp(name, "WebSocket-", 10);
}

/* Whether a text is a valid field value (RFC 9110, section 5.5), which consists of visible
 * characters, spaces, tabs and bytes above 127. */
static int request_api_field_value(const char *value)
{
    for (; *value; value++) {
        if (((unsigned char)*value < ' ' && *value != '\t') || *value == 0x7F) {
            return 0;
        }
    }
    return 1;
}

apr_status_t ws_request_add_header(ws_request *rq, const char *name, const char *value)
{
    if (!ws_is_token(name, strlen(name)) || !request_api_field_value(value)
        || request_api_reserved(name)) {
        return APR_EINVAL;
    }
    apr_table_add(rq->headers, name, value);
    return APR_SUCCESS;
}

apr_status_t ws_request_set_body(ws_request *rq, const char *type, const char *data, apr_size_t len)
{
    if (type && !request_api_field_value(type)) {
        return APR_EINVAL;
    }
    rq->body = len ? apr_pmemdup(rq->r->pool, data, len) : "";
    rq->body_len = len;
    rq->body_type = apr_pstrdup(rq->r->pool, type);
    return APR_SUCCESS;
}

/* Write an offer in the syntax of Sec-WebSocket-Extensions. */
static char *request_api_offer(apr_pool_t *p, const ws_offer *o)
{
    char *text = apr_pstrdup(p, o->name);
    for (apr_size_t i = 0; i < o->count; i++) {
        const ws_parameter *a = &o->parameters[i];
        text = apr_pstrcat(p, text, "; ", a->name, a->value ? "=" : NULL, a->value, (char *)NULL);
    }
    return text;
}

const char *ws_request_offers(ws_request *rq)
{
    apr_pool_t *p = rq->r->pool;
    char *list = apr_pstrdup(p, ws_request_header(rq, "Sec-WebSocket-Extensions"));
    const char *offers = NULL;
    ws_offer o;
    /* versions 75 and 76 have no extensions */
    int possible = !rq->extended && !rq->sockjs && rq->version <= 13;
    while (possible && list && ws_offer_next(&list, &o) > 0) {
        if (!strcmp(o.name, WS_DEFLATE_NAME) && o.count <= WS_PARAMETERS_MAX) {
            offers = apr_pstrcat(p, offers ? offers : "", offers ? ", " : "",
                                 request_api_offer(p, &o), NULL);
        }
    }
    return offers;
}

apr_status_t ws_request_pass_extensions(ws_request *rq, const char *answer)
{
    const char *offers = ws_request_offers(rq);
    apr_pool_t *p = rq->r->pool;
    if (!offers || !answer || !ws_deflate_answers(apr_pstrdup(p, offers), apr_pstrdup(p, answer))) {
        return APR_EINVAL;
    }
    rq->extensions = apr_pstrdup(p, answer);
    rq->passes = 1;
    return APR_SUCCESS;
}

const char *ws_request_arg(ws_request *rq, const char *name)
{
    const char *query = rq->r->args;
    apr_size_t size = query ? strlen(query) + 1 : 1;
    char *value = apr_palloc(rq->r->pool, size);
    return ws_query_next(&query, name, value, size) > 0 ? value : NULL;
}

apr_pool_t *ws_request_pool(ws_request *rq)
{
    if (!rq->pool && apr_pool_create_unmanaged(&rq->pool) != APR_SUCCESS) {
        rq->pool = NULL;
    }
    return rq->pool;
}

void ws_request_set_data(ws_request *rq, void *data)
{
    rq->data = data;
}

const char *const *ws_request_kept(request_rec *r, const char *names)
{
    apr_array_header_t *kept;
    const char *name;
    size_t len;

    if (!names) {
        return NULL;
    }
    kept = apr_array_make(r->pool, 4, sizeof(const char *));
    while ((name = ws_header_list_next(&names, &len))) {
        const char *value;
        name = apr_pstrmemdup(r->pool, name, len);
        if ((value = apr_table_get(r->headers_in, name))) {
            APR_ARRAY_PUSH(kept, const char *) = name;
            APR_ARRAY_PUSH(kept, const char *) = value;
        }
    }
    APR_ARRAY_PUSH(kept, const char *) = NULL;
    return (const char *const *)kept->elts;
}

ws_attempt ws_request_connect(ws_request *rq, const ws_connect_options *options)
{
    ws_engine *e = ws_child_engine();
    const ws_settings *settings = ws_settings_of(rq->r);
    SSL_CTX *tls = NULL;
    if (!e || !settings) {
        return 0;
    }
    if (!rq->loop) {
        rq->loop = ws_engine_least_busy(e);
    }
    if (options->size > offsetof(ws_connect_options, ssl_proxy) && options->ssl_proxy
        && !strncmp(options->url, "wss:", 4) && !(tls = ws_ssl_proxy_context(rq->r))) {
        return 0;
    }
    return ws_connect_from(e, rq->loop, settings, options, tls);
}
