/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** All fuzz targets include this header. A target is t/fuzz/NAME.c, a libFuzzer program that checks
 *  properties of the code under test with every input. t/fuzz/NAME.seeds contains the first
 *  inputs. */

#ifndef WS_T_FUZZ_FUZZ_H
#define WS_T_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/** Abort the program if a property does not hold. libFuzzer then saves the input. */
#define MUST(CONDITION)                                                                            \
    do {                                                                                           \
        if (!(CONDITION)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #CONDITION);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/** Copy bytes to memory of exactly their size, so that AddressSanitizer reports reads beyond their
 *  end. The caller frees the copy. */
static inline unsigned char *copy_of(const void *data, size_t len)
{
    unsigned char *copy = malloc(len ? len : 1);
    if (len) {
        memcpy(copy, data, len);
    }
    return copy;
}

/** Take the next byte from the input. @return the byte, or 0 at the input's end */
static inline unsigned take_byte(const uint8_t **data, size_t *len)
{
    if (*len == 0) {
        return 0;
    }
    (*len)--;
    return *(*data)++;
}

/** Derive the length of the next piece from a state. Most lengths are small, some are large. */
static inline size_t next_cut(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 16) % ((*state >> 30) ? 7 : 200) + 1;
}

/** Check UTF-8 character by character, as RFC 3629 defines it.
 *  @return 1 if the text is valid, 0 if it can be continued to a valid text, -1 if it is invalid */
static inline int utf8_reference(const unsigned char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = s[i] < 0x80 ? 1 : s[i] < 0xE0 ? 2 : s[i] < 0xF0 ? 3 : 4;
        if ((s[i] >= 0x80 && s[i] < 0xC2) || s[i] > 0xF4) {
            return -1;
        }
        for (size_t k = 1; k < n; k++) {
            unsigned char low = 0x80, high = 0xBF;
            if (i + k == len) {
                return 0;
            }
            if (k == 1) {
                low = s[i] == 0xE0 ? 0xA0 : s[i] == 0xF0 ? 0x90 : low;
                high = s[i] == 0xED ? 0x9F : s[i] == 0xF4 ? 0x8F : high;
            }
            if (s[i + k] < low || s[i + k] > high) {
                return -1;
            }
        }
        i += n;
    }
    return 1;
}

#endif
