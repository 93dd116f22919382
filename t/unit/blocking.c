/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests WS_BLOCKING handlers: callbacks run on pool threads, one at a time and in order for each
 *  connection. A blocked connection does not delay others. */

#include "engine/extensions.h"
#include "t/unit/rig.h"

static sem_t gate; /* callbacks for the message "wait" wait for this semaphore */

static int inside, most_inside; /* callbacks of "one" that run now, and their maximum; atomic */

static void enter_callback(const ws_conn *c)
{
    int now = strcmp(name_of(c), "one") ? 0 : __atomic_add_fetch(&inside, 1, __ATOMIC_RELAXED);
    if (now > __atomic_load_n(&most_inside, __ATOMIC_RELAXED)) {
        __atomic_store_n(&most_inside, now, __ATOMIC_RELAXED);
    }
    if (ws_loop_current()) {
        note(name_of(c), "a callback runs on an event loop");
    }
}

static void leave_callback(const ws_conn *c)
{
    if (!strcmp(name_of(c), "one")) {
        __atomic_sub_fetch(&inside, 1, __ATOMIC_RELAXED);
    }
}

static void obey(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    enter_callback(c);
    if (len == 4 && !memcmp(data, "wait", 4)) {
        note(name_of(c), "waits");
        sem_must(&gate, "the test leaves a callback waiting");
    }
    rec_message(c, type, data, len);
    leave_callback(c);
}

static void obey_pong(ws_conn *c, const char *data, apr_size_t len)
{
    enter_callback(c);
    rec_pong(c, data, len);
    leave_callback(c);
}

static void obey_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    enter_callback(c);
    rec_close(c, code, reason, len);
    leave_callback(c);
}

static const ws_handler handler = {.flags = WS_BLOCKING,
                                   .on_open = rec_open,
                                   .on_message = obey,
                                   .on_pong = obey_pong,
                                   .on_close = obey_close};

static const ws_handler draining = {
    .flags = WS_BLOCKING, .on_open = rec_open, .on_drain = rec_drain, .on_close = rec_close};

static const ws_handler pinged = {
    .flags = WS_BLOCKING, .on_open = rec_open, .on_ping = rec_ping, .on_close = rec_close};
static const ws_handler pinged_on_the_loop = {
    .on_open = rec_open, .on_ping = rec_ping, .on_close = rec_close};

/* Block a callback of the connection, so that later events are queued. */
static void block(wire *w, const char *name)
{
    wire_text(w, "wait");
    told_is(name, "waits", "a callback waits");
}

static void unblock(const char *name)
{
    sem_post(&gate);
    told_is(name, "text \"wait\"", "the callback continues");
}

static void one_at_a_time_and_in_order(rig *r)
{
    enum { MANY = 2000 };
    int right = 0;
    wire w = enter(r, "one");
    for (int i = 0; i < MANY; i++) {
        char text[20];
        wire_frame(&w, FIN | (i % 3 ? TEXT : PONG), text, (size_t)sprintf(text, "%d", i));
    }
    for (int i = 0; i < MANY; i++) {
        char text[30];
        sprintf(text, "%s \"%d\"", i % 3 ? "text" : "pong", i);
        right += !strcmp(told("one"), text);
    }
    is_int(right, MANY, "messages and pongs are delivered in order");
    is_int(most_inside, 1, "a connection never runs two callbacks at once");
    leave(&w, "one");
}

/* ---- Connections do not delay each other ---- */

static sem_t here, there;

static void meet(ws_conn *c, void *arg)
{
    (void)c;
    sem_post(arg == &here ? &there : &here);
    sem_must(arg, "two callbacks that wait for each other do not run at the same time");
    note("met", "one");
}

static void callbacks_of_two_connections_meet(rig *r)
{
    wire a = enter(r, "a"), b = enter(r, "b");
    ws_id id_a = id_of(r, "a"), id_b = id_of(r, "b");
    for (int i = 0; i < 1000; i++) {
        ws_run(id_a, meet, &here);
        ws_run(id_b, meet, &there);
        told("met");
        told("met");
    }
    ok(1, "callbacks of two connections run at the same time, again and again");
    leave(&a, "a");
    leave(&b, "b");
}

