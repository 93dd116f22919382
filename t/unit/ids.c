/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests calls from other threads that name a connection by its id, or all connections of a
 *  location. */

#include "t/unit/rig.h"

enum { LOOPS = 3, MANY = 12, THREADS = 4, TIMES = 500 };

static const ws_handler handler = {
    .on_message = rec_message, .on_open = rec_open, .on_close = rec_close};

static void note_name(ws_conn *c, void *arg)
{
    note("run", "%s for %s", (char *)arg, c ? name_of(c) : "nobody");
}

static void by_id(rig *r)
{
    wire w = enter(r, "a");
    ws_id id = id_of(r, "a");
    int right = 0;
    for (int i = 0; i < 1000; i++) {
        char text[20];
        ws_send_to(id, WS_TEXT, text, (apr_size_t)sprintf(text, "%d", i));
    }
    for (int i = 0; i < 1000; i++) {
        char text[20];
        sprintf(text, "text \"%d\"", i);
        right += !strcmp(wire_next(&w), text);
    }
    is_int(right, 1000, "messages by id arrive in order");
    is_int(ws_run(id, note_name, "run"), WS_QUEUED, "ws_run()");
    told_is("run", "run for a", "ws_run() calls its function with the connection");
    is_int(ws_close_id(id, 3000, "by id"), WS_QUEUED, "ws_close_id()");
    is_int(ws_close_id(id, 3001, "again"), WS_QUEUED, "twice");
    ws_send_to(id, WS_TEXT, "too late", 8);
    wire_next_is(&w, "close 3000 \"by id\"", "of two ws_close_id(), the first one applies");
    wire_close(&w, 3000, "");
    wire_next_is(&w, "eof", "after the Close frame, nothing is sent");
    told_is("a", "close 3000 \"by id\"", "on_close");
    wire_free(&w);
}

static void who_is_gone(rig *r)
{
    wire w = enter(r, "a");
    ws_id id = id_of(r, "a"), strange = id ^ (ws_id)1 << 48;
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "the connection ends");
    is_int(ws_run(id, note_name, "stale"), WS_QUEUED,
           "ws_run() with the id of an ended connection is queued");
    told_is("run", "stale for nobody", "ws_run() calls its function without a connection");
    ok(ws_send_to(id, WS_TEXT, "x", 1) == WS_QUEUED && ws_close_id(id, 1000, "x") == WS_QUEUED,
       "a message and a close by the old id are accepted and dropped");

    is_int(ws_send_to(0, WS_TEXT, "x", 1), WS_GONE, "ws_send_to() with the id 0 returns WS_GONE");
    is_int(ws_close_id(0, 1000, "x"), WS_GONE, "ws_close_id() with the id 0 returns WS_GONE");
    is_int(ws_run(0, note_name, "never"), WS_GONE, "ws_run() with the id 0 returns WS_GONE");
    is_int(ws_send_to(strange, WS_TEXT, "x", 1), WS_GONE,
           "ws_send_to() with an id of another process returns WS_GONE");
    is_int(ws_run(strange, note_name, "never"), WS_GONE,
           "ws_run() with an id of another process returns WS_GONE");
    is_int(ws_run(id | (ws_id)63 << 42, note_name, "never"), WS_GONE,
           "ws_run() with a loop that does not exist returns WS_GONE");
    is_int(ws_run(id | (ws_id)0xFFFFF << 22, note_name, "far"), WS_QUEUED,
           "ws_run() with a slot that does not exist is queued");
    told_is("run", "far for nobody",
            "ws_run() with a slot that does not exist calls without a connection");
}

static void a_stale_id_names_nobody_else(rig *r)
{
    ws_id first = 0;
    int again = 0;
    /* A loop reuses the slots of ended connections in turn, so each slot is reused. */
    for (int i = 0; i < 2 * LOOPS * WS_SLAB_CHUNK; i++) {
        wire w = rig_join(r, "a");
        ws_id id;
        told("a");
        id = id_of(r, "a");
        if (!first) {
            first = id;
        }
        else if (id >> 22 == first >> 22) {
            again++;
            is_int(ws_run(first, note_name, "stale"), WS_QUEUED,
                   "ws_run() with the id of a reused slot is queued");
            told_is("run", "stale for nobody", "the old id of a reused slot has no connection");
            ok(id != first, "the new id of a reused slot differs");
        }
        wire_free(&w);
        told("a");
        nobody_is_left(r);
    }
    ok(again > 0, "slots are reused");
}

/* ---- Several threads ---- */

typedef struct caller {
    ws_id id;
    int number, next, count;
} caller;

static void count_call(ws_conn *c, void *arg)
{
    caller *k = arg;
    k->count += c != NULL;
}

static void *call_many(void *arg)
{
    caller *k = arg;
    for (int i = 0; i < TIMES; i++) {
        char text[20];
        ws_run(k->id, count_call, k);
        ws_send_to(k->id, WS_TEXT, text, (apr_size_t)sprintf(text, "%d %d", k->number, i));
    }
    return NULL;
}

