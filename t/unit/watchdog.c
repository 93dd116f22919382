/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The watchdog logs callbacks that block their loop. */

#include "engine/handoff.h"
#include "t/unit/rig.h"

static int lines(void)
{
    return __atomic_load_n(&log_lines, __ATOMIC_RELAXED);
}

static void wait_for_lines(int n)
{
    for (int i = 0; lines() < n; i++) {
        if (i > PATIENCE) {
            bail_out("the watchdog logs nothing");
        }
        usleep(1000);
    }
}

/* Block until the log has another line. */
static void block(void)
{
    wait_for_lines(lines() + 1);
}

static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    rec_message(c, type, data, len);
    if (len == 5 && !memcmp(data, "block", 5)) {
        block();
    }
    ws_send(c, type, data, len);
}

static void on_pong(ws_conn *c, const char *data, apr_size_t len)
{
    block();
    rec_pong(c, data, len);
}

static void on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    block();
    rec_close(c, code, reason, len);
}

static const ws_handler handler = {
    .on_message = on_message, .on_open = rec_open, .on_pong = on_pong, .on_close = on_close};

static void a_callback_is_named_while_it_runs(rig *r)
{
    wire w = enter(r, "a"), other = enter(r, "b");
    wire_text(&w, "block");
    for (int i = 0; i < 100; i++) {
        wire_text(&other, "meanwhile");
    }
    wire_next_is(&w, "text \"block\"",
                 "a callback of on_message that blocks is logged, and returns");
    wait_for_lines(2);
    ok(1, "the log says that the callback has returned");
    told_is("a", "text \"block\"", "the callback was called");
    for (int i = 0; i < 100; i++) {
        told_is("b", "text \"meanwhile\"", "another connection gets all its messages");
        wire_next_is(&other, "text \"meanwhile\"", "another connection is answered");
    }
    wire_frame(&w, FIN | PONG, "x", 1);
    told_is("a", "pong \"x\"", "a callback of on_pong that blocks is logged");
    wait_for_lines(4);
    leave(&w, "a");
    wait_for_lines(6);
    ok(1, "a callback of on_close that blocks is logged");
    leave(&other, "b");
    wait_for_lines(8);
    nobody_is_left(r);
}

/* Many such callbacks together take longer than the watchdog's limit, but no single one does. */
static void a_short_nap(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    usleep(25000);
    ws_send(c, type, data, len);
}

static const ws_handler napper = {
    .on_message = a_short_nap, .on_open = rec_open, .on_close = rec_close};

static void many_short_callbacks_are_no_long_one(rig *r)
{
    int before = lines(), answers = 0;
    wire w = enter(r, "a");
    for (int i = 0; i < 100; i++) {
        wire_text(&w, "nap");
    }
    for (int i = 0; i < 100; i++) {
        answers += !strcmp(wire_next(&w), "text \"nap\"");
    }
    is_int(answers, 100, "many short callbacks are called");
    is_int(lines(), before, "many short callbacks are not logged as long ones");
    leave(&w, "a");
}

/* ---- A callback of an outgoing connection returns while the watchdog logs it ---- */

static sem_t may_return;
static int gone; /* 1: the connection was freed while the watchdog was logging */

static void open_slowly(ws_conn *c)
{
    rec_open(c);
    sem_must(&may_return, "the watchdog logs nothing");
    ws_abort(c);
}

static const ws_handler outgoing = {.on_open = open_slowly, .on_close = rec_close};

static void log_slowly(ws_log_level level, const ws_settings *settings, const ws_conn *c,
                       const char *text)
{
    rig_log(level, settings, c, text);
    if (level == WS_LOG_WARNING && !c) {
        const ws_loop *loop = settings->server;
        sem_post(&may_return);
        for (int i = 0; i < 100 && !gone; i++) {
            usleep(1000);
            gone = __atomic_load_n(&loop->outgoing, __ATOMIC_RELAXED) == 0;
        }
        note("log", "written");
    }
}

static void connect_out(ws_loop *loop, void *arg)
{
    rig *r = arg;
    int fd[2];
    ws_outgoing *o = calloc(1, sizeof(*o) + 1);
    ws_new_conn n;
    unix_pair(fd);
    n = rig_newcomer(r, fd[1], "out");
    n.outgoing = o;
    o->settings = r->settings;
    o->settings.server = loop;
    o->location = (ws_location){.handler = &outgoing,
                                .name = "outgoing",
                                .engine = r->engine,
                                .index = r->engine->options.location_count};
    r->engine->options.log = log_slowly;
    ws_loop_entered(loop, 1);
    if (ws_handoff_here(loop, &n) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    close(fd[0]);
}

static void what_is_logged_is_not_freed(rig *r)
{
    sem_init(&may_return, 0, 0);
    on_loop_of(r, 0, connect_out, r);
    told_is("out", "open", "an outgoing connection");
    told_is("out", "close 1006 \"\"", "its callback returns while the watchdog logs it");
    told_is("log", "written", "the watchdog logs it");
    is_int(gone, 0, "the connection is not freed before that");
    nobody_is_left(r);
}

int main(void)
{
    static test *const tests[] = {a_callback_is_named_while_it_runs, what_is_logged_is_not_freed,
                                  NULL};
    static test *const naps[] = {many_short_callbacks_are_no_long_one, NULL};
    rig_run((rig){.watchdog = 20}, &handler, 1, tests);
    rig_run((rig){.watchdog = 2000}, &napper, 1, naps);
    return done_testing();
}
