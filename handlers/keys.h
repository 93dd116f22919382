/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Values of keys behind a handler's name, as several of the stock handlers take them. */

#ifndef WS_HANDLERS_KEYS_H
#define WS_HANDLERS_KEYS_H

#include <stdlib.h>
#include <string.h>

#include <apr.h>

/**
 * A time with its unit: "500ms", "10s", "2min".
 * @param ms  milliseconds; not changed if the value is wrong
 * @return whether it is one, from least to most milliseconds
 */
static inline int key_interval(const char *value, apr_uint32_t least, apr_uint32_t most,
                               apr_uint32_t *ms)
{
    char *unit;
    apr_uint64_t n = strtoul(value, &unit, 10);

    if (unit == value || *value < '0' || *value > '9' || n > most) {
        return 0;
    }
    n *= strcmp(unit, "ms") == 0    ? 1
         : strcmp(unit, "s") == 0   ? 1000
         : strcmp(unit, "min") == 0 ? 60000
                                    : 0;
    if (n < least || n > most || n == 0) {
        return 0;
    }
    *ms = (apr_uint32_t)n;
    return 1;
}

/** A whole number from least to most, of bytes with K or M behind it. @return whether it is one */
static inline int key_number(const char *value, apr_uint32_t least, apr_uint32_t most,
                             apr_uint32_t *number)
{
    char *unit;
    apr_uint64_t n = strtoul(value, &unit, 10);

    if (unit == value || *value < '0' || *value > '9' || n > most) {
        return 0;
    }
    n *= strcmp(unit, "") == 0    ? 1
         : strcmp(unit, "K") == 0 ? 1024
         : strcmp(unit, "M") == 0 ? 1024 * 1024
                                  : 0;
    if (n < least || n > most) {
        return 0;
    }
    *number = (apr_uint32_t)n;
    return 1;
}

#endif
