/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests an engine from its start to its stop: adding connections, closing all of them, stopping.
 *  No descriptor and no memory may be left. */

#include <sched.h>
#include <sys/resource.h>

#include "t/unit/rig.h"

static const ws_handler handler = {ECHO_RECORDER};

static void count_open(ws_conn *c)
{
    (void)c;
    __atomic_add_fetch(&opens, 1, __ATOMIC_RELAXED);
}

static void count_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    (void)c, (void)code, (void)reason, (void)len;
    __atomic_add_fetch(&closes, 1, __ATOMIC_RELAXED);
}

static const ws_handler counter = {.on_open = count_open, .on_close = count_close};
static const ws_handler slow_counter = {
    .flags = WS_BLOCKING, .on_open = count_open, .on_close = count_close};

static void nothing_happens(void)
{
    rig r = {0};
    rig_start(&r, &handler, 1);
    rig_stop(&r);
    rig_start(&r, &handler, WS_LOOPS_MAX);
    is_int(ws_engine_count(r.engine), 0, "an engine has no connections at first");
    ok(ws_engine_wait(r.engine, 0), "without connections, ws_engine_wait() returns immediately");
    rig_stop(&r);
}

/* @return the RLIMIT_NOFILE that leaves this number of free descriptors */
static rlim_t limit_for(int few)
{
    int fd = 0;
    for (;; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && few-- == 0) {
            return (rlim_t)fd;
        }
    }
}

static void a_machine_without_descriptors(void)
{
    struct rlimit before, none;
    ws_location location = {.handler = &handler, .name = "test"}, *locations[] = {&location};
    ws_engine_options o = {.loops = 4,
                           .blocking = 1,
                           .locations = locations,
                           .location_count = 1,
                           .log = rig_log,
                           .logs = rig_logs};
    ws_engine *engine;
    apr_pool_t *pool;
    int open = descriptors(), refused = 0;
    apr_initialize();
    apr_pool_create(&pool, NULL);
    getrlimit(RLIMIT_NOFILE, &before);
    /* The four loops need two descriptors each. Try every smaller number. */
    for (int few = 0; few < 8; few++) {
        none = before;
        none.rlim_cur = limit_for(few);
        setrlimit(RLIMIT_NOFILE, &none);
        refused += ws_engine_create(&engine, &o, pool) != APR_SUCCESS;
        setrlimit(RLIMIT_NOFILE, &before);
    }
    is_int(refused, 8, "an engine does not start without descriptors for all loops");
    is_int(descriptors(), open, "an engine that does not start leaves no descriptor open");
    apr_pool_destroy(pool);
}

static void loops_share_the_connections(void)
{
    enum { LOOPS = 3, MANY = 30 };
    rig r = {0};
    wire w[MANY];
    rig_start(&r, &counter, LOOPS);
    for (int i = 0; i < MANY; i++) {
        w[i] = rig_join(&r, "a");
    }
    is_int(ws_engine_count(r.engine), MANY, "the connections are counted");
    ok(!ws_engine_wait(r.engine, 10), "ws_engine_wait() waits for the connections");
    for (unsigned i = 0; i < LOOPS; i++) {
        is_int(__atomic_load_n(&r.engine->loops[i].count, __ATOMIC_RELAXED), MANY / LOOPS,
               "loop %u has its share of the connections", i);
    }
    for (int i = 0; i < MANY; i++) {
        wire_free(&w[i]);
    }
    ok(ws_engine_wait(r.engine, PATIENCE),
       "ws_engine_wait() returns when the connections have ended");
    rig_stop(&r);
}

static void a_connection_costs_little(void)
{
    /* With its strings, which have 32 or 48 bytes, a connection takes less than 273 bytes. */
    ok(sizeof(ws_conn) <= 208, "a connection has %zu bytes", sizeof(ws_conn));
}

/* ---- Pools ---- */

static apr_status_t pool_gone(void *name)
{
    note(name, "pool gone");
    return APR_SUCCESS;
}

