/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Converts the headers of handshakes of hixie-76 and hixie-75, which are drafts of the protocol
 * from before RFC 6455. It copies a request's subprotocols to the header of RFC 6455, so that other
 * code needs no special case.
 */

#include "httpd/hixie.h"

#include <apr_strings.h>
#include <apr_uri.h>
#include <http_protocol.h>

void ws_hixie_request(request_rec *r)
{
    /* This is the header's name in hixie-75, and some hixie-76 clients also use it. */
    const char *offered = apr_table_get(r->headers_in, "WebSocket-Protocol");
    if (offered && !apr_table_get(r->headers_in, "Sec-WebSocket-Protocol")) {
        apr_table_setn(r->headers_in, "Sec-WebSocket-Protocol", offered);
    }
}

/* Build the URL exactly as the client requested it, because the client compares the URL (hybi-00,
 * section 4.1). */
static const char *hixie_location(request_rec *r)
{
    const char *path = r->unparsed_uri;
    apr_uri_t uri;
    if (*path != '/' && apr_uri_parse(r->pool, path, &uri) == APR_SUCCESS) {
        path = apr_uri_unparse(r->pool, &uri, APR_URI_UNP_OMITSITEPART);
    }
    return apr_pstrcat(r->pool, strcmp(ap_http_scheme(r), "https") ? "ws://" : "wss://",
                       apr_table_get(r->headers_in, "Host"), path, NULL);
}

void ws_hixie_answer_headers(request_rec *r, int version, const char *protocol)
{
    const char *prefix = version == 76 ? "Sec-WebSocket-" : "WebSocket-";
    const char *origin = apr_table_get(r->headers_in, "Origin");
    apr_table_t *out = r->headers_out;

    if (origin) {
        apr_table_setn(out, apr_pstrcat(r->pool, prefix, "Origin", NULL), origin);
    }
    apr_table_setn(out, apr_pstrcat(r->pool, prefix, "Location", NULL), hixie_location(r));
    if (protocol) {
        apr_table_setn(out, apr_pstrcat(r->pool, prefix, "Protocol", NULL), protocol);
    }
    /* The client compares the bytes of the status line (hixie-75, section 3.1). */
    r->status_line =
        version == 76 ? "101 WebSocket Protocol Handshake" : "101 Web Socket Protocol Handshake";
}
