/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Prints events in the syntax of transcripts. */

#include <apr_strings.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/mod_websocket.h"
#include "protocol/printable.h"
#include "tools/wshandler-test/transcript.h"

void ws_print_line(FILE *stream, const char *format, ...)
{
    char *text = NULL, *line;
    va_list args;
    int len;
    va_start(args, format);
    len = vasprintf(&text, format, args);
    va_end(args);
    if (len >= 0 && (line = malloc(WS_PRINTABLE_MAX * (size_t)len + 1))) {
        ws_printable(line, WS_PRINTABLE_MAX * (size_t)len + 1, text, (size_t)len, "\t");
        fprintf(stream, "%s\n", line);
        free(line);
    }
    free(len >= 0 ? text : NULL);
}

static const char *print_name_of(ws_say say)
{
    switch (say) {
    case WS_SAY_TEXT:
        return "text";
    case WS_SAY_BINARY:
        return "binary";
    case WS_SAY_CLOSE:
        return "close";
    case WS_SAY_PING:
        return "ping";
    case WS_SAY_PONG:
        return "pong";
    case WS_SAY_BREAK:
        return "break";
    case WS_SAY_NOTHING:
        return "nothing";
    case WS_SAY_STATE:
        return "state";
    case WS_SAY_CLOSING:
        return "closing";
    default:
        return "anything";
    }
}

static const char *print_show(const char *data, apr_size_t len, int hex, apr_size_t most,
                              apr_pool_t *p)
{
    apr_size_t n = most && most < len ? most : len;
    char *text = apr_palloc(p, 4 * n + 8), *out = text;
    if (!hex || !n) {
        *out++ = '"';
    }
    for (apr_size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)data[i];
        if (hex) {
            out += sprintf(out, i ? " %02x" : "%02x", c);
        }
        else if (c == '\n' || c == '\r' || c == '\t' || c == '"' || c == '\\') {
            *out++ = '\\';
            *out++ = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : (char)c;
        }
        else {
            int acts;
            apr_size_t unit = ws_printable_next(data + i, n - i, &acts);
            unit = unit ? unit : 1;
            out += ws_printable(out, WS_PRINTABLE_MAX * unit + 1, data + i, unit, "");
            i += unit - 1;
        }
    }
    if (!hex || !n) {
        *out++ = '"';
    }
    *out = '\0';
    return len > n ? apr_psprintf(p, "%s and %" APR_SIZE_T_FMT " bytes more", text, len - n) : text;
}

const char *ws_transcript_show(ws_say say, int code, const char *data, apr_size_t len,
                               apr_size_t most, apr_pool_t *p)
{
    if (say == WS_SAY_CLOSE || say == WS_SAY_CLOSING) {
        const char *name = print_name_of(say);
        return code == 0 || code == WS_CLOSE_NO_STATUS
                   ? name
                   : apr_psprintf(p, len ? "%s %d %s" : "%s %d", name, code,
                                  len ? print_show(data, len, 0, most, p) : "");
    }
    if (say == WS_SAY_STATE) {
        return code == WS_CLOSED ? "state closed" : "state closing";
    }
    if (!data) {
        return print_name_of(say);
    }
    if (say > WS_SAY_PONG || ((say == WS_SAY_PING || say == WS_SAY_PONG) && !len)) {
        return print_name_of(say);
    }
    return apr_pstrcat(p, print_name_of(say), " ",
                       print_show(data, len, say == WS_SAY_BINARY, most, p), NULL);
}
