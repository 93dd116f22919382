/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Short and long input on one connection must not be lost or reordered. With io_uring, the kernel
 *  receives short input into a ring of buffers, and the engine reads long input itself. */

#include "t/unit/rig.h"

enum { BULK = 300000, PIPELINED = 20000, CROWD = 300, ROUNDS = 3 };

static char bulk[BULK];

static void echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_send(c, type, data, len);
}

static const ws_handler handler = {.on_open = rec_open, .on_message = echo, .on_close = rec_close};

static const ws_handler recorder = {.on_message = rec_message, RECORDER};

static void look_at_mode(ws_conn *c, void *arg)
{
    *(int *)arg = c->source.direct;
}

static void look_at_queue(ws_conn *c, void *arg)
{
    *(int *)arg = (c->held & WS_HELD_QUEUE) != 0;
}

/* @return whether the engine has stopped reading because the client does not read */
static int is_held(rig *r)
{
    int held = -1;
    as_callback(id_of(r, "a"), look_at_queue, &held);
    return held;
}

static int is_direct(rig *r)
{
    int direct = -1;
    as_callback(id_of(r, "a"), look_at_mode, &direct);
    return direct;
}

/* Send a message while the loop is blocked, so that the loop finds it complete. */
static void send_at_once(rig *r, wire *w, size_t len)
{
    hold h;
    hold_loop(&h, r);
    wire_frame(w, FIN | BINARY, bulk, len);
    let_loop_go(&h);
}

static int comes_back(wire *w, size_t len)
{
    char text[TEXT_SIZE];
    return !strcmp(wire_next(w), describe(text, BINARY, bulk, len));
}

static void bulk_is_read_short_input_is_received(rig *r)
{
    int ring = rig_backend() == WS_BACKEND_URING, right = 0;
    wire w = enter(r, "a");
    is_int(is_direct(r), 0, "on a new connection, the kernel receives the input");
    send_at_once(r, &w, 20000);
    ok(comes_back(&w, 20000), "a long message is echoed");
    is_int(is_direct(r), ring,
           "after a long message, the engine reads the input, if the backend is io_uring");
    for (int i = 0; i < 5; i++) {
        send_at_once(r, &w, 100);
        right += comes_back(&w, 100);
    }
    is_int(is_direct(r), ring, "after a few short messages, this does not change");
    for (int i = 0; i < 20; i++) {
        send_at_once(r, &w, 100);
        right += comes_back(&w, 100);
    }
    is_int(is_direct(r), 0, "after many short messages, the kernel receives the input again");
    is_int(right, 25, "all short messages are echoed");
    leave(&w, "a");
}

static void any_order_of_sizes(rig *r)
{
    static const size_t sizes[] = {0,   20,   125,   126,  16000, 20,   70000, 5000, 5000,
                                   100, BULK, 16128, 8192, 8191,  8193, 4096,  1,    BULK};
    enum { SIZES = sizeof(sizes) / sizeof(*sizes) };
    int right = 0;
    wire w = enter(r, "a");
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SIZES; i++) {
            wire_frame(&w, FIN | BINARY, bulk, sizes[i]);
            for (int k = 0; k < (i % 3 ? 0 : 20); k++) {
                wire_frame(&w, FIN | BINARY, bulk, (size_t)k);
            }
            right += comes_back(&w, sizes[i]);
            for (int k = 0; k < (i % 3 ? 0 : 20); k++) {
                right += comes_back(&w, (size_t)k);
            }
        }
    }
    is_int(right, ROUNDS * (SIZES + 20 * ((SIZES + 2) / 3)),
           "long and short messages in turn are echoed");
    leave(&w, "a");
}

typedef struct sender {
    int fd, messages;
} sender;

/* Send messages. Unlike wire_frame(), this function does not read while it sends. */
static void *send_many(void *arg)
{
    sender *s = arg;
    unsigned char *frame = malloc(PIPELINED + HEAD_MAX);
    for (int i = 0; i < s->messages; i++) {
        size_t len = frame_put(frame, FIN | BINARY, bulk + i, i % 2 ? PIPELINED : 30), done = 0;
        while (done < len) {
            ssize_t n = send(s->fd, frame + done, len - done, MSG_NOSIGNAL);
            if (n < 0) {
                struct pollfd p = {.fd = s->fd, .events = POLLOUT};
                poll(&p, 1, PATIENCE);
                continue;
            }
            done += (size_t)n;
        }
    }
    free(frame);
    return NULL;
}

