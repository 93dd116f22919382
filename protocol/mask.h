/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Masks and unmasks payloads with a key of 4 bytes. */

#ifndef WS_PROTOCOL_MASK_H
#define WS_PROTOCOL_MASK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/**
 * Mask or unmask len bytes in place: RFC 6455, section 5.3. Rotates key so that key[0] applies to
 * the next byte. A payload can therefore be masked in any number of pieces.
 */
void ws_mask(unsigned char *data, size_t len, unsigned char key[4]);

/** Minimum payload that is masked with vectors, bytes. Shorter payloads are masked word by word,
 *  because vectors would save less than the indirect call costs. */
#define WS_MASK_BULK_MIN 64

/** Mask at least WS_MASK_BULK_MIN bytes with the fastest implementation. key: in memory order */
void ws_mask_bulk(unsigned char *data, size_t len, uint32_t key);

/** Mask any number of bytes word by word. The words do not overlap, because a read after two
 *  overlapping writes would stall. */
static inline void ws_mask_words(unsigned char *data, size_t len, uint32_t key)
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

/** Mask a whole payload. */
static inline void ws_mask_whole(unsigned char *data, size_t len, uint32_t key)
{
    if (len < WS_MASK_BULK_MIN) {
        ws_mask_words(data, len, key);
    }
    else {
        ws_mask_bulk(data, len, key);
    }
}

#endif
