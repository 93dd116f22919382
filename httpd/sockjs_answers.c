/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Sends the responses of SockJS that need no session. Their texts, types and headers match the
 *  test suite of protocol 0.3.3. */

#include "httpd/sockjs_answers.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <string.h>

#include "httpd/config.h"
#include "httpd/json_answer.h"
#include "httpd/origin.h"
#include "httpd/refusals.h"

APLOG_USE_MODULE(websocket);

/* Lifetime of cacheable responses, seconds (a year). */
#define YEAR 31536000

int ws_sockjs_say(request_rec *r, int status, const char *type, const char *text)
{
    apr_size_t len = strlen(text);
    r->status = status;
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    if (status == HTTP_NO_CONTENT) {
        apr_table_setn(r->headers_out, "Content-Type", type); /* httpd would omit this header */
        return OK;
    }
    ap_set_content_type(r, type);
    ap_set_content_length(r, (apr_off_t)len);
    if (!r->header_only) {
        ap_rwrite(text, (int)len, r);
    }
    return OK;
}

int ws_sockjs_wrong_method(request_rec *r, const char *allow)
{
    int discarded = ws_json_discard(r, HTTP_METHOD_NOT_ALLOWED);
    if (discarded != OK) {
        return discarded;
    }
    apr_table_setn(r->headers_out, "Allow", allow);
    r->status = HTTP_METHOD_NOT_ALLOWED;
    ap_set_content_length(r, 0);
    return OK;
}

void ws_sockjs_add_cors(request_rec *r)
{
    const char *origin = apr_table_get(r->headers_in, "Origin");
    const char *headers = apr_table_get(r->headers_in, "Access-Control-Request-Headers");
    int named = origin && strcmp(origin, "null");
    apr_table_mergen(r->err_headers_out, "Vary", "Origin");
    apr_table_setn(r->err_headers_out, "Access-Control-Allow-Origin", named ? origin : "*");
    if (named) {
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Credentials", "true");
    }
    if (headers && *headers) {
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Headers", headers);
    }
}

void ws_sockjs_add_no_cache(request_rec *r)
{
    apr_table_setn(r->err_headers_out, "Cache-Control",
                   "no-store, no-cache, must-revalidate, max-age=0");
    apr_table_setn(r->headers_out, "X-Accel-Buffering", "no"); /* tells proxies not to buffer */
}

static void answers_may_be_kept(request_rec *r)
{
    char *date = apr_palloc(r->pool, APR_RFC822_DATE_LEN);
    apr_rfc822_date(date, apr_time_now() + apr_time_from_sec(YEAR));
    apr_table_setn(r->headers_out, "Cache-Control",
                   apr_psprintf(r->pool, "public, max-age=%d", YEAR));
    apr_table_setn(r->headers_out, "Expires", date);
}

/* Get the cookie's value if all its characters are valid. */
static const char *answers_cookie(request_rec *r)
{
    const char *all = apr_table_get(r->headers_in, "Cookie");
    while (all && *all) {
        apr_size_t len;
        all += strspn(all, " ;");
        len = strcspn(all, ";");
        if (len > 11 && len < 200 && !strncmp(all, "JSESSIONID=", 11)) {
            const char *value = apr_pstrmemdup(r->pool, all + 11, len - 11);
            return value[strcspn(value, " \t\",\\")] ? NULL : value;
        }
        all += len;
    }
    return NULL;
}

void ws_sockjs_add_cookie(request_rec *r)
{
    const char *value;
    if (ws_dir_config_of(r)->sockjs.cookie > 0) {
        value = answers_cookie(r);
        apr_table_addn(
            r->err_headers_out, "Set-Cookie",
            apr_pstrcat(r->pool, "JSESSIONID=", value ? value : "dummy", "; Path=/", NULL));
    }
}

int ws_sockjs_preflight(request_rec *r, const char *methods)
{
    ws_sockjs_add_cors(r);
    answers_may_be_kept(r);
    apr_table_setn(r->headers_out, "Access-Control-Allow-Methods", methods);
    apr_table_setn(r->headers_out, "Access-Control-Max-Age", apr_psprintf(r->pool, "%d", YEAR));
    apr_table_mergen(r->err_headers_out, "Vary", "Access-Control-Request-Headers");
    r->status = HTTP_NO_CONTENT;
    return OK;
}

