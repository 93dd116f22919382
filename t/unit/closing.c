/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests all ways in which a connection can end. on_close must be called once with the right
 *  code. */

#include <sys/ioctl.h>

#include "t/unit/rig.h"

/* Execute a message: "close CODE REASON" closes and checks the results of further calls; "send N"
 * sends N bytes. Other messages are added to the record. */
static void obey(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    char text[TEXT_SIZE], reason[TEXT_SIZE] = "";
    int n;
    (void)type;
    if (len >= sizeof(text)) {
        note(name_of(c), "a long message");
        return;
    }
    memcpy(text, data, len);
    text[len] = 0;
    if (sscanf(text, "close %d %199[^\n]", &n, reason) > 0) {
        is_int(ws_close(c, n, *reason ? reason : NULL), WS_QUEUED, "ws_close() begins to close");
        is_int(ws_conn_state(c), WS_CLOSING, "ws_close() sets WS_CLOSING at once");
        is_int(ws_close(c, 1000, NULL), WS_GONE, "a second ws_close() returns WS_GONE");
        is_int(ws_send(c, WS_TEXT, "x", 1), WS_GONE, "ws_send() after ws_close() returns WS_GONE");
        is_int(ws_ping(c, "x", 1), WS_GONE, "ws_ping() after ws_close() returns WS_GONE");
    }
    else if (sscanf(text, "send %d", &n) == 1) {
        char *payload = calloc(1, (size_t)n);
        ws_send(c, WS_BINARY, payload, (apr_size_t)n);
        free(payload);
    }
    else {
        note(name_of(c), "%s", text);
    }
}

/* Check that in on_close every call fails without side effects. */
static void farewell(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    int refused = ws_send(c, WS_TEXT, "x", 1) == WS_GONE && ws_ping(c, "x", 1) == WS_GONE
                  && ws_close(c, 1000, NULL) == WS_GONE && !ws_timer_start(c, 0, 0, NULL, NULL);
    ws_pause(c);
    ws_resume(c);
    if (!refused || ws_send_to(ws_conn_id(c), WS_TEXT, "x", 1) > WS_QUEUED) {
        note(name_of(c), "a call in on_close succeeds");
    }
    rec_close(c, code, reason, len);
}

static const ws_handler handler = {
    .on_message = obey, .on_open = rec_open, .on_pong = rec_pong, .on_close = farewell};

static void obey_or_pause(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    obey(c, type, data, len);
    if (len == 5 && !memcmp(data, "pause", 5)) {
        ws_pause(c);
    }
}

static const ws_handler listener = {
    .flags = WS_HEAR_OUT, .on_message = obey_or_pause, .on_open = rec_open, .on_close = farewell};

static void end(rig *r, wire *w)
{
    wire_free(w);
    nobody_is_left(r);
}

static void the_peer_closes(rig *r)
{
    static const struct {
        int code;
        const char *reason, *answer, *told;
    } cases[] = {{1000, "bye", "close 1000 \"bye\"", "close 1000 \"bye\""},
                 {0, "", "close", "close 1005 \"\""},
                 {1001, "", "close 1001", "close 1001 \"\""},
                 {4999, "our own", "close 4999 \"our own\"", "close 4999 \"our own\""},
                 {1005, "", "close 1002 \"Close frame has no valid status code\"",
                  "close 1002 \"Close frame has no valid status code\""},
                 {999, "", "close 1002 \"Close frame has no valid status code\"",
                  "close 1002 \"Close frame has no valid status code\""},
                 {1000, "\xff", "close 1007 \"reason of the Close frame is not UTF-8\"",
                  "close 1007 \"reason of the Close frame is not UTF-8\""}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        wire w = enter(r, "a");
        wire_close(&w, cases[i].code, cases[i].reason);
        wire_next_is(&w, cases[i].answer, "the peer's Close frame with %d is answered",
                     cases[i].code);
        told_is("a", cases[i].told, "on_close");
        wire_next_is(&w, "eof", "the server closes first");
        end(r, &w);
    }
}

static void the_peer_does_not_wait(rig *r)
{
    wire w = enter(r, "a");
    wire_close(&w, 1000, "gone");
    end(r, &w);
    told_is("a", "close 1000 \"gone\"",
            "when the stream ends directly after a Close frame, on_close gets the peer's code");
}

