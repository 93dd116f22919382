/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** JSON strings, RFC 8259, section 7. Characters that a terminal interprets are also escaped,
 *  because the output is often displayed in a terminal. */

#include "engine/json.h"

#include <string.h>

#include "protocol/printable.h"
#include "protocol/utf8.h"

/* Append a character in \u notation. len: length of the character in UTF-8, bytes */
static void json_escape(ws_strbuf *t, const char *s, apr_size_t len)
{
    unsigned code = (unsigned char)*s & (len == 1 ? 0xFFu : 0xFFu >> (len + 1));
    for (apr_size_t i = 1; i < len; i++) {
        code = code << 6 | ((unsigned char)s[i] & 0x3F);
    }
    if (code < 0x10000) {
        ws_strbuf_printf(t, "\\u%04x", code);
    }
    else {
        ws_strbuf_printf(t, "\\u%04x\\u%04x", 0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF));
    }
}

/* Count the leading bytes that need no escape. "<" is escaped, so that the output can be part of an
 * HTML page. */
static apr_size_t json_plain(const char *s, apr_size_t len)
{
    apr_size_t n = 0;
    while (n < len && s[n] >= ' ' && s[n] < 127 && s[n] != '"' && s[n] != '\\' && s[n] != '<') {
        n++;
    }
    return n;
}

/* Append the next character, escaped. @return its length in bytes */
static apr_size_t json_other(ws_strbuf *t, const char *s, apr_size_t len, int utf8)
{
    int acts = 1;
    apr_size_t n = utf8 ? ws_printable_next(s, len, &acts) : 1;
    if (*s == '"' || *s == '\\') {
        const char pair[2] = {'\\', *s};
        ws_strbuf_add(t, pair, 2);
    }
    else if (acts || *s == '<') {
        json_escape(t, s, n);
    }
    else {
        ws_strbuf_add(t, s, n);
    }
    return n;
}

void ws_strbuf_json(ws_strbuf *t, const char *s, apr_size_t len)
{
    int utf8;
    if (!s) {
        ws_strbuf_puts(t, "null");
        return;
    }
    utf8 = ws_utf8_valid(s, len);
    ws_strbuf_puts(t, "\"");
    while (len > 0) {
        apr_size_t n = json_plain(s, len);
        ws_strbuf_add(t, s, n);
        n += n < len ? json_other(t, s + n, len - n, utf8) : 0;
        s += n;
        len -= n;
    }
    ws_strbuf_puts(t, "\"");
}
