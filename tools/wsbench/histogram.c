/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements histograms with logarithmic steps of 1.6 %. */

#include "tools/wsbench/histogram.h"

#define STEPS_SHIFT 6

/* Get the step of a value. Each value below 64 has its own step. For larger values, the highest bit
 * and the six bits below it select the step. */
static unsigned histogram_step_of(uint64_t value)
{
    unsigned power, step;
    if (value < HISTOGRAM_STEPS) {
        return (unsigned)value;
    }
    power = 63 - (unsigned)__builtin_clzll(value) - STEPS_SHIFT;
    step = (power + 1) * HISTOGRAM_STEPS + (unsigned)(value >> power) - HISTOGRAM_STEPS;
    return step < HISTOGRAM_STEPS * HISTOGRAM_POWERS ? step
                                                     : HISTOGRAM_STEPS * HISTOGRAM_POWERS - 1;
}

/* Get the largest value of a step. */
static uint64_t histogram_value_of(unsigned step)
{
    unsigned power = step / HISTOGRAM_STEPS;
    if (power == 0) {
        return step;
    }
    power--;
    return (((uint64_t)(step % HISTOGRAM_STEPS) + HISTOGRAM_STEPS + 1) << power) - 1;
}

void histogram_add(histogram *h, uint64_t value)
{
    h->step[histogram_step_of(value)]++;
    h->count++;
    if (value > h->max) {
        h->max = value;
    }
}

void histogram_merge(histogram *h, const histogram *other)
{
    for (unsigned i = 0; i < HISTOGRAM_STEPS * HISTOGRAM_POWERS; i++) {
        h->step[i] += other->step[i];
    }
    h->count += other->count;
    if (other->max > h->max) {
        h->max = other->max;
    }
}

uint64_t histogram_at(const histogram *h, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)h->count), seen = 0;
    if (h->count == 0) {
        return 0;
    }
    if (wanted >= h->count) {
        return h->max;
    }
    for (unsigned i = 0; i < HISTOGRAM_STEPS * HISTOGRAM_POWERS; i++) {
        seen += h->step[i];
        if (seen > wanted) {
            uint64_t value = histogram_value_of(i);
            return value < h->max ? value : h->max;
        }
    }
    return h->max;
}