static void what_comes_behind_close_is_ignored(rig *r)
{
    unsigned char stream[64];
    size_t n = frame_put(stream, TEXT, "begun", 5); /* the message stays incomplete */
    wire w = enter(r, "a");
    n += frame_put(stream + n, FIN | CLOSE, "\x03\xe8", 2);
    n += frame_put(stream + n, FIN | CONT, "more", 4);
    n += frame_put(stream + n, FIN | CLOSE, "\x03\xe9", 2);
    wire_send(&w, stream, n);
    wire_next_is(&w, "close 1000", "of two Close frames, one is answered");
    told_is("a", "close 1000 \"\"", "of two Close frames, on_close gets the code of the first");
    wire_next_is(&w, "eof", "after two Close frames and one answer, the connection ends");
    wire_send(&w, "\xff\xff\xff\xff", 4);
    end(r, &w);
}

static void we_close(rig *r)
{
    static const struct {
        const char *command, *frame, *told;
    } cases[] = {{"close 1000 bye", "close 1000 \"bye\"", "close 1000 \"bye\""},
                 {"close 4321", "close 4321", "close 4321 \"\""},
                 {"close 1005 none", "close", "close 1005 \"\""},
                 {"close 1006 never", "close 1011 \"never\"", "close 1011 \"never\""},
                 {"close 70000 never", "close 1011 \"never\"", "close 1011 \"never\""}};
    int lines = log_lines;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        wire w = enter(r, "a");
        wire_text(&w, cases[i].command);
        wire_next_is(&w, cases[i].frame, "\"%s\" sends the right Close frame", cases[i].command);
        wire_text(&w, "not delivered any more");
        wire_frame(&w, FIN | PING, "still", 5);
        wire_next_is(&w, "pong \"still\"", "a Ping after our Close frame is answered");
        wire_close(&w, 1000, "the peer answers our Close frame");
        wire_next_is(&w, "eof", "the server ends the connection after the peer's answer");
        told_is("a", cases[i].told, "on_close gets the handler's code");
        end(r, &w);
    }
    is_int(log_lines - lines, 2, "codes that may not be sent are logged");
}

static void a_long_reason_is_cut(rig *r)
{
    char command[TEXT_SIZE] = "close 3000 ", reason[TEXT_SIZE] = "";
    unsigned char payload[125] = {3000 >> 8, 3000 & 0xFF};
    char text[TEXT_SIZE];
    wire w = enter(r, "a");
    for (int i = 0; i < 61; i++) {
        strcat(reason, "\xc3\xa4"); /* two bytes each */
    }
    memcpy(payload + 2, reason, 122);
    strcat(command, reason);
    strcat(command, "\xc3\xa4 and more");
    wire_text(&w, command);
    wire_next_is(&w, describe(text, CLOSE, payload, 124),
                 "a reason that is too long is truncated at the end of a character");
    wire_close(&w, 3000, "");
    wire_next_is(&w, "eof", "the server closes");
    sprintf(text, "close 3000 \"%s\"", reason);
    told_is("a", text, "on_close gets the reason that was sent");
    end(r, &w);
}

static void both_close(rig *r)
{
    wire w = enter(r, "a");
    unsigned char stream[64];
    size_t n = frame_put(stream, FIN | TEXT, "close 3001 ours", 15);
    n += frame_put(stream + n, FIN | CLOSE, "\x03\xe8", 2);
    wire_send(&w, stream, n);
    wire_next_is(&w, "close 3001 \"ours\"",
                 "our Close frame is sent when the peer has closed at the same time");
    wire_next_is(&w, "eof", "our Close frame counts as the answer to the peer's Close frame");
    told_is("a", "close 3001 \"ours\"",
            "on_close gets the code of the handler, which closed first");
    end(r, &w);
}

