/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Shared by all fuzz targets. A target is t/fuzz/NAME.c, a libFuzzer program that checks
 *  properties of every input. t/fuzz/NAME.seeds holds its first inputs. */

#ifndef WS_T_FUZZ_FUZZ_H
#define WS_T_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/** A property that must hold. libFuzzer saves the input of a program that aborts. */
#define MUST(CONDITION)                                                                            \
    do {                                                                                           \
        if (!(CONDITION)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #CONDITION);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/** A copy in memory of exactly its size, so that AddressSanitizer reports reads beyond its end. */
static inline unsigned char *copy_of(const void *data, size_t len)
{
    unsigned char *copy = malloc(len ? len : 1);
    if (len) {
        memcpy(copy, data, len);
    }
    return copy;
}

/** The next byte of the input, or 0 at its end. */
static inline unsigned take_byte(const uint8_t **data, size_t *len)
{
    if (*len == 0) {
        return 0;
    }
    (*len)--;
    return *(*data)++;
}

/** Derive the next cut from a number: mostly small lengths, sometimes a large one. */
static inline size_t next_cut(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 16) % ((*state >> 30) ? 7 : 200) + 1;
}

/** Checks UTF-8 character by character, following the text of RFC 3629. @return 1: valid; 0:
 *  the beginning of a valid text; -1: invalid */
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
