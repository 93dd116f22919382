/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A growing text in a buffer that doubles. If memory runs out, the text is marked as incomplete.
 */

#include "base/strbuf.h"

#include <apr_time.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int strbuf_reserve(ws_strbuf *t, apr_size_t more)
{
    apr_size_t size = t->size ? t->size : 512;
    char *grown;
    while (size - t->len < more) {
        size *= 2;
    }
    if (size == t->size) {
        return 1;
    }
    if (!(grown = realloc(t->data, size))) {
        t->broken = 1;
        return 0;
    }
    t->data = grown;
    t->size = size;
    return 1;
}

void ws_strbuf_add(ws_strbuf *t, const char *data, apr_size_t len)
{
    if (len && strbuf_reserve(t, len)) {
        memcpy(t->data + t->len, data, len);
        t->len += len;
    }
}

void ws_strbuf_puts(ws_strbuf *t, const char *s)
{
    ws_strbuf_add(t, s, strlen(s));
}

void ws_strbuf_printf(ws_strbuf *t, const char *format, ...)
{
    va_list args, again;
    int n;
    va_start(args, format);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, format, args);
    if (n > 0 && strbuf_reserve(t, (apr_size_t)n + 1)) {
        vsnprintf(t->data + t->len, (apr_size_t)n + 1, format, again);
        t->len += (apr_size_t)n;
    }
    va_end(again);
    va_end(args);
}

void ws_strbuf_escaped(ws_strbuf *t, const char *s, apr_size_t len)
{
    if (!s || len == 0) {
        ws_strbuf_puts(t, "-");
        return;
    }
    for (apr_size_t i = 0; i < len; i++) {
        unsigned char b = (unsigned char)s[i];
        const char *short_form = b == '\n'   ? "\\n"
                                 : b == '\r' ? "\\r"
                                 : b == '\t' ? "\\t"
                                 : b == '"'  ? "\\\""
                                 : b == '\\' ? "\\\\"
                                             : NULL;
        if (short_form) {
            ws_strbuf_puts(t, short_form);
        }
        else if (b < ' ' || b >= 127) {
            ws_strbuf_printf(t, "\\x%02x", b);
        }
        else {
            ws_strbuf_add(t, s + i, 1);
        }
    }
}

void ws_strbuf_time(ws_strbuf *t, apr_int64_t when)
{
    apr_time_exp_t e;
    apr_time_exp_gmt(&e, when);
    ws_strbuf_printf(t, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", e.tm_year + 1900, e.tm_mon + 1,
                     e.tm_mday, e.tm_hour, e.tm_min, e.tm_sec, (int)(e.tm_usec / 1000));
}

void ws_strbuf_free(ws_strbuf *t)
{
    free(t->data);
}