static void the_connection_breaks(rig *r)
{
    int fd[2];
    wire w = enter(r, "a");
    end(r, &w);
    told_is("a", "close 1006 \"\"",
            "when the stream ends without a Close frame, on_close gets 1006");

    w = enter(r, "a");
    wire_send(&w, "\x81\xfe\x01", 3);
    end(r, &w);
    told_is("a", "close 1006 \"\"",
            "when the stream ends inside a frame header, on_close gets 1006");

    w = enter(r, "a");
    wire_send(&w, "\x81\xfe\x01\x00\x00\x00\x00\x00half of it", 18);
    turns(r, 0);
    end(r, &w);
    told_is("a", "close 1006 \"\"", "when the stream ends inside a message, on_close gets 1006");

    tcp_pair(fd);
    w = rig_join_pair(r, "a", fd);
    told_is("a", "open", "a connection over TCP");
    wire_reset(&w);
    told_is("a", "close 1006 \"\"", "when a connection is reset, on_close gets 1006");
    end(r, &w);

    w = enter(r, "a");
    wire_text(&w, "close 1000");
    wire_next_is(&w, "close 1000", "the server sends a Close frame");
    end(r, &w);
    told_is("a", "close 1000 \"\"",
            "when the stream ends instead of an answer, on_close gets the server's code");
}

/* A client sends many messages and a reset while the loop is blocked, so that the loop receives
 * both in one iteration. */
static void what_came_before_a_reset_is_delivered(rig *r)
{
    enum { SIZE = 50000, FRAME = 8 + SIZE };
    unsigned char *stream = calloc(1, FRAME);
    hold h;
    int fd[2], here, right = 0, size = 8 << 20;
    ssize_t sent = 0, n;
    wire w;

    frame_put(stream, FIN | BINARY, stream, SIZE);
    tcp_pair(fd);
    setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)); /* or the system's maximum */
    w = rig_join_pair(r, "a", fd);
    told_is("a", "open", "a connection over TCP");
    turns(r, 0);
    hold_loop(&h, r);
    while ((n = send(w.fd, stream + sent % FRAME, (size_t)(FRAME - sent % FRAME), MSG_NOSIGNAL))
           > 0) {
        sent += n;
    }
    wire_reset(&w);
    ioctl(fd[1], FIONREAD, &here);
    let_loop_go(&h);
    while (!strcmp(told("a"), "a long message")) {
        right++;
    }
    diag("%d bytes were in the socket", here);
    ok(right > 0 && right >= here / FRAME, "messages in the socket before a reset are delivered");
    free(stream);
}

static void our_close_is_not_answered(rig *r)
{
    wire w = enter(r, "a");
    wire_text(&w, "close 1000 tired");
    wire_next_is(&w, "close 1000 \"tired\"", "the server sends a Close frame");
    wire_text(&w, "a message instead of an answer");
    wire_next_is(&w, "eof", "a peer that does not answer the Close frame is disconnected");
    told_is("a", "close 1000 \"tired\"",
            "when a peer does not answer, on_close gets the server's code");
    end(r, &w);
}

static void what_was_sent_goes_before_close(rig *r)
{
    unsigned char stream[64], *payload = calloc(1, 900000);
    char text[TEXT_SIZE];
    wire w = enter_narrow(r, "a");
    size_t n = frame_put(stream, FIN | TEXT, "send 900000", 11);
    n += frame_put(stream + n, FIN | TEXT, "close 1000 done", 15);
    wire_send(&w, stream, n);
    turns(r, 0);
    wire_next_is(&w, describe(text, BINARY, payload, 900000), "a long queued message is sent");
    wire_next_is(&w, "close 1000 \"done\"", "the server's Close frame follows the long message");
    wire_close(&w, 1000, "");
    wire_next_is(&w, "eof", "the server closes");
    told_is("a", "close 1000 \"done\"", "on_close");
    wire_free(&w);

    w = enter_narrow(r, "a");
    wire_text(&w, "send 900000");
    wire_close(&w, 1000, "peer");
    turns(r, 0);
    wire_next_is(&w, text, "a long message is sent before the answer to the peer's Close frame");
    wire_next_is(&w, "close 1000 \"peer\"", "the peer's Close frame is answered");
    wire_next_is(&w, "eof", "the server closes");
    told_is("a", "close 1000 \"peer\"", "on_close");
    end(r, &w);
    free(payload);
}

static void the_engine_stops(rig *r)
{
    wire a = enter(r, "a"), b = rig_join(r, "b");
    told_is("b", "open", "another");
    wire_text(&b, "close 4000");
    wire_next_is(&b, "close 4000", "one connection has begun to close");
    ok(ws_engine_stop(r->engine), "the engine stops");
    told_is("a", "close 1006 \"\"", "an open connection gets 1006 when the engine stops");
    told_is("b", "close 4000 \"\"", "a closing connection keeps its code when the engine stops");
    wire_next_is(&a, "eof", "the first client sees the end of the stream");
    wire_next_is(&b, "eof", "the second client sees the end of the stream");
    wire_free(&a);
    wire_free(&b);
}

