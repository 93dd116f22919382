/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Makes text from a peer safe for a terminal. */

#include "protocol/printable.h"

#include <string.h>

#include "protocol/utf8.h"

static unsigned code_of(const unsigned char *s, size_t len)
{
    unsigned code = len == 1 ? s[0] : s[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | (s[i] & 0x3F);
    }
    return code;
}

static int code_acts(unsigned code)
{
    static const struct {
        unsigned from, to;
    } acting[] = {{0, 0x1F},        {0x7F, 0x9F},     {0x61C, 0x61C},    {0x180E, 0x180E},
                  {0x200B, 0x200B}, {0x200E, 0x200F}, {0x2028, 0x202E},  {0x2060, 0x206F},
                  {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE007F}};
    for (size_t i = 0; i < sizeof(acting) / sizeof(*acting); i++) {
        if (code >= acting[i].from && code <= acting[i].to) {
            return 1;
        }
    }
    return 0;
}

size_t ws_printable_next(const char *s, size_t len, int *acts)
{
    const unsigned char *bytes = (const unsigned char *)s;
    ws_utf8_state state = WS_UTF8_START;
    for (size_t i = 0; i < len && i < 4; i++) {
        state = ws_utf8_check(state, bytes + i, 1);
        if (state == WS_UTF8_START) {
            *acts = code_acts(code_of(bytes, i + 1));
            return i + 1;
        }
        if (state == WS_UTF8_REJECT) {
            break;
        }
    }
    *acts = 1;
    return state == WS_UTF8_REJECT ? 1 : 0;
}

size_t ws_printable(char *out, size_t size, const char *s, size_t len, const char *keep)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    while (len > 0) {
        int acts;
        size_t n = ws_printable_next(s, len, &acts);
        n = n ? n : 1; /* the text ends inside a character */
        acts = acts && !(*s && strchr(keep, *s));
        if (at + (acts ? 4 * n : n) >= size) {
            break;
        }
        for (size_t i = 0; i < n; i++) {
            unsigned char c = (unsigned char)s[i];
            if (acts) {
                memcpy(out + at, (char[]){'\\', 'x', digits[c >> 4], digits[c & 0xF]}, 4);
            }
            else {
                out[at] = (char)c;
            }
            at += acts ? 4 : 1;
        }
        s += n;
        len -= n;
    }
    out[at] = '\0';
    return at;
}
