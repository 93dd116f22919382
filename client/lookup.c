/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The threads are not the engine's: a resolver can take half a minute to give up, and whoever stops the
 * engine does not wait for that. A lookup that nobody waits for any more is forgotten by its thread; no
 * thread is inside OpenSSL for such a one.
 */

#include "client/lookup.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Lookups at a time. */
#define THREADS_MAX 8

/* A thread that has nothing to do ends after so many seconds. */
#define IDLE 10

struct ws_lookup {
    ws_task task;    /* first: found */
    ws_lookup *next; /* that wait for a thread */
    ws_loop *loop;
    void (*found)(void *arg, ws_found *f);
    void *arg;
    int cancelled; /* under the lock */
    int tls_wanted;
    ws_tls_files files;
    ws_found result;
    char port[8];
    char text[]; /* all strings */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t in_tls = PTHREAD_MUTEX_INITIALIZER;
static ws_lookup *waiting, **waiting_end = &waiting;
static unsigned thread_count, idle_count, waiting_count;

static void release(ws_lookup *l)
{
    if (l->result.addresses) {
        freeaddrinfo(l->result.addresses);
    }
    SSL_CTX_free(l->result.tls);
    free(l);
}

static const char *host_of(const ws_lookup *l)
{
    return l->text;
}

static int resolve(ws_lookup *l, int flags)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    int rv = getaddrinfo(host_of(l), l->port, &hints, &l->result.addresses);
    if (rv != 0) {
        l->result.addresses = NULL;
        snprintf(l->result.error, sizeof(l->result.error), "lookup: %s", gai_strerror(rv));
    }
    return rv;
}

static int is_cancelled(ws_lookup *l)
{
    int is;
    pthread_mutex_lock(&lock);
    is = l->cancelled;
    pthread_mutex_unlock(&lock);
    return is;
}

/* Does what there is to do, and gives the result to the loop. */
static void look_up(ws_lookup *l)
{
    int dropped;
    if (resolve(l, 0) == 0 && l->tls_wanted) {
        pthread_mutex_lock(&in_tls); /* who is cancelled begins nothing: ws_lookup_settle() */
        if (!is_cancelled(l)) {
            l->result.tls = ws_tls_context(&l->files, l->result.error);
        }
        pthread_mutex_unlock(&in_tls);
    }
    pthread_mutex_lock(&lock);
    dropped = l->cancelled || ws_loop_post(l->loop, &l->task) < 0;
    pthread_mutex_unlock(&lock);
    if (dropped) {
        release(l);
    }
}

static void *run(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    for (;;) {
        ws_lookup *l = waiting;
        if (l) {
            if (!(waiting = l->next)) {
                waiting_end = &waiting;
            }
            waiting_count--;
            pthread_mutex_unlock(&lock);
            look_up(l);
            pthread_mutex_lock(&lock);
        }
        else {
            struct timespec until;
            int rv;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += IDLE;
            idle_count++;
            rv = pthread_cond_timedwait(&more, &lock, &until);
            idle_count--;
            if (rv != 0 && !waiting) {
                break;
            }
        }
    }
    thread_count--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* @return 0, or -1 */
static int start_thread(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int rv;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = pthread_create(&thread, &attr, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rv == 0 ? 0 : -1;
}

static void give(ws_lookup *l)
{
    int alone;
    pthread_mutex_lock(&lock);
    *waiting_end = l;
    waiting_end = &l->next;
    waiting_count++;
    if (waiting_count > idle_count && thread_count < THREADS_MAX) {
        thread_count += start_thread() == 0;
    }
    alone = thread_count == 0;
    pthread_cond_signal(&more);
    if (alone) { /* no thread can be made: say so, without one */
        waiting = NULL;
        waiting_end = &waiting;
        waiting_count = 0;
        snprintf(l->result.error, sizeof(l->result.error), "lookup: no thread can be made");
        ws_loop_post(l->loop, &l->task);
    }
    pthread_mutex_unlock(&lock);
}

/* On the loop. */
static void tell(ws_loop *loop, ws_task *task)
{
    ws_lookup *l = (ws_lookup *)task;
    (void)loop;
    if (!l->cancelled) { /* only the loop sets it */
        l->found(l->arg, &l->result);
        l->result.addresses = NULL;
        l->result.tls = NULL;
    }
    release(l);
}

static const char *copy(char **out, const char *s)
{
    char *start = *out;
    if (!s) {
        return NULL;
    }
    *out = stpcpy(*out, s) + 1;
    return start;
}

static size_t length(const char *s)
{
    return s ? strlen(s) + 1 : 0;
}

ws_lookup *ws_lookup_start(ws_loop *loop, const char *host, unsigned port,
                           const ws_tls_files *files, void (*found)(void *arg, ws_found *f),
                           void *arg)
{
    static const ws_tls_files none;
    const ws_tls_files *f = files ? files : &none;
    ws_lookup *l = calloc(1, sizeof(*l) + length(host) + length(f->ca_file) + length(f->certificate)
                                 + length(f->key));
    char *out;
    if (!l) {
        return NULL;
    }
    out = l->text;
    copy(&out, host);
    l->task.fn = tell;
    l->loop = loop;
    l->found = found;
    l->arg = arg;
    l->tls_wanted = files != NULL;
    l->files = (ws_tls_files){copy(&out, f->ca_file), copy(&out, f->certificate),
                              copy(&out, f->key), f->insecure};
    snprintf(l->port, sizeof(l->port), "%u", port);
    if (!files && resolve(l, AI_NUMERICHOST) == 0) {
        if (ws_loop_post(loop, &l->task) < 0) {
            release(l);
            return NULL;
        }
        return l;
    }
    l->result.error[0] = '\0';
    give(l);
    return l;
}

void ws_lookup_cancel(ws_lookup *l)
{
    pthread_mutex_lock(&lock);
    l->cancelled = 1;
    for (ws_lookup **link = &waiting; *link; link = &(*link)->next) {
        if (*link == l) { /* no thread has it yet */
            if (!(*link = l->next)) {
                waiting_end = link;
            }
            waiting_count--;
            pthread_mutex_unlock(&lock);
            release(l);
            return;
        }
    }
    pthread_mutex_unlock(&lock);
}

void ws_lookup_settle(void)
{
    pthread_mutex_lock(&in_tls);
    pthread_mutex_unlock(&in_tls);
}
