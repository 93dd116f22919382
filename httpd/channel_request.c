/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Parses the channel names in a request, and handles CORS. Only pages whose origin WebSocketOrigin
 * lists may send the user's cookies. If only `any` allows a page's origin, browsers send its
 * requests without cookies.
 */

#include "httpd/channel_request.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <string.h>

#include "channels/message.h"
#include "httpd/access.h"
#include "httpd/channel_acl.h"
#include "httpd/config.h"
#include "httpd/origin.h"
#include "httpd/query.h"
#include "httpd/refusals.h"
#include "httpd/settings.h"
#include "httpd/token_request.h"

/* How long a browser may cache a preflight response, seconds. */
#define PREFLIGHT_AGE "600"

/* Maximum number of channels in one request. */
#define NAMES_MAX 100

apr_array_header_t *ws_channel_names(request_rec *r, const ws_channel_http *h)
{
    apr_array_header_t *names = apr_array_make(r->pool, 1, sizeof(const char *));
    apr_size_t base = strlen(h->base);
    if (!strncmp(r->uri, h->base, base) && r->uri[base] == '/' && r->uri[base + 1]) {
        APR_ARRAY_PUSH(names, const char *) = r->uri + base + 1;
    }
    apr_array_cat(names, ws_arguments(r, "channel"));
    return names;
}

/* Subscribers may also separate names by commas, since names cannot contain them. */
apr_array_header_t *ws_channel_names_split(request_rec *r, const apr_array_header_t *names)
{
    apr_array_header_t *all = apr_array_make(r->pool, names->nelts, sizeof(const char *));
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        while (1) {
            apr_size_t len = strcspn(name, ",");
            APR_ARRAY_PUSH(all, const char *) = apr_pstrmemdup(r->pool, name, len);
            if (!name[len]) {
                break;
            }
            name += len + 1;
        }
    }
    return all;
}

/* Check the channel names of a subscriber. @return NULL, or the error */
const char *ws_channel_subscribe_problem(request_rec *r, const apr_array_header_t *names)
{
    const ws_settings *settings = ws_settings_of(r);
    apr_hash_t *seen = apr_hash_make(r->pool);
    if (settings && names->nelts > (int)settings->subscriptions) {
        return "more channels than WebSocketSubscriptions allows";
    }
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        if (apr_hash_get(seen, name, APR_HASH_KEY_STRING)) {
            return "the same channel is named twice";
        }
        apr_hash_set(seen, name, APR_HASH_KEY_STRING, name);
    }
    return NULL;
}

const char *ws_channel_names_problem(const apr_array_header_t *names, request_rec *subscriber)
{
    if (!names->nelts) {
        return "no channel: name one in the path or with channel=";
    }
    if (names->nelts > NAMES_MAX) {
        return "more than 100 channels";
    }
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        if (!ws_channel_valid(name) && !(subscriber && ws_wildcard_valid(name, strlen(name)))) {
            return "invalid channel name: it must have 1 to 200 of A-Z a-z 0-9 - _ . ~ : / @ + = !";
        }
    }
    return NULL;
}

/* CORS: see the Fetch standard, section 3.2. If only `any` allows the origin, the response has no
 * Access-Control-Allow-Credentials. */
void ws_channel_add_cors(request_rec *r, const char *origin)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    apr_table_mergen(r->err_headers_out, "Vary", "Origin");
    if (!origin) {
        return;
    }
    apr_table_setn(r->err_headers_out, "Access-Control-Allow-Origin", origin);
    apr_table_setn(r->err_headers_out, "Access-Control-Expose-Headers", "Retry-After");
    if (ws_origin_listed(d, origin, apr_table_get(r->headers_in, "Host"))) {
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Credentials", "true");
    }
}

/* Respond to OPTIONS, which may be a preflight request. */
int ws_channel_preflight(request_rec *r, const char *allow)
{
    const char *headers = apr_table_get(r->headers_in, "Access-Control-Request-Headers");
    apr_table_setn(r->err_headers_out, "Allow", allow);
    if (apr_table_get(r->headers_in, "Access-Control-Request-Method")) {
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Methods", allow);
        apr_table_setn(r->err_headers_out, "Access-Control-Max-Age", PREFLIGHT_AGE);
        apr_table_mergen(r->err_headers_out, "Vary", "Access-Control-Request-Headers");
        if (headers) {
            apr_table_setn(r->err_headers_out, "Access-Control-Allow-Headers", headers);
        }
    }
    r->status = HTTP_NO_CONTENT;
    return OK;
}

const char *ws_channel_forbidden(request_rec *r, ws_action action, const apr_array_header_t *names)
{
    const char *directive = action == WS_MAY_SUBSCRIBE ? "WebSocketSubscribe" : "WebSocketPublish";
    int tokens = ws_token_request_wanted(r);
    if (!ws_channelrule_decides(ws_dir_config_of(r)->may[action]) && !ws_access_decided(r)
        && !tokens) {
        ws_refusal_log(
            r, WS_REFUSAL_ACCESS,
            "channels: refused with 403: no rule allows this: add \"%s all\", an expression, or a "
            "Require for %s to the <Location>",
            directive, r->method);
        return apr_pstrcat(r->pool, "neither ", directive, " nor a Require allows it", NULL);
    }
    for (int i = 0; i < names->nelts; i++) {
        if (!ws_access_request_may(r, action, APR_ARRAY_IDX(names, i, const char *))) {
            return apr_pstrcat(
                r->pool, directive,
                tokens ? " does not allow it, nor does a token" : " does not allow it", NULL);
        }
    }
    return NULL;
}
