/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The check that httpd's filter makes of an ordinary answer's headers, for answers that this module writes
 *  itself: the 101 and the heads of event streams and polls. */

#include "httpd/response_headers.h"

#include <http_core.h>
#include <http_log.h>

APLOG_USE_MODULE(websocket);

static const char *headers_problem(const request_rec *r, const apr_table_entry_t *header)
{
    const core_server_config *core = ap_get_core_module_config(r->server->module_config);
    int strict = core->http_conformance != AP_HTTP_CONFORMANCE_UNSAFE;
    const char *end = strict ? ap_scan_http_token(header->key) : ap_scan_vchar_obstext(header->key);
    return !*header->key || *end                      ? "the name is no token"
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
                          "websocket: refused with 500: response header \"%s\": %s; look for the "
                          "Header directive, handler or module that sets it from the request",
                          header->key, problem);
            return 0;
        }
    }
    return 1;
}
