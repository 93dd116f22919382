/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Headers of responses that bypass httpd's filters. */

#ifndef WS_HTTPD_RESPONSE_HEADERS_H
#define WS_HTTPD_RESPONSE_HEADERS_H

#include <httpd.h>

/**
 * Check names and values as httpd's HTTP_HEADER filter does (RFC 9110, section 5.5). mod_headers
 * can compute a value from the request, and a line break in it would split the response.
 * `HttpProtocolOptions Unsafe` permits names that are no tokens. Folded lines are refused. An
 * invalid header is logged.
 * @return whether all headers are valid
 */
int ws_response_headers_valid(request_rec *r, const apr_table_t *headers);

/** Run the filters of mod_headers and mod_session, for a response that httpd does not send. The
 *  caller must replace the request's output filters afterwards; a takeover does. */
void ws_response_run_header_filters(request_rec *r);

/**
 * Make the head of a response that this module sends, with Connection: close. It consists of
 * r->status and the headers of r, after the filters of mod_headers and mod_session.
 * @param more  further lines, each with its CRLF; or NULL
 * @return the text, from the request's pool; NULL: a header is invalid, refuse with 500, for which r
 *         has the headers from before the filters, and no content type
 */
const char *ws_response_head(request_rec *r, const char *more);

#endif
