/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reproducible random input. The seed is constant; tests print it. */

#ifndef WS_T_UNIT_RANDOM_H
#define WS_T_UNIT_RANDOM_H

#include <stdint.h>

#include "t/unit/tap.h"

#define SEED 20251121u

static uint64_t random_state = SEED;

/** @return 64 random bits (xorshift) */
static inline uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/** @return a number from 0 to n - 1 */
static inline size_t random_below(size_t n)
{
    return (size_t)((random_bits() >> 16) % n);
}

static inline void random_bytes(unsigned char *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[i] = (unsigned char)(random_bits() >> 32);
    }
}

/** Print the seed. A test calls this first. */
static inline void random_seed_printed(void)
{
    printf("# random seed %u\n", SEED);
}

#endif
