/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A growing text. When out of memory it stops growing and sets broken. Not thread-safe. */

#ifndef WS_BASE_STRBUF_H
#define WS_BASE_STRBUF_H

#include <apr.h>

typedef struct ws_strbuf {
    char *data; /**< malloc'ed, not NUL-terminated; NULL while empty */
    apr_size_t len, size;
    int broken; /**< out of memory: the text is incomplete */
} ws_strbuf;

void ws_strbuf_add(ws_strbuf *t, const char *data, apr_size_t len);
void ws_strbuf_puts(ws_strbuf *t, const char *s);
void ws_strbuf_printf(ws_strbuf *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * Append client data, escaped as in mod_log_config: quotes, backslashes, and bytes that are not
 * printable ASCII. Append "-" if s is NULL or empty.
 */
void ws_strbuf_escaped(ws_strbuf *t, const char *s, apr_size_t len);

/** Append a time: 2026-01-31T23:59:59.123Z */
void ws_strbuf_time(ws_strbuf *t, apr_int64_t when);

void ws_strbuf_free(ws_strbuf *t);

#endif