static void a_waiting_callback_holds_up_nobody(rig *r)
{
    static const char *const names[] = {"0", "1", "2", "3"};
    wire w[4], late;
    for (int i = 0; i < 4; i++) {
        w[i] = enter(r, names[i]);
    }
    for (int i = 0; i < 3; i++) {
        block(&w[i], names[i]);
    }
    wire_text(&w[3], "hello");
    told_is("3", "text \"hello\"", "while three callbacks wait, a fourth runs");
    block(&w[3], "3");
    late = rig_join(r, "late");
    wire_text(&late, "hello");
    wire_frame(&w[0], FIN | PING, "", 0);
    wire_next_is(&w[0], "pong", "when all four threads are blocked, a Ping is still answered");
    turns(r, 0);
    is_int(untold(), 0, "a fifth callback waits for a thread");
    for (int i = 0; i < 4; i++) {
        sem_post(&gate);
    }
    for (int i = 0; i < 4; i++) {
        told_is(names[i], "text \"wait\"", "the blocked callbacks continue");
        leave(&w[i], names[i]);
    }
    told_is("late", "open", "the fifth callback runs");
    told_is("late", "text \"hello\"", "the fifth connection's callbacks run in order");
    leave(&late, "late");
}

/* Wait until the record has n lines. @return how many of them precede the first line of a name */
static int lines_before(const char *name, int n)
{
    int count = 0, before = 0;
    struct timespec deadline = patience();
    pthread_mutex_lock(&record_lock);
    for (;;) {
        before = -1;
        count = 0;
        for (line *l = record; l; l = l->next, count++) {
            if (before < 0 && !strcmp(l->name, name)) {
                before = count;
            }
        }
        if (count >= n) {
            break;
        }
        if (pthread_cond_timedwait(&record_more, &record_lock, &deadline) != 0) {
            bail_out("%d callbacks instead of %d", count, n);
        }
    }
    pthread_mutex_unlock(&record_lock);
    return before;
}

static void the_threads_are_shared(rig *r)
{
    int before;
    wire a = enter(r, "a"), b = enter(r, "b");
    block(&a, "a");
    for (int i = 0; i < 60; i++) {
        wire_text(&a, "one of many");
    }
    turns(r, 0);
    wire_text(&b, "the only one");
    turns(r, 0);
    sem_post(&gate);
    before = lines_before("b", 62);
    told_is("b", "text \"the only one\"", "a connection with few callbacks is served");
    forget("a");
    ok(before < 60,
       "a connection with few callbacks waits for only some callbacks of a busy one: %d ran before",
       before);
    leave(&a, "a");
    leave(&b, "b");
}

/* ---- Reading waits for the handler ---- */

typedef struct state {
    unsigned held;
    int watched, wrong;
} state;

static void look(ws_loop *loop, void *arg)
{
    ws_conn *c = LIST_FIRST(&loop->heads[0]);
    state *s = arg;
    s->held = c->held;
    s->watched = c->source.watched;
    /* The loop cannot sleep while it polls a socket that it does not read. */
    s->wrong = c->held && (c->source.watched & WS_READABLE);
}

static void reading_waits_for_the_handler(rig *r)
{
    enum { MANY = 5000, LONG = 400000 };
    unsigned char *stream = malloc((size_t)MANY * 32), *payload = calloc(1, LONG);
    char text[TEXT_SIZE];
    size_t n = 0;
    int right = 0;
    state s;
    wire w = enter(r, "a");

    block(&w, "a");
    for (int i = 0; i < MANY; i++) {
        n += frame_put(stream + n, FIN | TEXT, text, (size_t)sprintf(text, "%d", i));
    }
    wire_send(&w, stream, n);
    turns(r, 0);
    on_loop_of(r, 0, look, &s);
    is_int(s.held, WS_HELD_JOBS, "when many messages are queued, the engine stops reading");
    ok(!s.wrong, "when many messages are queued, the loop sleeps");
    unblock("a");
    for (int i = 0; i < MANY; i++) {
        sprintf(text, "text \"%d\"", i);
        right += !strcmp(told("a"), text);
    }
    is_int(right, MANY, "many queued messages are delivered in order");

    block(&w, "a");
    for (int i = 0; i < 3; i++) {
        wire_frame(&w, FIN | BINARY, payload, LONG);
    }
    turns(r, 0);
    on_loop_of(r, 0, look, &s);
    is_int(s.held, WS_HELD_JOBS, "when a few long messages are queued, the engine stops reading");
    unblock("a");
    describe(text, BINARY, payload, LONG);
    for (int i = 0; i < 3; i++) {
        told_is("a", text, "each long message is delivered");
    }
    leave(&w, "a");
    free(stream);
    free(payload);
}

