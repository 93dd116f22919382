/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Text to numbers. What handlers may use of it is in websocket_parse.h. [any thread] */

#ifndef WS_BASE_PARSE_H
#define WS_BASE_PARSE_H

#include "websocket_parse.h"

/** The largest size that a directive takes where only memory bounds it, bytes. */
#define WS_SIZE_MAX ((apr_int64_t)1 << 40)

/** The longest interval that a directive takes, milliseconds: the loops' clock has 32 bits. */
#define WS_INTERVAL_MAX (24 * 3600 * 1000)

/**
 * Digits at the beginning of a text.
 * @return what follows them; NULL if there are none, or the number exceeds APR_INT64_MAX
 */
const char *ws_parse_digits(const char *text, apr_int64_t *n);

/**
 * A number with up to three digits after the point. An option of a program.
 * @return as ws_parse_count
 */
const char *ws_parse_decimal(apr_pool_t *p, const char *text, double least, double most, double *n);

/** Seconds as ws_parse_decimal() takes them, or an interval with its unit. @return as ws_parse_count */
const char *ws_parse_seconds(apr_pool_t *p, const char *text, apr_int64_t least, apr_int64_t most,
                             apr_int64_t *ms);

/** @return the value of a hexadecimal digit, -1 if it is none */
int ws_hex_digit(int c);

/** Exactly `len` hexadecimal digits, 1 to 16 of them. @return whether they are */
int ws_parse_hex(const char *text, apr_size_t len, apr_uint64_t *n);

#endif
