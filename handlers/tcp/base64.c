/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Decodes base64 incrementally. It accepts a text without padding, but not a text with incomplete
 *  padding. */

#include "base64.h"

static int base64_value_of(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

apr_ssize_t base64_decode(base64_state *s, unsigned char *data, const char *text, apr_size_t len,
                          int last)
{
    unsigned char *to = data;

    for (; len; text++, len--) {
        int value = base64_value_of(*text);

        if (*text == '=') {
            if (s->digits + s->padding < 2 || s->digits + s->padding > 3) {
                return -1;
            }
            s->padding++;
            continue;
        }
        if (value < 0 || s->padding) {
            return -1;
        }
        s->bits = s->bits << 6 | (apr_uint32_t)value;
        if (++s->digits == 4) {
            *to++ = (unsigned char)(s->bits >> 16);
            *to++ = (unsigned char)(s->bits >> 8);
            *to++ = (unsigned char)s->bits;
            s->digits = 0;
        }
    }
    if (last) {
        /* Accept missing padding, but not incomplete padding. */
        if (s->digits == 1 || (s->padding && s->digits + s->padding != 4)) {
            return -1;
        }
        if (s->digits == 2) {
            *to++ = (unsigned char)(s->bits >> 4);
        }
        else if (s->digits == 3) {
            *to++ = (unsigned char)(s->bits >> 10);
            *to++ = (unsigned char)(s->bits >> 2);
        }
    }
    return to - data;
}
