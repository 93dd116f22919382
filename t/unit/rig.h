/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Runs a real engine for tests, with two locations, one handler, and connections that have names.
 * The handler's callbacks add lines to the record, a list in memory. A test waits for an expected
 * line or event, never for a fixed time.
 */

#ifndef WS_T_UNIT_RIG_H
#define WS_T_UNIT_RIG_H

#include <apr_general.h>
#include <dirent.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "engine/conn.h"
#include "engine/engine.h"
#include "t/unit/wire.h"

/* ---- The record: each line has the name of a connection and a text ---- */

typedef struct line {
    struct line *next;
    const char *name;
    char text[TEXT_SIZE + 32];
} line;

static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t record_more = PTHREAD_COND_INITIALIZER;
static line *record, **record_end = &record;
static unsigned opens, closes; /* total number of on_open and on_close callbacks */

static inline struct timespec patience(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += PATIENCE / 1000;
    return t;
}

/** Add a line to the record.  [any thread] */
__attribute__((format(printf, 2, 3))) static inline void note(const char *name, const char *format,
                                                              ...)
{
    line *l = calloc(1, sizeof(*l));
    va_list args;
    va_start(args, format);
    vsnprintf(l->text, sizeof(l->text), format, args);
    va_end(args);
    l->name = name ? name : "";
    pthread_mutex_lock(&record_lock);
    *record_end = l;
    record_end = &l->next;
    pthread_cond_broadcast(&record_more);
    pthread_mutex_unlock(&record_lock);
}

/** Wait for the next line of a name, and remove it from the record.
 *  @return its text, valid until the thread's next call */
static inline const char *told(const char *name)
{
    static __thread char text[TEXT_SIZE + 32];
    struct timespec until = patience();
    pthread_mutex_lock(&record_lock);
    for (;;) {
        line **link = &record, *l;
        while ((l = *link) && strcmp(l->name, name)) {
            link = &l->next;
        }
        if (l) {
            if (!(*link = l->next)) {
                record_end = link;
            }
            memcpy(text, l->text, sizeof(text));
            free(l);
            break;
        }
        if (pthread_cond_timedwait(&record_more, &record_lock, &until) != 0) {
            pthread_mutex_unlock(&record_lock);
            bail_out("the record gets no line of \"%s\"", name);
        }
    }
    pthread_mutex_unlock(&record_lock);
    return text;
}

/** told_is(name, text, name of the check...): check the next line of a name. */
#define told_is(NAME, ...) is_str(told(NAME), __VA_ARGS__)

/** Print the lines in the record. @return their number */
static inline int untold(void)
{
    int n = 0;
    pthread_mutex_lock(&record_lock);
    for (line *l = record; l; l = l->next) {
        diag("%s: %s", l->name, l->text);
        n++;
    }
    pthread_mutex_unlock(&record_lock);
    return n;
}

/** Remove all lines of a name from the record. */
static inline void forget(const char *name)
{
    pthread_mutex_lock(&record_lock);
    for (line **link = &record, *l; (l = *link);) {
        if (strcmp(l->name, name)) {
            link = &l->next;
            continue;
        }
        if (!(*link = l->next)) {
            record_end = link;
        }
        free(l);
    }
    pthread_mutex_unlock(&record_lock);
}

/* ---- Callbacks that write the record ---- */

/** @return the connection's name, which the test stores as the connection's data */
static inline const char *name_of(const ws_conn *c)
{
    return ws_data(c);
}

static inline void rec_open(ws_conn *c)
{
    __atomic_add_fetch(&opens, 1, __ATOMIC_RELAXED);
    note(name_of(c), "open");
}

static inline void rec_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    char text[TEXT_SIZE];
    note(name_of(c), "%s", describe(text, (int)type, data, len));
}

static inline void rec_ping(ws_conn *c, const char *data, apr_size_t len)
{
    char text[TEXT_SIZE];
    note(name_of(c), "%s", describe(text, PING, data, len));
}

static inline void rec_pong(ws_conn *c, const char *data, apr_size_t len)
{
    char text[TEXT_SIZE];
    note(name_of(c), "%s", describe(text, PONG, data, len));
}

