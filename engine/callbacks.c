/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Calls the handler's callbacks. The loop calls those of most handlers. The callbacks of a
 * WS_BLOCKING handler are queued as jobs for the engine's thread pool. The jobs of one connection
 * run one at a time and in order.
 */

#include <stdlib.h>
#include <string.h>

#include "engine/callbacks.h"
#include "engine/conn.h"
#include "engine/output.h"

/* Stop reading while more jobs or bytes than this are waiting for the handler. */
#define JOBS_MAX 64
#define JOB_BYTES_MAX (1024 * 1024)

/* Number of jobs of one connection that a thread runs before it serves other connections. */
#define TURN 16

typedef enum {
    OPEN,
    MESSAGE,
    FRAME,
    PONG,
    PING,
    DRAIN,
    RUN,
    RESOURCE,
    STATE,
    CLOSING,
    CLOSE
} job_kind;

typedef struct job job;
struct job {
    job *next;
    job_kind kind;
    ws_type type;
    unsigned where; /* FRAME: WS_FIRST...; RESOURCE: events; STATE: from << 8 | to */
    const ws_cb_resource *resource;
    void (*fn)(ws_conn *c, void *arg);
    void *arg;
    apr_size_t len;
    char data[];
};

struct ws_jobs {
    ws_work work;
    ws_conn *c;
    ws_thread_pool *threads;
    apr_thread_mutex_t *lock; /**< protects the fields from first to held */
    apr_pool_t *pool;         /**< pool of the lock */
    job *first, **last;
    apr_uint32_t count;
    apr_size_t bytes;
    job *close;        /**< allocated in advance, so that closing cannot fail */
    int running;       /**< a thread runs this connection's jobs, or the pool has queued them */
    int held;          /**< WS_HELD_JOBS is set or will be */
    apr_size_t posted; /**< bytes counted by ws_cb_posted(); atomic */
    int over;          /**< on_close has been called; loop thread only */
    ws_task last_task; /**< task that sets over; posted after all tasks of the jobs */
};

typedef struct release_task {
    ws_task task;
    ws_id id;
} release_task;

static const ws_handler *cb_handler_of(const ws_conn *c)
{
    return c->location->handler;
}

static void cb_call_close(ws_conn *c)
{
    const ws_bytes *reason = c->rare->end_reason;
    if (cb_handler_of(c)->on_close) {
        cb_handler_of(c)->on_close(c, c->end_code ? c->end_code : WS_CLOSE_ABNORMAL,
                                   reason ? (const char *)reason->data : "",
                                   reason ? reason->len : 0);
    }
}

static void cb_call_closing(ws_conn *c)
{
    const ws_bytes *reason = c->rare->end_reason;
    int later = cb_handler_of(c)->on_closing(
        c, c->end_code, reason ? (const char *)reason->data : "", reason ? reason->len : 0);
    if (later) {
        return;
    }
    if (c->rare->jobs) {
        ws_engine_on_conn(c, ws_conn_answer_close); /* if this fails, the alarm answers the Close */
    }
    else {
        ws_conn_answer_close(c);
    }
}

/* Record the running callback for the watchdog. Call these functions only on the loop. */

static inline void cb_enter(const ws_conn *c, const char *what)
{
    ws_cb_enter(&c->loop->call, c, what);
}

static inline void cb_leave(ws_conn *c)
{
    ws_cb_leave(&c->loop->call, c);
}

static void cb_release(ws_loop *loop, ws_task *task)
{
    ws_conn *c = ws_conn_find(loop, ((release_task *)task)->id);
    int held = 0;
    if (c) {
        apr_thread_mutex_lock(c->rare->jobs->lock);
        held = c->rare->jobs->held; /* 1: reading was stopped again after this task was posted */
        apr_thread_mutex_unlock(c->rare->jobs->lock);
    }
    if (c && !held) {
        ws_conn_release(c, WS_HELD_JOBS);
        ws_conn_watch(c);
    }
    free(task);
}

static void cb_post_release(ws_conn *c)
{
    release_task *t = ws_task_new(sizeof(*t), cb_release);
    if (t) {
        t->id = c->id;
        if (ws_loop_post(c->loop, &t->task) < 0) {
            free(t);
        }
    }
}

static void cb_set_over(ws_loop *loop, ws_task *task)
{
    ws_jobs *jobs = (ws_jobs *)((char *)task - offsetof(ws_jobs, last_task));
    (void)loop;
    jobs->over = 1;
    ws_cb_leave_channels(jobs->c);
}

