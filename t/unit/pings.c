/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Pings keep idle connections open, and detect clients that have gone. */

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "t/unit/rig.h"

/* The message "pause" calls ws_pause(). "fill" sends more data than the kernel's buffers and half
 * of the send queue hold. Other messages are echoed. */
static void obey(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    static const char much[800000];
    (void)type;
    if (len == 5 && !memcmp(data, "pause", 5)) {
        ws_pause(c);
        note(name_of(c), "paused");
    }
    else if (len == 4 && !memcmp(data, "fill", 4)) {
        is_int(ws_send(c, WS_BINARY, much, sizeof(much)), WS_QUEUED, "a long message waits");
        note(name_of(c), "filled");
    }
    else {
        ws_send(c, WS_TEXT, data, len);
    }
}

static const ws_handler handler = {.on_message = obey, RECORDER};

typedef struct state {
    int exists, held, alarmed;
    apr_uint32_t due;
} state;

/* Run the loop's housekeeping now. */
static void hurry(ws_loop *loop, void *arg)
{
    ws_conn *c = LIST_FIRST(&loop->heads[0]);
    state *s = arg;
    ws_timer_wheel_set(&loop->event.wheel, &c->alarm, loop->event.now);
    s->held = c->held;
    s->due = c->alarm.due;
}

static void look_at_rare(ws_loop *loop, void *arg)
{
    *(int *)arg = LIST_FIRST(&loop->heads[0])->rare != &ws_rare_none;
}

static void answers_keep_it_alive(rig *r)
{
    wire w = enter(r, "a");
    state s;
    int rare;
    for (int i = 0; i < 3; i++) {
        wire_next_is(&w, "ping", "an idle connection is pinged");
        wire_frame(&w, FIN | PONG, "", 0);
        told_is("a", "pong", "on_pong gets the answer, and on_drain is not called");
        /* send the next ping now, instead of after the interval */
        on_loop_of(r, 0, hurry, &s);
    }
    wire_next_is(&w, "ping", "the connection is pinged again");
    wire_text(&w, "something else");
    wire_next_is(&w, "text \"something else\"", "a message counts as an answer to the ping");
    on_loop_of(r, 0, hurry, &s);
    wire_next_is(&w, "ping", "after the answer, the next ping is sent");
    on_loop_of(r, 0, look_at_rare, &rare);
    ok(!rare, "pings and short messages allocate nothing for the connection");
    leave(&w, "a");
}

static void silence_ends_it(rig *r)
{
    wire w = enter(r, "a");
    wire_next_is(&w, "ping", "a silent client is pinged");
    wire_next_is(&w, "eof", "a client that does not answer is disconnected");
    told_is("a", "close 1006 \"\"", "on_close");
    wire_free(&w);
}

static void resume(ws_conn *c, void *arg)
{
    (void)arg;
    ws_resume(c);
}

/* Wait until the server has disconnected another client that does not answer. */
static void wait_for_others(rig *r)
{
    for (int i = 0; i < 2; i++) {
        wire w = enter(r, "other");
        told_is("other", "close 1006 \"\"",
                "meanwhile, another connection that does not answer ends");
        wire_free(&w);
    }
}

static ws_id first_id;

static void find_first(ws_loop *loop, void *arg)
{
    (void)arg;
    first_id = LIST_FIRST(&loop->heads[0])->id;
}

static void nobody_is_asked_while_nothing_is_read(rig *r)
{
    wire w = enter(r, "a");
    on_loop_of(r, 0, find_first, NULL);
    wire_text(&w, "pause");
    told_is("a", "paused", "the handler pauses");
    wait_for_others(r);
    wire_close(&w, 1000, "");
    turns(r, 0);
    is_int(untold(), 0, "a paused connection is not disconnected");
    is_int(ws_run(first_id, resume, NULL), WS_QUEUED, "the handler resumes");
    told_is("a", "close 1000 \"\"", "the held Close frame is delivered");
    wire_free(&w);
}

static void a_client_that_reads_nothing_is_left(rig *r)
{
    wire w = enter(r, "a");
    wire_text(&w, "fill");
    told_is("a", "filled", "the client does not read");
    told_is("a", "close 1006 \"\"", "a client that does not read is disconnected");
    wire_free(&w);
}

static void look(ws_loop *loop, void *arg)
{
    ws_conn *c = LIST_FIRST(&loop->heads[0]);
    state *s = arg;
    s->exists = c != NULL;
    s->alarmed = !c || c->alarm.due != s->due;
}