static void take_permit(ws_conn *c, void *permit)
{
    (void)c;
    sem_must(permit, "the test leaves a callback waiting");
    note("done", "one");
}

static void calls_of_others_count(rig *r)
{
    sem_t permit;
    hold h;
    state s;
    wire w = enter(r, "a");
    ws_id id = id_of(r, "a");
    sem_init(&permit, 0, 0);
    for (int i = 0; i < 70; i++) {
        ws_run(id, take_permit, &permit);
    }
    turns(r, 0);
    wire_text(&w, "waits in the socket");
    turns(r, 0);
    on_loop_of(r, 0, look, &s);
    is_int(s.held, WS_HELD_JOBS,
           "when many calls by ws_run() are queued, the engine stops reading");
    ok(!s.wrong, "when many calls by ws_run() are queued, the loop sleeps");

    /* The handler catches up while the loop is blocked. The loop is about to resume reading, but
     * many calls are queued again. */
    hold_loop(&h, r);
    for (int i = 0; i < 70; i++) {
        ws_run(id, take_permit, &permit);
    }
    for (int i = 0; i < 50; i++) {
        sem_post(&permit);
    }
    for (int i = 0; i < 50; i++) {
        told("done");
    }
    let_loop_go(&h);
    turns(r, 0);
    on_loop_of(r, 0, look, &s);
    is_int(s.held, WS_HELD_JOBS,
           "the engine does not resume reading while many calls are queued again");
    is_int(untold(), 0, "the message in the socket is not read");
    for (int i = 0; i < 90; i++) {
        sem_post(&permit);
    }
    for (int i = 0; i < 90; i++) {
        told("done");
    }
    told_is("a", "text \"waits in the socket\"",
            "when the handler has caught up, the message is delivered");
    on_loop_of(r, 0, look, &s);
    is_int(s.held, 0, "after that, reading is not held");
    leave(&w, "a");
}

/* ---- Ends ---- */

static void note_whether(ws_conn *c, void *arg)
{
    (void)arg;
    note("whether", "%s", c ? "it is there" : "it has gone");
}

static void what_waits_comes_before_on_close(rig *r)
{
    for (int way = 0; way < 3; way++) {
        wire w = enter(r, "a");
        ws_id id = id_of(r, "a");
        block(&w, "a");
        for (int i = 0; i < 10; i++) {
            wire_text(&w, "waiting");
        }
        if (way == 0) {
            wire_close(&w, 1000, "bye");
            wire_next_is(&w, "close 1000 \"bye\"",
                         "a client that closes is answered while a callback runs");
        }
        else if (way == 1) {
            turns(r, 0);
            wire_free(&w);
            w.fd = -1;
        }
        else {
            turns(r, 0);
            ws_close_id(id, 3000, "ours");
            wire_next_is(&w, "close 3000 \"ours\"", "the server closes");
            wire_close(&w, 3000, "");
        }
        turns(r, 0);
        is_int(untold(), 0, "on_close does not run before the callback has returned");
        unblock("a");
        for (int i = 0; i < 10; i++) {
            told_is("a", "text \"waiting\"", "the queued message is delivered before on_close");
        }
        told_is("a",
                way == 0   ? "close 1000 \"bye\""
                : way == 1 ? "close 1006 \"\""
                           : "close 3000 \"ours\"",
                "on_close runs after the queued message");
        is_int(ws_run(id, note_whether, NULL), WS_QUEUED, "ws_run() after on_close is queued");
        told_is("whether", "it has gone", "ws_run() after on_close calls without a connection");
        wire_free(&w);
    }
}

static int called, called_with_nothing; /* atomic */

