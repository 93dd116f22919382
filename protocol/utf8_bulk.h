/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Vectorized UTF-8 validation, after Keiser and Lemire, "Validating UTF-8 in less than one
 * instruction per byte" (2020). Included once per vector type with these macros:
 *
 *   BULK          name of the function
 *   TARGET        its target attribute, or empty
 *   WIDTH         vector width, bytes
 *   TABLE(T)      load 16 bytes as a table for LOOKUP
 *   LOOKUP(T, I)  for each byte of I (0 to 15), the table's byte with that index
 *   ANY_HIGH(V)   whether any byte of V has its highest bit set
 *
 * Three nibbles identify an error in two adjacent bytes: both nibbles of the first byte and the
 * high nibble of the second. For each nibble, a table lists the errors that are possible with it.
 * If an error is in all three lists, it has occurred. Two adjacent continuation bytes are valid
 * only if a character of 3 or 4 bytes starts 2 bytes before the second of them, or a character of 4
 * bytes starts 3 bytes before it.
 *
 * The first 3 bytes must begin a text and be valid; len must be at least 3 + WIDTH.
 * @return BAD if an error was found. Otherwise the number of bytes before the last character. The
 *         caller checks that character, which has 1 to 4 bytes and may be truncated
 */

TARGET static size_t BULK(const unsigned char *data, size_t len)
{
    typedef unsigned char vector __attribute__((vector_size(WIDTH)));
    typedef vector unaligned __attribute__((aligned(1), may_alias));
#define AT(I) (*(const unaligned *)(data + (I)))
    const vector by_first_high = TABLE(mistakes_by_first_high);
    const vector by_first_low = TABLE(mistakes_by_first_low);
    const vector by_second_high = TABLE(mistakes_by_second_high);
    vector wrong = {0};

    for (size_t i = 3; i < len; i += WIDTH) {
        vector first, second, pair, due;
        /* Skip ASCII while no earlier lead byte needs a continuation. */
        while (len - i >= 4 * WIDTH
               && !ANY_HIGH(AT(i - 3) | AT(i) | AT(i + WIDTH) | AT(i + 2 * WIDTH)
                            | AT(i + 3 * WIDTH))) {
            i += 4 * WIDTH;
        }
        if (len - i < WIDTH) {
            i = len - WIDTH; /* check some bytes twice instead of a shorter last step */
        }
        first = AT(i - 1);
        second = AT(i);
        pair = LOOKUP(by_first_high, first >> 4) & LOOKUP(by_first_low, first & 0x0F)
               & LOOKUP(by_second_high, second >> 4);
        due = (vector)(AT(i - 2) >= 0xE0) | (vector)(AT(i - 3) >= 0xF0);
        wrong |= pair ^ (due & CONTINUATION_TWICE);
    }
#undef AT
    if (ANY_HIGH((vector)(wrong != 0))) {
        return BAD;
    }
    do {
        len--;
    } while ((data[len] & 0xC0) == 0x80);
    return len;
}

#undef BULK
#undef TARGET
#undef WIDTH
#undef TABLE
#undef LOOKUP
#undef ANY_HIGH
