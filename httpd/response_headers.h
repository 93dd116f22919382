/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Builds the headers of responses that bypass httpd's filters. */

#ifndef WS_HTTPD_RESPONSE_HEADERS_H
#define WS_HTTPD_RESPONSE_HEADERS_H

#include <httpd.h>

/**
 * Check names and values as httpd's HTTP_HEADER filter does (RFC 9110, section 5.5). mod_headers
 * can compute a value from the request, and a line break in it would split the response.
 * `HttpProtocolOptions Unsafe` permits names that are not tokens. This function refuses folded
 * lines, and logs invalid headers.
 * @return whether all headers are valid
 */
int ws_response_headers_valid(request_rec *r, const apr_table_t *headers);

/** Run mod_headers' and mod_session's filters for a response that httpd does not send.
 *  Afterwards the caller must replace the request's output filters, as a takeover does. */
void ws_response_run_header_filters(request_rec *r);

/**
 * Build the header of a response that this module sends, with Connection: close, from r->status and
 * r's headers. mod_headers' and mod_session's filters run first.
 * @param more  further lines, each with its CRLF; or NULL
 * @return the text, from the request's pool; NULL: a header is invalid, and the caller must refuse
 *         with 500. For this, r then has the headers from before the filters, and no content type
 */
const char *ws_response_head(request_rec *r, const char *more);

#endif
