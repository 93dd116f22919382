/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Sends JSON responses, checks members, and detects requests sent by another site's page. */

#include "httpd/json_answer.h"

#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include <string.h>

#include "engine/json.h"
#include "httpd/config.h"
#include "protocol/handshake.h"

APLOG_USE_MODULE(websocket);

int ws_json_send(request_rec *r, int status, ws_strbuf *t)
{
    ws_strbuf_puts(t, "\n");
    if (t->broken) {
        ws_strbuf_free(t);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    r->status = status;
    ap_set_content_type(r, "application/json");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_set_content_length(r, (apr_off_t)t->len);
    if (!r->header_only) {
        ap_rwrite(t->data, (int)t->len, r);
    }
    ws_strbuf_free(t);
    return OK;
}

int ws_json_discard(request_rec *r, int status)
{
    int discarded;
    r->status = status; /* set it first, since httpd does not discard the body for some statuses */
    if ((discarded = ap_discard_request_body(r)) != OK) {
        r->status = HTTP_OK; /* httpd's input filter may have sent a response already */
    }
    return discarded;
}

int ws_json_refuse(request_rec *r, const char *what, int status, const char *why)
{
    ws_strbuf t = {NULL, 0, 0, 0};
    int discarded;
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "websocket: %s: refused with %d: %s", what, status,
                  why);
    if ((discarded = ws_json_discard(r, status)) != OK) {
        return discarded;
    }
    ws_strbuf_puts(&t, "{\"error\":");
    ws_strbuf_json(&t, why, strlen(why));
    ws_strbuf_puts(&t, "}");
    return ws_json_send(r, status, &t);
}

#ifdef WS_WITH_CJSON
#include <cjson/cJSON.h>

const char *ws_json_no_text(apr_pool_t *p, const cJSON *o, const char *const *names)
{
    for (; *names; names++) {
        const cJSON *member = cJSON_GetObjectItemCaseSensitive(o, *names);
        if (member && !cJSON_IsString(member)) {
            return apr_psprintf(p, "\"%s\" must be a string", *names);
        }
    }
    return NULL;
}
#endif

const char *ws_foreign_page(const request_rec *r)
{
    const char *site = apr_table_get(r->headers_in, "Sec-Fetch-Site");
    const char *origin = apr_table_get(r->headers_in, "Origin");
    const char *host = apr_table_get(r->headers_in, "Host");
    if (site && strcmp(site, "same-origin") && strcmp(site, "none")) {
        return "it was sent by a page of another site";
    }
    if (origin && (!host || !ws_origin_same(origin, host))) {
        return "it was sent by a page of another origin";
    }
    return NULL;
}
