/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Queues the requests of all connections, and sends them with libcurl on one thread per child.
 *  Each connection has at most one request in progress, so that its events stay in order. After
 *  repeated failures a circuit breaker refuses new connections for a while. */

#include "courier.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "grip.h"
#include "headers.h"

#define CLOSE_RETRIES 3
#define CLOSE_DELAY 500 /* milliseconds until a close event is sent again, doubled each time */
#define FAILURES_MAX 5  /* number of consecutive failures that open the circuit breaker */
#define STOP_PATIENCE (5 * 1000)
#define IDLE (60 * 1000)

struct courier {
    http_config *config;
    CURLM *multi;
    pthread_t thread;

    pthread_mutex_t lock; /* protects the three fields below */
    job *incoming, *incoming_last;
    int stopping;

    /* These are atomic, because other threads read them: */
    long waiting;        /* number of sessions in `ready`, plus jobs in `incoming` */
    long long closed_by; /* end of the circuit breaker's pause, as courier_now(); 0: no pause */

    /* Used by the courier's thread only. */
    /* First jobs of sessions that are ready to be sent; linked by next_ready. */
    job *ready, *ready_last;
    /* Close events that wait for their next attempt; linked by next_ready. */
    job *later;
    job *flying; /* jobs in progress; linked by next_ready */
    long running;
    unsigned failures;
    headers_sig sig;
    long long stop_by; /* when the remaining jobs fail, as courier_now(); 0: not stopping */
};

static long long courier_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* ---- Sessions and jobs ---- */

session *session_new(courier *c)
{
    session *s = calloc(1, sizeof(*s));
    if (s) {
        s->refs = 1;
        s->courier = c;
    }
    return s;
}

void session_ref(session *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
}

void session_unref(session *s)
{
    if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        curl_slist_free_all(s->headers);
        curl_slist_free_all(s->connect_to);
        curl_slist_free_all(s->meta);
        free(s->claims);
        free(s->url);
        free(s->state);
        free(s);
    }
}

void job_free(job *j)
{
    answer_free(&j->answer);
    free(j->body);
    session_unref(j->session);
    free(j);
}

/* ---- From other threads ---- */

int courier_has_room(courier *c)
{
    return __atomic_load_n(&c->waiting, __ATOMIC_RELAXED) < c->config->queue;
}

int courier_is_open(courier *c)
{
    return __atomic_load_n(&c->closed_by, __ATOMIC_RELAXED) > courier_now();
}

void courier_take(job *j)
{
    courier *c = j->session->courier;
    j->expires = courier_now() + c->config->timeout;
    pthread_mutex_lock(&c->lock);
    *(c->incoming ? &c->incoming_last->next : &c->incoming) = j;
    c->incoming_last = j;
    __atomic_add_fetch(&c->waiting, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&c->lock);
    curl_multi_wakeup(c->multi);
}

/* ---- The queue ---- */

static void courier_ready(courier *c, job *j)
{
    j->next_ready = NULL;
    *(c->ready ? &c->ready_last->next_ready : &c->ready) = j;
    c->ready_last = j;
    __atomic_add_fetch(&c->waiting, 1, __ATOMIC_RELAXED);
}

static void courier_sort(courier *c)
{
    job *j, *next;
    pthread_mutex_lock(&c->lock);
    j = c->incoming;
    c->incoming = NULL;
    if (c->stopping && !c->stop_by) {
        c->stop_by = courier_now() + STOP_PATIENCE;
    }
    pthread_mutex_unlock(&c->lock);
    for (; j; j = next) {
        session *s = j->session;
        next = j->next;
        j->next = NULL;
        __atomic_sub_fetch(&c->waiting, 1, __ATOMIC_RELAXED);
        *(s->first ? &s->last->next : &s->first) = j;
        s->last = j;
        if (s->first == j) {
            courier_ready(c, j);
        }
    }
}

static void courier_remove(job **list, const job *j)
{
    while (*list != j) {
        list = &(*list)->next_ready;
    }
    *list = j->next_ready;
}

/* Remove the session's first job, which is finished, and make the next one ready. */
static void courier_done(courier *c, job *j)
{
    session *s = j->session;
    s->first = j->next;
    if (s->first) {
        courier_ready(c, s->first);
    }
    j->done(j);
}

