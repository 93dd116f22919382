/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests the check of UTF-8 (RFC 3629) that arrives in pieces. The first invalid byte must be
 *  refused. */

#include "protocol/utf8.h"

#include "protocol/simd.h"

#include "t/unit/fence.h"
#include "t/unit/random.h"
#include "t/unit/tap.h"

/* ---- The reference, which follows the grammar of RFC 3629, section 4, literally ---- */

static const struct {
    size_t len;
    unsigned char range[4][2];
} grammar[] = {
    {1, {{0x00, 0x7F}}},
    {2, {{0xC2, 0xDF}, {0x80, 0xBF}}},
    {3, {{0xE0, 0xE0}, {0xA0, 0xBF}, {0x80, 0xBF}}},
    {3, {{0xE1, 0xEC}, {0x80, 0xBF}, {0x80, 0xBF}}},
    {3, {{0xED, 0xED}, {0x80, 0x9F}, {0x80, 0xBF}}},
    {3, {{0xEE, 0xEF}, {0x80, 0xBF}, {0x80, 0xBF}}},
    {4, {{0xF0, 0xF0}, {0x90, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}},
    {4, {{0xF1, 0xF3}, {0x80, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}},
    {4, {{0xF4, 0xF4}, {0x80, 0x8F}, {0x80, 0xBF}, {0x80, 0xBF}}},
};

#define ROWS (sizeof(grammar) / sizeof(*grammar))

typedef enum { WHOLE, CUT, WRONG } verdict;
static const char *const verdicts[] = {"whole", "cut", "wrong"};

/* @return the length of the first character; 0: it is incomplete; -1: it is invalid */
static int character(const unsigned char *s, size_t len)
{
    for (size_t row = 0; row < ROWS; row++) {
        size_t n = 0;
        while (n < len && n < grammar[row].len && s[n] >= grammar[row].range[n][0]
               && s[n] <= grammar[row].range[n][1]) {
            n++;
        }
        if (n == grammar[row].len) {
            return (int)n;
        }
        if (n == len) {
            return 0;
        }
    }
    return -1;
}

static verdict naive(const unsigned char *s, size_t len)
{
    while (len > 0) {
        int n = character(s, len);
        if (n <= 0) {
            return n ? WRONG : CUT;
        }
        s += n;
        len -= (size_t)n;
    }
    return WHOLE;
}

static verdict of(ws_utf8_state state)
{
    return state == WS_UTF8_START ? WHOLE : state == WS_UTF8_REJECT ? WRONG : CUT;
}

static verdict check(const void *s, size_t len)
{
    return of(ws_utf8_check(WS_UTF8_START, s, len));
}

/* ---- Fixed examples ---- */

static const struct {
    const char *name, *text;
    verdict expected;
} quoted[] = {
    {"RFC 3629, section 7: A<NOT IDENTICAL TO><ALPHA>.", "\x41\xE2\x89\xA2\xCE\x91\x2E", WHOLE},
    {"RFC 3629, section 7: the Korean \"hangugeo\"", "\xED\x95\x9C\xEA\xB5\xAD\xEC\x96\xB4", WHOLE},
    {"RFC 3629, section 7: the Japanese \"nihongo\"", "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E",
     WHOLE},
    {"RFC 3629, section 7: U+233B4 behind a byte order mark", "\xEF\xBB\xBF\xF0\xA3\x8E\xB4",
     WHOLE},
    {"RFC 3629, section 3: the overlong C0 80", "\xC0\x80", WRONG},
    {"RFC 3629, section 10: the overlong slash 2F C0 AE 2E 2F", "\x2F\xC0\xAE\x2E\x2F", WRONG},
    {"RFC 3629, section 10: ED A1 8C ED BE B4, surrogates", "\xED\xA1\x8C\xED\xBE\xB4", WRONG},
    {"an empty text", "", WHOLE},
    {"U+0080, the first of two bytes", "\xC2\x80", WHOLE},
    {"U+07FF, the last of two bytes", "\xDF\xBF", WHOLE},
    {"U+0800, the first of three bytes", "\xE0\xA0\x80", WHOLE},
    {"U+D7FF, the last before the surrogates", "\xED\x9F\xBF", WHOLE},
    {"U+E000, the first behind the surrogates", "\xEE\x80\x80", WHOLE},
    {"U+FFFF, the last of three bytes", "\xEF\xBF\xBF", WHOLE},
    {"U+10000, the first of four bytes", "\xF0\x90\x80\x80", WHOLE},
    {"U+10FFFF, the last of all", "\xF4\x8F\xBF\xBF", WHOLE},
    {"F4 8F may yet become U+10FFFF", "\xF4\x8F", CUT},
    {"F4 90 is already beyond U+10FFFF", "\xF4\x90", WRONG},
    {"ED 9F may yet become U+D7FF", "\xED\x9F", CUT},
    {"ED A0 is already a surrogate", "\xED\xA0", WRONG},
    {"E0 A0 may yet become U+0800", "\xE0\xA0", CUT},
    {"E0 9F is already overlong", "\xE0\x9F", WRONG},
    {"F0 90 may yet become U+10000", "\xF0\x90", CUT},
    {"F0 8F is already overlong", "\xF0\x8F", WRONG},
    {"C1 begins nothing", "\xC1", WRONG},
    {"F5 begins nothing", "\xF5", WRONG},
    {"FF begins nothing", "\xFF", WRONG},
    {"a continuation byte alone", "\x80", WRONG},
    {"a continuation byte after a complete character", "\xC3\xBC\x80", WRONG},
    {"a continuation byte after ASCII", "a\x80", WRONG},
    {"a lead byte without its continuation", "\xC3z", WRONG},
    {"a lead byte after a lead byte", "\xE2\xC3", WRONG},
};

static void quoted_texts(const char *way)
{
    for (size_t i = 0; i < sizeof(quoted) / sizeof(*quoted); i++) {
        verdict got = check(quoted[i].text, strlen(quoted[i].text));
        is_str(verdicts[got], verdicts[quoted[i].expected], "%s: %s", way, quoted[i].name);
    }
}

/* ---- Every sequence ---- */

/* Each sequence is checked alone and at each offset of a text of this length, so that it crosses
 * the boundaries of vectors. */
enum { SPAN = 100 };

static size_t wrong_count;
static char wrong_text[200];

static void wrong_at(const unsigned char *s, size_t len, size_t at, verdict got, verdict expected)
{
    if (!wrong_count++) {
        char *o = wrong_text
                  + sprintf(wrong_text, "first at %zu, %s for %s:", at, verdicts[got],
                            verdicts[expected]);
        for (size_t i = 0; i < len && i < 20; i++) {
            o += sprintf(o, " %02x", s[i]);
        }
    }
}

static void none_wrong(const char *way, const char *name)
{
    if (!is_int((long long)wrong_count, 0, "%s: %s", way, name)) {
        diag("%s", wrong_text);
    }
    wrong_count = 0;
}

static void sequence(const unsigned char *s, size_t len)
{
    verdict expected = naive(s, len), got = check(s, len);
    if (got != expected) {
        wrong_at(s, len, 0, got, expected);
    }
}

/* Check the sequence at the end of a text, and inside ASCII, where it must be complete. */
static void sequence_inside(const unsigned char *s, size_t len, size_t at)
{
    static unsigned char text[SPAN];
    verdict expected = naive(s, len), got;
    memset(text, 'a', sizeof(text));
    memcpy(text + at, s, len);
    if ((got = check(text, at + len)) != expected) {
        wrong_at(s, len, at, got, expected);
    }
    /* After an incomplete character, 'a' is invalid. */
    expected = expected == WHOLE ? WHOLE : WRONG;
    if ((got = check(text, sizeof(text))) != expected) {
        wrong_at(s, len, at, got, expected);
    }
}

/* Check all sequences that begin with these bytes. After an invalid byte, and for the fourth byte,
 * try only the bounds of the grammar's ranges. */
static void sequences(unsigned char s[4], size_t len)
{
    static const unsigned char bounds[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                           0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xF0, 0xF4};
    static size_t count;
    int few = len == 3 || naive(s, len) == WRONG;
    for (size_t i = 0; i < (few ? sizeof(bounds) : 256); i++) {
        s[len] = few ? bounds[i] : (unsigned char)i;
        sequence(s, len + 1);
        sequence_inside(s, len + 1, ++count % (SPAN - 4));
        if (len + 1 < (s[0] < 0x80 ? 1 : s[0] < 0xF0 ? 3 : 4)) {
            sequences(s, len + 1);
        }
    }
}

static void all_sequences(const char *way)
{
    unsigned char s[4];
    sequences(s, 0);
    none_wrong(way, "all sequences");
}

static void sequences_at_every_place(const char *way)
{
    for (size_t i = 0; i < sizeof(quoted) / sizeof(*quoted); i++) {
        for (size_t at = 0; at + strlen(quoted[i].text) < SPAN; at++) {
            sequence_inside((const unsigned char *)quoted[i].text, strlen(quoted[i].text), at);
        }
    }
    none_wrong(way, "the examples at every offset in a vector");
}

/* ---- Random texts ---- */

/* Write a random character. @return its length */
static size_t random_character(unsigned char *out, size_t most)
{
    size_t row;
    do {
        row = random_below(3) ? random_below(ROWS) : 0;
    } while (grammar[row].len > most);
    for (size_t i = 0; i < grammar[row].len; i++) {
        const unsigned char *range = grammar[row].range[i];
        out[i] = (unsigned char)(range[0] + random_below(range[1] - range[0] + 1u));
    }
    return grammar[row].len;
}

/* Write a text with some random bytes as mistakes. The text may have long runs of ASCII, or be cut
 * at its end. */
static void random_text(unsigned char *out, size_t len, int mistakes)
{
    size_t i = 0;
    while (i < len) {
        if (!random_below(20)) {
            size_t n = random_below(200);
            for (; n > 0 && i < len; n--) {
                out[i++] = 'a';
            }
        }
        else {
            i += random_character(out + i, len - i);
        }
    }
    for (; mistakes > 0 && len > 0; mistakes--) {
        out[random_below(len)] = (unsigned char)(random_bits() >> 32);
    }
    if (len > 1 && !random_below(8)) {
        static const unsigned char cut[] = {0xC3, 0xE2, 0xF0, 0xF4, 0xED, 0xFF};
        out[len - 1] = cut[random_below(sizeof(cut))];
    }
}

static void every_length_at_every_alignment(const char *way)
{
    static unsigned char text[300 + 64];
    size_t seen[3] = {0};
    for (size_t len = 0; len <= 300; len++) {
        for (size_t at = 0; at < 64; at++) {
            verdict expected, got;
            random_text(text + at, len, at % 4 == 0);
            expected = naive(text + at, len);
            seen[expected]++;
            if ((got = check(text + at, len)) != expected) {
                wrong_at(text + at, len, at, got, expected);
            }
        }
    }
    none_wrong(way, "random texts of 0 to 300 bytes at 64 alignments");
    ok(seen[WHOLE] > 1000 && seen[CUT] > 1000 && seen[WRONG] > 1000,
       "%s: of the random texts, %zu were valid, %zu incomplete and %zu invalid", way, seen[WHOLE],
       seen[CUT], seen[WRONG]);
}

static void nothing_beyond_is_read(const char *way)
{
    for (size_t len = 0; len <= 300; len++) {
        unsigned char *places[] = {fenced(), fenced_end(len)};
        for (int i = 0; i < 2; i++) {
            verdict expected, got;
            random_text(places[i], len, 0);
            expected = naive(places[i], len);
            if ((got = check(places[i], len)) != expected) {
                wrong_at(places[i], len, (size_t)i, got, expected);
            }
        }
    }
    none_wrong(way, "0 to 300 bytes without access beyond them");
}

/* Check a text in pieces. The verdict after each piece must be that on the text so far. */
static void pieces(const unsigned char *text, size_t len, size_t longest)
{
    ws_utf8_state state = WS_UTF8_START;
    for (size_t done = 0; done < len;) {
        size_t n = random_below(longest + 1);
        verdict expected;
        n = n < len - done ? n : len - done;
        state = ws_utf8_check(state, text + done, n);
        done += n;
        expected = naive(text, done);
        if (of(state) != expected) {
            wrong_at(text, done, done, of(state), expected);
            return;
        }
    }
}

static void known_in_any_pieces(const char *way)
{
    static unsigned char text[600];
    for (int round = 0; round < 1500; round++) {
        size_t len = random_below(sizeof(text));
        random_text(text, len, round % 3 == 0);
        pieces(text, len, round % 2 ? 4 : 150);
    }
    none_wrong(way, "random texts in random pieces, with a verdict after each piece");
}

static void known_at_the_first_bad_byte(const char *way)
{
    static unsigned char text[200];
    for (int round = 0; round < 1500; round++) {
        size_t len = 1 + random_below(sizeof(text));
        ws_utf8_state state = WS_UTF8_START;
        random_text(text, len, 1);
        for (size_t i = 0; i < len; i++) {
            state = ws_utf8_check(state, text + i, 1);
            if (of(state) != naive(text, i + 1)) {
                wrong_at(text, i + 1, i, of(state), naive(text, i + 1));
                break;
            }
        }
    }
    none_wrong(way, "random texts byte by byte, refused at the first invalid byte");
}

static void refused_for_ever(const char *way)
{
    ws_utf8_state state = ws_utf8_check(WS_UTF8_START, (const unsigned char *)"\xC0", 1);
    static unsigned char ascii[SPAN];
    memset(ascii, 'a', SPAN);
    is_int(ws_utf8_check(state, ascii, SPAN), WS_UTF8_REJECT,
           "%s: after invalid text, valid text is still refused", way);
    is_int(ws_utf8_check(state, ascii, 0), WS_UTF8_REJECT,
           "%s: after invalid text, empty text is still refused", way);
}

static void a_big_text(const char *way)
{
    enum { BIG = 1 << 20 };
    static unsigned char text[BIG];
    static const char *const samples[] = {"ASCII only, ", "gr\xC3\xBC\xC3\x9F dich, ",
                                          "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E",
                                          "\xF0\x9F\x98\x80\xF0\x9F\x8E\x89"};
    for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
        size_t sample = strlen(samples[i]), len = 0;
        while (len + sample <= BIG) {
            memcpy(text + len, samples[i], sample);
            len += sample;
        }
        is_str(verdicts[check(text, len)], "whole", "%s: 1 MiB of \"%s\"", way, samples[i]);
        for (int round = 0; round < 20; round++) {
            size_t at = random_below(len);
            unsigned char was = text[at];
            verdict got;
            text[at] = 0xFF;
            if ((got = check(text, len)) != WRONG) {
                wrong_at(text + at, 1, at, got, WRONG);
            }
            text[at] = was;
        }
        none_wrong(way, "a single invalid byte in a long text is found");
    }
}

int main(void)
{
    const char *way;
    random_seed_printed();
    for (int n = 0; (way = ws_utf8_use(n)); n++) {
        quoted_texts(way);
        all_sequences(way);
        sequences_at_every_place(way);
        every_length_at_every_alignment(way);
        nothing_beyond_is_read(way);
        known_in_any_pieces(way);
        known_at_the_first_bad_byte(way);
        refused_for_ever(way);
        a_big_text(way);
    }
    return done_testing();
}