static void threads_keep_their_order(rig *r)
{
    caller callers[THREADS];
    pthread_t threads[THREADS];
    int right = 0;
    wire w = enter(r, "a");
    ws_id id = id_of(r, "a");
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (caller){.id = id, .number = i};
        pthread_create(&threads[i], NULL, call_many, &callers[i]);
    }
    for (int i = 0; i < THREADS * TIMES; i++) {
        int number, n;
        if (sscanf(wire_next(&w), "text \"%d %d\"", &number, &n) == 2 && number < THREADS) {
            right += n == callers[number].next++;
        }
    }
    is_int(right, THREADS * TIMES, "each thread's messages arrive in its order");
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    as_callback(id, count_call, &callers[0]);
    is_int(callers[0].count, TIMES + 1, "each ws_run() has called its function once");
    for (int i = 1; i < THREADS; i++) {
        is_int(callers[i].count, TIMES,
               "each ws_run() of the other threads has called its function once");
    }
    leave(&w, "a");
}

static void run_again(ws_conn *c, void *arg)
{
    int *left = arg;
    note("run", "%d", *left);
    if (--*left > 0) {
        ws_send_to(ws_conn_id(c), WS_TEXT, "by id", 5);
        ws_run(ws_conn_id(c), run_again, left);
        ws_send(c, WS_TEXT, "at once", 7);
    }
}

static void inside_a_callback(rig *r)
{
    int left = 3;
    wire w = enter(r, "a");
    ws_run(id_of(r, "a"), run_again, &left);
    told_is("run", "3", "ws_run() inside a callback calls its function");
    told_is("run", "2", "ws_run() calls its function after the callback");
    told_is("run", "1", "ws_run() can be repeated in each call");
    for (int i = 0; i < 2; i++) {
        wire_next_is(&w, "text \"at once\"", "messages sent in a callback are sent first");
        wire_next_is(&w, "text \"by id\"", "messages sent by id in a callback are sent after them");
    }
    leave(&w, "a");
}

/* ---- Broadcast ---- */

static const char *const names[MANY] = {"0", "1", "2", "3", "4",  "5",
                                        "6", "7", "8", "9", "10", "11"};

static void broadcast_inside(ws_conn *c, void *arg)
{
    (void)arg;
    ws_broadcast(ws_conn_location(c), WS_TEXT, "from inside", 11, ws_conn_id(c));
}

static void to_all(rig *r)
{
    wire w[MANY], stranger;
    ws_new_conn n;
    int fd[2], right = 0;
    ws_id closing, except;
    for (int i = 0; i < MANY; i++) {
        w[i] = enter(r, names[i]);
    }
    unix_pair(fd);
    n = rig_newcomer(r, fd[1], "stranger");
    n.location = &r->other;
    ws_engine_add(r->engine, &n);
    stranger = (wire){.fd = fd[0]};
    told_is("stranger", "open", "a connection of another location");
    closing = id_of(r, "7");
    ws_close_id(closing, 1000, NULL);
    wire_next_is(&w[7], "close 1000", "the last connection has begun to close");

    for (int i = 0; i < 100; i++) {
        char text[20];
        ws_broadcast(&r->location, WS_TEXT, text, (apr_size_t)sprintf(text, "all %d", i), 0);
    }
    except = id_of(r, "3");
    ws_broadcast(&r->location, WS_BINARY, "not 3", 5, except);
    as_callback(id_of(r, "5"), broadcast_inside, NULL);
    for (int i = 0; i < MANY; i++) {
        for (int k = 0; i != 7 && k < 100; k++) {
            char text[20];
            sprintf(text, "text \"all %d\"", k);
            right += !strcmp(wire_next(&w[i]), text);
        }
        if (i != 3 && i != 7) {
            wire_next_is(&w[i], "binary \"not 3\"",
                         "all connections but the excluded one get a broadcast");
        }
        if (i != 5 && i != 7) {
            wire_next_is(&w[i], "text \"from inside\"",
                         "a broadcast in a callback reaches the other connections");
        }
    }
    is_int(right, 100 * (MANY - 1), "all connections of the location get all broadcasts in order");
    ws_broadcast(&r->other, WS_TEXT, "other", 5, 0);
    wire_next_is(&stranger, "text \"other\"",
                 "a connection of another location gets only its own broadcast");
    leave(&stranger, "stranger");
    for (int i = 0; i < MANY; i++) {
        if (i == 7) {
            wire_close(&w[i], 1000, "");
            wire_next_is(&w[i], "eof", "a closing connection gets no broadcast");
            told_is(names[i], "close 1000 \"\"", "on_close");
            wire_free(&w[i]);
        }
        else {
            leave(&w[i], names[i]);
        }
    }
    is_int(ws_broadcast(&r->location, WS_TEXT, "x", 1, 0), WS_QUEUED,
           "a broadcast to a location without connections is accepted");
}