/* The client sends more than the send queue and both sockets hold. Therefore the engine stops
 * reading until the client reads. */
static void a_client_that_reads_late(rig *r)
{
    wire w = enter_narrow(r, "a");
    sender s = {w.fd, 400};
    pthread_t thread;
    int right = 0;
    pthread_create(&thread, NULL, send_many, &s);
    while (!is_held(r)) {
        turns(r, 0);
    }
    for (int i = 0; i < s.messages; i++) {
        char text[TEXT_SIZE];
        right += !strcmp(wire_next(&w), describe(text, BINARY, bulk + i, i % 2 ? PIPELINED : 30));
    }
    pthread_join(thread, NULL);
    is_int(right, s.messages, "a client that reads late gets all messages in order");
    leave(&w, "a");
}

static void paused_in_bulk(rig *r)
{
    char text[TEXT_SIZE];
    unsigned char *stream = malloc(BULK + HEAD_MAX);
    wire w = enter(r, "a");
    size_t n = frame_put(stream, FIN | BINARY, bulk, BULK);
    send_at_once(r, &w, 20000);
    told_is("a", describe(text, BINARY, bulk, 20000), "a long message is delivered");
    as_callback(id_of(r, "a"), do_pause, NULL);
    wire_send(&w, stream, 1000);
    turns(r, 0);
    is_int(untold(), 0, "while paused, the next message is held");
    as_callback(id_of(r, "a"), do_resume, NULL);
    as_callback(id_of(r, "a"), do_pause, NULL);
    as_callback(id_of(r, "a"), do_resume, NULL);
    wire_send(&w, stream + 1000, n - 1000);
    told_is("a", describe(text, BINARY, bulk, BULK), "after ws_resume(), the message is delivered");
    leave(&w, "a");
    free(stream);
}

static void cut_in_bulk(rig *r)
{
    char text[TEXT_SIZE];
    unsigned char *stream = malloc(BULK + HEAD_MAX);
    wire w = enter(r, "a");
    frame_put(stream, FIN | BINARY, bulk, BULK);
    send_at_once(r, &w, 20000);
    told_is("a", describe(text, BINARY, bulk, 20000), "a long message is delivered");
    wire_send(&w, stream, BULK / 2);
    wire_free(&w);
    told_is("a", "close 1006 \"\"",
            "when a client disconnects inside the next message, on_close gets 1006");
    nobody_is_left(r);
    free(stream);
}

/* More connections receive input at the same time than the ring has buffers, which is 128. */
static void more_connections_than_buffers(rig *r)
{
    wire *w = calloc(CROWD, sizeof(*w));
    int right = 0;
    hold h;
    for (int i = 0; i < CROWD; i++) {
        w[i] = rig_join(r, "a");
        right += !strcmp(told("a"), "open");
    }
    for (int round = 0; round < ROUNDS; round++) {
        hold_loop(&h, r);
        for (int i = 0; i < CROWD; i++) {
            wire_frame(&w[i], FIN | BINARY, bulk, (size_t)(round == 1 ? 30000 : 20 + i));
        }
        let_loop_go(&h);
        for (int i = 0; i < CROWD; i++) {
            right += comes_back(&w[i], (size_t)(round == 1 ? 30000 : 20 + i));
        }
    }
    is_int(right, CROWD * (1 + ROUNDS), "%d connections send at the same time", CROWD);
    for (int i = 0; i < CROWD; i++) {
        wire_free(&w[i]);
    }
    nobody_is_left(r);
    forget("a");
    free(w);
}

int main(void)
{
    static test *const echoed[] = {bulk_is_read_short_input_is_received, any_order_of_sizes,
                                   a_client_that_reads_late, more_connections_than_buffers, NULL};
    static test *const recorded[] = {paused_in_bulk, cut_in_bulk, NULL};
    for (int i = 0; i < BULK; i++) {
        bulk[i] = (char)(i * 7 + (i >> 10));
    }
    rig_run((rig){0}, &handler, 1, echoed);
    rig_run((rig){0}, &recorder, 1, recorded);
    return done_testing();
}
