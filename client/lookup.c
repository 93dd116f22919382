/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Looks up names on threads. A resolver can block for half a minute, so stopping the engine does
 * not wait for these threads. Each name has one thread, shared by all connections that wait for it,
 * so that a slow name delays only those. Reading the files of TLS contexts has separate threads.
 */

#include "client/lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <time.h>

/* Greatest number of threads for names, and for files. */
#define NAME_THREADS 128
#define FILE_THREADS 4

/* Stack of a thread, bytes: more than twice what glibc's getaddrinfo() needs. */
#define STACK (256 * 1024)

/* An idle thread ends after this time, seconds. */
#define IDLE 10

/* Greatest number of addresses tried for a name. */
#define ADDRESSES_MAX 64

TAILQ_HEAD(lookups, ws_lookup);

/* The threads for one kind of lookup, and its queue. Under the lock. */
typedef struct lane {
    struct lookups waiting;
    pthread_cond_t more;
    unsigned waiting_count, threads, idle, most;
} lane;

/* A name that a thread is looking up, and all lookups for that name. On the thread's stack. */
typedef struct busy {
    LIST_ENTRY(busy) others;
    const ws_lookup *first;
    struct lookups same;
} busy;

struct ws_lookup {
    ws_task task; /* must be first */
    TAILQ_ENTRY(ws_lookup) next;
    struct lookups *on; /* the list that it is queued on; NULL while a thread works on it */
    lane *lane;
    ws_loop *loop;
    void (*found)(void *arg, ws_found *f);
    void *arg;
    int cancelled; /* under the lock */
    int tls_wanted;
    ws_tls_files files;
    ws_found result;
    unsigned port;
    const char *host;
    char text[]; /* holds all strings */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t in_tls = PTHREAD_MUTEX_INITIALIZER;
static lane names = {
    TAILQ_HEAD_INITIALIZER(names.waiting), PTHREAD_COND_INITIALIZER, 0, 0, 0, NAME_THREADS};
static lane files_lane = {
    TAILQ_HEAD_INITIALIZER(files_lane.waiting), PTHREAD_COND_INITIALIZER, 0, 0, 0, FILE_THREADS};
static LIST_HEAD(busy_list, busy) all_busy = LIST_HEAD_INITIALIZER(all_busy);

/* ---- Addresses ---- */

/* Alternate between the address families, beginning with that of the first address. */
static void lookup_take_turns(ws_addresses *all)
{
    for (unsigned i = 1; i < all->count; i++) {
        sa_family_t last = all->list[i - 1].address.ss_family;
        for (unsigned j = i; j < all->count; j++) {
            if (all->list[j].address.ss_family != last) {
                ws_address other = all->list[j];
                memmove(&all->list[i + 1], &all->list[i], (j - i) * sizeof(other));
                all->list[i] = other;
                break;
            }
        }
    }
}

/* Add the addresses that getaddrinfo() finds. @return its result */
static int lookup_add_addresses(ws_addresses *all, const char *host, unsigned port, int flags)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *found;
    char service[8];
    int rv;
    snprintf(service, sizeof(service), "%u", port);
    if ((rv = getaddrinfo(host, service, &hints, &found)) != 0) {
        return rv;
    }
    for (const struct addrinfo *a = found; a && all->count < ADDRESSES_MAX; a = a->ai_next) {
        ws_address *to = &all->list[all->count++];
        to->len = a->ai_addrlen;
        memcpy(&to->address, a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(found);
    return 0;
}

/* Add a comma-separated list of addresses. @return 0, or getaddrinfo()'s error for the first
 * invalid one */
static int lookup_add_numeric(ws_addresses *all, const char *host, unsigned port)
{
    int rv = EAI_NONAME;
    while (host) {
        const char *comma = strchr(host, ',');
        size_t len = comma ? (size_t)(comma - host) : strlen(host);
        char one[128];
        if (len > 1 && *host == '[' && host[len - 1] == ']') {
            host++;
            len -= 2;
        }
        snprintf(one, sizeof(one), "%.*s", (int)len, host);
        if (len >= sizeof(one)
            || (rv = lookup_add_addresses(all, one, port, AI_NUMERICHOST)) != 0) {
            return rv;
        }
        host = comma ? comma + 1 : NULL;
    }
    return rv;
}

static ws_addresses *lookup_room(void)
{
    return calloc(1, sizeof(ws_addresses) + ADDRESSES_MAX * sizeof(ws_address));
}

/* Shrink a finished list to its size. */
static ws_addresses *lookup_settle(ws_addresses *all)
{
    ws_addresses *fit;
    if (all->count == 0) {
        free(all);
        return NULL;
    }
    lookup_take_turns(all);
    fit = realloc(all, sizeof(*all) + all->count * sizeof(*all->list));
    /* cppcheck-suppress memleak; realloc() has freed it, or it is returned */
    return fit ? fit : all;
}

static ws_addresses *lookup_resolve(const char *host, unsigned port, int only_numeric, char *error)
{
    ws_addresses *all = lookup_room();
    int rv;
    if (!all) {
        snprintf(error, WS_TLS_ERROR, "lookup: out of memory");
        return NULL;
    }
    rv = lookup_add_numeric(all, host, port);
    if (rv != 0) {
        all->count = 0;
        rv = only_numeric ? rv : lookup_add_addresses(all, host, port, 0);
    }
    if (rv != 0) {
        snprintf(error, WS_TLS_ERROR, "lookup: %s", gai_strerror(rv));
        all->count = 0;
    }
    return lookup_settle(all);
}

ws_addresses *ws_lookup_now(const char *host, unsigned port, char *error)
{
    return lookup_resolve(host, port, 0, error);
}

static ws_addresses *lookup_copy_addresses(const ws_addresses *all)
{
    size_t size = sizeof(*all) + all->count * sizeof(*all->list);
    ws_addresses *copy = malloc(size);
    return copy ? memcpy(copy, all, size) : NULL;
}

/* ---- Threads ---- */

static void lookup_release(ws_lookup *l)
{
    free(l->result.addresses);
    SSL_CTX_free(l->result.tls);
    free(l);
}

/* Append to a list. Under the lock. */
static void lookup_put_on(struct lookups *list, ws_lookup *l)
{
    TAILQ_INSERT_TAIL(list, l, next);
    l->on = list;
}

static ws_lookup *lookup_take_off(struct lookups *list)
{
    ws_lookup *l = TAILQ_FIRST(list);
    if (l) {
        TAILQ_REMOVE(list, l, next);
        l->on = NULL;
    }
    return l;
}

static int lookup_is_cancelled(ws_lookup *l)
{
    int is;
    pthread_mutex_lock(&lock);
    is = l->cancelled;
    pthread_mutex_unlock(&lock);
    return is;
}

/* Create the TLS context, if one is needed, and post the result to the loop. */
static void lookup_complete(ws_lookup *l)
{
    int dropped;
    if (!*l->result.error && l->tls_wanted) {
        pthread_mutex_lock(&in_tls); /* a cancelled lookup must not enter OpenSSL:
                                      * ws_lookup_settle() */
        if (!lookup_is_cancelled(l)) {
            l->result.tls = ws_tls_context(&l->files, l->result.error);
        }
        pthread_mutex_unlock(&in_tls);
    }
    pthread_mutex_lock(&lock);
    dropped = l->cancelled || ws_loop_post(l->loop, &l->task) < 0;
    pthread_mutex_unlock(&lock);
    if (dropped) {
        lookup_release(l);
    }
}

/* Wait for a thread that already looks up this name. Under the lock. @return whether there is such
 * a thread */
static int lookup_join(ws_lookup *l)
{
    busy *b;
    LIST_FOREACH(b, &all_busy, others)
    {
        /* cppcheck-suppress uninitvar; set before it is on the list */
        if (b->first->port == l->port && !strcasecmp(b->first->host, l->host)) {
            lookup_put_on(&b->same, l);
            return 1;
        }
    }
    return 0;
}

static void lookup_look_up(ws_lookup *l)
{
    busy b = {.first = l};
    ws_lookup *other;
    TAILQ_INIT(&b.same);
    pthread_mutex_lock(&lock);
    if (l->lane == &names && lookup_join(l)) {
        pthread_mutex_unlock(&lock);
        return;
    }
    if (l->lane == &names) {
        LIST_INSERT_HEAD(&all_busy, &b, others);
        pthread_mutex_unlock(&lock);
        l->result.addresses = lookup_resolve(l->host, l->port, 0, l->result.error);
        pthread_mutex_lock(&lock);
        LIST_REMOVE(&b, others);
    }
    while ((other = lookup_take_off(&b.same))) {
        pthread_mutex_unlock(&lock);
        strcpy(other->result.error, l->result.error);
        if (l->result.addresses
            && !(other->result.addresses = lookup_copy_addresses(l->result.addresses))) {
            strcpy(other->result.error, "lookup: out of memory");
        }
        lookup_complete(other);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    lookup_complete(l);
}

static void *lookup_run(void *arg)
{
    lane *lane = arg;
    pthread_mutex_lock(&lock);
    for (;;) {
        ws_lookup *l = lookup_take_off(&lane->waiting);
        if (l) {
            lane->waiting_count--;
            pthread_mutex_unlock(&lock);
            lookup_look_up(l);
            pthread_mutex_lock(&lock);
        }
        else {
            struct timespec until;
            int rv;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += IDLE;
            lane->idle++;
            rv = pthread_cond_timedwait(&lane->more, &lock, &until);
            lane->idle--;
            if (rv != 0 && TAILQ_EMPTY(&lane->waiting)) {
                break;
            }
        }
    }
    lane->threads--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* @return 0, or -1 */
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

static void lookup_give(ws_lookup *l)
{
    lane *lane = l->lane;
    pthread_mutex_lock(&lock);
    if (lane == &names && lookup_join(l)) {
        pthread_mutex_unlock(&lock);
        return;
    }
    lookup_put_on(&lane->waiting, l);
    lane->waiting_count++;
    if (lane->waiting_count > lane->idle && lane->threads < lane->most) {
        lane->threads += lookup_start_thread(lane) == 0;
    }
    if (lane->threads == 0) { /* no thread can be started: report the error from here */
        TAILQ_REMOVE(&lane->waiting, l, next);
        l->on = NULL;
        lane->waiting_count--;
        snprintf(l->result.error, sizeof(l->result.error), "lookup: no thread can be made");
        ws_loop_post(l->loop, &l->task);
    }
    pthread_cond_signal(&lane->more);
    pthread_mutex_unlock(&lock);
}

/* ---- Called by the loop ---- */

static void lookup_tell(ws_loop *loop, ws_task *task)
{
    ws_lookup *l = (ws_lookup *)task;
    (void)loop;
    if (!l->cancelled) { /* only the loop sets it */
        l->found(l->arg, &l->result);
        l->result.addresses = NULL;
        l->result.tls = NULL;
    }
    lookup_release(l);
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

static ws_lookup *lookup_new(const char *host, const ws_tls_files *files)
{
    static const ws_tls_files none;
    const ws_tls_files *f = files ? files : &none;
    ws_lookup *l = calloc(1, sizeof(*l) + lookup_length(host) + lookup_length(f->ca_file)
                                 + lookup_length(f->certificate) + lookup_length(f->key)
                                 + lookup_length(f->key_log));
    char *out;
    if (l) {
        out = l->text;
        l->host = lookup_copy(&out, host);
        l->tls_wanted = files != NULL;
        l->files =
            (ws_tls_files){lookup_copy(&out, f->ca_file), lookup_copy(&out, f->certificate),
                           lookup_copy(&out, f->key), f->insecure, lookup_copy(&out, f->key_log)};
    }
    return l;
}

ws_lookup *ws_lookup_start(ws_loop *loop, const char *host, unsigned port,
                           const ws_tls_files *files, void (*found)(void *arg, ws_found *f),
                           void *arg)
{
    ws_lookup *l = lookup_new(host, files);
    if (!l) {
        return NULL;
    }
    l->task.fn = lookup_tell;
    l->loop = loop;
    l->found = found;
    l->arg = arg;
    l->port = port;
    l->lane = &files_lane;
    if (host && !(l->result.addresses = lookup_resolve(host, port, 1, l->result.error))) {
        l->lane = &names;
        *l->result.error = '\0';
    }
    if (l->lane == &names || files) {
        lookup_give(l);
    }
    else if (ws_loop_post(loop, &l->task) < 0) {
        lookup_release(l);
        return NULL;
    }
    return l;
}

void ws_lookup_cancel(ws_lookup *l)
{
    pthread_mutex_lock(&lock);
    l->cancelled = 1;
    if (l->on) { /* no thread works on it */
        TAILQ_REMOVE(l->on, l, next);
        l->lane->waiting_count -= l->on == &l->lane->waiting;
        pthread_mutex_unlock(&lock);
        lookup_release(l);
        return;
    }
    pthread_mutex_unlock(&lock);
}

void ws_lookup_settle(void)
{
    pthread_mutex_lock(&in_tls);
    pthread_mutex_unlock(&in_tls);
}
