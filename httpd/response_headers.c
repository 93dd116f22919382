/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Builds and checks the headers of responses that this module writes without httpd's filters: the
 *  101, and the headers of event streams and polls. */

#include "httpd/response_headers.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>

#include "httpd/takeover.h"

APLOG_USE_MODULE(websocket);

static const char *headers_problem(const request_rec *r, const apr_table_entry_t *header)
{
    const core_server_config *core = ap_get_core_module_config(r->server->module_config);
    int strict = core->http_conformance != AP_HTTP_CONFORMANCE_UNSAFE;
    const char *end = strict ? ap_scan_http_token(header->key) : ap_scan_vchar_obstext(header->key);
    return !*header->key || *end                      ? "the name is not a token"
           : *ap_scan_http_field_content(header->val) ? "the value contains control characters"
                                                      : NULL;
}

int ws_response_headers_valid(request_rec *r, const apr_table_t *headers)
{
    const apr_array_header_t *all = apr_table_elts(headers);
    for (int i = 0; i < all->nelts; i++) {
        const apr_table_entry_t *header = &APR_ARRAY_IDX(all, i, apr_table_entry_t);
        const char *problem = headers_problem(r, header);
        if (problem) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                          "websocket: refused with 500: response header \"%s\": %s; find the "
                          "Header directive, handler or module that sets it from the request",
                          header->key, problem);
            return 0;
        }
    }
    return 1;
}

static int headers_add_line(void *text, const char *name, const char *value)
{
    apr_array_header_t *lines = text;
    APR_ARRAY_PUSH(lines, const char *) = apr_pstrcat(lines->pool, name, ": ", value, "\r\n", NULL);
    return 1;
}

static apr_status_t headers_swallow(ap_filter_t *f, apr_bucket_brigade *bb)
{
    (void)f;
    return apr_brigade_cleanup(bb);
}

/*
 * Some modules change a response's headers in an output filter, but a 101 does not pass through
 * output filters. This function therefore runs their filters on an empty brigade, which a final
 * filter then drops. Thus `Header set` also applies to the 101, and mod_session renews its cookie.
 * Afterwards, the request has only the connection's output filters, so no other brigade reaches the
 * final filter.
 */
void ws_response_run_header_filters(request_rec *r)
{
    apr_bucket_brigade *nothing = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    ap_filter_rec_t *rec = apr_pcalloc(r->pool, sizeof(*rec));
    ap_filter_t *end = apr_pcalloc(r->pool, sizeof(*end)), *f, *next;
    rec->name = "websocket_end";
    rec->filter_func.out_func = headers_swallow;
    end->frec = rec;
    end->r = r;
    end->c = r->connection;
    for (f = r->output_filters; f && f != r->connection->output_filters; f = next) {
        next = f->next;
        if (ws_takeover_filter_of_headers(f)) {
            f->next = end;
            ap_pass_brigade(f, nothing);
        }
    }
}

/* Collect all headers. The headers that httpd's filter would set come first, and replace headers of
 * the same name from other modules. */
static apr_table_t *headers_all(request_rec *r)
{
    static const char *const ours[] = {"Date",       "Server",         "Content-Type",
                                       "Connection", "Content-Length", "Transfer-Encoding"};
    apr_table_t *first = apr_table_make(r->pool, 4), *all;
    char *date = apr_palloc(r->pool, APR_RFC822_DATE_LEN);

    ws_response_run_header_filters(r);
    all = apr_table_overlay(r->pool, r->headers_out, r->err_headers_out);
    for (unsigned i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
        apr_table_unset(all, ours[i]);
    }
    apr_rfc822_date(date, apr_time_now());
    apr_table_setn(first, "Date", date);
    apr_table_setn(first, "Server", ap_get_server_banner());
    if (r->content_type) {
        apr_table_setn(first, "Content-Type", r->content_type);
    }
    apr_table_setn(first, "Connection", "close");
    return apr_table_overlay(r->pool, first, all);
}

const char *ws_response_head(request_rec *r, const char *more)
{
    apr_array_header_t *lines = apr_array_make(r->pool, 16, sizeof(const char *));
    apr_table_t *before[2] = {apr_table_copy(r->pool, r->headers_out),
                              apr_table_copy(r->pool, r->err_headers_out)};
    const apr_table_t *all = headers_all(r);
    if (!ws_response_headers_valid(r, all)) {
        r->headers_out = before[0];
        r->err_headers_out = before[1];
        r->content_type = NULL;
        return NULL;
    }
    APR_ARRAY_PUSH(lines, const char *) =
        apr_pstrcat(r->pool, "HTTP/1.1 ", ap_get_status_line(r->status), "\r\n", NULL);
    apr_table_do(headers_add_line, lines, all, NULL);
    APR_ARRAY_PUSH(lines, const char *) = apr_pstrcat(r->pool, more ? more : "", "\r\n", NULL);
    return apr_array_pstrcat(r->pool, lines, 0);
}
