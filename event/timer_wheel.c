/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */
/** The timer wheel. It rounds due times up to ticks of 16 ms, so that no alarm fires early. */

#include "event/timer_wheel.h"

#include <string.h>

/* Round a due time up to the end of a tick, so that no alarm fires early. */
static apr_uint32_t tick_of(apr_uint32_t due)
{
    return (due + (1u << WS_TIMER_WHEEL_TICK_SHIFT) - 1) >> WS_TIMER_WHEEL_TICK_SHIFT;
}

/* Ticks wrap with the clock, at 2^28. */
#define TICK_MASK (0xFFFFFFFFu >> WS_TIMER_WHEEL_TICK_SHIFT)

void ws_timer_wheel_init(ws_timer_wheel *w, apr_uint32_t now)
{
    memset(w, 0, sizeof(*w));
    w->tick = now >> WS_TIMER_WHEEL_TICK_SHIFT;
}

static void unlink_alarm(ws_alarm *a)
{
    *a->link = a->next;
    if (a->next) {
        a->next->link = a->link;
    }
    a->link = NULL;
}

static void link_alarm(ws_alarm **list, ws_alarm *a)
{
    a->next = *list;
    if (a->next) {
        a->next->link = &a->next;
    }
    a->link = list;
    *list = a;
}

void ws_timer_wheel_set(ws_timer_wheel *w, ws_alarm *a, apr_uint32_t due)
{
    apr_uint32_t tick = tick_of(due) & TICK_MASK;
    unsigned i;
    ws_timer_wheel_clear(w, a);
    /* An alarm that is already due goes into the next slot to run. */
    if (((tick - w->tick) & TICK_MASK) - 1 >= TICK_MASK / 2) {
        tick = w->tick + 1;
    }
    i = tick % WS_TIMER_WHEEL_SLOTS;
    a->due = due;
    link_alarm(&w->slot[i], a);
    w->used[i / 64] |= (apr_uint64_t)1 << (i % 64);
    w->count++;
}

void ws_timer_wheel_clear(ws_timer_wheel *w, ws_alarm *a)
{
    if (a->link) {
        unlink_alarm(a);
        w->count--;
    }
}

void ws_timer_wheel_run(ws_timer_wheel *w, apr_uint32_t now)
{
    apr_uint32_t tick = now >> WS_TIMER_WHEEL_TICK_SHIFT;
    apr_uint32_t turns = (tick - w->tick) & TICK_MASK;
    ws_alarm *due = NULL;

    if (turns == 0 || turns > TICK_MASK / 2) {
        return;
    }
    if (turns > WS_TIMER_WHEEL_SLOTS) {
        turns = WS_TIMER_WHEEL_SLOTS;
    }
    for (apr_uint32_t t = tick - turns + 1; turns > 0; t++, turns--) {
        unsigned i = t % WS_TIMER_WHEEL_SLOTS;
        ws_alarm *a = w->slot[i], *next;
        if (!(w->used[i / 64] & (apr_uint64_t)1 << (i % 64))) {
            continue;
        }
        for (; a; a = next) {
            next = a->next;
            if ((apr_int32_t)(now - a->due) >= 0) {
                unlink_alarm(a);
                link_alarm(&due, a);
            }
        }
        if (!w->slot[i]) {
            w->used[i / 64] &= ~((apr_uint64_t)1 << (i % 64));
        }
    }
    w->tick = tick;
    /* Each alarm stays in this list until it is called, so that one alarm may clear another. */
    while (due) {
        ws_alarm *a = due;
        ws_timer_wheel_clear(w, a);
        a->fn(a);
    }
}

int ws_timer_wheel_timeout(const ws_timer_wheel *w, apr_uint32_t now)
{
    if (w->count == 0) {
        return -1;
    }
    for (unsigned n = 1; n <= WS_TIMER_WHEEL_SLOTS;) {
        unsigned i = (w->tick + n) % WS_TIMER_WHEEL_SLOTS;
        apr_uint64_t bits = w->used[i / 64] >> (i % 64);
        if (bits) {
            apr_uint32_t at = (w->tick + n + (unsigned)__builtin_ctzll(bits))
                              << WS_TIMER_WHEEL_TICK_SHIFT;
            apr_int32_t left = (apr_int32_t)(at - now);
            return left > 0 ? left : 0;
        }
        n += 64 - i % 64;
    }
    return -1;
}
