/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Builds a request's body in a growing buffer. If memory is exhausted, the functions set a flag.
 *  Callers check the flag once at the end instead of after each field. */

#include "form.h"

#include <stdlib.h>
#include <string.h>

static int form_reserve(form *f, size_t n)
{
    size_t size = 2 * (f->len + n);
    char *text;
    if (f->failed || f->len + n <= f->size) {
        return !f->failed;
    }
    text = realloc(f->text, size);
    f->failed = !text;
    if (text) {
        f->text = text;
        f->size = size;
    }
    return !f->failed;
}

static int form_plain(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-'
           || c == '.' || c == '_';
}

void form_add(form *f, const char *name, const char *value, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = strlen(name);
    char *at;
    if (!form_reserve(f, n + 3 * len + 3)) {
        return;
    }
    at = f->text + f->len;
    if (f->len) {
        *at++ = '&';
    }
    memcpy(at, name, n);
    at += n;
    *at++ = '=';
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        if (form_plain(c)) {
            *at++ = (char)c;
            continue;
        }
        *at++ = '%';
        *at++ = digits[c >> 4];
        *at++ = digits[c & 15];
    }
    *at = '\0';
    f->len = (size_t)(at - f->text);
}

void form_add_bytes(form *f, const char *bytes, size_t len)
{
    if (form_reserve(f, len + 1)) {
        memcpy(f->text + f->len, bytes, len);
        f->len += len;
        f->text[f->len] = '\0';
    }
}
