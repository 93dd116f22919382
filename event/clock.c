/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */
/** The loops' clock: CLOCK_MONOTONIC in milliseconds, or a stopped clock for handler tests. */

#include "event/clock.h"

#include <time.h>

static int held;               /* the clock is stopped; set before the first thread starts */
static apr_uint32_t time_held; /* the time of the stopped clock; atomic */

apr_uint32_t ws_clock(void)
{
    struct timespec t;
    if (held) {
        return __atomic_load_n(&time_held, __ATOMIC_RELAXED);
    }
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (apr_uint32_t)((apr_uint64_t)t.tv_sec * 1000 + (apr_uint64_t)t.tv_nsec / 1000000);
}

void ws_clock_hold(void)
{
    time_held = ws_clock();
    held = 1;
}

void ws_clock_advance(apr_uint32_t ms)
{
    __atomic_add_fetch(&time_held, ms, __ATOMIC_RELAXED);
}

int ws_clock_patience(int ms)
{
    return held && ms > 0 ? -1 : ms;
}
