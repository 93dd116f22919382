/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Finds and decodes arguments of query strings. */

#include "httpd/query.h"

#include <apr_strings.h>
#include <string.h>

#include "websocket_parse.h"

const char *ws_arguments_wrong(request_rec *r)
{
    const char *at = r->args ? r->args : "";
    char *out = apr_palloc(r->pool, strlen(at) + 1);
    while (*at) {
        apr_size_t len = strcspn(at, "&");
        if (ws_percent_decode(at, len, 1, out, len + 1) < 0) {
            return apr_psprintf(
                r->pool, "the argument %.*s cannot be decoded: write %% as %%25, and no %%00",
                (int)strcspn(at, "=&"), at);
        }
        at += len + (at[len] == '&');
    }
    return NULL;
}

apr_array_header_t *ws_arguments(request_rec *r, const char *name)
{
    apr_array_header_t *values = apr_array_make(r->pool, 1, sizeof(const char *));
    apr_size_t size = r->args ? strlen(r->args) + 1 : 1;
    const char *query = r->args;
    char *value = apr_palloc(r->pool, size);
    int found;

    while ((found = ws_query_next(&query, name, value, size))) {
        APR_ARRAY_PUSH(values, const char *) = found > 0 ? apr_pstrdup(r->pool, value) : "%";
    }
    return values;
}

const char *ws_argument(request_rec *r, const char *name)
{
    const apr_array_header_t *values = ws_arguments(r, name);
    return values->nelts ? APR_ARRAY_IDX(values, 0, const char *) : NULL;
}
