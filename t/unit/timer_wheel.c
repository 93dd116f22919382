/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests the timer wheel with a simulated clock. */

#include "event/timer_wheel.h"
#include "t/unit/tap.h"

#define TICK (1u << WS_TIMER_WHEEL_TICK_SHIFT)
#define TURN (WS_TIMER_WHEEL_SLOTS * TICK)

static ws_timer_wheel wheel;
static apr_uint32_t now;

typedef struct thing {
    ws_alarm alarm;
    int fired;
    apr_uint32_t at;
    struct thing *other; /* the timer that this one clears or sets */
    apr_uint32_t again;
} thing;

static void fire(ws_alarm *a)
{
    thing *t = (thing *)a;
    t->fired++;
    t->at = now;
}

static void start(apr_uint32_t at)
{
    now = at;
    ws_timer_wheel_init(&wheel, now);
}

static thing unset(void)
{
    return (thing){.alarm = {.fn = fire}};
}

/* Advance the clock as a loop does: sleep no longer than the wheel allows. @return turns of the
 * loop */
static int pass(apr_uint32_t ms)
{
    apr_uint32_t end = now + ms;
    int turns = 0;
    for (;;) {
        int timeout = ws_timer_wheel_timeout(&wheel, now);
        apr_uint32_t left = end - now;
        if (timeout < 0 || (apr_uint32_t)timeout > left) {
            now = end;
            ws_timer_wheel_run(&wheel, now);
            return turns;
        }
        now += (apr_uint32_t)timeout;
        ws_timer_wheel_run(&wheel, now);
        turns++;
        if (turns > 1000000) {
            bail_out("the wheel's timeout does not let time pass");
        }
    }
}

static void fires_once_and_in_time(void)
{
    static const apr_uint32_t delays[] = {
        0,    1,        15,    16,      17,       1000,     TURN - 1,
        TURN, TURN + 1, 20000, 3600000, 5 * TURN, 10000007, 0x7FFFFFF0u - TICK};
    for (unsigned i = 0; i < sizeof(delays) / sizeof(*delays); i++) {
        thing t = unset();
        start(1234567);
        ws_timer_wheel_set(&wheel, &t.alarm, now + delays[i]);
        if (delays[i] > 0) {
            pass(delays[i] - 1);
            is_int(t.fired, 0, "%u ms: an alarm does not fire before its time", delays[i]);
        }
        pass(2 * TICK + 1);
        is_int(t.fired, 1, "%u ms: an alarm fires at its time", delays[i]);
        ok(t.at - 1234567 <= delays[i] + 2 * TICK,
           "%u ms: an alarm fires no more than two ticks late", delays[i]);
        pass(3 * TURN);
        is_int(t.fired, 1, "%u ms: an alarm fires once", delays[i]);
        is_int(ws_timer_wheel_timeout(&wheel, now), -1, "%u ms: no alarm is left", delays[i]);
    }
}

static void lives_through_the_clocks_wrap(void)
{
    static const apr_uint32_t delays[] = {1, 100, 499, 500, 501, 516, 5000, TURN + 100};
    for (unsigned i = 0; i < sizeof(delays) / sizeof(*delays); i++) {
        thing t = unset();
        apr_uint32_t begin = 0u - 500;
        start(begin);
        ws_timer_wheel_set(&wheel, &t.alarm, begin + delays[i]);
        pass(delays[i] - 1);
        is_int(t.fired, 0,
               "%u ms over the wrap of the clock: an alarm does not fire before its time",
               delays[i]);
        pass(3 * TICK);
        is_int(t.fired, 1, "%u ms over the wrap of the clock: an alarm fires at its time",
               delays[i]);
    }
}

static void what_is_due_already_fires_at_the_next_run(void)
{
    thing t = unset();
    start(100000);
    ws_timer_wheel_set(&wheel, &t.alarm, now - 5000);
    pass(2 * TICK);
    is_int(t.fired, 1, "an alarm in the past fires");
}

static void moves_and_clears(void)
{
    thing t = unset();
    start(0);
    ws_timer_wheel_clear(&wheel, &t.alarm);
    is_int(ws_timer_wheel_timeout(&wheel, now), -1, "an alarm that is not set can be cleared");
    ws_timer_wheel_set(&wheel, &t.alarm, 100);
    ws_timer_wheel_set(&wheel, &t.alarm, 1000);
    pass(990);
    is_int(t.fired, 0, "a moved alarm does not fire at its old time");
    pass(50);
    is_int(t.fired, 1, "a moved alarm fires at its new time");
    ws_timer_wheel_set(&wheel, &t.alarm, now + 100);
    ws_timer_wheel_clear(&wheel, &t.alarm);
    ws_timer_wheel_clear(&wheel, &t.alarm);
    pass(1000);
    is_int(t.fired, 1, "a cleared alarm does not fire");
}

