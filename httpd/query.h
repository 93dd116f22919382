/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Finds arguments in a request's query string. [the request's thread] */

#ifndef WS_HTTPD_QUERY_H
#define WS_HTTPD_QUERY_H

#include <httpd.h>

/**
 * Check that all arguments can be decoded. A caller for which "%" could be a valid value must refuse
 * the request with 400 if they cannot, before it calls the functions below.
 * @return NULL, or the error text, which names the argument
 */
const char *ws_arguments_wrong(request_rec *r);

/**
 * Get the first argument with this name, decoded.
 * @return "" for an argument without "="; NULL: not present; "%" if ws_percent_decode() refuses the
 *         value
 */
const char *ws_argument(request_rec *r, const char *name);

/** Get all arguments with this name, as const char *, decoded as by ws_argument(). */
apr_array_header_t *ws_arguments(request_rec *r, const char *name);

#endif
