/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests the limits for messages that do not arrive in time: WebSocketMessageTimeout, and idle= of
 *  WebSocketLimit. */

#include "t/unit/rig.h"

enum { TIMEOUT = 60000, RATE = 100 };

static const ws_handler handler = {ECHO_RECORDER};

static void rec_piece(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    char text[TEXT_SIZE];
    (void)where;
    note(name_of(c), "%s", describe(text, (int)type, data, len));
}

static const ws_handler pieces = {.on_frame = rec_piece, RECORDER};

typedef struct passing {
    apr_uint32_t ms; /* how much older the message is to become, milliseconds */
    int whole;       /* whether data of the message has arrived meanwhile */
    int begun;       /* result of pass(): whether a message is incomplete */
} passing;

static void pass(ws_loop *loop, void *arg)
{
    passing *p = arg;
    ws_conn *c = LIST_FIRST(&loop->heads[0]);
    p->begun = c && c->rare->message;
    if (p->begun && p->ms) {
        c->rare->message->begun -= p->ms;
        c->rare->message->moved -= p->whole ? 0 : p->ms;
        c->rare->message->alarm.fn(&c->rare->message->alarm);
    }
}

/* Send the first len bytes of a message, and wait until the engine has received them. */
static wire begin(rig *r, size_t len)
{
    static const char much[100000];
    passing p = {0};
    wire w = enter(r, "a");
    wire_frame(&w, BINARY, much, len);
    until(r, 0, pass, &p, &p.begun);
    return w;
}

static void is_late(wire *w)
{
    wire_next_is(w, "close 1008 \"a message takes too long to arrive\"",
                 "a late message closes the connection with 1008");
    told_is("a", "close 1008 \"a message takes too long to arrive\"", "on_close");
    wire_free(w);
}

static void a_message_that_does_not_grow(rig *r)
{
    wire w = begin(r, 10);
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT / 2});
    wire_frame(&w, CONT, "more", 4);
    wire_frame(&w, FIN | PING, "", 0);
    wire_next_is(&w, "pong", "after half of the time, more data arrives");
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT / 2});
    wire_frame(&w, FIN | PING, "still", 5);
    wire_next_is(&w, "pong \"still\"", "the time starts again when data arrives");
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT});
    is_late(&w);
}

static void a_byte_now_and_then_is_not_enough(rig *r)
{
    wire w = begin(r, 10);
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT - 1000, .whole = 1});
    wire_frame(&w, CONT, "x", 1);
    wire_frame(&w, FIN | PING, "", 0);
    wire_next_is(&w, "pong", "one byte arrives in the whole time");
    on_loop_of(r, 0, pass, &(passing){.ms = 2000, .whole = 1});
    is_late(&w);
}

static void a_slow_message_may_take_its_time(rig *r)
{
    wire w = begin(r, 100000);
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT + 100000 / RATE * 1000 / 2, .whole = 1});
    wire_frame(&w, FIN | CONT, "the end", 7);
    ok(!strncmp(wire_next(&w), "binary of 100007 bytes", 22),
       "a message that arrives at the minimum rate may take longer");
    forget("a");
    leave(&w, "a");
}

static void nothing_is_expected_while_nothing_is_read(rig *r)
{
    wire w = begin(r, 10);
    as_callback(id_of(r, "a"), do_pause, NULL);
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT});
    as_callback(id_of(r, "a"), do_resume, NULL);
    wire_frame(&w, FIN | CONT, "the end", 7);
    ok(!strncmp(wire_next(&w), "binary", 6), "the time does not count while the handler pauses");
    forget("a");
    leave(&w, "a");
}

static void an_unfinished_message_ends_with_its_connection(rig *r)
{
    wire w = begin(r, 5000);
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "on_close");
    nobody_is_left(r);
}

/* Control frames and incomplete messages do not count as messages for idle=. */
static void pieces_do_not_keep_it_from_being_idle(rig *r)
{
    wire w = enter(r, "a");
    const char *next;
    do {
        wire_frame(&w, FIN | PING, "", 0);
        next = wire_next(&w);
    } while (!strcmp(next, "pong"));
    is_str(next, "close 1001 \"no message for too long\"",
           "control frames do not count as messages for idle=");
    wire_close(&w, 1001, "");
    told_is("a", "close 1001 \"no message for too long\"", "on_close");
    wire_free(&w);

    w = enter(r, "a");
    wire_frame(&w, TEXT, "x", 1);
    do {
        wire_frame(&w, CONT, "x", 1);
        wire_frame(&w, FIN | PING, "", 0);
        next = wire_next(&w);
    } while (!strcmp(next, "pong"));
    is_str(next, "close 1001 \"no message for too long\"",
           "incomplete messages do not count as messages for idle=");
    wire_close(&w, 1001, "");
    told_is("a", "close 1001 \"no message for too long\"", "on_close");
    wire_free(&w);
}

static void handlers_of_pieces_have_no_limit(rig *r)
{
    passing p = {0};
    wire w = enter(r, "a");
    wire_frame(&w, TEXT, "piece", 5);
    told_is("a", "text \"piece\"", "a handler with on_frame gets a piece");
    on_loop_of(r, 0, pass, &p);
    ok(!p.begun, "no message buffer is kept for on_frame");
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "on_close");
}

int main(void)
{
    static test *const timed[] = {a_message_that_does_not_grow,
                                  a_byte_now_and_then_is_not_enough,
                                  a_slow_message_may_take_its_time,
                                  nothing_is_expected_while_nothing_is_read,
                                  an_unfinished_message_ends_with_its_connection,
                                  NULL};
    static test *const idle[] = {pieces_do_not_keep_it_from_being_idle, NULL};
    static test *const streamed[] = {handlers_of_pieces_have_no_limit, NULL};
    rig setup = {.settings = RIG_SETTINGS};
    setup.settings.message_timeout = TIMEOUT;
    setup.settings.message_rate = RATE;
    rig_run(setup, &handler, 1, timed);
    rig_run(setup, &pieces, 1, streamed);
    setup.settings.message_timeout = 0;
    setup.settings.bounds[0].idle = 300;
    rig_run(setup, &handler, 1, idle);
    return done_testing();
}
