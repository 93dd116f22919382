/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */
/** Passes a server's answer on to the client, without the headers that apply to one connection
 *  only. */

#include "answer.h"

#include <string.h>

#include <apr_strings.h>
#include <httpd.h>
#include <http_log.h>

APLOG_USE_MODULE(websocket);

void proxy_answer_clear(proxy_answer *a, apr_pool_t *pool)
{
    memset(a, 0, sizeof(*a));
    a->pool = pool;
    a->headers = apr_table_make(pool, 8);
}

/* Whether a header is not passed on, because it applies to one connection or to the transfer of the
 * body, or because httpd writes it itself. */
static int answer_is_own(const char *name)
{
    static const char *const names[] = {
        "Connection", "Upgrade", "Keep-Alive",        "TE",          "Trailer", "Content-Length",
        "Date",       "Server",  "Transfer-Encoding", "Content-Type"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (!strcasecmp(name, names[i])) {
            return 1;
        }
    }
    return !strncasecmp(name, "Sec-WebSocket-", 14) || !strncasecmp(name, "Proxy-", 6);
}

/* Whether a header describes a body and is useless without it. */
static int answer_is_of_body(const char *name)
{
    return !strncasecmp(name, "Content-", 8) || !strcasecmp(name, "ETag")
           || !strcasecmp(name, "Last-Modified") || !strcasecmp(name, "Accept-Ranges");
}

static const char *answer_value(const ws_response *response, const char *name)
{
    for (const char *const *h = response->headers; *h; h += 2) {
        if (!strcasecmp(h[0], name)) {
            return h[1];
        }
    }
    return NULL;
}

/* Whether a comma-separated list contains an element. */
static int answer_lists(const char *list, const char *element)
{
    size_t len = strlen(element);
    while (*(list += strspn(list, ", \t"))) {
        size_t n = strcspn(list, ", \t");
        if (n == len && !strncasecmp(list, element, n)) {
            return 1;
        }
        list += n;
    }
    return 0;
}

/* Whether the header Connection names a header, which then applies to this connection only. */
static int answer_is_of_connection(const ws_response *response, const char *name)
{
    for (const char *const *h = response->headers; *h; h += 2) {
        if (!strcasecmp(h[0], "Connection") && answer_lists(h[1], name)) {
            return 1;
        }
    }
    return 0;
}

void proxy_answer_copy(proxy_answer *a, const ws_response *response)
{
    int open = response->status == 101;
    const char *extensions = open ? answer_value(response, "Sec-WebSocket-Extensions") : NULL;

    if (response->status < 200 && !open) {
        return;
    }
    proxy_answer_clear(a, a->pool);
    a->status = response->status;
    a->extensions = apr_pstrdup(a->pool, extensions);
    a->type = apr_pstrdup(a->pool, answer_value(response, "Content-Type"));
    a->body_cut = response->body_cut;
    a->body_len = response->body_len;
    a->body = apr_pstrmemdup(a->pool, response->body, response->body_len);
    for (const char *const *h = response->headers; *h; h += 2) {
        if (!answer_is_own(h[0]) && !(open && answer_is_of_body(h[0]))
            && !answer_is_of_connection(response, h[0])) {
            apr_table_add(a->headers, h[0], h[1]);
        }
    }
}

static int answer_add(void *rq, const char *name, const char *value)
{
    ws_request_add_header(rq, name, value);
    return 1;
}

static int answer_add_without_body(void *rq, const char *name, const char *value)
{
    return answer_is_of_body(name) ? 1 : answer_add(rq, name, value);
}

void proxy_answer_headers(ws_request *rq, const proxy_answer *a)
{
    apr_table_do(answer_add, rq, a->headers, NULL);
}

int proxy_answer_refuse(ws_request *rq, const proxy_answer *a, int page)
{
    page = page || a->body_cut || (!a->body_len && a->status >= 300);
    if (a->body_cut) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, ws_request_rec(rq),
                      "websocket: proxy: the body of the answer %d is incomplete or longer than %d "
                      "bytes, and is not passed on",
                      a->status, PROXY_BODY_MAX);
    }
    if (a->body_cut && a->status < 300) {
        return HTTP_BAD_GATEWAY;
    }
    apr_table_do(page ? answer_add_without_body : answer_add, rq, a->headers, NULL);
    if (!page) {
        ws_request_set_body(rq, a->type, a->body, a->body_len);
    }
    return a->status;
}
