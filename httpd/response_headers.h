/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Headers of answers that httpd's own filters do not send. */

#ifndef WS_HTTPD_RESPONSE_HEADERS_H
#define WS_HTTPD_RESPONSE_HEADERS_H

#include <httpd.h>

/**
 * Check names and values as httpd's HTTP_HEADER filter does (RFC 9110, section 5.5): mod_headers can compute a
 * value from the request, and a line break in it would split the answer. A name that is no token is
 * accepted under `HttpProtocolOptions Unsafe`. Folded lines are refused. What is wrong is logged.
 * @return whether all of them may be sent
 */
int ws_response_headers_valid(request_rec *r, const apr_table_t *headers);

/**
 * The head of an answer that this module sends itself, with Connection: close, from r->status, the headers of r and
 * what modules make of them.
 * @param more  further lines, each with its CRLF; or NULL
 * @return from the request's pool; NULL if a header may not be sent: refuse with 500
 */
const char *ws_response_head(request_rec *r, const char *more);

#endif
