/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Finds arguments in a request's query string. [the request's thread] */

#ifndef WS_HTTPD_QUERY_H
#define WS_HTTPD_QUERY_H

#include <httpd.h>

/**
 * Get the first argument with this name, decoded.
 * @return "" for an argument without "="; NULL: not present; "%" if ws_percent_decode() refuses the
 *         value. "%" is never a valid number, position, id or channel, so the caller refuses it
 */
const char *ws_argument(request_rec *r, const char *name);

/** Get all arguments with this name, as const char *, decoded as by ws_argument(). */
apr_array_header_t *ws_arguments(request_rec *r, const char *name);

#endif
