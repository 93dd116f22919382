/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Counts of values, each kept to 1.6 %: 64 steps for each power of two. */

#ifndef WSBENCH_HISTOGRAM_H
#define WSBENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS 64u
#define HISTOGRAM_POWERS 40u /**< beyond 2^45 ns, 9 hours, all is one */

typedef struct histogram {
    uint64_t count, max;
    uint64_t step[HISTOGRAM_STEPS * HISTOGRAM_POWERS];
} histogram;

void histogram_add(histogram *h, uint64_t value);

/** Add all of another one's. */
void histogram_merge(histogram *h, const histogram *other);

/** The value that a part of all (0.99) does not exceed; 0 if there is none. */
uint64_t histogram_at(const histogram *h, double part);

#endif