static inline void rec_drain(ws_conn *c)
{
    note(name_of(c), "drain");
}

static inline void rec_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    __atomic_add_fetch(&closes, 1, __ATOMIC_RELAXED);
    note(name_of(c), "close %d \"%.*s\"%s", code, (int)len, reason,
         ws_conn_state(c) == WS_CLOSED ? "" : ", in a wrong state");
}

static inline void rec_and_echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    rec_message(c, type, data, len);
    ws_send(c, type, data, len);
}

/** Callbacks that write the record. ECHO_RECORDER also echoes messages. */
#define RECORDER                                                                                   \
    .on_open = rec_open, .on_pong = rec_pong, .on_drain = rec_drain, .on_close = rec_close
#define ECHO_RECORDER .on_message = rec_and_echo, RECORDER

/* ---- The engine ---- */

typedef struct rig {
    apr_pool_t *pool;
    ws_engine *engine;
    ws_settings settings;
    unsigned blocking; /**< number of threads for WS_BLOCKING handlers; 0: 4 */
    unsigned watchdog; /**< milliseconds; 0: none */
    const ws_extension *const *extensions;
    unsigned extension_count;
    ws_location location, other, *locations[2];
    int descriptors; /**< number of open descriptors before the start */
} rig;

static int log_lines; /* number of the engine's log lines at warning or error level; atomic */

static inline void rig_log(ws_log_level level, const ws_settings *settings, const ws_conn *c,
                           const char *text)
{
    (void)settings, (void)c;
    if (level <= WS_LOG_WARNING) {
        __atomic_add_fetch(&log_lines, 1, __ATOMIC_RELAXED);
        diag("log: %s", text);
    }
}

static inline int rig_logs(ws_log_level level, const ws_settings *settings)
{
    (void)level, (void)settings;
    return 1;
}

/** @return the number of the process's open descriptors, plus a constant */
static inline int descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    while (readdir(d)) {
        n++;
    }
    closedir(d);
    return n;
}

/** Longer than any time limit of a test, milliseconds, so that the test itself fails first and
 *  reports the missing event. */
#define NEVER 3600000

/** Limits that no test reaches unintentionally; no pings. */
#define RIG_SETTINGS                                                                               \
    {                                                                                              \
        .max_frame = 64 << 20, .max_message = 64 << 20, .send_queue = 1 << 20,                     \
        .close_timeout = NEVER, .ping_grace = NEVER                                                \
    }

/** @return the backend; WS_TEST_BACKEND=io_uring in the environment selects io_uring */
static inline ws_backend rig_backend(void)
{
    const char *name = getenv("WS_TEST_BACKEND");
    ws_backend backend = WS_BACKEND_EPOLL;
    if (name && ws_backend_parse(name, &backend) < 0) {
        bail_out("WS_TEST_BACKEND=%s", name);
    }
    if (ws_backend_check(backend, NULL) != APR_SUCCESS) {
        printf("1..0 # SKIP io_uring is not available\n");
        exit(0);
    }
    return backend;
}

/** Start an engine with this handler. The caller may set r->settings first. */
static inline void rig_start(rig *r, const ws_handler *handler, unsigned loops)
{
    ws_engine_options o = {.backend = rig_backend(),
                           .loops = loops,
                           .blocking = r->blocking ? r->blocking : 4,
                           .watchdog = r->watchdog,
                           .process = 7,
                           .locations = r->locations,
                           .location_count = 2,
                           .extensions = r->extensions,
                           .extension_count = r->extension_count,
                           .log = rig_log,
                           .logs = rig_logs};
    apr_initialize();
    r->descriptors = descriptors();
    if (!r->settings.max_frame) {
        r->settings = (ws_settings)RIG_SETTINGS;
    }
    r->location = (ws_location){.handler = handler, .name = "test"};
    r->other = (ws_location){.handler = handler, .name = "other"};
    r->locations[0] = &r->location;
    r->locations[1] = &r->other;
    apr_pool_create(&r->pool, NULL);
    if (ws_engine_create(&r->engine, &o, r->pool) != APR_SUCCESS) {
        bail_out("no engine");
    }
    ws_api_engine(r->engine);
}