static void cb_do_job(ws_conn *c, job *j)
{
    const ws_handler *h = cb_handler_of(c);
    switch (j->kind) {
    case OPEN:
        h->on_open(c);
        break;
    case MESSAGE:
        h->on_message(c, j->type, j->data, j->len);
        break;
    case FRAME:
        h->on_frame(c, j->type, j->data, j->len, j->where);
        break;
    case PONG:
        h->on_pong(c, j->data, j->len);
        break;
    case PING:
        h->on_ping(c, j->data, j->len);
        break;
    case DRAIN:
        h->on_drain(c);
        break;
    case RUN:
        j->fn(c, j->arg);
        break;
    case RESOURCE:
        j->resource->call(c, j->arg, j->where);
        j->resource->done(c, j->arg);
        break;
    case STATE:
        h->on_state(c, (ws_state)(j->where >> 8), (ws_state)(j->where & 0xFF));
        break;
    case CLOSING:
        cb_call_closing(c);
        break;
    case CLOSE:
        cb_call_close(c);
        break;
    }
}

static void cb_do_jobs(ws_work *work)
{
    ws_jobs *jobs = (ws_jobs *)((char *)work - offsetof(ws_jobs, work));
    ws_conn *c = jobs->c;
    ws_loop *loop = c->loop;

    for (int i = 0;; i++) {
        job *j;
        int release = 0;
        apr_thread_mutex_lock(jobs->lock);
        if (!jobs->first || i == TURN) {
            int again = jobs->first != NULL;
            jobs->running = again;
            apr_thread_mutex_unlock(jobs->lock);
            if (again) {
                ws_thread_pool_push(jobs->threads, &jobs->work);
            }
            return;
        }
        j = jobs->first;
        if (!(jobs->first = j->next)) {
            jobs->last = &jobs->first;
        }
        jobs->count--;
        jobs->bytes -= j->len;
        if (jobs->held && jobs->count <= JOBS_MAX / 2 && jobs->bytes <= JOB_BYTES_MAX / 2) {
            jobs->held = 0;
            release = 1;
        }
        apr_thread_mutex_unlock(jobs->lock);
        if (release) {
            cb_post_release(c);
        }
        cb_do_job(c, j);
        if (j->kind == CLOSE) {
            free(j);
            ws_loop_post(loop, &jobs->last_task); /* the loop may free c after this task */
            return;
        }
        free(j);
    }
}

/* Get the engine's thread pool, which the first call creates. */
static ws_thread_pool *cb_threads(ws_engine *e)
{
    ws_thread_pool *t;
    apr_thread_mutex_lock(e->lock);
    if (!e->threads && ws_thread_pool_create(&e->threads, e->options.blocking) != APR_SUCCESS) {
        e->threads = NULL;
    }
    t = e->threads;
    apr_thread_mutex_unlock(e->lock);
    return t;
}

static job *cb_job_new(job_kind kind, const void *data, apr_size_t len)
{
    job *j = malloc(sizeof(*j) + len);
    if (j) {
        memset(j, 0, sizeof(*j));
        j->kind = kind;
        j->len = len;
        if (len) {
            memcpy(j->data, data, len);
        }
    }
    return j;
}

/* Queue a job, and take it over. j NULL: out of memory. */
static void cb_give(ws_conn *c, job *j)
{
    ws_jobs *jobs = c->rare->jobs;
    int start, hold, last;

    if (!j) {
        /* The connection must end, because the handler's state for the connection would be wrong if
         * a callback were skipped. */
        ws_conn_fail(c, WS_CLOSE_INTERNAL, "out of memory");
        return;
    }
    last = j->kind == CLOSE;
    apr_thread_mutex_lock(jobs->lock);
    j->next = NULL;
    *jobs->last = j;
    jobs->last = &j->next;
    jobs->count++;
    jobs->bytes += j->len;
    start = !jobs->running;
    jobs->running = 1;
    hold = !jobs->held && (jobs->count > JOBS_MAX || jobs->bytes > JOB_BYTES_MAX);
    if (hold) {
        jobs->held = 1;
        /* While the lock is held, no thread can post the task that releases the connection. */
        ws_conn_hold(c, WS_HELD_JOBS);
    }
    apr_thread_mutex_unlock(jobs->lock);
    if (start) {
        ws_thread_pool_push(jobs->threads, &jobs->work);
    }
    if (hold && c->loop->corked != c && !last) {
        ws_conn_watch(c); /* otherwise input.c does this when it has delivered the input */
    }
}

