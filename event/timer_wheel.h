/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The timers (alarms) of one loop: a wheel of 1,024 slots of 16 ms. The cost of adding or removing
 * an alarm does not depend on the number of alarms. A slot may contain alarms that are due in a
 * later revolution (16 s); a run skips them.
 */

#ifndef WS_EVENT_TIMER_WHEEL_H
#define WS_EVENT_TIMER_WHEEL_H

#include <apr.h>

typedef struct ws_alarm ws_alarm;

/** An alarm, which is a member of its owner's struct. The owner zeroes it. */
struct ws_alarm {
    ws_alarm *next;
    ws_alarm **link; /**< address of the pointer to this alarm; NULL while the alarm is not set */
    void (*fn)(ws_alarm *a);
    apr_uint32_t due; /**< milliseconds on the loop's clock, which wraps */
    apr_uint32_t arg; /**< free for use by the owner */
};

#define WS_TIMER_WHEEL_SLOTS 1024
#define WS_TIMER_WHEEL_TICK_SHIFT 4 /* 16 ms */

typedef struct ws_timer_wheel {
    ws_alarm *slot[WS_TIMER_WHEEL_SLOTS];
    apr_uint64_t used[WS_TIMER_WHEEL_SLOTS / 64]; /**< a bit for each slot that may hold alarms */
    apr_uint32_t tick;                            /**< the last tick that was run */
    apr_uint32_t count;
} ws_timer_wheel;

void ws_timer_wheel_init(ws_timer_wheel *w, apr_uint32_t now);

/** Call a->fn at `due` or up to one tick later. An alarm that is already set is moved. */
void ws_timer_wheel_set(ws_timer_wheel *w, ws_alarm *a, apr_uint32_t due);

/** Clear the alarm. Allowed for an alarm that is not set, and inside any alarm's fn. */
void ws_timer_wheel_clear(ws_timer_wheel *w, ws_alarm *a);

/** Call all alarms that are due. */
void ws_timer_wheel_run(ws_timer_wheel *w, apr_uint32_t now);

/** Get the milliseconds until ws_timer_wheel_run() must be called. @return -1: no alarm is set */
int ws_timer_wheel_timeout(const ws_timer_wheel *w, apr_uint32_t now);

#endif