static void use_pool(ws_conn *c, void *arg)
{
    apr_pool_t *p = ws_pool(c);
    ok(p && p == ws_pool(c), "ws_pool() makes one pool");
    apr_pool_cleanup_register(p, arg, pool_gone, apr_pool_cleanup_null);
}

static void is_own_pool(ws_conn *c, void *pool)
{
    ok(ws_pool(c) == pool, "ws_pool() is the pool of the handshake");
}

static void pools(void)
{
    rig r = {0};
    int fd[2];
    ws_new_conn n;
    apr_pool_t *pool;
    wire w;
    rig_start(&r, &handler, 1);

    w = enter(&r, "a");
    as_callback(id_of(&r, "a"), use_pool, (void *)"a");
    leave(&w, "a");
    told_is("a", "pool gone", "the pool is destroyed after on_close");

    apr_pool_create_unmanaged(&pool);
    apr_pool_cleanup_register(pool, "b", pool_gone, apr_pool_cleanup_null);
    unix_pair(fd);
    n = rig_newcomer(&r, fd[1], "b");
    n.pool = pool;
    ws_engine_add(r.engine, &n);
    w = (wire){.fd = fd[0]};
    told_is("b", "open", "a connection with a pool");
    as_callback(id_of(&r, "b"), is_own_pool, pool);
    wire_free(&w);
    told_is("b", "close 1006 \"\"", "on_close");
    told_is("b", "pool gone", "the pool of the handshake is destroyed after on_close");
    rig_stop(&r);
}

/* ---- Closing all ---- */

static void all_are_closed(void)
{
    enum { MANY = 10 };
    rig r = {0};
    wire w[MANY], late;
    rig_start(&r, &handler, 2);
    for (int i = 0; i < MANY; i++) {
        w[i] = enter(&r, "a");
    }
    ws_engine_close_all(r.engine, 1001, "server stops", 0);
    for (int i = 0; i < MANY; i++) {
        wire_next_is(&w[i], "close 1001 \"server stops\"", "every connection is closed");
    }
    late = rig_join(&r, "late");
    told_is("late", "open", "a connection added after ws_engine_close_all() opens");
    wire_next_is(&late, "close 1001 \"server stops\"",
                 "a connection added after ws_engine_close_all() is closed");
    wire_close(&late, 1001, "");
    wire_next_is(&late, "eof", "the connection ends after its answer");
    told_is("late", "close 1001 \"server stops\"", "on_close");
    wire_free(&late);
    ok(!ws_engine_wait(r.engine, 10), "ws_engine_wait() waits for the clients' answers");
    for (int i = 0; i < MANY; i++) {
        wire_close(&w[i], 1001, "");
        told_is("a", "close 1001 \"server stops\"", "on_close");
        wire_free(&w[i]);
    }
    ok(ws_engine_wait(r.engine, PATIENCE), "ws_engine_wait() returns when all have answered");
    rig_stop(&r);
}

static void closing_is_spread(void)
{
    enum { MANY = 10 };
    rig r = {0};
    wire w[MANY], late;
    int closed = -1;
    rig_start(&r, &handler, 1);
    for (int i = 0; i < MANY; i++) {
        w[i] = enter(&r, "a");
    }
    ws_engine_close_all(r.engine, 1012, "restart", PATIENCE * 100);
    turns(&r, 0);
    for (int i = 0; i < MANY; i++) {
        if (wire_try_read(&w[i])) {
            is_int(closed, -1, "with a time to drain, one connection is closed immediately");
            wire_next_is(&w[i], "close 1012 \"restart\"",
                         "the first connection is closed with the code for all");
            closed = i;
        }
    }
    for (int i = 0; i < MANY; i++) {
        if (i != closed) {
            wire_text(&w[i], "still here");
            wire_next_is(&w[i], "text \"still here\"", "the other connections still echo");
            told_is("a", "text \"still here\"", "messages of the other connections are delivered");
        }
    }
    late = rig_join(&r, "late");
    told_is("late", "open", "a connection added while draining opens");
    wire_next_is(&late, "close 1012 \"restart\"",
                 "a connection added while draining is closed immediately");
    wire_free(&late);
    told_is("late", "close 1012 \"restart\"", "on_close");

    ws_engine_close_all(r.engine, 1001, "at last", 1000);
    for (int i = 0; i < MANY; i++) {
        if (i != closed) {
            wire_next_is(&w[i], "close 1001 \"at last\"",
                         "another ws_engine_close_all() with a shorter time applies");
        }
        wire_free(&w[i]);
    }
    for (int i = 0; i < MANY; i++) {
        ok(!strncmp(told("a"), "close 10", 8), "on_close");
    }
    rig_stop(&r);
}