static void its_time_begins_when_it_stops_reading(rig *r)
{
    static const char much[800000];
    char text[TEXT_SIZE];
    state s = {0};
    wire w = enter(r, "a");
    wire_text(&w, "fill");
    told_is("a", "filled", "the client does not read yet");
    on_loop_of(r, 0, hurry, &s);
    ok(s.held & WS_HELD_QUEUE, "while its queue is full, nothing is read from the client");
    until(r, 0, look, &s, &s.alarmed);
    ok(s.exists, "housekeeping does not disconnect the client at this moment");
    wire_next_is(&w, describe(text, BINARY, much, sizeof(much)), "the client reads the message");
    told_is("a", "drain", "on_drain");
    leave(&w, "a");
}

static void a_loop_that_was_held_up_blames_nobody(rig *r)
{
    enum { MANY = 600 }; /* more connections than the loop serves in one iteration */
    static wire w[MANY];
    ws_loop *loop = &r->engine->loops[0];
    hold h;
    int alive = 0;
    for (int i = 0; i < MANY; i++) {
        w[i] = enter(r, "a");
    }
    hold_loop(&h, r);
    /* Pretend that the server has sent a Ping to each client, and that the answers are late. */
    for (ws_conn *c = LIST_FIRST(&loop->heads[0]); c; c = LIST_NEXT(c, of_location)) {
        c->pinged = 1;
        ws_timer_wheel_set(&loop->event.wheel, &c->alarm, loop->event.now);
    }
    for (int i = 0; i < MANY; i++) {
        wire_text(&w[i], "alive");
    }
    usleep(50000); /* the loop's clock is now late */
    let_loop_go(&h);
    for (int i = 0; i < MANY; i++) {
        alive += !strcmp(wire_next(&w[i]), "text \"alive\"");
        wire_free(&w[i]);
    }
    is_int(alive, MANY, "answers that are still in the sockets count");
    for (int i = 0; i < MANY; i++) {
        told("a");
    }
}

static void who_goes_while_nothing_is_read_is_not_kept(rig *r)
{
    wire w = enter(r, "a");
    wire_text(&w, "pause");
    told_is("a", "paused", "the handler pauses");
    wire_text(&w, "unread");
    shutdown(w.fd, SHUT_WR);
    told_is("a", "close 1006 \"\"", "a paused connection whose client has ended is detected");
    wire_free(&w);
}

/* ---- Slow readers ---- */

typedef struct slow_state {
    int pinged, gone, taken;
} slow_state;

/* a message that fits into a large buffer of a socket */
static const char half[150000];

static void look_at_ping(ws_loop *loop, void *arg)
{
    ws_conn *c = LIST_FIRST(&loop->heads[0]);
    slow_state *s = arg;
    s->gone = c == NULL;
    s->pinged = c && c->pinged;
}

static void time_is_over(ws_loop *loop, void *arg)
{
    (void)arg;
    if (LIST_FIRST(&loop->heads[0])) {
        ws_conn_housekeeping(&LIST_FIRST(&loop->heads[0])->alarm);
    }
}

/* Let the time to answer expire. @return whether the connection is still open */
static int outlives_grace(rig *r)
{
    slow_state s;
    on_loop_of(r, 0, time_is_over, NULL);
    turns(r, 0);
    on_loop_of(r, 0, look_at_ping, &s);
    return !s.gone;
}

static void send_some(ws_conn *c, void *arg)
{
    /* more data than the sockets' buffers hold, but too little to make the server stop reading */
    static const char some[200000];
    (void)arg;
    ws_send(c, WS_BINARY, some, sizeof(some));
}

static wire pinged_behind_a_message(rig *r)
{
    slow_state s = {0};
    int fd[2];
    wire w;
    tcp_pair(fd);
    small_buffers(fd);
    w = rig_join_pair(r, "a", fd);
    told_is("a", "open", "a client with small buffers");
    as_callback(id_of(r, "a"), send_some, NULL);
    told_is("a", "drain", "on_drain is called, because little is queued");
    until(r, 0, look_at_ping, &s, &s.pinged);
    return w;
}

static void a_slow_client_is_waited_for(rig *r)
{
    static const char some[200000];
    char text[TEXT_SIZE];
    wire w = pinged_behind_a_message(r);
    for (size_t n = 40000; n <= 160000; n += 40000) {
        wire_need(&w, n);
        ok(outlives_grace(r), "a client that reads slowly gets more time to answer: %zu bytes", n);
    }
    wire_next_is(&w, describe(text, BINARY, some, sizeof(some)),
                 "the client gets the whole message");
    wire_next_is(&w, "ping", "the client gets the Ping after it");
    ok(outlives_grace(r), "the time to answer starts when the Ping has arrived");
    wire_frame(&w, FIN | PONG, "", 0);
    told_is("a", "pong", "the client's answer is received");
    ok(outlives_grace(r), "the connection stays open after the answer");
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "on_close");
}

