/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A text that grows. When there is no memory it stops growing and says so. Not for several threads. */

#ifndef WS_BASE_STRBUF_H
#define WS_BASE_STRBUF_H

#include <apr.h>

typedef struct ws_strbuf {
    char *data; /**< malloc'ed, not NUL-terminated; NULL while empty */
    apr_size_t len, size;
    int broken; /**< there was no memory: something is missing */
} ws_strbuf;

void ws_strbuf_add(ws_strbuf *t, const char *data, apr_size_t len);
void ws_strbuf_puts(ws_strbuf *t, const char *s);
void ws_strbuf_printf(ws_strbuf *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** As mod_log_config escapes what comes from a client: quotes, backslashes, and what is not printable
 *  ASCII. s NULL or empty: "-" */
void ws_strbuf_escaped(ws_strbuf *t, const char *s, apr_size_t len);

/** 2026-01-31T23:59:59.123Z */
void ws_strbuf_time(ws_strbuf *t, apr_int64_t when);

void ws_strbuf_free(ws_strbuf *t);

#endif
