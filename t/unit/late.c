/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests the limits for messages that do not arrive in time: WebSocketMessageTimeout, and idle= of
 *  WebSocketLimit. */

#include "protocol/deflate.h"
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
    p->begun = c && c->rare->arrival;
    if (p->begun && p->ms) {
        c->rare->arrival->begun -= p->ms;
        c->rare->arrival->moved -= p->whole ? 0 : p->ms;
        c->rare->arrival->alarm.fn(&c->rare->arrival->alarm);
    }
}

static void until_begun(rig *r)
{
    passing p = {0};
    until(r, 0, pass, &p, &p.begun);
}

/* Send the first len bytes of a message, and wait until the engine has received them. */
static wire begin(rig *r, size_t len)
{
    static const char much[100000];
    wire w = enter(r, "a");
    wire_frame(&w, BINARY, much, len);
    until_begun(r);
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

static void empty_fragments_are_not_enough(rig *r)
{
    wire w = begin(r, 10);
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT / 2});
    wire_frame(&w, CONT, "", 0);
    wire_frame(&w, FIN | PING, "", 0);
    wire_next_is(&w, "pong", "after half of the time, an empty fragment arrives");
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT / 2});
    is_late(&w);
}

/* Add a connection of a version of the protocol, or with permessage-deflate. */
static wire enter_as(rig *r, unsigned char version, int compression)
{
    static ws_deflate_config config = {.level = 6, .window = 15, .client_window = 15};
    static const ws_extension_use use = {&ws_deflate, WS_DEFLATE_NAME, &config, 0};
    int fd[2];
    ws_new_conn n;
    ws_negotiation agreed = {0};
    unix_pair(fd);
    n = rig_newcomer(r, fd[1], "a");
    n.version = version;
    if (compression) {
        ws_deflate.negotiate(&agreed, &config);
        n.chain = ws_chain_new(1);
        ws_chain_add(n.chain, &use, &agreed);
    }
    if (ws_engine_add(r->engine, &n) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    told_is("a", "open", "a connection");
    return (wire){.fd = fd[0]};
}

typedef struct beginning {
    const char *name, *bytes;
    size_t len;
    unsigned char version;
    int compression;
} beginning;

#define BYTES(B) B, sizeof(B) - 1
#define KEY "\0\0\0\0"

static void has_a_limit(rig *r, const beginning *b)
{
    wire w = enter_as(r, b->version, b->compression);
    wire_send(&w, b->bytes, b->len);
    until_begun(r);
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT});
    is_str(wire_next(&w),
           b->version == 75 ? "eof" : "close 1008 \"a message takes too long to arrive\"",
           "the limit applies to %s", b->name);
    told_is("a", "close 1008 \"a message takes too long to arrive\"", "on_close");
    wire_free(&w);
}

static void the_limit_needs_no_payload(rig *r)
{
    static const beginning rows[] = {
        {"an empty fragment", BYTES("\x01\x80" KEY), 13, 0},
        {"empty fragments", BYTES("\x01\x80" KEY "\x00\x80" KEY), 13, 0},
        {"a header without payload", BYTES("\x82\x85" KEY), 13, 0},
        {"an incomplete header", BYTES("\x82\x85\0\0\0"), 13, 0},
        {"the first byte of a header", BYTES("\x82"), 13, 0},
        {"the header of a continuation", BYTES("\x01\x80" KEY "\x80"), 13, 0},
        {"an incomplete ping", BYTES("\x89\x85" KEY "x"), 13, 0},
        {"a compressed fragment without output", BYTES("\x41\x81" KEY "\xf2"), 13, 1},
        {"a compressed fragment with output", BYTES("\x41\x84" KEY "\xf2\x48\xcd\xc9"), 13, 1},
        {"an empty compressed fragment", BYTES("\x41\x80" KEY), 13, 1},
        {"an uncompressed fragment on a compressed connection", BYTES("\x01\x80" KEY), 13, 1},
        {"the first byte of a text of version 75", BYTES("\x00"), 75, 0},
        {"a part of a text of version 75",
         BYTES("\x00"
               "a"),
         75, 0},
        {"an incomplete length of version 75", BYTES("\x80\x85"), 75, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        has_a_limit(r, &rows[i]);
    }
}

static void the_limit_of_a_header_ends_with_its_frame(rig *r)
{
    passing p = {0};
    wire w = enter(r, "a");
    wire_send(&w, "\x82", 1);
    until_begun(r);
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT - 1000});
    wire_send(&w, "\x80" KEY "\x82", 6);
    wire_next_is(&w, "binary", "a message ends, and the next header is incomplete");
    on_loop_of(r, 0, pass, &(passing){.ms = 2000});
    wire_send(&w, "\x80" KEY, 5);
    wire_next_is(&w, "binary", "the next header has a time limit of its own");
    turns(r, 0);
    on_loop_of(r, 0, pass, &p);
    ok(!p.begun, "between two messages, there is no limit");
    forget("a");
    leave(&w, "a");
}

