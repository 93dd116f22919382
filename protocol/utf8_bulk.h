/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * UTF-8 validation with vectors, after Keiser and Lemire, "Validating UTF-8 in less than one
 * instruction per byte" (2020). Included once for each kind of vectors, with
 *
 *   BULK          the function's name
 *   TARGET        its attribute, or nothing
 *   WIDTH         of a vector, bytes
 *   TABLE(T)      a vector that LOOKUP takes, made of 16 bytes of memory
 *   LOOKUP(T, I)  for each byte of I, which is 0 to 15, the byte of the table with that number
 *   ANY_HIGH(V)   whether any byte of V has its highest bit set
 *
 * What two neighbours do wrong can be told by three half bytes: both of the first, the upper of the
 * second. Each half byte looks up the set of mistakes that it allows, and what all three allow is one.
 * A continuation byte after a continuation byte may be right, and must be there exactly if a lead byte
 * of 3 stands two, or one of 4 three bytes before it.
 *
 * The first 3 bytes begin a text and have been checked, len is at least 3 + WIDTH. @return how many
 * bytes are whole characters; up to 4 more follow, which are the last character if it is valid so far,
 * whole or cut. BAD if there is a mistake.
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
        /* ASCII for as long as it lasts, and as nothing before it waits for a continuation. */
        while (len - i >= 4 * WIDTH
               && !ANY_HIGH(AT(i - 3) | AT(i) | AT(i + WIDTH) | AT(i + 2 * WIDTH)
                            | AT(i + 3 * WIDTH))) {
            i += 4 * WIDTH;
        }
        if (len - i < WIDTH) {
            i = len - WIDTH; /* some bytes twice rather than a last step of another width */
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
