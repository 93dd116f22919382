/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This target compares each implementation of UTF-8 validation with a simple reference, for a whole
 * text and for a text in pieces. The input consists of the number of ASCII bytes to insert before
 * the text, a byte that determines the cuts, and the text.
 */

#include "protocol/utf8.h"
#include "protocol/simd.h"
#include "t/fuzz/fuzz.h"

static void is(ws_utf8_state got, int reference)
{
    MUST((got == WS_UTF8_REJECT) == (reference < 0));
    MUST((got == WS_UTF8_START) == (reference > 0));
}

/* Check that ws_utf8_prefix() returns the length of the longest valid prefix of the text. */
static void whole_characters(const unsigned char *text, size_t len)
{
    size_t n = ws_utf8_prefix(text, len, len);
    MUST(n <= len && utf8_reference(text, n) == 1);
    for (size_t more = n + 1; more <= len && more <= n + 4; more++) {
        MUST(utf8_reference(text, more) != 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t shift = take_byte(&data, &len) % 130;
    uint32_t cuts = take_byte(&data, &len);
    unsigned char *text = malloc(shift + len ? shift + len : 1);
    int reference;

    memset(text, 'x', shift);
    memcpy(text + shift, data, len);
    len += shift;
    reference = utf8_reference(text, len);
    whole_characters(text, len);
    for (int n = 0; ws_utf8_use(n); n++) {
        ws_utf8_state state = WS_UTF8_START;
        uint32_t c = cuts;
        /* number of bytes in complete characters that the reference has already checked */
        size_t whole = 0;
        is(ws_utf8_check(WS_UTF8_START, text, len), reference);
        for (size_t at = 0; at < len;) {
            size_t cut = next_cut(&c);
            int so_far;
            cut = cut < len - at ? cut : len - at;
            state = ws_utf8_check(state, text + at, cut);
            at += cut;
            so_far = utf8_reference(text + whole, at - whole);
            is(state, so_far); /* invalid text is rejected in the first piece that shows it */
            whole = so_far > 0 ? at : whole;
        }
        is(state, reference);
    }
    free(text);
    return 0;
}