/* ---- Requests ---- */

/* Append the session's state to the body. @return 0: out of memory */
static int courier_add_state(job *j)
{
    const char *state = j->session->state ? j->session->state : "";
    char *escaped = curl_easy_escape(NULL, state, (int)strlen(state));
    int n = escaped ? asprintf(&j->sent, "%s&state=%s", j->body, escaped) : -1;
    curl_free(escaped);
    return n >= 0;
}

/* Prepare the transfer of a job. @return 0: out of memory */
static int courier_prepare(courier *c, job *j)
{
    j->headers = headers_make(c->config, &c->sig, j->session);
    j->easy = j->headers ? curl_easy_init() : NULL;
    j->sent = NULL;
    return j->easy && (c->config->grip || courier_add_state(j));
}

static void courier_unprepare(job *j)
{
    curl_easy_cleanup(j->easy);
    headers_free(j->headers, j->session);
    free(j->sent);
    j->easy = NULL;
    j->headers = NULL;
    j->sent = NULL;
}

static void courier_options(const http_config *config, const job *j)
{
    CURL *easy = j->easy;
    curl_easy_setopt(easy, CURLOPT_URL, j->session->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)config->timeout);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, j->headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t)(j->sent ? strlen(j->sent) : j->len));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, j->sent ? j->sent : j->body ? j->body : "");
    curl_easy_setopt(easy, CURLOPT_PRIVATE, j);
    if (config->unix_socket) {
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, config->unix_socket);
    }
    if (config->ca) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca);
    }
    curl_easy_setopt(easy, CURLOPT_CONNECT_TO, j->session->connect_to);
    if (j->session->claims) { /* this is a loopback connection, which does not leave this machine */
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
        curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, config->keepalive ? 0L : 1L);
    }
}

static void courier_judge(courier *c, const answer *a)
{
    if (a->kind != ANSWER_DOWN) {
        c->failures = 0;
        __atomic_store_n(&c->closed_by, 0, __ATOMIC_RELAXED);
    }
    else if (++c->failures >= FAILURES_MAX) {
        __atomic_store_n(&c->closed_by, courier_now() + c->config->retry, __ATOMIC_RELAXED);
    }
}

/* Schedule another attempt if the job has failed. Only close events are repeated, because no later
 * event would tell the application that the connection has ended. */
static int courier_again(courier *c, job *j)
{
    if (j->kind != JOB_CLOSE || j->answer.kind == ANSWER_GOOD || j->answer.kind == ANSWER_REFUSAL
        || j->tries >= CLOSE_RETRIES) {
        return 0;
    }
    j->due = courier_now() + ((long long)CLOSE_DELAY << j->tries++);
    j->next_ready = c->later;
    c->later = j;
    answer_free(&j->answer);
    return 1;
}

static void courier_landed(courier *c, job *j)
{
    session *s = j->session;
    if (j->answer.kind == ANSWER_GOOD && j->answer.meta && !headers_set_meta(s, j->answer.meta)) {
        answer_fail(&j->answer, ANSWER_BAD, "its Set-Meta- fields have more than 4096 bytes");
    }
    courier_judge(c, &j->answer);
    if (j->answer.kind == ANSWER_GOOD && j->answer.state) {
        free(s->state);
        s->state = j->answer.state;
        j->answer.state = NULL;
    }
    if (!courier_again(c, j)) {
        courier_done(c, j);
    }
}

static void courier_end(courier *c, job *j)
{
    courier_remove(&c->flying, j);
    curl_multi_remove_handle(c->multi, j->easy);
    courier_unprepare(j);
    c->running--;
}

static void courier_begin(courier *c, job *j)
{
    if (j->kind == JOB_OPEN && courier_now() > j->expires) {
        answer_fail(&j->answer, ANSWER_DOWN, "the request has waited in the queue for too long");
        courier_done(c, j); /* do not count this as a failure of the application */
        return;
    }
    if (!courier_prepare(c, j)) {
        courier_unprepare(j);
        answer_fail(&j->answer, ANSWER_DOWN,
                    "out of memory, or no slot for this child (increase ServerLimit)");
        courier_done(c, j);
        return;
    }
    courier_options(c->config, j);
    answer_expect(&j->answer, j->easy, (size_t)c->config->longest);
    j->next_ready = c->flying;
    c->flying = j;
    c->running++;
    if (curl_multi_add_handle(c->multi, j->easy) != CURLM_OK) {
        courier_end(c, j);
        answer_fail(&j->answer, ANSWER_DOWN, "out of memory");
        courier_landed(c, j);
    }
}

