/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Timers of one loop: a wheel of 1,024 slots of 16 ms. Adding and removing cost the same however
 * many there are; a timer further away than one turn (16 s) is passed over once a turn.
 */

#ifndef WS_EVENT_TIMER_WHEEL_H
#define WS_EVENT_TIMER_WHEEL_H

#include <apr.h>

typedef struct ws_alarm ws_alarm;

/** A timer; part of what it belongs to. Zeroed at first. */
struct ws_alarm {
    ws_alarm *next;
    ws_alarm **link; /**< what points to this one, NULL while it is not set */
    void (*fn)(ws_alarm *a);
    apr_uint32_t due; /**< milliseconds of the loop's clock, which wraps */
    apr_uint32_t arg; /**< the owner's */
};

#define WS_TIMER_WHEEL_SLOTS 1024
#define WS_TIMER_WHEEL_TICK_SHIFT 4 /* 16 ms */

typedef struct ws_timer_wheel {
    ws_alarm *slot[WS_TIMER_WHEEL_SLOTS];
    apr_uint64_t used[WS_TIMER_WHEEL_SLOTS / 64]; /**< a bit for each slot that may hold alarms */
    apr_uint32_t tick;                            /**< the last one that has been run */
    apr_uint32_t count;
} ws_timer_wheel;

void ws_timer_wheel_init(ws_timer_wheel *w, apr_uint32_t now);

/** Call a->fn at due or up to a tick later; moves it if it is set. */
void ws_timer_wheel_set(ws_timer_wheel *w, ws_alarm *a, apr_uint32_t due);

/** Safe for an alarm that is not set, and inside any alarm's fn. */
void ws_timer_wheel_clear(ws_timer_wheel *w, ws_alarm *a);

/** Call what is due. */
void ws_timer_wheel_run(ws_timer_wheel *w, apr_uint32_t now);

/** Milliseconds until ws_timer_wheel_run has to be called, -1 if there are no alarms. */
int ws_timer_wheel_timeout(const ws_timer_wheel *w, apr_uint32_t now);

#endif