static void fire_and_clear_other(ws_alarm *a)
{
    fire(a);
    ws_timer_wheel_clear(&wheel, &((thing *)a)->other->alarm);
}

static void one_alarm_clears_another_that_is_due(void)
{
    thing a = unset(), b = unset();
    a.alarm.fn = b.alarm.fn = fire_and_clear_other;
    a.other = &b;
    b.other = &a;
    start(0);
    ws_timer_wheel_set(&wheel, &a.alarm, 100);
    ws_timer_wheel_set(&wheel, &b.alarm, 100);
    pass(1000);
    is_int(a.fired + b.fired, 1, "of two alarms that clear each other one fires");
    is_int(ws_timer_wheel_timeout(&wheel, now), -1,
           "neither of two alarms that clear each other is left");
}

static void fire_and_set(ws_alarm *a)
{
    fire(a);
    if (((thing *)a)->again) {
        ws_timer_wheel_set(&wheel, a, a->due + ((thing *)a)->again);
    }
}

static void an_alarm_sets_itself_anew(void)
{
    thing t = unset();
    t.alarm.fn = fire_and_set;
    t.again = 50;
    start(0);
    ws_timer_wheel_set(&wheel, &t.alarm, 50);
    pass(100 * 50 + TICK);
    is_int(t.fired, 100, "an interval of 50 ms fires a hundred times in 5 s");
}

static void a_loop_that_was_held_up_misses_nothing(void)
{
    thing t[50];
    int fired = 0;
    start(0);
    for (unsigned i = 0; i < 50; i++) {
        t[i] = unset();
        ws_timer_wheel_set(&wheel, &t[i].alarm, i * 977);
    }
    now = 50 * 977 + 100 * TURN; /* the wheel was not run for this time */
    ws_timer_wheel_run(&wheel, now);
    for (unsigned i = 0; i < 50; i++) {
        fired += t[i].fired == 1;
    }
    is_int(fired, 50, "all alarms fire when the wheel is run after a long time");
}

/* Compare a wheel with an array during hours of random operations, in which the clock wraps. */
static void agrees_with_a_plain_list(void)
{
    enum { N = 200 };
    static thing t[N];
    static apr_uint32_t due[N];
    static int set[N], expected[N];
    unsigned seed = 1;
    int early = 0, late = 0, wrong = 0;

    start(0u - 3600000);
    for (int i = 0; i < N; i++) {
        t[i] = unset();
    }
    for (int step = 0; step < 200000; step++) {
        unsigned i = (seed = seed * 1664525u + 1013904223u) >> 8, r = seed >> 4;
        i %= N;
        if (r % 4 == 0) {
            ws_timer_wheel_clear(&wheel, &t[i].alarm);
            set[i] = 0;
        }
        else if (r % 4 == 1) {
            due[i] = now + (r % 3 ? r % 500 : r % 100000);
            ws_timer_wheel_set(&wheel, &t[i].alarm, due[i]);
            set[i] = 1;
        }
        else {
            now += r % 97;
            ws_timer_wheel_run(&wheel, now);
            for (int j = 0; j < N; j++) {
                int over = (int)(now - due[j]);
                if (t[j].fired > expected[j]) {
                    early += !set[j] || over < 0;
                    expected[j]++;
                    wrong += t[j].fired != expected[j];
                    set[j] = 0;
                }
                late += set[j] && over >= (int)(2 * TICK);
            }
        }
    }
    is_int(early, 0, "random operations: no alarm fires early or after it was cleared");
    is_int(late, 0, "random operations: no alarm is left behind");
    is_int(wrong, 0, "random operations: no alarm fires twice");
}

static void an_idle_loop_sleeps(void)
{
    thing t = unset();
    int turns;
    start(5000);
    ws_timer_wheel_set(&wheel, &t.alarm, now + 3600000);
    turns = pass(3600000);
    ok(turns <= 3600000 / (int)(TURN - TICK) + 1,
       "an alarm in an hour wakes the loop at most once in each turn of the wheel");
}

int main(void)
{
    fires_once_and_in_time();
    lives_through_the_clocks_wrap();
    what_is_due_already_fires_at_the_next_run();
    moves_and_clears();
    one_alarm_clears_another_that_is_due();
    an_alarm_sets_itself_anew();
    a_loop_that_was_held_up_misses_nothing();
    agrees_with_a_plain_list();
    an_idle_loop_sleeps();
    return done_testing();
}
