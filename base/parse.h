/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parsers of numbers that only the module and its programs use. websocket_parse.h declares the
 *  parsers that handlers use, too. [any thread] */

#ifndef WS_BASE_PARSE_H
#define WS_BASE_PARSE_H

#include "websocket_parse.h"

/** Maximum size in a directive whose value is limited only by the available memory, bytes. */
#define WS_SIZE_MAX ((apr_int64_t)1 << 40)

/** Maximum interval in a directive, milliseconds. The limit exists because the loops' clock has 32
 *  bits. */
#define WS_INTERVAL_MAX (24 * 3600 * 1000)

/**
 * Parse digits at the beginning of a text.
 * @return the text after them; NULL: no digits, or the number exceeds APR_INT64_MAX
 */
const char *ws_parse_digits(const char *text, apr_int64_t *n);

/**
 * Parse a number with up to three decimals, for command-line options.
 * @return as ws_parse_count
 */
const char *ws_parse_decimal(apr_pool_t *p, const char *text, double least, double most, double *n);

/**
 * Parse seconds as ws_parse_decimal() does, or an interval with its unit.
 * @return as ws_parse_count
 */
const char *ws_parse_seconds(apr_pool_t *p, const char *text, apr_int64_t least, apr_int64_t most,
                             apr_int64_t *ms);

/** Get the part of a parser's error text after "takes ", for texts such as 'invalid value "x":
 *  expected ...'. */
const char *ws_parse_expected(const char *error);

/** Get the value of a hexadecimal digit. @return -1: c is not a hexadecimal digit */
int ws_hex_digit(int c);

/** Parse exactly len hexadecimal digits, 1 to 16. @return whether they are valid */
int ws_parse_hex(const char *text, apr_size_t len, apr_uint64_t *n);

#endif
