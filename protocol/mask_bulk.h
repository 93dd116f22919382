/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Masking with vectors. Included once for each width of them, with
 *
 *   BULK    the function's name
 *   TARGET  its attribute, or nothing
 *   WIDTH   of a vector, bytes; len is at least that
 */

TARGET static void BULK(unsigned char *data, size_t len, uint32_t key)
{
    typedef uint32_t vector __attribute__((vector_size(WIDTH), aligned(1), may_alias));
    vector *first = (vector *)data, *last = (vector *)(data + len - WIDTH);
    /* Both ends overlap what the loops do in aligned steps: they are read before it is masked, and
     * written after, so that every byte is masked once. */
    const vector first_masked = *first ^ key, last_masked = *last ^ key_at(key, len - WIDTH);
    size_t i = WIDTH - ((uintptr_t)data & (WIDTH - 1));
    const vector keys = (vector){0} ^ key_at(key, i);

    for (; len - i >= 4 * WIDTH; i += 4 * WIDTH) {
        vector *v = (vector *)(data + i);
        v[0] ^= keys;
        v[1] ^= keys;
        v[2] ^= keys;
        v[3] ^= keys;
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
