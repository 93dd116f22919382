/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Vectorized masking, included once per vector width with these macros:
 *
 *   BULK    name of the function
 *   TARGET  its target attribute, or empty
 *   WIDTH   vector width, bytes; len must be at least that
 */

TARGET static void BULK(unsigned char *data, size_t len, uint32_t key)
{
    typedef uint32_t vector __attribute__((vector_size(WIDTH), aligned(1), may_alias));
    vector *first = (vector *)data, *last = (vector *)(data + len - WIDTH);
    /* The unaligned first and last vectors overlap the aligned loop. They are read before the loop
     * and written after it, so that each byte is masked only once. */
    const vector first_masked = *first ^ key, last_masked = *last ^ mask_key_at(key, len - WIDTH);
    size_t i = WIDTH - ((uintptr_t)data & (WIDTH - 1));
    const vector keys = (vector){0} ^ mask_key_at(key, i);

    for (; len - i >= 8 * WIDTH; i += 8 * WIDTH) {
        vector *v = (vector *)(data + i);
        v[0] ^= keys;
        v[1] ^= keys;
        v[2] ^= keys;
        v[3] ^= keys;
        v[4] ^= keys;
        v[5] ^= keys;
        v[6] ^= keys;
        v[7] ^= keys;
    }
    for (; len - i >= WIDTH; i += WIDTH) {
        *(vector *)(data + i) ^= keys;
    }
    *first = first_masked;
    *last = last_masked;
}

#undef BULK
#undef TARGET
#undef WIDTH