/* ---- Stopping ---- */

static void many_are_broken(const ws_handler *h)
{
    enum { MANY = 1000 };
    static wire w[MANY];
    rig r = {0};
    struct rlimit limit;
    int ended = 0;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &limit);
    rig_start(&r, h, 2);
    for (int i = 0; i < MANY; i++) {
        w[i] = rig_join(&r, "a");
        if (i % 3 == 0) {
            wire_send(&w[i], "\x81\xfe\x01\x00\x00\x00\x00\x00half a message", 22);
        }
        if (i % 3 == 1) {
            wire_send(&w[i], "\x81", 1);
        }
    }
    ok(ws_engine_stop(r.engine), "an engine with many connections stops");
    for (int i = 0; i < MANY; i++) {
        wire_need(&w[i], 1);
        ended += w[i].end != NULL;
        wire_free(&w[i]);
    }
    is_int(ended, MANY, "all connections have got on_close");
    rig_stop(&r);
}

static void what_comes_after_the_stop(void)
{
    rig r = {0};
    int fd[2];
    ws_new_conn n;
    apr_pool_t *pool;
    wire w;
    rig_start(&r, &handler, 2);
    ok(ws_engine_stop(r.engine), "the engine stops");
    apr_pool_create_unmanaged(&pool);
    apr_pool_cleanup_register(pool, "late", pool_gone, apr_pool_cleanup_null);
    unix_pair(fd);
    n = rig_newcomer(&r, fd[1], "late");
    n.early = "early";
    n.early_len = 5;
    n.pool = pool;
    is_int(ws_engine_add(r.engine, &n), ESHUTDOWN, "adding a connection to a stopped engine fails");
    w = (wire){.fd = fd[0]};
    wire_next_is(&w, "eof", "the socket of the refused connection is closed");
    told_is("late", "pool gone", "the pool of the refused connection is destroyed");
    wire_free(&w);
    is_int(ws_broadcast(&r.location, WS_TEXT, "x", 1, 0), WS_QUEUED,
           "a broadcast to a stopped engine is accepted");
    is_int(ws_send_to((ws_id)7 << 48 | 1, WS_TEXT, "x", 1), WS_GONE,
           "a message by id to a stopped engine returns WS_GONE");
    rig_stop(&r);
}

/* Threads that continue to add connections or call ws_run() while the engine stops. */

enum { THREADS = 3, MANY_DESCRIPTORS = 2000 };
static int stopped;        /* atomic: the threads end when it is set */
static int queued, called; /* calls of ws_run(); atomic */

static void count_call(ws_conn *c, void *arg)
{
    (void)c, (void)arg;
    __atomic_add_fetch(&called, 1, __ATOMIC_RELAXED);
}

static void *keep_coming(void *arg)
{
    rig *r = arg;
    while (!__atomic_load_n(&stopped, __ATOMIC_ACQUIRE)) {
        int fd[2];
        ws_new_conn n;
        if (ws_engine_count(r->engine)
            > 200) { /* a slow loop has not closed their descriptors yet */
            sched_yield();
            continue;
        }
        unix_pair(fd);
        if (fd[1] > MANY_DESCRIPTORS) { /* a loop has not closed descriptors that no longer count */
            close(fd[0]);
            close(fd[1]);
            usleep(1000);
            continue;
        }
        n = rig_newcomer(r, fd[1], "late");
        ws_engine_add(r->engine, &n);
        close(fd[0]);
    }
    return NULL;
}

