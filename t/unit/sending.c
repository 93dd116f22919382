/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests ws_send(): its results, the order of messages, and clients that do not read. */

#include "t/unit/rig.h"

static char much[900000];

static const ws_handler handler = {.on_message = rec_message, RECORDER};

/* ---- One system call ---- */

static void send_three(ws_conn *c, void *arg)
{
    (void)arg;
    is_int(ws_queued(c), 0, "at first, nothing is queued");
    is_int(ws_send(c, WS_TEXT, "one", 3), WS_SENT, "the first message is sent");
    is_int(ws_send(c, WS_BINARY, "two", 3), WS_SENT, "the second message is sent");
    is_int(ws_ping(c, "three", 5), WS_SENT, "the Ping is sent");
    is_int(ws_queued(c), 5 + 5 + 7, "until the end of the callback, the frames are queued");
    is_int(ws_ping(c, much, 126), WS_TOO_BIG, "ws_ping() of 126 bytes is refused");
}

static void sends_of_a_callback_leave_together(rig *r)
{
    int fd[2];
    char packet[100] = {0};
    wire w;
    /* These sockets preserve the boundaries of writes. */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0) {
        bail_out("socketpair: %s", strerror(errno));
    }
    nonblocking(fd[1]);
    w = rig_join_pair(r, "a", fd);
    told_is("a", "open", "a connection");
    as_callback(id_of(r, "a"), send_three, NULL);
    is_mem(packet, (size_t)recv(w.fd, packet, sizeof(packet), 0),
           "\x81\x03one\x82\x03two\x89\x05three", 17, "all frames of a callback are one write");
    nonblocking(w.fd);
    leave(&w, "a");
}

/* ---- The queue ---- */

typedef struct fill {
    int sent, queued, last;
    apr_size_t most;
} fill;

/* Send numbered messages of 10,000 bytes until one is refused. */
static void send_until_full(ws_conn *c, void *arg)
{
    fill *f = arg;
    char message[10000] = "";
    for (int i = 0;; i++) {
        sprintf(message, "%d", i);
        f->last = ws_send(c, WS_BINARY, message, sizeof(message));
        f->sent += f->last == WS_SENT;
        f->queued += f->last == WS_QUEUED;
        f->most = ws_queued(c) > f->most ? ws_queued(c) : f->most;
        if (f->last < 0) {
            return;
        }
    }
}

static void a_client_that_is_too_slow_is_closed(rig *r)
{
    fill f = {0};
    int right = 0;
    const char *text;
    wire w = enter_narrow(r, "a");
    as_callback(id_of(r, "a"), send_until_full, &f);
    is_int(f.last, WS_FULL, "when a client does not read, the queue becomes full");
    ok(f.queued > 0, "%d messages are sent and %d queued before", f.sent, f.queued);
    ok(f.most >= 1 << 20 && f.most < (1 << 20) + 10000 + 128 * 1024,
       "the queue holds WebSocketSendQueue bytes and at most one message more: %zu", f.most);
    is_int(untold(), 0, "on_close is not called before the client reads");
    for (;;) {
        char message[10000] = "", expected[TEXT_SIZE];
        sprintf(message, "%d", right);
        text = wire_next(&w);
        if (strcmp(text, describe(expected, BINARY, message, sizeof(message)))) {
            break;
        }
        right++;
    }
    is_int(right, f.sent + f.queued, "all accepted messages arrive in order");
    is_str(text, "close 1008 \"too slow\"", "after them, the client gets a Close frame with 1008");
    wire_close(&w, 1008, "");
    wire_next_is(&w, "eof", "after the Close frame, the connection ends");
    told_is("a", "close 1008 \"too slow\"", "on_close is called, and on_drain is not");
    wire_free(&w);
}

static void send_much(ws_conn *c, void *arg)
{
    (void)arg;
    is_int(ws_send(c, WS_BINARY, much, sizeof(much)), WS_QUEUED, "a long message waits");
    ok(ws_queued(c) > sizeof(much) / 2 && ws_queued(c) <= sizeof(much) + 10,
       "most of the message is queued: %zu bytes", ws_queued(c));
}

static void on_drain_comes_once(rig *r)
{
    char text[TEXT_SIZE];
    wire w = enter_narrow(r, "a");
    as_callback(id_of(r, "a"), send_much, NULL);
    wire_need(&w, sizeof(much) / 2);
    is_int(untold(), 0, "on_drain is not called while more than a quarter of the queue is used");
    wire_next_is(&w, describe(text, BINARY, much, sizeof(much)),
                 "the client reads the whole message");
    told_is("a", "drain", "on_drain");
    leave(&w, "a");

    w = enter(r, "a");
    wire_text(&w, "x");
    told_is("a", "text \"x\"", "on_drain is not called if nothing was queued");
    leave(&w, "a");
}