static void the_peer_is_heard_out(rig *r)
{
    wire w = enter(r, "a");
    wire_text(&w, "close 1000 enough");
    wire_next_is(&w, "close 1000 \"enough\"", "the handler closes");
    wire_text(&w, "one thing more");
    told_is("a", "one thing more", "WS_HEAR_OUT: messages after the Close frame are delivered");
    wire_text(&w, "pause");
    told_is("a", "pause", "WS_HEAR_OUT: the handler can pause");
    wire_text(&w, "and another");
    turns(r, 0);
    is_int(untold(), 0, "WS_HEAR_OUT: while paused, nothing is delivered");
    is_int(as_callback(id_of(r, "a"), do_resume, NULL), WS_QUEUED,
           "WS_HEAR_OUT: the handler resumes");
    told_is("a", "and another", "WS_HEAR_OUT: the held message is delivered");
    wire_close(&w, 1000, "");
    told_is("a", "close 1000 \"enough\"",
            "WS_HEAR_OUT: the peer's Close frame ends the connection");
    end(r, &w);

    w = enter(r, "a");
    wire_text(&w, "close 1000 enough");
    wire_next_is(&w, "close 1000 \"enough\"", "the handler closes");
    wire_close(&w, 1009, "too much");
    told_is("a", "close 1009 \"too much\"", "WS_HEAR_OUT: on_close gets the peer's own code");
    end(r, &w);

    w = enter(r, "a");
    wire_close(&w, 1000, "bye");
    wire_text(&w, "not this");
    told_is("a", "close 1000 \"bye\"",
            "WS_HEAR_OUT: nothing after the peer's Close frame is delivered");
    end(r, &w);
}

/* ---- Handlers that answer a Close frame themselves ---- */

static void rec_state(ws_conn *c, ws_state from, ws_state to)
{
    static const char *const names[] = {"", "open", "closing", "closed"};
    note(name_of(c), "%s -> %s%s", names[from], names[to],
         ws_conn_state(c) == to || name_of(c)[0] == 'b' ? "" : ", in a wrong state");
}

static ws_id later_id; /* the connection whose Close frame the handler answers later */

/* The reason of the peer's Close frame decides when the handler answers: "own" means immediately,
 * "later" later, "never" never. For all other reasons, the server answers. */
static int rec_closing(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    __atomic_store_n(&later_id, ws_conn_id(c), __ATOMIC_RELAXED);
    note(name_of(c), "closing %d \"%.*s\"%s", code, (int)len, reason,
         ws_conn_state(c) == WS_OPEN ? "" : ", in a wrong state");
    if (len == 3 && !memcmp(reason, "own", 3)) {
        ws_send(c, WS_TEXT, "last words", 10);
        ws_close(c, 3333, "answer");
    }
    return len == 5 && (!memcmp(reason, "later", 5) || !memcmp(reason, "never", 5));
}

static const ws_handler answering = {.on_message = obey,
                                     .on_open = rec_open,
                                     .on_closing = rec_closing,
                                     .on_state = rec_state,
                                     .on_close = rec_close};
static const ws_handler answering_blocking = {.flags = WS_BLOCKING,
                                              .on_open = rec_open,
                                              .on_closing = rec_closing,
                                              .on_state = rec_state,
                                              .on_close = rec_close};

static void states_and_end(rig *r, wire *w, const char *name, const char *last)
{
    told_is(name, "open -> closing", "on_state: a Close frame was sent");
    told_is(name, "closing -> closed", "on_state: the connection ended");
    told_is(name, last, "on_close");
    wire_next_is(w, "eof", "the server closes");
    end(r, w);
}

