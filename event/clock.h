/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The clock of all event loops. */

#ifndef WS_EVENT_CLOCK_H
#define WS_EVENT_CLOCK_H

#include <apr.h>

/** Get the time in milliseconds, from a monotonic clock. The value wraps.  [any thread] */
apr_uint32_t ws_clock(void);

/** Stop (hold) the clock, so that only ws_clock_advance() changes the time. For handler tests. Call
 *  this before an engine is created. */
void ws_clock_hold(void);

/** Advance a held clock by ms milliseconds. A loop reads the clock at the start of each iteration,
 *  so post a task to wake the loop.  [any thread] */
void ws_clock_advance(apr_uint32_t ms);

/** Get the timeout to use for a wait of ms milliseconds. @return ms; -1 (no limit) if the clock is
 *  held and ms is positive */
int ws_clock_patience(int ms);

#endif
