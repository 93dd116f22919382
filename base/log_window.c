/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Limits log lines per minute, without a lock. */

#include "base/log_window.h"

#include <apr_time.h>

int ws_log_window_take(ws_log_window *w)
{
    apr_uint32_t minute = (apr_uint32_t)(apr_time_sec(apr_time_now()) / 60) | 1u << 31, count;
    /* Threads that race here may fail to count one line. */
    if (__atomic_exchange_n(&w->minute, minute, __ATOMIC_RELAXED) != minute) {
        __atomic_store_n(&w->count, 0, __ATOMIC_RELAXED);
    }
    count = __atomic_load_n(&w->count, __ATOMIC_RELAXED);
    if (count >= WS_LOG_WINDOW_MAX) {
        return -1;
    }
    count = __atomic_add_fetch(&w->count, 1, __ATOMIC_RELAXED);
    return count > WS_LOG_WINDOW_MAX ? -1 : count == WS_LOG_WINDOW_MAX;
}