static void one_that_does_not_read(rig *r)
{
    static const char much[300000];
    char text[TEXT_SIZE], expected[TEXT_SIZE];
    int right = 0, taken = 0;
    wire slow = enter_narrow(r, "slow"), quick = enter(r, "quick");
    describe(expected, BINARY, much, sizeof(much));
    for (int i = 0; i < 10; i++) {
        ws_broadcast(&r->location, WS_BINARY, much, sizeof(much), 0);
        right += !strcmp(wire_next(&quick), expected);
    }
    is_int(right, 10, "a client that reads gets all broadcasts");
    while (!strcmp(strcpy(text, wire_next(&slow)), expected)) {
        taken++;
    }
    is_str(text, "close 1008 \"too slow\"", "a client that does not read is closed");
    ok(taken > 2 && taken < 6,
       "the client is closed when its queue is full: %d messages of 300,000 bytes", taken);
    wire_close(&slow, 1008, "");
    told_is("slow", "close 1008 \"too slow\"", "on_close");
    wire_free(&slow);
    leave(&quick, "quick");
}

/* ---- All calls at the same time ---- */

static int storm_over; /* atomic */
static ws_id storm_ids[MANY];
static int queued_runs, called_runs; /* atomic */

static void count_run(ws_conn *c, void *arg)
{
    (void)arg;
    if (c) {
        ws_send(c, WS_BINARY, "run", 3);
    }
    __atomic_add_fetch(&called_runs, 1, __ATOMIC_RELAXED);
}

static void *storm(void *arg)
{
    rig *r = arg;
    static unsigned seeds;
    unsigned seed = __atomic_add_fetch(&seeds, 1, __ATOMIC_RELAXED) * 2654435761u;
    while (!__atomic_load_n(&storm_over, __ATOMIC_ACQUIRE)) {
        unsigned dice = (seed = seed * 1664525u + 1013904223u) >> 8;
        ws_id id = __atomic_load_n(&storm_ids[dice % MANY], __ATOMIC_RELAXED);
        switch (dice / MANY % 16) {
        case 0:
            ws_close_id(id, 1000, "storm");
            break;
        case 1:
            ws_broadcast(&r->location, WS_TEXT, "storm", 5, id);
            break;
        case 2:
        case 3:
            if (ws_run(id, count_run, NULL) == WS_QUEUED) {
                __atomic_add_fetch(&queued_runs, 1, __ATOMIC_RELAXED);
            }
            break;
        default:
            ws_send_to(id, WS_TEXT, "storm", 5);
        }
        usleep(10);
    }
    return NULL;
}

static void open_in_storm(ws_conn *c)
{
    __atomic_store_n(&storm_ids[(size_t)(ws_conn_id(c) % MANY)], ws_conn_id(c), __ATOMIC_RELAXED);
    __atomic_add_fetch(&opens, 1, __ATOMIC_RELAXED);
}

static void close_in_storm(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    (void)c, (void)code, (void)reason, (void)len;
    __atomic_add_fetch(&closes, 1, __ATOMIC_RELAXED);
}

static const ws_handler in_storm = {.on_open = open_in_storm, .on_close = close_in_storm};

static void a_storm(rig *r)
{
    pthread_t threads[THREADS];
    wire w[MANY];
    for (int i = 0; i < MANY; i++) {
        w[i].fd = -1;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, storm, r);
    }
    for (int i = 0; i < 3000; i++) {
        wire *v = &w[i * 7 % MANY];
        if (v->fd >= 0) {
            if (i % 3) {
                wire_try_read(v);
                wire_close(v, 1000, "");
            }
            wire_free(v);
        }
        *v = rig_join(r, "storm");
    }
    __atomic_store_n(&storm_over, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < MANY; i++) {
        wire_free(&w[i]);
    }
    for (unsigned i = 0; i < LOOPS; i++) {
        turns(r, i);
    }
    is_int(__atomic_load_n(&called_runs, __ATOMIC_RELAXED),
           __atomic_load_n(&queued_runs, __ATOMIC_RELAXED),
           "each queued ws_run() has called its function once");
}

static void without_an_engine(void)
{
    is_int(ws_send_to(1, WS_TEXT, "x", 1), WS_GONE,
           "without an engine, ws_send_to() returns WS_GONE");
    is_int(ws_close_id(1, 1000, "x"), WS_GONE, "without an engine, ws_close_id() returns WS_GONE");
    is_int(ws_run(1, note_name, "never"), WS_GONE, "without an engine, ws_run() returns WS_GONE");
}

int main(void)
{
    static test *const tests[] = {by_id,
                                  who_is_gone,
                                  a_stale_id_names_nobody_else,
                                  threads_keep_their_order,
                                  inside_a_callback,
                                  to_all,
                                  one_that_does_not_read,
                                  NULL};
    static test *const storms[] = {a_storm, NULL};
    without_an_engine();
    rig_run((rig){0}, &handler, LOOPS, tests);
    rig_run((rig){0}, &in_storm, LOOPS, storms);
    without_an_engine();
    return done_testing();
}