int ws_cb_init(ws_conn *c)
{
    ws_thread_pool *pool;
    ws_jobs *jobs;
    if (!(cb_handler_of(c)->flags & WS_BLOCKING)) {
        return 0;
    }
    if (!ws_conn_rare(c) || !(pool = cb_threads(c->loop->engine))
        || !(jobs = calloc(1, sizeof(*jobs)))) {
        return -1;
    }
    jobs->work.fn = cb_do_jobs;
    jobs->c = c;
    jobs->threads = pool;
    jobs->last = &jobs->first;
    jobs->last_task.fn = cb_set_over;
    if (!(jobs->close = cb_job_new(CLOSE, NULL, 0))
        || apr_pool_create_unmanaged(&jobs->pool) != APR_SUCCESS
        || apr_thread_mutex_create(&jobs->lock, APR_THREAD_MUTEX_DEFAULT, jobs->pool)
               != APR_SUCCESS) {
        if (jobs->pool) {
            apr_pool_destroy(jobs->pool);
        }
        free(jobs->close);
        free(jobs);
        return -1;
    }
    ws_rare_of(c)->jobs = jobs;
    return 0;
}

apr_size_t ws_cb_posted(ws_conn *c, apr_ssize_t change)
{
    return c->rare->jobs
               ? __atomic_add_fetch(&c->rare->jobs->posted, (apr_size_t)change, __ATOMIC_RELAXED)
               : 0;
}

int ws_cb_keeps_pace(ws_conn *c)
{
    apr_uint32_t n;
    if (!c->rare->jobs) {
        return 1;
    }
    apr_thread_mutex_lock(c->rare->jobs->lock);
    n = c->rare->jobs->count;
    apr_thread_mutex_unlock(c->rare->jobs->lock);
    if (n >= WS_CALLBACKS_MAX) {
        ws_conn_fail(c, WS_CLOSE_INTERNAL, "too many callbacks wait for the handler");
        return 0;
    }
    return 1;
}

int ws_cb_over(const ws_conn *c)
{
    return !c->rare->jobs || !c->opened || c->rare->jobs->over;
}

void ws_cb_free(ws_conn *c)
{
    if (c->rare->jobs) {
        free(c->rare->jobs->close); /* still set if it was never queued */
        apr_pool_destroy(c->rare->jobs->pool);
        free(c->rare->jobs);
        ws_rare_of(c)->jobs = NULL;
    }
}

void ws_cb_open(ws_conn *c)
{
    c->opened = 1;
    if (c->rare->ticket && c->loop->engine->options.opened) {
        c->loop->engine->options.opened(c);
    }
    if (!cb_handler_of(c)->on_open) {
        return;
    }
    if (c->rare->jobs) {
        cb_give(c, cb_job_new(OPEN, NULL, 0));
        return;
    }
    ws_conn_cork(c);
    cb_enter(c, "on_open");
    cb_handler_of(c)->on_open(c);
    cb_leave(c);
    ws_conn_uncork(c);
}

/* Callbacks for messages, pings and pongs do not cork, because input.c corks once per read. */

void ws_cb_message(ws_conn *c, ws_type type, const unsigned char *data, apr_size_t len)
{
    if (!cb_handler_of(c)->on_message) {
        return;
    }
    if (c->rare->jobs) {
        job *j = cb_job_new(MESSAGE, data, len);
        if (j) {
            j->type = type;
        }
        cb_give(c, j);
        return;
    }
    cb_enter(c, "on_message");
    cb_handler_of(c)->on_message(c, type, (const char *)data, len);
    cb_leave(c);
}

void ws_cb_frame(ws_conn *c, ws_type type, const unsigned char *data, apr_size_t len,
                 unsigned where)
{
    if (c->rare->jobs) {
        job *j = cb_job_new(FRAME, data, len);
        if (j) {
            j->type = type;
            j->where = where;
        }
        cb_give(c, j);
        return;
    }
    cb_enter(c, "on_frame");
    cb_handler_of(c)->on_frame(c, type, (const char *)data, len, where);
    cb_leave(c);
}

