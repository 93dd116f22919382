/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests timers of connections: on the loop, and on the pool threads of a WS_BLOCKING handler. */

#include "t/unit/rig.h"

/* A timer whose calls add lines "NAME N" to the record. */
typedef struct timer {
    const char *name;
    ws_timer *t;
    struct timer *other; /* the timer that stop_other stops */
    apr_uint32_t delay, interval;
    ws_timer_fn fn;
    long long started, fired[32]; /* milliseconds */
    int calls;
} timer;

static long long milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void fire(ws_conn *c, void *arg)
{
    timer *t = arg;
    if (t->calls < 32) {
        t->fired[t->calls] = milliseconds();
    }
    t->calls++;
    note(t->name, "%d of %s", t->calls, name_of(c));
}

static void fire_and_stop(ws_conn *c, void *arg)
{
    timer *t = arg;
    fire(c, t);
    ws_timer_stop(c, t->t);
}

static void fire_and_stop_other(ws_conn *c, void *arg)
{
    timer *t = arg;
    fire(c, t);
    if (t->other->t) {
        ws_timer_stop(c, t->other->t);
    }
    t->t = NULL; /* it fires once, so the other timer must not stop it */
}

static void fire_slowly(ws_conn *c, void *arg)
{
    fire(c, arg);
    usleep(100000);
}

static void start(ws_conn *c, void *arg)
{
    timer *t = arg;
    t->started = milliseconds();
    t->t = ws_timer_start(c, t->delay, t->interval, t->fn, t);
    ok(t->t != NULL, "a timer: %s", t->name);
}

static void start_two(ws_conn *c, void *arg)
{
    start(c, arg);
    start(c, ((timer *)arg)->other);
}

static void start_late(ws_conn *c, void *arg)
{
    usleep(120000);
    start(c, arg);
}

static void stop(ws_conn *c, void *arg)
{
    ws_timer_stop(c, ((timer *)arg)->t);
}

/* The timer that on_close stops. Atomic, because ThreadSanitizer does not see that data which a
 * ring receives was sent before. */
static timer *_Atomic farewell;

static void stop_in_on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    if (farewell) {
        ws_timer_stop(c, farewell->t);
    }
    rec_close(c, code, reason, len);
}

#define CALLBACKS .on_message = rec_message, .on_open = rec_open, .on_close = stop_in_on_close

static const ws_handler on_the_loop = {CALLBACKS};
static const ws_handler blocking = {.flags = WS_BLOCKING, CALLBACKS};

/* Wait until a new timer has fired. All earlier timers with this delay have then fired, too. */
static void let_time_pass(rig *r, const char *name, apr_uint32_t delay)
{
    timer t = {.name = "passed", .delay = delay, .fn = fire};
    as_callback(id_of(r, name), start, &t);
    ok(!strncmp(told("passed"), "1 of ", 5), "%u ms have passed", delay);
}

static void once(rig *r)
{
    static const apr_uint32_t delays[] = {0, 1, 10, 50, 200};
    wire w = enter(r, "a");
    for (unsigned i = 0; i < sizeof(delays) / sizeof(*delays); i++) {
        timer t = {.name = "once", .delay = delays[i], .fn = fire};
        as_callback(id_of(r, "a"), start, &t);
        told_is("once", "1 of a", "a timer without an interval fires");
        ok(t.fired[0] - t.started >= (long long)delays[i] - 1,
           "a timer does not fire before %u ms: %lld", delays[i], t.fired[0] - t.started);
        let_time_pass(r, "a", 50);
        is_int(t.calls, 1, "a timer without an interval does not fire again");
    }
    leave(&w, "a");
}

static void a_slow_callback_does_not_hasten_it(rig *r)
{
    timer t = {.name = "late", .delay = 100, .fn = fire};
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), start_late, &t);
    told_is("late", "1 of a", "a timer that is started late in a callback fires");
    ok(t.fired[0] - t.started >= 99,
       "a timer started late in a callback has its whole delay: %lld of 100 ms",
       t.fired[0] - t.started);
    leave(&w, "a");
}

static void at_intervals(rig *r)
{
    timer t = {.name = "often", .delay = 30, .interval = 20, .fn = fire};
    timer hasty = {.name = "hasty", .delay = 0, .interval = 1, .fn = fire};
    wire w = enter(r, "a");
    int right = 1;
    as_callback(id_of(r, "a"), start, &t);
    for (int i = 1; i <= 10; i++) {
        char text[TEXT_SIZE];
        sprintf(text, "%d of a", i);
        told_is("often", text, "a timer with an interval fires again and again");
    }
    as_callback(id_of(r, "a"), stop, &t);
    for (int i = 0; i < 10; i++) {
        right &= t.fired[i] - t.started >= 30 + 20 * i - 1;
    }
    ok(right, "a timer with an interval keeps its intervals");
    let_time_pass(r, "a", 100);
    forget("often"); /* it may have fired between the tenth time and the stop */
    let_time_pass(r, "a", 100);
    is_int(untold(), 0, "a stopped timer does not fire");

    as_callback(id_of(r, "a"), start, &hasty);
    for (int i = 1; i <= 11; i++) {
        told("hasty");
    }
    as_callback(id_of(r, "a"), stop, &hasty);
    ok(hasty.fired[10] - hasty.started >= 99, "an interval is 10 ms at least: %lld ms for ten",
       hasty.fired[10] - hasty.started);
    let_time_pass(r, "a", 100);
    forget("hasty");
    leave(&w, "a");
}

