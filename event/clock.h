/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What time it is for the loops. */

#ifndef WS_EVENT_CLOCK_H
#define WS_EVENT_CLOCK_H

#include <apr.h>

/** Milliseconds, monotonic; it wraps.  [any thread] */
apr_uint32_t ws_clock(void);

/** From now on time passes by ws_clock_advance() alone: for who tests a handler. Before there is an
 *  engine. */
void ws_clock_hold(void);

/** So many milliseconds go by. A loop sees it in its next turn: give it a task.  [any thread] */
void ws_clock_advance(apr_uint32_t ms);

/** How long a loop may really wait for so many milliseconds to go by: -1, for ever, while the clock is
 *  held. */
int ws_clock_patience(int ms);

#endif