static void count_a_call(ws_conn *c, void *arg)
{
    (void)arg;
    __atomic_add_fetch(c ? &called : &called_with_nothing, 1, __ATOMIC_RELAXED);
}

static void a_handler_that_does_not_keep_pace_is_left(rig *r)
{
    enum { MOST = 4096, MORE = 100 };
    wire w = enter(r, "a");
    ws_id id = id_of(r, "a");
    int queued = 0;
    block(&w, "a");
    for (int i = 0; i < MOST + MORE; i++) {
        queued += ws_run(id, count_a_call, NULL) == WS_QUEUED;
    }
    is_int(queued, MOST + MORE, "thousands of ws_run() are queued while a callback runs");
    wire_next_is(&w, "close 1011 \"too many callbacks wait for the handler\"",
                 "too many queued calls close the connection");
    turns(r, 0);
    ok(called_with_nothing >= MORE,
       "the calls beyond the limit run immediately, without the connection");
    wire_close(&w, 1011, "");
    unblock("a");
    told_is("a", "close 1011 \"too many callbacks wait for the handler\"", "on_close");
    nobody_is_left(r);
    is_int(called + called_with_nothing, MOST + MORE, "each of these functions is called once");
    wire_free(&w);
}

static void talk(ws_conn *c, void *arg)
{
    (void)arg;
    is_int(ws_send(c, WS_TEXT, "one", 3), WS_QUEUED, "ws_send() from a pool thread is queued");
    is_int(ws_ping(c, "two", 3), WS_QUEUED, "ws_ping() from a pool thread is queued");
    is_int(ws_send_to(ws_conn_id(c), WS_TEXT, "three", 5), WS_QUEUED,
           "ws_send_to() from a pool thread is queued");
    ws_set_data(c, (void *)name_of(c));
    ok(ws_pool(c) != NULL && ws_version(c) == 13 && !ws_secure(c) && ws_queued(c) < 100,
       "the accessors of a connection work on a pool thread");
    is_int(ws_close(c, 3000, "four"), WS_QUEUED, "ws_close() from a pool thread is queued");
}

static void a_callback_talks(rig *r)
{
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), talk, NULL);
    wire_next_is(&w, "text \"one\"", "the first message is sent");
    wire_next_is(&w, "ping \"two\"", "the Ping is sent after the first message");
    wire_next_is(&w, "text \"three\"", "the second message is sent after the Ping");
    wire_next_is(&w, "close 3000 \"four\"", "Close");
    wire_close(&w, 3000, "");
    wire_next_is(&w, "eof", "after the Close frame, the connection ends");
    told_is("a", "close 3000 \"four\"", "on_close");
    wire_free(&w);
}

static void send_one(ws_conn *c, void *arg)
{
    (void)arg;
    is_int(ws_send(c, WS_TEXT, "one", 3), WS_QUEUED, "ws_send() from a pool thread is queued");
}

static void on_drain_comes(rig *r)
{
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), send_one, NULL);
    told_is("a", "drain", "on_drain runs when the message has been sent");
    wire_next_is(&w, "text \"one\"", "the client gets the message");
    leave(&w, "a");
}

static void pausing(rig *r)
{
    wire w = enter(r, "a");
    ws_id id = id_of(r, "a");
    as_callback(id, do_pause, NULL);
    turns(r, 0);
    wire_text(&w, "hello");
    turns(r, 0);
    is_int(untold(), 0, "ws_pause() in a callback holds back the next message");
    as_callback(id, do_resume, NULL);
    told_is("a", "text \"hello\"", "ws_resume() delivers the message");
    leave(&w, "a");
}

static void talk_to_nobody(ws_conn *c, void *arg)
{
    (void)arg;
    if (ws_conn_state(c) == WS_CLOSED && ws_send(c, WS_TEXT, "x", 1) == WS_GONE
        && ws_ping(c, "x", 1) == WS_GONE && ws_close(c, 1000, NULL) == WS_GONE
        && !ws_timer_start(c, 0, 0, NULL, NULL) && ws_queued(c) == 0 && ws_pool(c)) {
        note(name_of(c), "nobody listens");
    }
}

