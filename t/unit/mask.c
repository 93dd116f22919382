/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests masking (RFC 6455, section 5.3). */

#include "protocol/mask.h"

#include "protocol/simd.h"

#include "t/unit/fence.h"
#include "t/unit/random.h"
#include "t/unit/tap.h"

#define LONGEST 300
#define ALIGNMENTS 64

/* Mask according to section 5.3: octet i of the result is octet i of the input XOR octet i modulo
 * 4 of the key. */
static void naive(unsigned char *out, const unsigned char *in, size_t len,
                  const unsigned char key[4])
{
    for (size_t i = 0; i < len; i++) {
        out[i] = in[i] ^ key[i % 4];
    }
}

/* @return whether the key is rotated as ws_mask() must do: its first byte applies to the next byte
 * of the payload */
static int rotated(const unsigned char now[4], const unsigned char before[4], size_t len)
{
    for (size_t i = 0; i < 4; i++) {
        if (now[i] != before[(len + i) % 4]) {
            return 0;
        }
    }
    return 1;
}

static void the_example_of_the_rfc(const char *way)
{
    unsigned char hello[] = "Hello";
    unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    ws_mask(hello, 5, key);
    is_mem(hello, 5, "\x7f\x9f\x4d\x51\x58", 5, "%s: section 5.7, the masked Hello", way);
    is_mem(key, 4, "\xfa\x21\x3d\x37", 4, "%s: the key is rotated for the sixth byte", way);
}

static void every_length_at_every_alignment(const char *way)
{
    enum { GUARD = 64 };
    static unsigned char plain[GUARD + ALIGNMENTS + LONGEST + GUARD];
    static unsigned char got[sizeof(plain)], expected[sizeof(plain)];
    unsigned char key[4], k[4];
    size_t wrong = 0, bad_len = 0, bad_at = 0;

    for (size_t at = 0; at < ALIGNMENTS; at++) {
        random_bytes(plain, sizeof(plain));
        for (size_t len = 0; len <= LONGEST; len++) {
            random_bytes(key, 4);
            memcpy(k, key, 4);
            memcpy(got, plain, sizeof(plain));
            memcpy(expected, plain, sizeof(plain));
            naive(expected + GUARD + at, plain + GUARD + at, len, key);
            ws_mask(got + GUARD + at, len, k);
            if (memcmp(got, expected, sizeof(got)) || !rotated(k, key, len)) {
                wrong++;
                bad_len = len;
                bad_at = at;
            }
        }
    }
    ok(!wrong,
       "%s: 0 to %d bytes at %d alignments are masked, and the bytes around them are unchanged",
       way, LONGEST, ALIGNMENTS);
    if (wrong) {
        diag("%zu results were wrong, the last one for %zu bytes at %zu", wrong, bad_len, bad_at);
    }
}

static void nothing_beyond_is_read_or_written(const char *way)
{
    unsigned char key[4] = {1, 2, 3, 4};
    size_t wrong = 0;
    for (size_t len = 0; len <= LONGEST; len++) {
        unsigned char *places[] = {fenced(), fenced_end(len)};
        for (int i = 0; i < 2; i++) {
            memset(places[i], 0, len);
            ws_mask(places[i], len, key);
            for (size_t j = 0; j < len; j++) {
                wrong += places[i][j] == 0; /* no byte of the key is 0 */
            }
        }
    }
    is_int(wrong, 0, "%s: 0 to %d bytes are masked without access beyond them", way, LONGEST);
}

static void a_big_payload(const char *way)
{
    enum { BIG = (1 << 20) + 37 };
    static unsigned char plain[BIG], got[BIG], expected[BIG];
    unsigned char key[4] = {0xde, 0xad, 0xbe, 0xef}, k[4];
    random_bytes(plain, BIG);
    for (size_t at = 0; at < 2; at++) {
        size_t len = BIG - at;
        memcpy(k, key, 4);
        memcpy(got, plain, BIG);
        naive(expected, plain + at, len, key);
        ws_mask(got + at, len, k);
        is_mem(got + at, len, expected, len, "%s: %zu bytes", way, len);
        ok(rotated(k, key, len), "%s: the key is rotated", way);
    }
}

static void pieces_are_masked_as_the_whole(const char *way)
{
    enum { LEN = 5000 };
    static unsigned char plain[LEN], got[LEN], expected[LEN];
    unsigned char key[4], k[4];
    int wrong = 0;
    for (int round = 0; round < 200; round++) {
        random_bytes(plain, LEN);
        random_bytes(key, 4);
        memcpy(k, key, 4);
        memcpy(got, plain, LEN);
        naive(expected, plain, LEN, key);
        for (size_t done = 0; done < LEN;) {
            size_t n = random_below(round % 2 ? 20 : 400);
            n = n < LEN - done ? n : LEN - done;
            ws_mask(got + done, n, k);
            done += n;
        }
        wrong += memcmp(got, expected, LEN) != 0;
    }
    is_int(wrong, 0, "%s: a payload in random pieces is masked as in one", way);
}

int main(void)
{
    const char *way;
    random_seed_printed();
    for (int n = 0; (way = ws_mask_use(n)); n++) {
        the_example_of_the_rfc(way);
        every_length_at_every_alignment(way);
        nothing_beyond_is_read_or_written(way);
        a_big_payload(way);
        pieces_are_masked_as_the_whole(way);
    }
    return done_testing();
}
