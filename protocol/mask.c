/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Masking (RFC 6455, section 5.3), with words for short payloads and vectors for long ones. */

#include "protocol/mask.h"

#include <stdint.h>
#include <string.h>

#include "protocol/simd.h"

/* The key, rotated for byte i of the payload. */
static inline uint32_t mask_key_at(uint32_t key, size_t i)
{
    unsigned bits = 8 * (i & 3);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return key >> bits | key << (-bits & 31);
#else
    return key << bits | key >> (-bits & 31);
#endif
}

/* SSE2 and NEON have 16-byte vectors. On other processors the compiler splits them into words. */
#define BULK bulk_16
#define TARGET
#define WIDTH 16
#include "protocol/mask_bulk.h"

#ifdef WS_X86
#define BULK bulk_avx2
#define TARGET WS_TARGET("avx2")
#define WIDTH 32
#include "protocol/mask_bulk.h"
#endif

/* For fewer bytes than this, the indirect call costs more than vectors save. */
#define BULK_MIN 64

static void (*bulk)(unsigned char *data, size_t len, uint32_t key) = bulk_16;

const char *ws_mask_use(int n)
{
    if (n == 0) {
        bulk = bulk_16;
        return "16 bytes at a time";
    }
#ifdef WS_X86
    if (n == 1 && WS_PROCESSOR_HAS("avx2")) {
        bulk = bulk_avx2;
        return "AVX2";
    }
#endif
    return NULL;
}

__attribute__((constructor)) static void mask_choose(void)
{
    for (int n = 0; ws_mask_use(n); n++) {
    }
}

/* The words do not overlap: a read after two overlapping writes would stall. */
static inline void mask_short(unsigned char *data, size_t len, uint32_t key)
{
    const uint64_t keys = (uint64_t)key << 32 | key;
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        word ^= keys;
        memcpy(data, &word, 8);
    }
    if (len >= 4) {
        uint32_t word;
        memcpy(&word, data, 4);
        word ^= key;
        memcpy(data, &word, 4);
        data += 4;
        len -= 4;
    }
    for (size_t i = 0; i < len; i++) {
        data[i] ^= ((const unsigned char *)&key)[i];
    }
}

void ws_mask(unsigned char *data, size_t len, unsigned char key[4])
{
    uint32_t now, next;
    memcpy(&now, key, 4);
    next = mask_key_at(now, len);
    memcpy(key, &next, 4);
    if (len < BULK_MIN) {
        mask_short(data, len, now);
    }
    else {
        bulk(data, len, now);
    }
}