static void the_connection_goes_meanwhile(rig *r)
{
    wire w = enter(r, "a");
    ws_id id = id_of(r, "a");
    block(&w, "a");
    ws_run(id, talk_to_nobody, NULL);
    turns(r, 0);
    wire_free(&w);
    turns(r, 0);
    unblock("a");
    told_is("a", "nobody listens", "a callback sees that its connection has ended");
    told_is("a", "close 1006 \"\"", "on_close");
}

static void a_storm(rig *r)
{
    enum { MANY = 40, TIMES = 100 };
    wire w[MANY];
    int right = 0;
    for (int i = 0; i < MANY; i++) {
        w[i] = rig_join(r, "storm");
    }
    for (int k = 0; k < TIMES; k++) {
        for (int i = 0; i < MANY; i++) {
            wire_text(&w[i], "hello");
            if (k == TIMES / 2 && i % 4 == 0) {
                wire_free(&w[i]);
                w[i] = rig_join(r, "storm");
            }
        }
    }
    for (int i = 0; i < MANY; i++) {
        wire_close(&w[i], 1000, "");
        right += !strcmp(wire_next(&w[i]), "close 1000");
        wire_free(&w[i]);
    }
    is_int(right, MANY, "all messages of many connections are delivered in order");
    for (int closed = 0; closed < MANY + MANY / 4;) {
        closed += !strncmp(told("storm"), "close ", 6);
    }
    forget("storm");
}

/* ---- A connection's data stay valid until its last callback has returned ---- */

typedef struct pass {
    ws_ticket ticket; /* must be the first member */
    unsigned char text[200];
} pass;

static int released; /* number of released tickets; atomic */

static void release_pass(ws_ticket *ticket)
{
    memset(((pass *)ticket)->text, 0xFF, sizeof(((pass *)ticket)->text));
    free(ticket);
    __atomic_add_fetch(&released, 1, __ATOMIC_RELAXED);
}

/* Read all data of a connection that the API exposes, for example to an expression rule. */
static void look_at_all(ws_conn *c)
{
    const pass *p = (const pass *)ws_conn_ticket(c);
    unsigned wrong = p == NULL;
    for (unsigned i = 0; p && i < sizeof(p->text); i++) {
        wrong += p->text[i];
    }
    wrong += !ws_uri(c) || !ws_peer(c) || ws_header(c, "Cookie") || ws_user(c) || ws_protocol(c)
             || ws_args(c) || ws_vhost(c) || ws_secure(c) || !ws_pool(c) || ws_config(c)
             || !ws_conn_location(c) || ws_version(c) != 13
             || ws_conn_transport(c) != WS_TRANSPORT_DIRECT || !ws_conn_id(c)
             || ws_conn_settings(c)->send_queue != 1 << 20 || ws_queued(c) > 1 << 20;
    ws_conn_log(c, WS_LOG_DEBUG, "seen by a callback");
    if (wrong) {
        note(name_of(c), "something of the connection has gone");
    }
}

static void look_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    look_at_all(c);
    ws_send(c, type, data, len);
    look_at_all(c);
}

static void look_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    look_at_all(c);
    if (ws_send_part(c, WS_TEXT, "x", 1, WS_FIRST | WS_LAST | WS_COMPRESSED) != WS_GONE) {
        note(name_of(c), "the agreed extensions have gone");
    }
    rec_close(c, code, reason, len);
}

static const ws_handler looking = {
    .flags = WS_BLOCKING, .on_open = rec_open, .on_message = look_message, .on_close = look_close};