static void a_client_that_stops_taking_is_not(rig *r)
{
    wire w = pinged_behind_a_message(r);
    int looks = 0;
    wire_need(&w, 40000);
    while (outlives_grace(r) && looks < 100) {
        looks++;
    }
    ok(looks < 100, "a client that stops reading is disconnected");
    told_is("a", "close 1006 \"\"", "on_close");
    wire_free(&w);
}

/* Pretend that the Ping was sent this long ago. */
static void wait_longer(ws_loop *loop, void *arg)
{
    (void)arg;
    LIST_FIRST(&loop->heads[0])->since -= 130 * 1000 / 256;
}

static void look_at_kernel(ws_loop *loop, void *arg)
{
    ws_conn *c = LIST_FIRST(&loop->heads[0]);
    slow_state *s = arg;
    int unacknowledged = 1;
    look_at_ping(loop, arg);
    s->taken = s->pinged && !ws_send_queue_count(&c->out)
               && !ioctl(c->source.fd, SIOCOUTQ, &unacknowledged) && !unacknowledged;
}

static void send_half(ws_conn *c, void *arg)
{
    (void)arg;
    ws_send(c, WS_BINARY, half, sizeof(half));
}

/* Let a client be pinged whose kernel has a message that its program has not read. */
static wire pinged_behind_its_kernel(rig *r)
{
    slow_state s = {0};
    int fd[2], size = 1 << 20;
    wire w;
    tcp_pair(fd);
    setsockopt(fd[0], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    w = rig_join_pair(r, "a", fd);
    told_is("a", "open", "a client with large buffers");
    as_callback(id_of(r, "a"), send_half, NULL);
    until(r, 0, look_at_kernel, &s, &s.taken);
    ok(outlives_grace(r), "its kernel has data that it may not have read: it gets more time");
    return w;
}

static void a_client_behind_its_kernel_is_waited_for(rig *r)
{
    char text[TEXT_SIZE];
    slow_state s = {0};
    wire w = pinged_behind_its_kernel(r);
    wire_next_is(&w, describe(text, BINARY, half, sizeof(half)), "it gets the message");
    wire_next_is(&w, "ping", "it gets the Ping");
    wire_frame(&w, FIN | PONG, "", 0);
    told_is("a", "pong", "its answer is received");
    until(r, 0, look_at_kernel, &s, &s.taken);
    ok(!outlives_grace(r), "it has read all before its Pong: the next Ping gives no more time");
    told_is("a", "close 1006 \"\"", "on_close");
    wire_free(&w);
}

static void a_client_that_does_not_read_its_kernel_is_not(rig *r)
{
    wire w = pinged_behind_its_kernel(r);
    on_loop_of(r, 0, wait_longer, NULL);
    ok(!outlives_grace(r), "it is disconnected after that time");
    told_is("a", "close 1006 \"\"", "on_close");
    wire_free(&w);
}

static void missing_pongs_are_forgiven(rig *r)
{
    wire w = enter(r, "a");
    for (int i = 0; i < 4; i++) {
        wire_next_is(&w, "ping",
                     "with no time limit, a client that does not answer is pinged again");
    }
    wire_text(&w, "alive");
    for (int i = 0; i < 20; i++) {
        if (!strcmp(wire_next(&w), "text \"alive\"")) {
            ok(1, "with no time limit for the answer, the connection stays open");
            break;
        }
    }
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "on_close");
}

int main(void)
{
    static test *const slow[] = {a_slow_client_is_waited_for, a_client_that_stops_taking_is_not,
                                 a_client_behind_its_kernel_is_waited_for,
                                 a_client_that_does_not_read_its_kernel_is_not, NULL};
    static test *const forgiving[] = {missing_pongs_are_forgiven, NULL};
    static test *const patient[] = {answers_keep_it_alive, NULL};
    static test *const rare[] = {its_time_begins_when_it_stops_reading,
                                 a_loop_that_was_held_up_blames_nobody, NULL};
    static test *const hasty[] = {silence_ends_it, nobody_is_asked_while_nothing_is_read,
                                  a_client_that_reads_nothing_is_left,
                                  who_goes_while_nothing_is_read_is_not_kept, NULL};
    rig setup = {.settings = RIG_SETTINGS};
    setup.settings.ping_interval = 20;
    rig_run(setup, &handler, 1, patient);
    rig_run(setup, &handler, 1, slow);
    setup.settings.ping_grace = 0;
    rig_run(setup, &handler, 1, forgiving);
    setup.settings.ping_grace = 50;
    rig_run(setup, &handler, 1, hasty);
    setup.settings.ping_interval = NEVER;
    rig_run(setup, &handler, 1, rare);
    return done_testing();
}
