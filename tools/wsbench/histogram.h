/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines a histogram with a precision of 1.6 %. It has 64 steps for each power of two. */

#ifndef WSBENCH_HISTOGRAM_H
#define WSBENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS 64u
#define HISTOGRAM_POWERS 40u /**< up to 2^45 ns, 9 hours; the last step counts larger values */

typedef struct histogram {
    uint64_t count, max;
    uint64_t step[HISTOGRAM_STEPS * HISTOGRAM_POWERS];
} histogram;

void histogram_add(histogram *h, uint64_t value);

/** Add the counts of another histogram. */
void histogram_merge(histogram *h, const histogram *other);

/** Get a quantile, such as 0.99 for part. @return 0: the histogram has no values */
uint64_t histogram_at(const histogram *h, double part);

#endif
