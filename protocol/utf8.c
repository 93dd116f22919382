/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** UTF-8 validation: a state machine for short and split input, vectors for the rest. */

#include "protocol/utf8.h"

#include <stdint.h>
#include <string.h>

#include "protocol/simd.h"

/* ---- Byte by byte ----
 *
 * The state determines which bytes may follow:
 *
 *   START   a character begins          E0, F0  80..BF without overlong forms
 *   T1..T3  1 to 3 continuation bytes   ED, F4  80..BF without surrogates and
 *                                               without characters above 10FFFF */

enum { START = WS_UTF8_START, REJECT = WS_UTF8_REJECT, T1, T2, T3, E0, ED, F0, F4 };

/* For each byte value, one word holds the successors of all states, 6 bits each. A state is stored
 * multiplied by six, so that a step is a single shift. */
#define STATE(AT, NEXT) ((uint64_t)(6 * (NEXT)) << (6 * (AT)))
#define ROW(FROM_START, FROM_T1, FROM_T2, FROM_T3, FROM_E0, FROM_ED, FROM_F0, FROM_F4)             \
    (STATE(START, FROM_START) | STATE(REJECT, REJECT) | STATE(T1, FROM_T1) | STATE(T2, FROM_T2)    \
     | STATE(T3, FROM_T3) | STATE(E0, FROM_E0) | STATE(ED, FROM_ED) | STATE(F0, FROM_F0)           \
     | STATE(F4, FROM_F4))
#define LEAD(NEXT) ROW(NEXT, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT)

static const uint64_t rows[256] = {
    [0x00 ... 0x7F] = LEAD(START),
    [0x80 ... 0x8F] = ROW(REJECT, START, T1, T2, REJECT, T1, REJECT, T2),
    [0x90 ... 0x9F] = ROW(REJECT, START, T1, T2, REJECT, T1, T2, REJECT),
    [0xA0 ... 0xBF] = ROW(REJECT, START, T1, T2, T1, REJECT, T2, REJECT),
    [0xC0 ... 0xC1] = LEAD(REJECT),
    [0xC2 ... 0xDF] = LEAD(T1),
    [0xE0] = LEAD(E0),
    [0xE1 ... 0xEC] = LEAD(T2),
    [0xED] = LEAD(ED),
    [0xEE ... 0xEF] = LEAD(T2),
    [0xF0] = LEAD(F0),
    [0xF1 ... 0xF3] = LEAD(T3),
    [0xF4] = LEAD(F4),
    [0xF5 ... 0xFF] = LEAD(REJECT),
};

static inline ws_utf8_state utf8_step(ws_utf8_state state, const unsigned char *data, size_t len)
{
    uint64_t at = 6u * state;
    for (size_t i = 0; i < len; i++) {
        at = rows[data[i]] >> (at & 63);
    }
    return (ws_utf8_state)((at & 63) / 6);
}

/* ---- Many bytes at a time, starting at a character boundary ---- */

#define BAD SIZE_MAX

/* Count leading ASCII bytes. @return their number, or a lower number */
static inline size_t utf8_ascii(const unsigned char *data, size_t len)
{
    const uint64_t high = 0x8080808080808080u;
    uint64_t word;
    size_t i;
    for (i = 0; len - i >= 8; i += 8) {
        memcpy(&word, data + i, 8);
        if (word & high) {
            return i;
        }
    }
    if (i > 0 && i < len) {
        memcpy(&word, data + len - 8, 8);
        return word & high ? i : len;
    }
    return i;
}

#if defined(WS_X86) || defined(WS_NEON)
/* Errors that two adjacent bytes can show. */
enum {
    LEAD_ALONE = 0x01,          /* lead byte without a continuation */
    CONTINUATION_ALONE = 0x02,  /* continuation after ASCII */
    OVERLONG_2 = 0x04,          /* C0..C1 80..BF */
    OVERLONG_3 = 0x08,          /* E0 80..9F */
    SURROGATE = 0x10,           /* ED A0..BF */
    ABOVE = 0x20,               /* F4..FF 90..BF: greater than 10FFFF */
    OVERLONG_4_OR_ABOVE = 0x40, /* F0 80..8F; F5..FF 80..8F */
    CONTINUATION_TWICE = 0x80   /* valid inside longer characters */
};

#define ANY_FIRST_LOW (LEAD_ALONE | CONTINUATION_ALONE | CONTINUATION_TWICE)
#define ANY_CONTINUATION (CONTINUATION_ALONE | OVERLONG_2 | CONTINUATION_TWICE)

