/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "protocol/mask.h"

#include <stdint.h>
#include <string.h>

/* Vectors as the compiler knows them on every processor: SSE2 or NEON registers. */
typedef uint32_t block __attribute__((vector_size(64), aligned(1), may_alias));
typedef uint64_t word __attribute__((aligned(1), may_alias));

__attribute__((no_sanitize("alignment"))) void ws_mask(unsigned char *data, size_t len,
                                                       unsigned char key[4])
{
    unsigned char rotated[4];
    uint32_t k;
    memcpy(&k, key, 4);
    while (len >= sizeof(block)) {
        *(block *)data ^= k;
        data += sizeof(block);
        len -= sizeof(block);
    }
    while (len >= sizeof(word)) {
        *(word *)data ^= (uint64_t)k << 32 | k;
        data += sizeof(word);
        len -= sizeof(word);
    }
    for (size_t i = 0; i < len; i++) {
        data[i] ^= key[i & 3];
    }
    for (size_t i = 0; i < 4; i++) {
        rotated[i] = key[(len + i) & 3];
    }
    memcpy(key, rotated, 4);
}