void ws_cb_pong(ws_conn *c, const unsigned char *data, apr_size_t len)
{
    if (!cb_handler_of(c)->on_pong) {
        return;
    }
    if (c->rare->jobs) {
        cb_give(c, cb_job_new(PONG, data, len));
        return;
    }
    cb_enter(c, "on_pong");
    cb_handler_of(c)->on_pong(c, (const char *)data, len);
    cb_leave(c);
}

void ws_cb_ping(ws_conn *c, const unsigned char *data, apr_size_t len)
{
    if (!cb_handler_of(c)->on_ping) {
        return;
    }
    if (c->rare->jobs) {
        cb_give(c, cb_job_new(PING, data, len));
        return;
    }
    cb_enter(c, "on_ping");
    cb_handler_of(c)->on_ping(c, (const char *)data, len);
    cb_leave(c);
}

void ws_cb_drain(ws_conn *c)
{
    if (!cb_handler_of(c)->on_drain || ws_state_of(c) != WS_OPEN) {
        return;
    }
    if (c->rare->jobs) {
        cb_give(c, cb_job_new(DRAIN, NULL, 0));
        return;
    }
    ws_conn_cork(c);
    cb_enter(c, "on_drain");
    cb_handler_of(c)->on_drain(c);
    cb_leave(c);
    ws_conn_uncork(c);
}

int ws_cb_channel(ws_conn *c, const ws_event *event)
{
    int form;
    ws_conn_cork(c);
    cb_enter(c, "on_channel");
    form = cb_handler_of(c)->on_channel(c, event);
    cb_leave(c);
    ws_conn_uncork(c);
    return form;
}

void ws_cb_run(ws_conn *c, void (*fn)(ws_conn *c, void *arg), void *arg)
{
    if (c->rare->jobs) {
        job *j = cb_job_new(RUN, NULL, 0);
        if (j) {
            j->fn = fn;
            j->arg = arg;
        }
        else {
            fn(NULL, arg);
        }
        cb_give(c, j);
        return;
    }
    ws_conn_cork(c);
    cb_enter(c, "a function of ws_run()");
    fn(c, arg);
    cb_leave(c);
    ws_conn_uncork(c);
}

void ws_cb_call(ws_conn *c, const ws_cb_resource *r, void *what, unsigned events)
{
    if (c->rare->jobs) {
        job *j = cb_job_new(RESOURCE, NULL, 0);
        if (j) {
            j->resource = r;
            j->arg = what;
            j->where = events;
        }
        else {
            r->done(c, what);
        }
        cb_give(c, j);
        return;
    }
    ws_conn_cork(c);
    cb_enter(c, r->name);
    r->call(c, what, events);
    cb_leave(c);
    r->done(c, what);
    ws_conn_uncork(c);
}

void ws_cb_closing(ws_conn *c)
{
    if (!cb_handler_of(c)->on_closing || !c->opened) {
        ws_conn_answer_close(c);
        return;
    }
    if (c->rare->jobs) {
        cb_give(c, cb_job_new(CLOSING, NULL, 0));
        return;
    }
    cb_enter(c, "on_closing");
    cb_call_closing(c);
    cb_leave(c);
}

/* Call on_state. ws_close() may do this inside another callback. */
static void cb_state(ws_conn *c, ws_state from, ws_state to)
{
    ws_call *call = &c->loop->call;
    const char *what = call->what;
    const ws_conn *of = call->c;
    if (c->rare->jobs) {
        job *j = cb_job_new(STATE, NULL, 0);
        if (j) {
            j->where = (unsigned)from << 8 | (unsigned)to;
        }
        cb_give(c, j);
        return;
    }
    cb_enter(c, "on_state");
    cb_handler_of(c)->on_state(c, from, to);
    cb_leave(c);
    if (what) {
        ws_cb_enter(call, of, what);
    }
}

void ws_cb_set_state(ws_conn *c, ws_state state)
{
    ws_state from = ws_state_of(c);
    __atomic_store_n(&c->state, (unsigned char)state, __ATOMIC_RELAXED);
    if (c->opened && from != state && c->location->handler->on_state) {
        cb_state(c, from, state);
    }
}

void ws_cb_close(ws_conn *c)
{
    if (c->closed_told || !c->opened) {
        return;
    }
    c->closed_told = 1;
    if (c->rare->jobs) {
        job *j = c->rare->jobs->close;
        c->rare->jobs->close = NULL;
        cb_give(c, j);
        return;
    }
    cb_enter(c, "on_close");
    cb_call_close(c);
    cb_leave(c);
    ws_cb_leave_channels(c);
}
