/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * @file websocket_parse.h
 * @brief Parsers of numbers, sizes, intervals, hosts, lists, ids, positions and query arguments, as the
 * module's directives use them.
 *
 * Use them in a handler's `configure`, and for the arguments of a request. The whole text must be
 * valid: it must not contain a sign, a space, or anything after the unit.
 *
 *     if (strcmp(key, "timeout") == 0) {
 *         return ws_parse_interval(pconf, value, 1, 60000, &config->timeout);
 *     }
 *
 * All functions may be called from any thread. The module exports them, as it does the functions of
 * mod_websocket.h, so a handler needs no library.
 */

#ifndef WEBSOCKET_PARSE_H
#define WEBSOCKET_PARSE_H

#include <apr_tables.h>

#include "mod_websocket.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Parse a whole number: digits only.
 * @param p      pool for the error text; NULL: the text is static and does not name the range
 * @param least  0 or more
 * @param n      not changed if the text is refused
 * @return NULL, or an error text: "takes a whole number from 1 to 64"
 */
WS_API const char *ws_parse_count(apr_pool_t *p, const char *text, apr_int64_t least,
                                  apr_int64_t most, apr_int64_t *n);

/**
 * Parse a size: digits, then nothing, K, M or G (powers of 1,024; case does not matter).
 * @param bytes  not changed if the text is refused; least and most are bytes too
 * @return as ws_parse_count
 */
WS_API const char *ws_parse_size(apr_pool_t *p, const char *text, apr_int64_t least,
                                 apr_int64_t most, apr_int64_t *bytes);

/**
 * Parse an interval: digits, then ms, s, min, h or d (case does not matter). Without a unit, the
 * number is in seconds.
 * @param ms  milliseconds; not changed if the text is refused; least and most are milliseconds too
 * @return as ws_parse_count
 */
WS_API const char *ws_parse_interval(apr_pool_t *p, const char *text, apr_int64_t least,
                                     apr_int64_t most, apr_int64_t *ms);

/**
 * Check a host: a name of ASCII letters, digits, "-", "." and "_", an IPv4 address, or an IPv6
 * address in brackets, which may have a zone: "[fe80::1%eth0]". The name is not resolved.
 * @return NULL, or an error text: "takes a host name, ..."
 */
WS_API const char *ws_parse_host(const char *text, apr_size_t len);

/** Check the path of a unix socket, which need not exist yet. @return NULL, or an error text:
 *  "takes the absolute path of a unix socket, at most 107 bytes" */
WS_API const char *ws_parse_socket(const char *path);

/**
 * Split a list at its commas.
 * @return an array of char *, from the pool; NULL: an element is empty
 */
WS_API apr_array_header_t *ws_parse_list(apr_pool_t *p, const char *text);

/**
 * Decode %XX. With `form`, also decode "+" as a space (application/x-www-form-urlencoded).
 * @param size  the size of out, bytes, with the NUL that ends the text
 * @return the length of the text in out; -1: a "%" without two hexadecimal digits, a NUL
 *         byte, or out is too small
 */
WS_API int ws_percent_decode(const char *in, apr_size_t len, int form, char *out, apr_size_t size);

/**
 * Find the next argument of a query string ("a=1&b=2") by its name, and decode its value.
 *
 *     const char *query = ws_args(c);
 *     while ((found = ws_query_next(&query, "channel", name, sizeof(name))) > 0) { ... }
 *
 * @param query  NULL or a query string; advanced past the argument
 * @param value  "" for an argument without "="
 * @param size   the size of value, bytes; strlen(*query) + 1 is always enough
 * @return 1: found; 0: not found, value is ""; -1: ws_percent_decode() refuses the argument's value
 */
WS_API int ws_query_next(const char **query, const char *name, char *value, apr_size_t size);

/** Parse a connection's id: 16 hexadecimal digits.
 *  @return whether it is valid; if not, *id is unchanged */
WS_API int ws_parse_id(const char *text, apr_size_t len, ws_id *id);

/** Maximum size of a position's text, with the NUL, bytes. */
#define WS_POSITION_SIZE 40

/**
 * Parse a position in a channel's history: its epoch in hexadecimal digits, "-" and its offset; or
 * "all" for epoch 0, the whole history.
 * @return whether it is valid; if not, *position is unchanged
 */
WS_API int ws_parse_position(const char *text, ws_position *position);

/** Write a position, as ws_parse_position() reads it. Its epoch must not be 0. @return text */
WS_API const char *ws_print_position(ws_position position, char text[WS_POSITION_SIZE]);

/**
 * Whether a JSON text has a string with the character U+0000, as \u0000 or as a byte. A parser
 * whose strings end at a NUL, such as cJSON, would cut that string off: "root\u0000x" would become
 * "root".
 */
WS_API int ws_json_has_nul(const char *json, apr_size_t len);

#ifdef __cplusplus
}
#endif

#endif
