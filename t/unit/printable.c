/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** ws_printable() escapes the bytes of a peer's text that would control a terminal. */

#include "protocol/printable.h"

#include "t/unit/tap.h"

static const char *shown(const char *text)
{
    static char out[512];
    ws_printable(out, sizeof(out), text, strlen(text), "\n\t");
    return out;
}

static void what_acts_is_escaped(void)
{
    static const char *const cases[][2] = {
        {"plain text", "plain text"},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
         "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"a\nb\tc", "a\nb\tc"},
        {"\033]0;title\a", "\\x1b]0;title\\x07"},
        {"over\rwritten\b\177", "over\\x0dwritten\\x08\\x7f"},
        {"\xc2\x9b"
         "2J",
         "\\xc2\\x9b2J"},
        {"\x9b"
         "2J",
         "\\x9b2J"},
        {"\xc2\xa0", "\xc2\xa0"},
        {"\xe2\x80\xae"
         "txt.exe",
         "\\xe2\\x80\\xaetxt.exe"},
        {"\xe2\x81\xa6x\xe2\x81\xa9", "\\xe2\\x81\\xa6x\\xe2\\x81\\xa9"},
        {"\xd8\x9c\xe2\x80\x8f", "\\xd8\\x9c\\xe2\\x80\\x8f"},
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},
        {"\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"\xc0\x9b", "\\xc0\\x9b"},
        {"\xc3(", "\\xc3("},
        {"cut \xe2\x82", "cut \\xe2\\x82"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        is_str(shown(cases[i][0]), cases[i][1], "text %d", (int)i);
    }
}

static void nothing_acts(void)
{
    char all[256 * 3], out[WS_PRINTABLE_MAX * sizeof(all) + 1];
    size_t wrong = 0, len;
    for (unsigned i = 0; i < 256; i++) {
        all[3 * i] = (char)i;
        all[3 * i + 1] = (char)(i * 7);
        all[3 * i + 2] = (char)(255 - i);
    }
    len = ws_printable(out, sizeof(out), all, sizeof(all), "");
    for (size_t i = 0; i < len; i++) {
        wrong += (unsigned char)out[i] < ' ' || out[i] == 127;
    }
    ok(wrong == 0, "for any bytes, no control character is printed");
    len = ws_printable(out, 8, "\033\033", 2, "");
    is_str(out, "\\x1b", "an escape that does not fit is omitted completely");
    len = ws_printable(out, 3, "\xe2\x82\xac", 3, "");
    ok(len == 0 && !*out, "a character that does not fit is omitted completely");
}

static void pieces(void)
{
    int acts;
    ok(ws_printable_next("\xe2\x82", 2, &acts) == 0, "the beginning of a character is incomplete");
    ok(ws_printable_next("\xe2\x82\xac!", 4, &acts) == 3 && !acts, "a character has its length");
    ok(ws_printable_next("\x9b", 1, &acts) == 1 && acts,
       "a byte that is not part of a character is escaped");
}

int main(void)
{
    what_acts_is_escaped();
    nothing_acts();
    pieces();
    return done_testing();
}