/** Stop and free the engine. Checks that no connection, record line or descriptor is left. */
static inline void rig_stop(rig *r)
{
    ok(ws_engine_stop(r->engine), "the engine stops");
    is_int(ws_engine_count(r->engine), 0, "no connection is left");
    ws_api_engine(NULL);
    ws_engine_destroy(r->engine);
    apr_pool_destroy(r->pool);
    is_int(closes, opens, "on_close was called once for each on_open");
    is_int(untold(), 0, "the record has no unexpected callbacks");
    is_int(descriptors(), r->descriptors, "no descriptor is left open");
}

/** @return the parameters for ws_engine_add() of a connection with this name */
static inline ws_new_conn rig_newcomer(rig *r, int fd, const char *name)
{
    return (ws_new_conn){.fd = fd,
                         .location = &r->location,
                         .settings = &r->settings,
                         .version = 13,
                         .data = (void *)name,
                         .strings = {.uri = "/test", .peer = "127.0.0.1"}};
}

/** Add a connection that uses a pair of sockets. @return the client's end */
static inline wire rig_join_pair(rig *r, const char *name, const int fd[2])
{
    ws_new_conn n = rig_newcomer(r, fd[1], name);
    if (ws_engine_add(r->engine, &n) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    return (wire){.fd = fd[0]};
}

static inline wire rig_join(rig *r, const char *name)
{
    int fd[2];
    unix_pair(fd);
    return rig_join_pair(r, name, fd);
}

/** Add a connection, and wait for its on_open. */
static inline wire enter(rig *r, const char *name)
{
    wire w = rig_join(r, name);
    told_is(name, "open", "a connection");
    return w;
}

/** As enter(), with small socket buffers. */
static inline wire enter_narrow(rig *r, const char *name)
{
    int fd[2];
    wire w;
    unix_pair(fd);
    small_buffers(fd);
    w = rig_join_pair(r, name, fd);
    told_is(name, "open", "a connection with small buffers");
    return w;
}

/** Perform and check a closing handshake. */
static inline void leave(wire *w, const char *name)
{
    wire_close(w, 1000, "bye");
    wire_next_is(w, "close 1000 \"bye\"", "the client's Close frame is answered");
    wire_next_is(w, w->ssl ? "close_notify" : "eof",
                 "after its Close frame, the server ends the connection");
    told_is(name, "close 1000 \"bye\"", "on_close");
    wire_free(w);
}

/** Wait until all connections have ended. */
static inline void nobody_is_left(rig *r)
{
    if (!ws_engine_wait(r->engine, PATIENCE)) {
        bail_out("a connection does not end");
    }
}

typedef void test(rig *r);

/** Run tests with one engine. @param setup  values to set before rig_start() */
static inline void rig_run(rig setup, const ws_handler *handler, unsigned loops, test *const *tests)
{
    rig r = setup;
    rig_start(&r, handler, loops);
    for (; *tests; tests++) {
        (*tests)(&r);
    }
    rig_stop(&r);
}

/* ---- On a loop's thread ---- */

typedef struct loop_call {
    ws_task task;
    void (*fn)(ws_loop *loop, void *arg);
    void *arg;
    sem_t *done;
} loop_call;

static inline void run_loop_call(ws_loop *loop, ws_task *task)
{
    loop_call *e = (loop_call *)task;
    e->fn(loop, e->arg);
    sem_post(e->done);
    free(e);
}

static inline void sem_must(sem_t *s, const char *what)
{
    struct timespec until = patience();
    while (sem_timedwait(s, &until) < 0) {
        if (errno != EINTR) {
            bail_out("%s", what);
        }
    }
}

/** Call a function on a loop's thread, between the callbacks, and wait until it has returned. */
static inline void on_loop_of(rig *r, unsigned index, void (*fn)(ws_loop *loop, void *arg),
                              void *arg)
{
    sem_t done;
    loop_call *e = ws_task_new(sizeof(*e), run_loop_call);
    sem_init(&done, 0, 0);
    e->fn = fn;
    e->arg = arg;
    e->done = &done;
    if (ws_loop_post(&r->engine->loops[index], &e->task) < 0) {
        bail_out("the loop accepts no task");
    }
    sem_must(&done, "the loop does not finish the task");
    sem_destroy(&done);
}

static inline void nothing(ws_loop *loop, void *arg)
{
    (void)loop, (void)arg;
}

/** Wait until a loop has finished its current iteration and another one. */
static inline void turns(rig *r, unsigned index)
{
    on_loop_of(r, index, nothing, NULL);
    on_loop_of(r, index, nothing, NULL);
}

static inline void all_loops_turn(rig *r)
{
    for (unsigned i = 0; i < r->engine->options.loops; i++) {
        turns(r, i);
    }
}

/** A loop that hold_loop() has blocked. */
typedef struct hold {
    rig *r;
    sem_t held, go;
    pthread_t thread;
} hold;

static inline void stand_still(ws_loop *loop, void *arg)
{
    hold *h = arg;
    (void)loop;
    sem_post(&h->held);
    sem_must(&h->go, "the test does not release the loop");
}

static inline void *run_hold(void *arg)
{
    on_loop_of(((hold *)arg)->r, 0, stand_still, arg);
    return NULL;
}

/** Block the first loop, so that it receives all events that occur meanwhile in one iteration. */
static inline void hold_loop(hold *h, rig *r)
{
    h->r = r;
    sem_init(&h->held, 0, 0);
    sem_init(&h->go, 0, 0);
    pthread_create(&h->thread, NULL, run_hold, h);
    sem_must(&h->held, "the loop is not blocked");
}

static inline void let_loop_go(hold *h)
{
    sem_post(&h->go);
    pthread_join(h->thread, NULL);
    sem_destroy(&h->held);
    sem_destroy(&h->go);
}

/* ---- Inside a callback ---- */

typedef struct search {
    const char *name;
    ws_id id;
} search;

static inline void search_loop(ws_loop *loop, void *arg)
{
    search *s = arg;
    for (ws_conn *c = LIST_FIRST(&loop->heads[0]); c; c = LIST_NEXT(c, of_location)) {
        /* An older connection with this name may have ended, or be about to end. */
        if (ws_conn_find(loop, c->id) && ws_conn_state(c) != WS_CLOSED
            && !strcmp(name_of(c), s->name)) {
            s->id = c->id;
        }
    }
}

/** @return the id of the connection with this name; 0: there is none */
static inline ws_id id_of(rig *r, const char *name)
{
    search s = {name, 0};
    for (unsigned i = 0; i < r->engine->options.loops; i++) {
        on_loop_of(r, i, search_loop, &s);
    }
    return s.id;
}

typedef struct call {
    void (*fn)(ws_conn *c, void *arg);
    void *arg;
    sem_t done;
} call;

static inline void run_call(ws_conn *c, void *arg)
{
    call *l = arg;
    l->fn(c, l->arg);
    sem_post(&l->done);
}

/** Call a function as a callback of the connection, and wait for it.
 *  @return the same as ws_run() */
static inline ws_status as_callback(ws_id id, void (*fn)(ws_conn *c, void *arg), void *arg)
{
    call l = {.fn = fn, .arg = arg};
    ws_status s;
    sem_init(&l.done, 0, 0);
    if ((s = ws_run(id, run_call, &l)) == WS_QUEUED) {
        sem_must(&l.done, "ws_run() does not call the function");
    }
    sem_destroy(&l.done);
    return s;
}

static inline void do_pause(ws_conn *c, void *arg)
{
    (void)arg;
    ws_pause(c);
}

static inline void do_resume(ws_conn *c, void *arg)
{
    (void)arg;
    ws_resume(c);
}

/** Call fn on a loop until it sets *so, at most once in each iteration of the loop. */
static inline void until(rig *r, unsigned index, void (*fn)(ws_loop *loop, void *arg), void *arg,
                         const int *so)
{
    struct timespec deadline = patience(), now;
    for (on_loop_of(r, index, fn, arg); !*so; on_loop_of(r, index, fn, arg)) {
        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec > deadline.tv_sec) {
            bail_out("the expected state is not reached");
        }
        usleep(1000);
    }
}

#endif