int ws_sockjs_greeting(request_rec *r)
{
    return ws_sockjs_say(r, HTTP_OK, "text/plain; charset=UTF-8", "Welcome to SockJS!\n");
}

int ws_sockjs_info(request_rec *r)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    apr_uint32_t entropy = 0;
    apr_generate_random_bytes((unsigned char *)&entropy, sizeof(entropy));
    ws_sockjs_add_cors(r);
    ws_sockjs_add_no_cache(r);
    return ws_sockjs_say(r, HTTP_OK, "application/json; charset=UTF-8",
                         apr_psprintf(r->pool,
                                      "{\"websocket\":%s,\"origins\":[\"*:*\"],"
                                      "\"cookie_needed\":%s,\"entropy\":%u}",
                                      d->transports->websocket ? "true" : "false",
                                      d->sockjs.cookie > 0 ? "true" : "false", entropy));
}

/* ---- The iframe page ---- */

/* The iframe page sends requests on behalf of the page that embeds it, but its requests do not
 * contain the origin of the embedding page. Therefore only pages that WebSocketOrigin permits may
 * embed it. */
static void answers_add_ancestors(request_rec *r)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    const char *policy = "frame-ancestors 'self'";
    if (d->origins && d->origin_any) {
        return;
    }
    for (int i = 0; d->origins && i < d->origins->nelts; i++) {
        policy =
            apr_pstrcat(r->pool, policy, " ", APR_ARRAY_IDX(d->origins, i, const char *), NULL);
    }
    apr_table_setn(r->headers_out, "Content-Security-Policy", policy);
    apr_table_setn(r->headers_out, "X-Frame-Options",
                   "SAMEORIGIN"); /* used by browsers that do not support Content-Security-Policy */
}

int ws_sockjs_iframe(request_rec *r)
{
    const char *client = ws_dir_config_of(r)->sockjs.client;
    char *page;
    int status;
    if (!client) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "websocket: SockJS: no page for iframes: set the URL of the client library "
                      "(WebSocketSockJS client=URL)");
        return HTTP_NOT_FOUND;
    }
    page =
        apr_psprintf(r->pool,
                     "<!DOCTYPE html>\n<html>\n<head>\n"
                     "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
                     "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n"
                     "  <script>\n    document.domain = document.domain;\n"
                     "    _sockjs_onload = function(){SockJS.bootstrap_iframe();};\n  </script>\n"
                     "  <script src=\"%s\"></script>\n</head>\n<body>\n  <h2>Don't panic!</h2>\n"
                     "  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>\n"
                     "</body>\n</html>\n",
                     ap_escape_html(r->pool, client));
    apr_table_setn(r->headers_out, "ETag",
                   apr_psprintf(r->pool, "\"%x\"", apr_hashfunc_default(page, &(apr_ssize_t){-1})));
    answers_may_be_kept(r);
    answers_add_ancestors(r);
    if ((status = ap_meets_conditions(r)) != OK) {
        return status;
    }
    return ws_sockjs_say(r, HTTP_OK, "text/html; charset=UTF-8", page);
}

/* ---- Pages on other sites ---- */

/* Get the origin of the page from Referer; NULL: unknown. */
static const char *answers_referer_origin(request_rec *r)
{
    const char *referer = apr_table_get(r->headers_in, "Referer");
    const char *host = referer ? strstr(referer, "://") : NULL;
    return host ? apr_pstrmemdup(r->pool, referer,
                                 (apr_size_t)(host - referer) + 3 + strcspn(host + 3, "/?#"))
                : NULL;
}

int ws_sockjs_foreign(request_rec *r, int script)
{
    const ws_dir_config *d = ws_dir_config_of(r);
    const char *origin = apr_table_get(r->headers_in, "Origin");
    const char *host = apr_table_get(r->headers_in, "Host");
    const char *site = apr_table_get(r->headers_in, "Sec-Fetch-Site");
    if (!origin && script && !(site && !strcmp(site, "same-origin"))
        && !(d->origins && d->origin_any)) {
        origin = answers_referer_origin(r);
        origin = origin ? origin : "unknown";
    }
    if (ws_origin_allowed(d, origin, host)) {
        return 0;
    }
    ws_refusal_log(r, WS_REFUSAL_ORIGIN,
                   "SockJS: refused with 403: origin \"%s\" may not connect to %s "
                   "(WebSocketOrigin)",
                   origin, host ? host : "-");
    return 1;
}