static void stopped_inside(rig *r)
{
    timer t = {.name = "itself", .delay = 10, .interval = 10, .fn = fire_and_stop};
    timer o = {.name = "itself", .delay = 10, .fn = fire_and_stop};
    timer a = {.name = "either", .delay = 20, .fn = fire_and_stop_other};
    timer b = {.name = "either", .delay = 20, .fn = fire_and_stop_other};
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), start, &t);
    told_is("itself", "1 of a", "a timer that stops itself fires");
    let_time_pass(r, "a", 100);
    is_int(t.calls, 1, "a timer that stops itself fires once");
    as_callback(id_of(r, "a"), start, &o);
    told_is("itself", "1 of a", "a timer without an interval that stops itself fires once");

    a.other = &b;
    b.other = &a;
    as_callback(id_of(r, "a"), start_two, &a);
    told_is("either", "1 of a", "one of two timers that stop each other fires");
    let_time_pass(r, "a", 100);
    is_int(a.calls + b.calls, 1, "of two timers that stop each other, one fires");
    leave(&w, "a");
}

static void stopped_before(rig *r)
{
    timer t = {.name = "never", .delay = 60000, .fn = fire};
    timer u = {.name = "never", .delay = 60000, .interval = 1000, .fn = fire};
    timer v = {.name = "never", .delay = 60000, .interval = 1000, .fn = fire};
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), start, &t);
    as_callback(id_of(r, "a"), start, &u);
    as_callback(id_of(r, "a"), stop, &t);
    as_callback(id_of(r, "a"), start, &v);
    farewell = &u;
    /* The test has stopped one timer, on_close stops another, and one ends with the connection. */
    leave(&w, "a");
    farewell = NULL;
}

static void many(rig *r)
{
    enum { MANY = 500 };
    static timer t[MANY];
    int right = 0;
    wire w = enter(r, "a");
    for (int i = 0; i < MANY; i++) {
        t[i] = (timer){.name = "many", .delay = (apr_uint32_t)(i * 7919 % 300), .fn = fire};
        as_callback(id_of(r, "a"), start, &t[i]);
    }
    for (int i = 0; i < MANY; i++) {
        told("many");
    }
    for (int i = 0; i < MANY; i++) {
        right += t[i].calls == 1 && t[i].fired[0] - t[i].started >= t[i].delay - 1LL;
    }
    is_int(right, MANY, "%d timers fire, each once and not before its time", MANY);
    leave(&w, "a");
}

static void no_timer_behind_on_close(rig *r)
{
    static timer t;
    int calls;
    wire w = enter(r, "a"), other;
    t = (timer){.name = "ends", .delay = 0, .interval = 10, .fn = fire};
    as_callback(id_of(r, "a"), start, &t);
    told_is("ends", "1 of a", "a timer at short intervals");
    wire_close(&w, 1000, "");
    wire_next_is(&w, "close 1000", "its connection closes");
    told_is("a", "close 1000 \"\"", "on_close");
    calls = t.calls; /* the record's lock orders the accesses */
    other = rig_join(r, "b");
    told_is("b", "open", "another connection");
    let_time_pass(r, "b", 100);
    is_int(t.calls, calls, "a timer does not fire after on_close");
    forget("ends");
    wire_free(&w);
    wire_free(&other);
    told_is("b", "close 1006 \"\"", "on_close");
}

static void a_slow_one_does_not_pile_up(rig *r)
{
    timer t = {.name = "slow", .delay = 0, .interval = 10, .fn = fire_slowly};
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), start, &t);
    for (int i = 0; i < 5; i++) {
        told("slow");
    }
    wire_text(&w, "hello");
    told_is("a", "text \"hello\"", "a message is delivered between calls of a slow timer");
    as_callback(id_of(r, "a"), stop, &t);
    ok(t.calls < 20, "%d calls of a timer that takes ten times its interval", t.calls);
    let_time_pass(r, "a", 50);
    forget("slow");
    leave(&w, "a");
}

int main(void)
{
    static test *const tests[] = {once,
                                  a_slow_callback_does_not_hasten_it,
                                  at_intervals,
                                  stopped_inside,
                                  stopped_before,
                                  many,
                                  no_timer_behind_on_close,
                                  a_slow_one_does_not_pile_up,
                                  NULL};
    diag("on the loop");
    rig_run((rig){0}, &on_the_loop, 1, tests);
    diag("on pool threads");
    rig_run((rig){0}, &blocking, 1, tests);
    return done_testing();
}
