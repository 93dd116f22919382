/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reads a request's body as one message, within the section's size limits. */

#include "httpd/request_body.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <string.h>

#include "base/strbuf.h"
#include "httpd/config.h"
#include "httpd/settings.h"

ws_type ws_body_type(request_rec *r)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type");
    char *main, *charset;
    apr_size_t len;
    if (!type) {
        return WS_BINARY;
    }
    main = apr_pstrdup(r->pool, type);
    ap_str_tolower(main);
    charset = strstr(main, "charset=");
    main[strcspn(main, "; \t")] = 0;
    len = strlen(main);
    if (strncmp(main, "text/", 5) && strcmp(main, "application/json")
        && strcmp(main, "application/xml") && strcmp(main, "application/x-www-form-urlencoded")
        && (len < 5 || strcmp(main + len - 5, "+json"))
        && (len < 4 || strcmp(main + len - 4, "+xml"))) {
        return WS_BINARY;
    }
    if (charset) {
        charset += 8 + (charset[8] == '"');
        if (strncmp(charset, "utf-8", 5) && strncmp(charset, "us-ascii", 8)) {
            return 0;
        }
    }
    return WS_TEXT;
}

/* Maximum size of a message, bytes. *whose is set to the error text for a larger message. */
static apr_size_t body_max(request_rec *r, const char **whose)
{
    const ws_settings *settings = ws_settings_of(r);
    apr_size_t max = settings ? settings->max_message : 0;
    *whose = "the message is larger than WebSocketMaxMessageSize";
    if (max > WS_PUBLISH_MAX) {
        *whose = "the message is larger than 16 MiB, the limit of a channel message";
        max = WS_PUBLISH_MAX;
    }
    return max;
}

/* Read a part of the body. @return OK; a status; AP_FILTER_ERROR: httpd's filter has already sent
 * an error page */
static int body_read_some(request_rec *r, apr_bucket_brigade *bb, ws_strbuf *t, int *ended)
{
    apr_status_t rv =
        ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, HUGE_STRING_LEN);
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb);
         rv == APR_SUCCESS && b != APR_BRIGADE_SENTINEL(bb) && !*ended; b = APR_BUCKET_NEXT(b)) {
        const char *data;
        apr_size_t len;
        *ended = APR_BUCKET_IS_EOS(b);
        if (!APR_BUCKET_IS_METADATA(b)
            && (rv = apr_bucket_read(b, &data, &len, APR_BLOCK_READ)) == APR_SUCCESS) {
            ws_strbuf_add(t, data, len);
        }
    }
    apr_brigade_cleanup(bb);
    return rv == APR_SUCCESS ? OK : ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
}

int ws_body_read(request_rec *r, const char **data, apr_size_t *len, const char **why)
{
    ws_strbuf t = {NULL, 0, 0, 0};
    const char *whose;
    apr_size_t max = body_max(r, &whose);
    int ended = 0, status = ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK);
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);

    *why =
        status == HTTP_REQUEST_ENTITY_TOO_LARGE ? "the body is larger than LimitRequestBody" : NULL;
    if (status == OK && r->remaining > (apr_off_t)max) {
        *why = whose;
        status = HTTP_REQUEST_ENTITY_TOO_LARGE;
    }
    while (status == OK && !ended && (r->read_chunked || r->remaining > 0)) {
        status = body_read_some(r, bb, &t, &ended);
        if (status == OK && t.len > max) {
            *why = whose;
            status = HTTP_REQUEST_ENTITY_TOO_LARGE;
        }
        else if (status == OK && t.broken) {
            status = HTTP_SERVICE_UNAVAILABLE;
        }
    }
    *data = apr_pstrmemdup(r->pool, t.data ? t.data : "", t.len);
    *len = t.len;
    ws_strbuf_free(&t);
    return status;
}