static void a_close_is_answered_by(rig *r, const char *name)
{
    wire w = enter(r, name);
    wire_close(&w, 1000, "bye");
    told_is(name, "closing 1000 \"bye\"", "on_closing gets the code and reason");
    wire_next_is(&w, "close 1000 \"bye\"", "without an action in on_closing, the server answers");
    states_and_end(r, &w, name, "close 1000 \"bye\"");

    w = enter(r, name);
    wire_close(&w, 1001, "own");
    told_is(name, "closing 1001 \"own\"", "on_closing that sends a message is called");
    wire_next_is(&w, "text \"last words\"", "the message of on_closing is sent");
    wire_next_is(&w, "close 3333 \"answer\"", "the answer of on_closing is sent");
    states_and_end(r, &w, name, "close 1001 \"own\"");

    w = enter(r, name);
    wire_close(&w, 0, "");
    told_is(name, "closing 1005 \"\"", "on_closing gets 1005 for a Close frame without a code");
    wire_next_is(&w, "close", "a Close frame without a code is answered without a code");
    states_and_end(r, &w, name, "close 1005 \"\"");

    w = enter(r, name);
    wire_close(&w, 1000, "later");
    told_is(name, "closing 1000 \"later\"", "on_closing that delays the answer is called");
    wire_text(&w, "ignored");
    wire_frame(&w, FIN | PING, "ignored", 7);
    turns(r, 0);
    is_int(ws_send_to(__atomic_load_n(&later_id, __ATOMIC_RELAXED), WS_TEXT, "more", 4), WS_QUEUED,
           "meanwhile");
    wire_next_is(&w, "text \"more\"", "after a delayed answer, messages can be sent");
    is_int(ws_close_id(__atomic_load_n(&later_id, __ATOMIC_RELAXED), 3000, "now"), WS_QUEUED,
           "after a delayed answer, ws_close() is called");
    wire_next_is(&w, "close 3000 \"now\"", "ws_close() sends the delayed answer");
    states_and_end(r, &w, name, "close 1000 \"later\"");
}

static void the_handler_answers(rig *r)
{
    a_close_is_answered_by(r, "a");
}

static void a_blocking_handler_answers(rig *r)
{
    a_close_is_answered_by(r, "b");
}

static void the_handler_never_answers(rig *r)
{
    wire w = enter(r, "a");
    wire_close(&w, 1000, "never");
    told_is("a", "closing 1000 \"never\"", "on_closing that never answers is called");
    wire_next_is(&w, "close 1000 \"never\"", "after the time limit, the server answers");
    states_and_end(r, &w, "a", "close 1000 \"never\"");
}

static void the_states_of_others(rig *r)
{
    wire w = enter(r, "a");
    end(r, &w);
    told_is("a", "open -> closed", "on_state: the connection broke");
    told_is("a", "close 1006 \"\"", "on_close");
}

/* ---- ws_abort() ---- */

static void do_abort(ws_conn *c, void *arg)
{
    (void)arg;
    ws_send(c, WS_TEXT, "never sent", 10);
    is_int(ws_abort(c), WS_QUEUED, "ws_abort()");
    if (ws_loop_current()) {
        is_int(ws_conn_state(c), WS_CLOSED, "ws_abort() closes the connection at once");
        is_int(ws_abort(c), WS_GONE, "a second ws_abort() returns WS_GONE");
        is_int(ws_send(c, WS_TEXT, "x", 1), WS_GONE, "ws_send() after ws_abort() returns WS_GONE");
        is_int(ws_close(c, 1000, NULL), WS_GONE, "ws_close() after ws_abort() returns WS_GONE");
    }
}

static void the_handler_breaks_it(rig *r, const char *name)
{
    int fd[2];
    wire w;
    tcp_pair(fd);
    w = rig_join_pair(r, name, fd);
    told_is(name, "open", "a connection over TCP");
    as_callback(id_of(r, name), do_abort, NULL);
    told_is(name, "open -> closed", "on_state");
    told_is(name, "close 1006 \"\"", "on_close");
    if (name[0] == 'a') {
        wire_next_is(&w, "reset", "ws_abort() resets the connection");
    }
    end(r, &w);
}

static void a_handler_breaks_it(rig *r)
{
    the_handler_breaks_it(r, "a");
}

static void a_blocking_handler_breaks_it(rig *r)
{
    the_handler_breaks_it(r, "b");
}

/* Call ws_abort() for a client that does not read. Later messages must not be delivered. */
static void abort_from_a_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    rec_message(c, type, data, len);
    if (len == 5 && !memcmp(data, "abort", 5)) {
        ws_abort(c);
    }
    else if (len == 3) {
        static char much[4 << 20];
        for (int i = 0; i < 3; i++) {
            ws_send(c, WS_BINARY, much, sizeof(much));
        }
    }
}

static const ws_handler breaking = {
    .on_message = abort_from_a_message, .on_open = rec_open, .on_close = rec_close};