static wire join_with_pass(rig *r, const char *name)
{
    int fd[2];
    ws_new_conn n;
    pass *p = calloc(1, sizeof(*p));
    p->ticket.release = release_pass;
    unix_pair(fd);
    n = rig_newcomer(r, fd[1], name);
    n.ticket = &p->ticket;
    n.chain = ws_chain_passing();
    if (ws_engine_add(r->engine, &n) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    return (wire){.fd = fd[0]};
}

static void a_callback_outlasts_its_connection(rig *r)
{
    sem_t permit;
    wire w = join_with_pass(r, "a");
    ws_id id;
    told_is("a", "open", "a connection with a ticket opens");
    id = id_of(r, "a");
    sem_init(&permit, 0, 0);
    released = 0;
    ws_run(id, take_permit, &permit);
    wire_text(&w, "looks");
    turns(r, 0);
    wire_free(&w);
    while (id_of(r, "a")) {
        turns(r, 0);
    }
    is_int(__atomic_load_n(&released, __ATOMIC_RELAXED), 0,
           "while a callback runs, the ticket of an ended connection is kept");
    sem_post(&permit);
    told("done");
    told_is("a", "close 1006 \"\"", "on_close can still read all data of the connection");
    nobody_is_left(r);
    is_int(released, 1, "after the last callback, the ticket is released");
    sem_destroy(&permit);
}

/* Clients send a few messages and disconnect, while callbacks read everything of their
 * connections. */
static void connections_end_under_callbacks(rig *r)
{
    enum { MANY = 12, TIMES = 60 };
    int lines = 0, wrong = 0;
    released = 0;
    for (int k = 0; k < TIMES; k++) {
        wire w[MANY];
        for (int i = 0; i < MANY; i++) {
            w[i] = join_with_pass(r, "short");
            for (int n = 0; n < 3; n++) {
                wire_text(&w[i], "look");
            }
        }
        for (int i = 0; i < MANY; i++) {
            wire_free(&w[i]);
        }
    }
    nobody_is_left(r);
    for (; lines < 2 * MANY * TIMES; lines++) {
        const char *text = told("short");
        wrong += strcmp(text, "open") && strcmp(text, "close 1006 \"\"");
    }
    is_int(wrong, 0, "callbacks of ended connections can read all data of their connection");
    is_int(released, MANY * TIMES, "each ticket is released once");
}

/* ---- The engine stops ---- */

static void the_engine_stops(rig *r)
{
    wire w = enter(r, "a");
    block(&w, "a");
    for (int i = 0; i < 10; i++) {
        wire_text(&w, "waiting");
    }
    turns(r, 0);
    is_int(ws_engine_stop(r->engine), 0, "an engine does not stop while a callback waits");
    sem_post(&gate);
    ok(ws_engine_stop(r->engine), "when the callback has returned, the engine stops");
    told_is("a", "text \"wait\"", "the blocked callback has been delivered");
    for (int i = 0; i < 10; i++) {
        told_is("a", "text \"waiting\"", "the queued message has been delivered");
    }
    told_is("a", "close 1006 \"\"", "on_close has been called");
    wire_free(&w);
}

static void a_ping_is_told(rig *r)
{
    wire w = enter(r, "one");
    wire_frame(&w, FIN | PING, "hello", 5);
    wire_next_is(&w, "pong \"hello\"", "a Ping is answered");
    told_is("one", "ping \"hello\"", "the handler gets on_ping");
    leave(&w, "one");
}

int main(void)
{
    static test *const tests[] = {one_at_a_time_and_in_order,
                                  callbacks_of_two_connections_meet,
                                  a_waiting_callback_holds_up_nobody,
                                  reading_waits_for_the_handler,
                                  calls_of_others_count,
                                  what_waits_comes_before_on_close,
                                  a_handler_that_does_not_keep_pace_is_left,
                                  a_callback_talks,
                                  pausing,
                                  the_connection_goes_meanwhile,
                                  a_storm,
                                  the_engine_stops,
                                  NULL};
    static test *const pings[] = {a_ping_is_told, NULL};
    static test *const drained[] = {on_drain_comes, NULL};
    static test *const outlasted[] = {a_callback_outlasts_its_connection,
                                      connections_end_under_callbacks, NULL};
    static test *const of_one[] = {the_threads_are_shared, a_storm, NULL};
    sem_init(&gate, 0, 0);
    sem_init(&here, 0, 0);
    sem_init(&there, 0, 0);
    rig_run((rig){.blocking = 4}, &handler, 1, tests);
    rig_run((rig){.blocking = 4}, &pinged, 1, pings);
    rig_run((rig){0}, &pinged_on_the_loop, 1, pings);
    rig_run((rig){.blocking = 4}, &draining, 1, drained);
    rig_run((rig){.blocking = 4}, &looking, 1, outlasted);
    rig_run((rig){.blocking = 1}, &handler, 1, of_one);
    return done_testing();
}
