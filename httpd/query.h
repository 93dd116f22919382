/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Arguments of a request's query string. [the request's thread] */

#ifndef WS_HTTPD_QUERY_H
#define WS_HTTPD_QUERY_H

#include <httpd.h>

/**
 * The first argument of that name, decoded.
 * @return "" for one without "="; NULL if there is none. "%" for what ws_percent_decode() refuses,
 *         which is no number, position, id or channel
 */
const char *ws_argument(request_rec *r, const char *name);

/** The same for all arguments of that name, of const char *. */
apr_array_header_t *ws_arguments(request_rec *r, const char *name);

#endif