static void it_breaks_in_a_message(rig *r)
{
    int fd[2];
    wire w;
    tcp_pair(fd);
    w = rig_join_pair(r, "a", fd);
    told_is("a", "open", "a connection over TCP");
    wire_text(&w, "big");
    told_is("a", "text \"big\"", "a client that does not read is sent a large message");
    wire_text(&w, "abort");
    wire_text(&w, "never delivered");
    while (strcmp(told("a"), "text \"abort\"")) {
    }
    told_is("a", "close 1006 \"\"", "after ws_abort(), on_close is called");
    nobody_is_left(r);
    end(r, &w);
}

/* ---- Slow readers ---- */

static void time_is_over(ws_loop *loop, void *arg)
{
    (void)arg;
    if (LIST_FIRST(&loop->heads[0])) {
        ws_conn_housekeeping(&LIST_FIRST(&loop->heads[0])->alarm);
    }
}

/* Let the time limit for the peer's next step expire. @return whether the connection is open */
static int outlives(rig *r)
{
    on_loop_of(r, 0, time_is_over, NULL);
    turns(r, 0);
    return ws_engine_count(r->engine) == 1;
}

/* Pretend that the connection has been closing for 30 s, while its peer has sent data. */
static void half_a_minute_later(ws_loop *loop, void *arg)
{
    ws_conn *c = LIST_FIRST(&loop->heads[0]);
    (void)arg;
    if (c) {
        c->since -= 30000 >> 8;
        c->last_input = loop->event.now;
        ws_conn_housekeeping(&c->alarm);
    }
}

static void the_peer_keeps_its_side_open(rig *r)
{
    wire w = enter(r, "a");
    wire_close(&w, 1000, "");
    wire_next_is(&w, "close 1000", "the peer's Close frame is answered");
    wire_next_is(&w, "eof", "the server ends its side of the stream");
    told_is("a", "close 1000 \"\"", "on_close does not wait for the peer's end of the stream");
    wire_text(&w, "still here");
    turns(r, 0);
    is_int(ws_engine_count(r->engine), 1, "the engine lingers for a peer that continues to send");
    on_loop_of(r, 0, half_a_minute_later, NULL);
    nobody_is_left(r);
    ok(1, "the engine lingers for at most 30 s");
    end(r, &w);
}

static wire closed_behind_a_message(rig *r)
{
    unsigned char stream[64];
    size_t n = frame_put(stream, FIN | TEXT, "send 200000", 11);
    int fd[2];
    wire w;
    tcp_pair(fd);
    small_buffers(fd);
    w = rig_join_pair(r, "a", fd);
    told_is("a", "open", "a client with small buffers");
    n += frame_put(stream + n, FIN | TEXT, "close 1000 done", 15);
    wire_send(&w, stream, n);
    turns(r, 0);
    return w;
}

static void a_slow_reader_gets_all(rig *r)
{
    static const char some[200000];
    char text[TEXT_SIZE];
    wire w = closed_behind_a_message(r);
    for (size_t n = 40000; n <= 160000; n += 40000) {
        wire_need(&w, n);
        ok(outlives(r),
           "the server waits for a client that still reads after our Close frame: %zu bytes", n);
    }
    wire_next_is(&w, describe(text, BINARY, some, sizeof(some)),
                 "the client gets the whole message");
    wire_next_is(&w, "close 1000 \"done\"", "the client gets our Close frame");
    ok(outlives(r), "the time limit for the answer starts when the Close frame has arrived");
    wire_close(&w, 1000, "");
    wire_next_is(&w, "eof", "the server closes");
    told_is("a", "close 1000 \"done\"", "on_close");
    end(r, &w);
}

static void a_reader_that_stops_is_left(rig *r)
{
    wire w = closed_behind_a_message(r);
    int looks = 0;
    wire_need(&w, 40000);
    while (outlives(r) && looks < 100) {
        looks++;
    }
    ok(looks < 100, "a client that takes no more data is disconnected");
    told_is("a", "close 1000 \"done\"", "on_close");
    end(r, &w);
}

