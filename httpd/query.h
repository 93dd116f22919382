/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Arguments of a request's query string. [the request's thread] */

#ifndef WS_HTTPD_QUERY_H
#define WS_HTTPD_QUERY_H

#include <httpd.h>

/**
 * The first argument with this name, decoded.
 * @return "" for an argument without "="; NULL: not present; "%": ws_percent_decode() refuses it.
 *         "%" is never valid as a number, position, id or channel
 */
const char *ws_argument(request_rec *r, const char *name);

/** All arguments with this name, decoded likewise. An array of const char *. */
apr_array_header_t *ws_arguments(request_rec *r, const char *name);

#endif
