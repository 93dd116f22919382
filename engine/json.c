/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "engine/json.h"

#include "protocol/utf8.h"

void ws_strbuf_json(ws_strbuf *t, const char *s, apr_size_t len)
{
    int utf8;
    if (!s) {
        ws_strbuf_puts(t, "null");
        return;
    }
    utf8 = ws_utf8_check(WS_UTF8_START, (const unsigned char *)s, len) == WS_UTF8_START;
    ws_strbuf_puts(t, "\"");
    for (apr_size_t i = 0; i < len; i++) {
        unsigned char b = (unsigned char)s[i];
        if (b == '"' || b == '\\') {
            char pair[2] = {'\\', (char)b};
            ws_strbuf_add(t, pair, 2);
        }
        else if (b < ' ' || b == 127 || b == '<' || (b > 127 && !utf8)) { /* < for pages */
            ws_strbuf_printf(t, "\\u%04x", b);
        }
        else {
            ws_strbuf_add(t, s + i, 1);
        }
    }
    ws_strbuf_puts(t, "\"");
}
