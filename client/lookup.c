/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Looks up names on threads. A resolver can block for half a minute, so stopping the engine does
 * not wait for these threads. All connections that need the same name share one lookup, so that a
 * slow name delays only these connections. Other threads read the files for TLS contexts.
 *
 * getaddrinfo() waits for both the A and the AAAA answer. If that takes longer than SPLIT_DELAY,
 * the name is also looked up for each family separately, and the first addresses that arrive are
 * used (RFC 8305, section 3). It would be wrong to use one call for each family from the beginning:
 * if /etc/hosts has only an IPv4 address for a name, the IPv6 addresses would come from DNS.
 */

#include "client/lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <time.h>

/* Maximum number of threads for names and for files. A name needs up to three threads. */
#define NAME_THREADS 384
#define FILE_THREADS 4

/* Size of a thread's stack, bytes. This is more than twice what glibc's getaddrinfo() needs. */
#define STACK (256 * 1024)

/* Time after which an idle thread ends, seconds. */
#define IDLE 10

/* Time after which the families are looked up separately if getaddrinfo() has not answered,
 * milliseconds. */
#define SPLIT_DELAY 100

/* Time for which ws_lookup_now() waits for further addresses after the first ones, milliseconds. */
#define NOW_DELAY 1000

/* Work for a thread. It is the first member of another struct. */
typedef struct job {
    TAILQ_ENTRY(job) next;
    int queued;
    void (*run)(struct job *j);
} job;

/* The threads for one kind of job, and their queue. The lock protects this struct. */
typedef struct lane {
    TAILQ_HEAD(jobs, job) waiting;
    pthread_cond_t more;
    unsigned waiting_count, threads, idle, most;
} lane;

/* One getaddrinfo() call. Several calls can belong to one question, which is a name to look up. */
typedef struct query {
    job job; /* must be first */
    struct question *question;
    int family;
} query;

enum { EITHER, ONLY_V4, ONLY_V6, QUERIES };

#define BIT(n) (1u << (n))

/* A name that is being looked up, and all lookups that wait for it. The lock protects this struct.
 * It is freed when no lookup is waiting and no query is left. */
typedef struct question {
    LIST_ENTRY(question) others;
    TAILQ_HEAD(lookups, ws_lookup) waiting;
    query queries[QUERIES];
    /* Sets of queries, as bits: those that were started, and those that have ended. */
    unsigned asked, answered;
    ws_addresses *addresses; /* all addresses that have been found so far */
    char error[WS_TLS_ERROR];
    unsigned port;
    char host[];
} question;