static const unsigned char mistakes_by_first_high[16] = {
    [0x0 ... 0x7] = CONTINUATION_ALONE,
    [0x8 ... 0xB] = CONTINUATION_TWICE,
    [0xC] = LEAD_ALONE | OVERLONG_2,
    [0xD] = LEAD_ALONE,
    [0xE] = LEAD_ALONE | OVERLONG_3 | SURROGATE,
    [0xF] = LEAD_ALONE | ABOVE | OVERLONG_4_OR_ABOVE,
};
static const unsigned char mistakes_by_first_low[16] = {
    [0x0] = ANY_FIRST_LOW | OVERLONG_2 | OVERLONG_3 | OVERLONG_4_OR_ABOVE,
    [0x1] = ANY_FIRST_LOW | OVERLONG_2,
    [0x2 ... 0x3] = ANY_FIRST_LOW,
    [0x4] = ANY_FIRST_LOW | ABOVE,
    [0x5 ... 0xC] = ANY_FIRST_LOW | ABOVE | OVERLONG_4_OR_ABOVE,
    [0xD] = ANY_FIRST_LOW | ABOVE | OVERLONG_4_OR_ABOVE | SURROGATE,
    [0xE ... 0xF] = ANY_FIRST_LOW | ABOVE | OVERLONG_4_OR_ABOVE,
};
static const unsigned char mistakes_by_second_high[16] = {
    [0x0 ... 0x7] = LEAD_ALONE,
    [0x8] = ANY_CONTINUATION | OVERLONG_3 | OVERLONG_4_OR_ABOVE,
    [0x9] = ANY_CONTINUATION | OVERLONG_3 | ABOVE,
    [0xA ... 0xB] = ANY_CONTINUATION | SURROGATE | ABOVE,
    [0xC ... 0xF] = LEAD_ALONE,
};
#endif

#ifdef WS_X86
#define BULK bulk_ssse3
#define TARGET WS_TARGET("ssse3")
#define WIDTH 16
#define TABLE(T) (vector) _mm_loadu_si128((const __m128i *)(T))
#define LOOKUP(T, I) (vector) _mm_shuffle_epi8((__m128i)(T), (__m128i)(I))
#define ANY_HIGH(V) _mm_movemask_epi8((__m128i)(V))
#include "protocol/utf8_bulk.h"

#define BULK bulk_avx2
#define TARGET WS_TARGET("avx2")
#define WIDTH 32
#define TABLE(T) (vector) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(T)))
#define LOOKUP(T, I) (vector) _mm256_shuffle_epi8((__m256i)(T), (__m256i)(I))
#define ANY_HIGH(V) _mm256_movemask_epi8((__m256i)(V))
#include "protocol/utf8_bulk.h"
#endif

#ifdef WS_NEON
#define BULK bulk_neon
#define TARGET
#define WIDTH 16
#define TABLE(T) (vector) vld1q_u8(T)
#define LOOKUP(T, I) (vector) vqtbl1q_u8((uint8x16_t)(T), (uint8x16_t)(I))
#define ANY_HIGH(V) (vmaxvq_u8((uint8x16_t)(V)) > 0x7F)
#include "protocol/utf8_bulk.h"
#endif

/* Minimum length for vectors: the widest vector and the 3 bytes before it. Shorter input is checked
 * in words. */
#define BULK_MIN 35

static size_t (*bulk)(const unsigned char *data, size_t len) = utf8_ascii;

const char *ws_utf8_use(int n)
{
    if (n == 0) {
        bulk = utf8_ascii;
        return "words and bytes";
    }
#ifdef WS_X86
    if (n == 1 && WS_PROCESSOR_HAS("ssse3")) {
        bulk = bulk_ssse3;
        return "SSSE3";
    }
    if (n == 2 && WS_PROCESSOR_HAS("avx2")) {
        bulk = bulk_avx2;
        return "AVX2";
    }
#endif
#ifdef WS_NEON
    if (n == 1) {
        bulk = bulk_neon;
        return "NEON";
    }
#endif
    return NULL;
}

__attribute__((constructor)) static void utf8_choose(void)
{
    for (int n = 0; ws_utf8_use(n); n++) {
    }
}

/* Validate many bytes at a time, starting at a character boundary. @return the number of bytes, up
 * to a character boundary, that are valid and need no check byte by byte; or BAD */
static inline size_t utf8_skip(const unsigned char *data, size_t len)
{
    if (len < BULK_MIN) {
        return utf8_ascii(data, len);
    }
    return utf8_step(START, data, 3) == REJECT ? BAD : bulk(data, len);
}

ws_utf8_state ws_utf8_check(ws_utf8_state state, const unsigned char *data, size_t len)
{
    while (len > 0 && state != REJECT) {
        size_t n = 1; /* bytes to the end of the current character */
        if (state == START) {
            n = utf8_skip(data, len);
            if (n == BAD) {
                return REJECT;
            }
            if (n == len) {
                return START;
            }
            data += n;
            len -= n;
            n = len < 32 ? len : 32;
        }
        state = utf8_step(state, data, n);
        data += n;
        len -= n;
    }
    return state;
}

size_t ws_utf8_prefix(const unsigned char *data, size_t len, size_t max)
{
    ws_utf8_state state = START;
    size_t whole = 0;
    len = len < max ? len : max;
    if (ws_utf8_valid(data, len)) {
        return len;
    }
    for (size_t i = 0; i < len && state != REJECT; i++) {
        state = utf8_step(state, data + i, 1);
        whole = state == START ? i + 1 : whole;
    }
    return whole;
}