static void a_slow_reader_is_lingered_for(rig *r)
{
    static const char some[200000];
    char text[TEXT_SIZE];
    int fd[2], large = 1 << 20;
    unsigned char stream[64];
    size_t n = frame_put(stream, FIN | TEXT, "send 200000", 11);
    wire w;
    tcp_pair(fd);
    small_buffers(fd);
    setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &large,
               sizeof(large)); /* the kernel takes everything in one call */
    w = rig_join_pair(r, "a", fd);
    told_is("a", "open", "a client that reads slowly");
    n += frame_put(stream + n, FIN | CLOSE, "\x03\xe8", 2);
    wire_send(&w, stream, n);
    told_is("a", "close 1000 \"\"", "on_close is called when the kernel has accepted all data");
    for (n = 40000; n <= 160000; n += 40000) {
        wire_need(&w, n);
        ok(outlives(r), "the server lingers while the client reads: %zu bytes", n);
    }
    wire_next_is(&w, describe(text, BINARY, some, sizeof(some)),
                 "the slow client gets the whole message");
    wire_next_is(&w, "close 1000", "the slow client gets the answer to its Close frame");
    wire_next_is(&w, "eof", "the slow client sees the end of the stream, not a reset");
    end(r, &w);
}

/* Close hundreds of connections from both sides, each at a random point. */
static void all_at_once(rig *r)
{
    enum { MANY = 400 };
    static wire w[MANY];
    unsigned seed = 3;
    for (int i = 0; i < MANY; i++) {
        w[i] = rig_join(r, "many");
    }
    for (int i = 0; i < MANY; i++) {
        static const char *const commands[] = {"close 1000 x", "send 300000", "close 3000",
                                               "hello"};
        unsigned dice = (seed = seed * 1664525u + 1013904223u) >> 8;
        wire_text(&w[i], commands[dice % 4]);
        if (dice & 4) {
            wire_close(&w[i], 1000, "");
        }
        if (dice & 8) {
            wire_send(&w[i], dice & 16 ? "\xff\xff" : "\x81", dice & 16 ? 2 : 1);
        }
        if (dice & 32) {
            shutdown(w[i].fd, SHUT_WR);
        }
        if (dice & 64) {
            wire_free(&w[i]);
        }
    }
    for (int i = 0; i < MANY; i++) {
        if (w[i].fd >= 0) {
            wire_free(&w[i]);
        }
    }
    for (int closed = 0; closed < MANY;) {
        closed += !strncmp(told("many"), "close ", 6);
    }
    ok(1, "each of %d connections gets on_close", MANY);
    nobody_is_left(r);
    forget("many"); /* lines of connections that ended before they were closed */
}

int main(void)
{
    static test *const patient[] = {the_peer_closes,
                                    the_peer_does_not_wait,
                                    what_comes_behind_close_is_ignored,
                                    we_close,
                                    a_long_reason_is_cut,
                                    both_close,
                                    the_connection_breaks,
                                    what_came_before_a_reset_is_delivered,
                                    the_peer_keeps_its_side_open,
                                    what_was_sent_goes_before_close,
                                    a_slow_reader_gets_all,
                                    a_reader_that_stops_is_left,
                                    a_slow_reader_is_lingered_for,
                                    all_at_once,
                                    the_engine_stops,
                                    NULL};
    static test *const hearing[] = {the_peer_is_heard_out, NULL};
    static test *const hasty[] = {our_close_is_not_answered, NULL};
    static test *const answered[] = {the_handler_answers, the_states_of_others, a_handler_breaks_it,
                                     NULL};
    static test *const answered_blocking[] = {a_blocking_handler_answers,
                                              a_blocking_handler_breaks_it, NULL};
    static test *const never[] = {the_handler_never_answers, NULL};
    static test *const broken[] = {it_breaks_in_a_message, NULL};
    ws_settings slow = RIG_SETTINGS, quick = RIG_SETTINGS, wide = RIG_SETTINGS;
    wide.send_queue = 64 << 20;
    quick.close_timeout = 50;
    rig_run((rig){.settings = slow}, &handler, 1, patient);
    rig_run((rig){.settings = slow}, &listener, 1, hearing);
    rig_run((rig){.settings = quick}, &handler, 1, hasty);
    rig_run((rig){.settings = slow}, &answering, 1, answered);
    rig_run((rig){.settings = slow}, &answering_blocking, 1, answered_blocking);
    rig_run((rig){.settings = quick}, &answering, 1, never);
    rig_run((rig){.settings = wide}, &breaking, 1, broken);
    return done_testing();
}
