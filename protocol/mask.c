/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Masking (RFC 6455, section 5.3), with words for short payloads and vectors for long ones. */

#include "protocol/mask.h"

#include <stdint.h>
#include <string.h>

#include "protocol/simd.h"

/* Get the key for byte i of the payload and those after it. */
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

void ws_mask_bulk(unsigned char *data, size_t len, uint32_t key)
{
    bulk(data, len, key);
}

void ws_mask(unsigned char *data, size_t len, unsigned char key[4])
{
    uint32_t now, next;
    memcpy(&now, key, 4);
    next = mask_key_at(now, len);
    memcpy(key, &next, 4);
    ws_mask_whole(data, len, now);
}