/* A handler that sends as fast as the client reads. */
enum { STREAM = 5000 };
static int streamed, waits;

static void stream(ws_conn *c)
{
    char message[2000] = "";
    while (streamed < STREAM) {
        sprintf(message, "%d", streamed++);
        if (ws_send(c, WS_BINARY, message, sizeof(message)) != WS_SENT) {
            waits++;
            return;
        }
    }
}

static const ws_handler streamer = {.on_open = stream, .on_drain = stream, .on_close = rec_close};

static void a_stream_goes_on_at_on_drain(rig *r)
{
    int right = 0;
    wire w = rig_join(r, "a");
    opens++; /* counted here, because the handler has another on_open */
    for (int i = 0; i < STREAM; i++) {
        char message[2000] = "", expected[TEXT_SIZE];
        sprintf(message, "%d", i);
        right += !strcmp(wire_next(&w), describe(expected, BINARY, message, sizeof(message)));
    }
    is_int(right, STREAM, "a stream that waits for on_drain after WS_QUEUED arrives");
    ok(waits > 1, "the handler had to wait %d times", waits);
    leave(&w, "a");
}

/* ---- Which frames overtake queued messages ---- */

static void send_two(ws_conn *c, void *arg)
{
    (void)arg;
    is_int(ws_send(c, WS_BINARY, much, 150000), WS_QUEUED, "a long message waits");
    is_int(ws_send(c, WS_TEXT, "next", 4), WS_QUEUED, "another message is queued after it");
}

static void the_newest_pong_passes_what_waits(rig *r)
{
    char text[TEXT_SIZE];
    wire w = enter_narrow(r, "a");
    as_callback(id_of(r, "a"), send_two, NULL);
    told_is("a", "drain", "on_drain is called when less than a quarter of the queue is used");
    for (int i = 0; i < 5; i++) {
        wire_frame(&w, FIN | PING, &"12345"[i], 1);
        turns(r, 0);
    }
    wire_text(&w, "read");
    told_is("a", "text \"read\"", "the client's Pings have been read");
    wire_next_is(&w, describe(text, BINARY, much, 150000),
                 "the partly sent message is completed first");
    wire_next_is(&w, "pong \"5\"", "the newest Pong is sent next");
    wire_next_is(&w, "text \"next\"", "the queued message is sent last");
    leave(&w, "a");
}

static void reading_waits_for_a_long_queue(rig *r)
{
    char text[TEXT_SIZE];
    wire w = enter_narrow(r, "a");
    as_callback(id_of(r, "a"), send_much, NULL);
    wire_text(&w, "hello");
    turns(r, 0);
    is_int(untold(), 0, "while much data is queued, nothing is read from the client");
    wire_next_is(&w, describe(text, BINARY, much, sizeof(much)),
                 "the client reads the queued message");
    while (!strcmp(strcpy(text, told("a")), "drain")) {
    }
    is_str(text, "text \"hello\"", "after that, the client's message is read");
    leave(&w, "a");
}

static void close_inside(ws_conn *c, void *arg)
{
    (void)arg;
    ws_send(c, WS_BINARY, much, sizeof(much));
    ws_close(c, 1000, "enough");
}

static void no_on_drain_behind_close(rig *r)
{
    char text[TEXT_SIZE];
    wire w = enter_narrow(r, "a");
    as_callback(id_of(r, "a"), close_inside, NULL);
    wire_next_is(&w, describe(text, BINARY, much, sizeof(much)), "the long message arrives");
    wire_next_is(&w, "close 1000 \"enough\"", "the Close frame arrives after it");
    wire_close(&w, 1000, "");
    told_is("a", "close 1000 \"enough\"", "on_drain is not called for a closing connection");
    wire_free(&w);
}

int main(void)
{
    static test *const recorded[] = {sends_of_a_callback_leave_together,
                                     a_client_that_is_too_slow_is_closed,
                                     on_drain_comes_once,
                                     the_newest_pong_passes_what_waits,
                                     reading_waits_for_a_long_queue,
                                     no_on_drain_behind_close,
                                     NULL};
    static test *const streamed_tests[] = {a_stream_goes_on_at_on_drain, NULL};
    for (size_t i = 0; i < sizeof(much); i++) {
        much[i] = (char)(i * 7 + (i >> 10));
    }
    rig_run((rig){0}, &handler, 1, recorded);
    rig_run((rig){0}, &streamer, 1, streamed_tests);
    return done_testing();
}