static void *keep_calling(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&stopped, __ATOMIC_ACQUIRE)) {
        ws_id id = (ws_id)7 << 48 | 1 << 22 | 1;
        if (ws_run(id, count_call, NULL) == WS_QUEUED) {
            __atomic_add_fetch(&queued, 1, __ATOMIC_RELAXED);
        }
        ws_send_to(id, WS_TEXT, "x", 1);
    }
    return NULL;
}

static void while_others_go_on(void *(*others)(void *arg), const char *name)
{
    enum { TIMES = 100 };
    int stops = 0, none = 0;
    for (int i = 0; i < TIMES; i++) {
        rig r = {.settings = RIG_SETTINGS};
        pthread_t threads[THREADS];
        ws_engine_options o = {.loops = 2,
                               .blocking = 1,
                               .process = 7,
                               .locations = r.locations,
                               .location_count = 2,
                               .log = rig_log,
                               .logs = rig_logs};
        r.location = r.other = (ws_location){.handler = &counter, .name = "test"};
        r.locations[0] = &r.location;
        r.locations[1] = &r.other;
        __atomic_store_n(&stopped, 0, __ATOMIC_RELEASE);
        apr_pool_create(&r.pool, NULL);
        if (ws_engine_create(&r.engine, &o, r.pool) != APR_SUCCESS) {
            bail_out("no engine");
        }
        ws_api_engine(r.engine);
        for (int k = 0; k < THREADS; k++) {
            pthread_create(&threads[k], NULL, others, &r);
        }
        usleep((useconds_t)(i * 37 % 3000));
        stops += ws_engine_stop(r.engine);
        none += ws_engine_count(r.engine) == 0;
        __atomic_store_n(&stopped, 1, __ATOMIC_RELEASE);
        for (int k = 0; k < THREADS; k++) {
            pthread_join(threads[k], NULL);
        }
        ws_api_engine(NULL);
        ws_engine_destroy(r.engine);
        apr_pool_destroy(r.pool);
    }
    is_int(stops, TIMES, "the engine stops while %s", name);
    is_int(called, queued, "each queued ws_run() has called its function");
    is_int(closes, opens, "on_close is called once for each on_open");
    diag("%d newcomers left, %d of %d calls", none, called, queued);
}

/* ---- A thread adds a connection after it has checked that the engine is not stopping ---- */

static void *stop(void *r)
{
    ok(ws_engine_stop(((rig *)r)->engine), "the engine stops");
    return NULL;
}

static int has_task(ws_loop *loop)
{
    int has;
    has = ws_queue_count(&loop->event.tasks) > 0;
    return has;
}

static void a_newcomer_slips_in(void)
{
    rig r = {0};
    pthread_t stopper;
    hold h;
    wire w;
    rig_start(&r, &counter, 1);
    hold_loop(&h, &r);
    pthread_create(&stopper, NULL, stop, &r);
    while (!has_task(&r.engine->loops[0])) { /* the task that closes all connections */
        usleep(1000);
    }
    __atomic_store_n(&r.engine->stopping, 0,
                     __ATOMIC_RELEASE); /* the state that the adding thread has read before */
    w = rig_join(&r, "late");
    __atomic_store_n(&r.engine->stopping, 1, __ATOMIC_RELEASE);
    let_loop_go(&h);
    pthread_join(stopper, NULL);
    wire_next_is(&w, "eof", "the connection added too late is closed");
    wire_free(&w);
    rig_stop(&r);
}

int main(void)
{
    nothing_happens();
    a_machine_without_descriptors();
    loops_share_the_connections();
    a_connection_costs_little();
    pools();
    all_are_closed();
    closing_is_spread();
    many_are_broken(&counter);
    many_are_broken(&slow_counter);
    what_comes_after_the_stop();
    a_newcomer_slips_in();
    while_others_go_on(keep_coming, "other threads add connections");
    while_others_go_on(keep_calling, "other threads call ws_run()");
    return done_testing();
}