static void do_close(ws_conn *c, void *arg)
{
    (void)arg;
    ws_close(c, 1000, NULL);
}

static void the_limit_ends_with_our_close(rig *r)
{
    wire w = begin(r, 10);
    as_callback(id_of(r, "a"), do_close, NULL);
    wire_next_is(&w, "close 1000", "the server closes while a message is incomplete");
    on_loop_of(r, 0, pass, &(passing){.ms = TIMEOUT});
    wire_frame(&w, FIN | PING, "", 0);
    wire_next_is(&w, "pong", "the closing handshake continues");
    wire_frame(&w, FIN | CONT, "", 0);
    wire_close(&w, 1000, "");
    told_is("a", "close 1000 \"\"", "on_close");
    wire_free(&w);
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
    ok(!p.begun, "no time limit applies to on_frame");
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "on_close");
}

static void compressed_pieces_have_a_limit(rig *r)
{
    static const beginning without = {"a compressed fragment without output, with on_frame",
                                      BYTES("\x41\x81" KEY "\xf2"), 13, 1};
    wire w;
    passing p = {0};
    has_a_limit(r, &without);
    w = enter_as(r, 13, 1);
    wire_send(&w, BYTES("\x41\x81" KEY "\xf2"));
    until_begun(r);
    wire_send(&w, BYTES("\x80\x86" KEY "\x48\xcd\xc9\xc9\x07\x00"));
    told_is("a", "text \"Hello\"", "a handler with on_frame gets the decompressed message");
    turns(r, 0);
    on_loop_of(r, 0, pass, &p);
    ok(!p.begun, "the limit ends with the compressed message");
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "on_close");
}

int main(void)
{
    static test *const timed[] = {a_message_that_does_not_grow,
                                  a_byte_now_and_then_is_not_enough,
                                  a_slow_message_may_take_its_time,
                                  nothing_is_expected_while_nothing_is_read,
                                  empty_fragments_are_not_enough,
                                  the_limit_needs_no_payload,
                                  the_limit_of_a_header_ends_with_its_frame,
                                  the_limit_ends_with_our_close,
                                  an_unfinished_message_ends_with_its_connection,
                                  NULL};
    static test *const idle[] = {pieces_do_not_keep_it_from_being_idle, NULL};
    static test *const streamed[] = {handlers_of_pieces_have_no_limit,
                                     compressed_pieces_have_a_limit, NULL};
    static const ws_extension *const extensions[] = {&ws_deflate};
    rig setup = {.settings = RIG_SETTINGS, .extensions = extensions, .extension_count = 1};
    setup.settings.message_timeout = TIMEOUT;
    setup.settings.message_rate = RATE;
    rig_run(setup, &handler, 1, timed);
    rig_run(setup, &pieces, 1, streamed);
    setup.settings.message_timeout = 0;
    setup.settings.bounds[0].idle = 300;
    rig_run(setup, &handler, 1, idle);
    return done_testing();
}