static void courier_start_ready(courier *c)
{
    while (c->ready && c->running < c->config->concurrency) {
        job *j = c->ready;
        c->ready = j->next_ready;
        __atomic_sub_fetch(&c->waiting, 1, __ATOMIC_RELAXED);
        courier_begin(c, j);
    }
}

static void courier_read(const http_config *config, job *j, CURLcode result)
{
    if (!answer_read(&j->answer, j->easy, result)) {
        return;
    }
    if (config->grip) {
        grip_read(&j->answer, j->easy, j->kind == JOB_OPEN);
    }
    else {
        answer_read_form(&j->answer, j->easy);
    }
}

static void courier_collect(courier *c)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(c->multi, &left))) {
        job *j;
        if (message->msg == CURLMSG_DONE
            && curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &j) == CURLE_OK) {
            courier_read(c->config, j, message->data.result);
            courier_end(c, j);
            courier_landed(c, j);
        }
    }
}

/* Make the close events ready whose next attempt is due. @return milliseconds until the next
 * attempt is due */
static int courier_wake_later(courier *c)
{
    long long now = courier_now(), next = now + IDLE;
    job *j = c->later, *following;
    c->later = NULL;
    for (; j; j = following) {
        following = j->next_ready;
        if (j->due <= now) {
            courier_ready(c, j);
            next = now;
        }
        else {
            next = j->due < next ? j->due : next;
            j->next_ready = c->later;
            c->later = j;
        }
    }
    next = c->stop_by && c->stop_by < next ? c->stop_by : next;
    return next > now ? (int)(next - now) : 0;
}

static void courier_give_up(courier *c, job **list)
{
    while (*list) {
        job *j = *list;
        if (j->easy) {
            courier_end(c, j);
        }
        else {
            *list = j->next_ready;
        }
        answer_fail(&j->answer, ANSWER_DOWN, "the server is stopping");
        courier_done(c, j);
    }
}

static int courier_over(courier *c)
{
    if (!c->stop_by) {
        return 0;
    }
    if (courier_now() >= c->stop_by) {
        courier_give_up(c, &c->flying);
        courier_give_up(c, &c->later);
        courier_give_up(c, &c->ready);
    }
    return !c->flying && !c->later && !c->ready;
}

static void *courier_run(void *arg)
{
    courier *c = arg;
    int running, wait;
    do {
        courier_sort(c);
        courier_start_ready(c);
        curl_multi_perform(c->multi, &running);
        courier_collect(c);
        /* Call it after courier_collect(), which can schedule further attempts. */
        wait = courier_wake_later(c);
        if (c->ready && c->running < c->config->concurrency) {
            wait = 0;
        }
        if (courier_over(c)) {
            return NULL;
        }
        curl_multi_poll(c->multi, NULL, 0, wait, NULL);
    } while (1);
}

/* ---- Start and stop ---- */

/* Start the thread with all signals blocked, because httpd's threads handle signals. */
static int courier_spawn(courier *c)
{
    sigset_t all, before;
    int error;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&c->thread, NULL, courier_run, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !error;
}

courier *courier_start(http_config *config)
{
    courier *c = calloc(1, sizeof(*c));
    if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(c);
        return NULL;
    }
    c->config = config;
    c->multi = curl_multi_init();
    pthread_mutex_init(&c->lock, NULL);
    if (c->multi && courier_spawn(c)) {
        return c;
    }
    curl_multi_cleanup(c->multi);
    free(c);
    return NULL;
}

void courier_stop(courier *c)
{
    pthread_mutex_lock(&c->lock);
    c->stopping = 1;
    pthread_mutex_unlock(&c->lock);
    curl_multi_wakeup(c->multi);
    pthread_join(c->thread, NULL);
    curl_multi_cleanup(c->multi);
    pthread_mutex_destroy(&c->lock);
    free(c->sig.line);
    free(c);
}