struct ws_lookup {
    ws_task task; /* must be first */
    job reading;  /* job that reads the files */
    ws_alarm split;
    TAILQ_ENTRY(ws_lookup) next;
    ws_loop *loop; /* loop to notify; NULL: ws_lookup_now() is waiting */
    void (*found)(void *arg, ws_found *f);
    void *arg;
    ws_tls_files files;
    /* Protected by the lock: */
    question *question; /* NULL: all addresses are known */
    int cancelled, posted;
    int tls_missing; /* 1: the TLS context has not been created yet */
    ws_found result;
    char text[]; /* holds all strings */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t in_tls = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answer_came = PTHREAD_COND_INITIALIZER; /* ws_lookup_now() waits for it */
static lane names = {
    TAILQ_HEAD_INITIALIZER(names.waiting), PTHREAD_COND_INITIALIZER, 0, 0, 0, NAME_THREADS};
static lane files_lane = {
    TAILQ_HEAD_INITIALIZER(files_lane.waiting), PTHREAD_COND_INITIALIZER, 0, 0, 0, FILE_THREADS};
static LIST_HEAD(questions, question) all_questions = LIST_HEAD_INITIALIZER(all_questions);

static struct timespec lookup_deadline(unsigned ms)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* ---- Threads ---- */

static void *lookup_run(void *arg)
{
    lane *lane = arg;
    job *j;
    pthread_mutex_lock(&lock);
    for (;;) {
        struct timespec until;
        int rv;
        while ((j = TAILQ_FIRST(&lane->waiting))) {
            TAILQ_REMOVE(&lane->waiting, j, next);
            lane->waiting_count--;
            j->queued = 0;
            pthread_mutex_unlock(&lock);
            j->run(j);
            pthread_mutex_lock(&lock);
        }
        until = lookup_deadline(IDLE * 1000);
        lane->idle++;
        rv = pthread_cond_timedwait(&lane->more, &lock, &until);
        lane->idle--;
        if (rv != 0 && TAILQ_EMPTY(&lane->waiting)) {
            break;
        }
    }
    lane->threads--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Start a thread for a lane. @return 0, or -1 */
static int lookup_start_thread(lane *lane)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int rv;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = pthread_create(&thread, &attr, lookup_run, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rv == 0 ? 0 : -1;
}

static void lookup_dequeue(lane *lane, job *j)
{
    TAILQ_REMOVE(&lane->waiting, j, next);
    lane->waiting_count--;
    j->queued = 0;
}

/* Queue a job. Called with the lock held. @return 0, or -1: no thread can be started */
static int lookup_queue(lane *lane, job *j)
{
    TAILQ_INSERT_TAIL(&lane->waiting, j, next);
    j->queued = 1;
    lane->waiting_count++;
    if (lane->waiting_count > lane->idle && lane->threads < lane->most) {
        lane->threads += lookup_start_thread(lane) == 0;
    }
    if (lane->threads == 0) {
        lookup_dequeue(lane, j);
        return -1;
    }
    pthread_cond_signal(&lane->more);
    return 0;
}

/* ---- Names ---- */

/* Free a lookup, and the results that it still owns. */
static void lookup_release(ws_lookup *l)
{
    free(l->result.addresses);
    SSL_CTX_free(l->result.tls);
    free(l);
}

/* Notify the receiver of new results: wake ws_lookup_now(), or post the lookup's task to the loop.
 * A task that is already queued is not posted again. While the TLS context is missing, no task is
 * posted. Called with the lock held. */
static void lookup_notify(ws_lookup *l)
{
    if (!l->loop) {
        pthread_cond_broadcast(&answer_came);
    }
    else if (!l->posted && !l->tls_missing) {
        l->posted = ws_loop_post(l->loop, &l->task) == 0;
    }
}

/* Copy the results so far to a lookup. Called with the lock held. */
static void lookup_inform(ws_lookup *l, const question *q, int complete)
{
    free(l->result.addresses);
    l->result.addresses = NULL;
    ws_addresses_merge(&l->result.addresses, q->addresses, 0);
    if (complete) {
        l->question = NULL;
    }
    if (complete && !l->result.addresses && !*l->result.error) {
        strcpy(l->result.error, *q->error ? q->error : "lookup: out of memory");
    }
    lookup_notify(l);
}

static int lookup_is_complete(const question *q)
{
    const unsigned both = BIT(ONLY_V4) | BIT(ONLY_V6);
    return (q->answered & BIT(EITHER)) || (q->answered & both) == both;
}

/* Free a question if it has no queries and no lookups left. Called with the lock held. */
static void lookup_drop(question *q)
{
    if (q->asked == q->answered && TAILQ_EMPTY(&q->waiting)) {
        LIST_REMOVE(q, others);
        free(q->addresses);
        free(q);
    }
}

/* Handle the end of a query. Called with the lock held. */
static void lookup_answer(question *q, unsigned which, const ws_addresses *found, const char *error)
{
    int more = ws_addresses_merge(&q->addresses, found, 0) > 0, complete;
    ws_lookup *l, *next;
    q->answered |= BIT(which);
    if (*error) {
        snprintf(q->error, sizeof(q->error), "lookup: %s", error);
    }
    complete = lookup_is_complete(q);
    for (l = more || complete ? TAILQ_FIRST(&q->waiting) : NULL; l; l = next) {
        next = TAILQ_NEXT(l, next);
        if (complete) {
            TAILQ_REMOVE(&q->waiting, l, next);
        }
        lookup_inform(l, q, complete);
    }
    lookup_drop(q);
}

static void lookup_run_query(job *j)
{
    query *y = (query *)j;
    question *q = y->question;
    int rv;
    ws_addresses *found = ws_addresses_look_up(q->host, q->port, y->family, &rv);
    pthread_mutex_lock(&lock);
    lookup_answer(q, (unsigned)(y - q->queries), found, rv ? gai_strerror(rv) : "");
    pthread_mutex_unlock(&lock);
    free(found);
}

/* Start a query of a question if it has not been started. Called with the lock held. */
static void lookup_ask(question *q, unsigned which)
{
    if (q->asked & BIT(which)) {
        return;
    }
    q->asked |= BIT(which);
    if (lookup_queue(&names, &q->queries[which].job) < 0) {
        lookup_answer(q, which, NULL, "no thread can be made");
    }
}

/* Look up the families separately, because getaddrinfo() has not answered within SPLIT_DELAY.
 * Called with the lock held. */
static void lookup_split_up(question *q)
{
    if (q && !q->addresses) {
        lookup_ask(q, ONLY_V4);
        lookup_ask(q, ONLY_V6);
    }
}

/* Create a question for a name. Called with the lock held. @return NULL: out of memory */
static question *lookup_new_question(const char *host, unsigned port)
{
    static const int families[QUERIES] = {AF_UNSPEC, AF_INET, AF_INET6};
    question *q = calloc(1, sizeof(*q) + strlen(host) + 1);
    if (!q) {
        return NULL;
    }
    for (int i = 0; i < QUERIES; i++) {
        q->queries[i] = (query){.job.run = lookup_run_query, .question = q, .family = families[i]};
    }
    TAILQ_INIT(&q->waiting);
    q->port = port;
    strcpy(q->host, host);
    LIST_INSERT_HEAD(&all_questions, q, others);
    return q;
}

/* Get the question for this name that is in progress, or create one. Called with the lock held.
 * @return NULL: out of memory */
static question *lookup_question(const char *host, unsigned port)
{
    question *q;
    LIST_FOREACH(q, &all_questions, others)
    {
        /* cppcheck-suppress uninitvar; set before it is on the list */
        if (q->port == port && !strcasecmp(q->host, host) && !lookup_is_complete(q)) {
            return q;
        }
    }
    return lookup_new_question(host, port);
}

/* Wait for the addresses of a name. @return 0, or -1: out of memory */
static int lookup_wait_for(ws_lookup *l, const char *host, unsigned port)
{
    question *q;
    int rv = -1;
    pthread_mutex_lock(&lock);
    if ((q = lookup_question(host, port))) {
        rv = 0;
        l->question = q;
        TAILQ_INSERT_TAIL(&q->waiting, l, next);
        if (q->addresses) {
            lookup_inform(l, q, 0);
        }
        lookup_ask(q, EITHER);
    }
    pthread_mutex_unlock(&lock);
    return rv;
}

/* Stop waiting for a question. If no other lookup is waiting for it, remove its queries that no
 * thread has started. Called with the lock held. */
static void lookup_leave(ws_lookup *l)
{
    question *q = l->question;
    if (!q) {
        return;
    }
    l->question = NULL;
    TAILQ_REMOVE(&q->waiting, l, next);
    for (unsigned i = 0; i < QUERIES && TAILQ_EMPTY(&q->waiting); i++) {
        if (q->queries[i].job.queued) {
            lookup_dequeue(&names, &q->queries[i].job);
            q->asked &= ~BIT(i);
        }
    }
    lookup_drop(q);
}

/* ---- TLS contexts ---- */

static int lookup_is_cancelled(ws_lookup *l)
{
    int is;
    pthread_mutex_lock(&lock);
    is = l->cancelled;
    pthread_mutex_unlock(&lock);
    return is;
}

/* Store a TLS context that has been created, or an error. Called with the lock held. */
static void lookup_got_tls(ws_lookup *l, SSL_CTX *tls, const char *error)
{
    l->tls_missing = 0;
    l->result.tls = tls;
    if (*error) {
        snprintf(l->result.error, sizeof(l->result.error), "%s", error);
        lookup_leave(l);
    }
    if (!l->question || l->result.addresses) {
        lookup_notify(l);
    }
}

static void lookup_read(job *j)
{
    ws_lookup *l = (ws_lookup *)((char *)j - offsetof(ws_lookup, reading));
    SSL_CTX *tls = NULL;
    char error[WS_TLS_ERROR] = "";
    int cancelled;
    /* A cancelled lookup must not call OpenSSL, see ws_lookup_settle() */
    pthread_mutex_lock(&in_tls);
    if (!lookup_is_cancelled(l)) {
        tls = ws_tls_context(&l->files, error);
    }
    pthread_mutex_lock(&lock);
    cancelled = l->cancelled;
    if (!cancelled) {
        lookup_got_tls(l, tls, error);
    }
    pthread_mutex_unlock(&lock);
    if (cancelled) {
        SSL_CTX_free(tls);
        lookup_release(l);
    }
    pthread_mutex_unlock(&in_tls);
}

/* ---- Called by the loop ---- */

static void lookup_clear_alarm(ws_lookup *l)
{
    ws_timer_wheel_clear(&l->loop->event.wheel, &l->split);
}

/* Pass the results to the connector, which may cancel the lookup. The function takes the results
 * and computes `more` while it holds the lock, so that no answer is lost. A later answer queues
 * another task. */
static void lookup_tell(ws_loop *loop, ws_task *task)
{
    ws_lookup *l = (ws_lookup *)task;
    void (*found)(void *, ws_found *) = l->found;
    void *arg = l->arg;
    int cancelled;
    ws_found f = {0};
    (void)loop;
    pthread_mutex_lock(&lock);
    l->posted = 0;
    cancelled = l->cancelled;
    if (!cancelled) {
        f = l->result;
        f.more = l->question != NULL;
        l->result.addresses = NULL;
        l->result.tls = NULL;
    }
    pthread_mutex_unlock(&lock);
    if (!cancelled) {
        lookup_clear_alarm(l);
    }
    if (!f.more) {
        lookup_release(l);
    }
    if (!cancelled) {
        found(arg, &f);
    }
}

static void lookup_takes_long(ws_alarm *a)
{
    ws_lookup *l = (ws_lookup *)((char *)a - offsetof(ws_lookup, split));
    pthread_mutex_lock(&lock);
    lookup_split_up(l->question);
    pthread_mutex_unlock(&lock);
}

static const char *lookup_copy(char **out, const char *s)
{
    char *start = *out;
    if (!s) {
        return NULL;
    }
    *out = stpcpy(*out, s) + 1;
    return start;
}

static size_t lookup_length(const char *s)
{
    return s ? strlen(s) + 1 : 0;
}

/* Create a lookup. files may be NULL. */
static ws_lookup *lookup_new(const ws_tls_files *files)
{
    static const ws_tls_files none;
    const ws_tls_files *f = files ? files : &none;
    ws_lookup *l = calloc(1, sizeof(*l) + lookup_length(f->ca_file) + lookup_length(f->certificate)
                                 + lookup_length(f->key) + lookup_length(f->key_log));
    char *out;
    if (l) {
        out = l->text;
        l->files =
            (ws_tls_files){lookup_copy(&out, f->ca_file), lookup_copy(&out, f->certificate),
                           lookup_copy(&out, f->key), f->insecure, lookup_copy(&out, f->key_log)};
    }
    return l;
}

/* Start to look up a name. Numeric addresses do not wait for a thread. @return 0, or -1: out of
 * memory */
static int lookup_begin_name(ws_lookup *l, const char *host, unsigned port)
{
    if ((l->result.addresses = ws_addresses_parse(host, port))) {
        return 0;
    }
    ws_timer_wheel_set(&l->loop->event.wheel, &l->split, ws_clock() + SPLIT_DELAY);
    return lookup_wait_for(l, host, port);
}

ws_lookup *ws_lookup_start(ws_loop *loop, const char *host, unsigned port,
                           const ws_tls_files *files, void (*found)(void *arg, ws_found *f),
                           void *arg)
{
    ws_lookup *l = lookup_new(files);
    if (!l) {
        return NULL;
    }
    l->task.fn = lookup_tell;
    l->reading.run = lookup_read;
    l->split.fn = lookup_takes_long;
    l->loop = loop;
    l->found = found;
    l->arg = arg;
    l->tls_missing = files != NULL;
    if (host && lookup_begin_name(l, host, port) < 0) {
        lookup_clear_alarm(l);
        lookup_release(l);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    if (files && lookup_queue(&files_lane, &l->reading) < 0) {
        lookup_got_tls(l, NULL, "tls: no thread can be made");
    }
    else if (!l->question) {
        lookup_notify(l);
    }
    pthread_mutex_unlock(&lock);
    return l;
}

void ws_lookup_cancel(ws_lookup *l)
{
    int in_use;
    if (l->loop) {
        lookup_clear_alarm(l);
    }
    pthread_mutex_lock(&lock);
    l->cancelled = 1;
    lookup_leave(l);
    if (l->reading.queued) {
        lookup_dequeue(&files_lane, &l->reading);
        l->tls_missing = 0;
    }
    in_use = l->posted || l->tls_missing; /* a task or a thread still uses the lookup */
    pthread_mutex_unlock(&lock);
    if (!in_use) {
        lookup_release(l);
    }
}

void ws_lookup_settle(void)
{
    pthread_mutex_lock(&in_tls);
    pthread_mutex_unlock(&in_tls);
}

/* ---- Without a loop ---- */

/* Wait up to ms milliseconds for all addresses. Called with the lock held. */
static void lookup_wait(ws_lookup *l, unsigned ms)
{
    struct timespec until = lookup_deadline(ms);
    while (l->question && pthread_cond_timedwait(&answer_came, &lock, &until) == 0) {
    }
}

ws_addresses *ws_lookup_now(const char *host, unsigned port, char *error)
{
    ws_addresses *all = ws_addresses_parse(host, port);
    ws_lookup *l = all ? NULL : lookup_new(NULL);
    if (all) {
        return all;
    }
    if (!l || lookup_wait_for(l, host, port) < 0) {
        free(l);
        strcpy(error, "lookup: out of memory");
        return NULL;
    }
    pthread_mutex_lock(&lock);
    lookup_wait(l, SPLIT_DELAY);
    lookup_split_up(l->question);
    /* Wait for further addresses, because the first ones may be unreachable. */
    lookup_wait(l, NOW_DELAY);
    while (l->question && !l->result.addresses) {
        pthread_cond_wait(&answer_came, &lock);
    }
    all = l->result.addresses;
    l->result.addresses = NULL;
    strcpy(error, l->result.error);
    pthread_mutex_unlock(&lock);
    ws_lookup_cancel(l);
    return all;
}
