/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Notifies the application when a channel becomes occupied (has subscribers) or vacated (has
 * none), and retries failed notifications. A compromised child can write anything to the table, so
 * every field is checked.
 */

#include "httpd/occupancy.h"

#include <http_log.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/queue.h"
#include "base/thread.h"
#include "channels/message.h"
#include "httpd/interest.h"
#include "httpd/ipc.h"
#include "httpd/shm_lock.h"

APLOG_USE_MODULE(websocket);

#define BUCKETS 512u
#define BUCKET 32u

/* Interval between sweeps, seconds. */
#define SWEEP 2

/* Maximum number of queued channels. The next sweep finds channels that did not fit. */
#define WAITING_MAX 16384

WS_SHM_STRUCT(occupancy_entry, {
    apr_uint64_t hash;   /* 0: free */
    apr_uint32_t told;   /* 1: the last notification was "occupied" */
    apr_uint32_t sender; /* the process that is sending a notification, or 0 */
    apr_uint32_t len;
    char name[WS_CHANNEL_MAX];
});

WS_SHM_NUMBER(BUCKETS);
WS_SHM_NUMBER(BUCKET);

const ws_shm_layout *const ws_occupancy_layout[] = {&occupancy_entry_layout, &ws_shm_lock_layout,
                                                    &BUCKETS_layout, &BUCKET_layout, NULL};

typedef struct waiting {
    ws_queue_item link; /* must be first */
    char channel[WS_CHANNEL_MAX + 1];
} waiting;

/* A notification that the application has not answered yet. */
typedef struct notice {
    int occupied;
    char channel[WS_CHANNEL_MAX + 1];
} notice;

static occupancy_entry *occupancy_entries;
static ws_shm_lock *occupancy_guard;
static const ws_application *occupancy_application;
static server_rec *occupancy_log_server;
static apr_thread_t *occupancy_thread;
static ws_queue occupancy_queue; /* items are of type `waiting` */
static int occupancy_stopping;   /* atomic */

apr_status_t ws_occupancy_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    occupancy_entries = ws_shm_table(s, "occupancy", sizeof(*occupancy_entries) * BUCKETS * BUCKET);
    occupancy_guard = ws_shm_table(s, "occupancy-lock", sizeof(*occupancy_guard));
    return occupancy_entries && occupancy_guard ? APR_SUCCESS : APR_ENOMEM;
}

void ws_occupancy_changed(const char *channel)
{
    waiting *w;
    if (!ws_channel_valid(channel)) {
        return; /* the name is a wildcard */
    }
    if (ws_queue_count(&occupancy_queue) < WAITING_MAX && (w = calloc(1, sizeof(*w)))) {
        strcpy(w->channel, channel);
        if (ws_queue_push(&occupancy_queue, &w->link) < 0) {
            free(w);
        }
    }
}

/* ---- The table; the caller holds guard ---- */

static int occupancy_now(apr_uint64_t hash)
{
    for (unsigned i = 0; i < ws_ipc_count(); i++) {
        ws_shm_owner owner;
        if (ws_interest_count(i, hash) && ws_shm_owner_of(i, &owner)) {
            return 1;
        }
    }
    return 0;
}

static int occupancy_is(const occupancy_entry *p, apr_uint64_t hash, const char *channel)
{
    apr_size_t len = strlen(channel);
    return p->hash == hash && p->len == len && !memcmp(p->name, channel, len);
}

/* Find a channel's entry. If make is set, create a missing entry. @return NULL: not found, or the
 * bucket is full */
static occupancy_entry *occupancy_find(apr_uint64_t hash, const char *channel, int make)
{
    occupancy_entry *bucket = occupancy_entries + hash % BUCKETS * BUCKET, *entry = NULL;
    for (unsigned i = 0; i < BUCKET; i++) {
        if (occupancy_is(&bucket[i], hash, channel)) {
            return &bucket[i];
        }
        if (!bucket[i].hash) {
            entry = &bucket[i];
        }
    }
    if (entry && make) {
        *entry = (occupancy_entry){.hash = hash, .len = (apr_uint32_t)strlen(channel)};
        memcpy(entry->name, channel, entry->len);
    }
    return make ? entry : NULL;
}

static void occupancy_warn(const char *channel)
{
    static int said;
    if (!__atomic_exchange_n(&said, 1, __ATOMIC_RELAXED)) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, occupancy_log_server,
            "websocket: WebSocketChannelHook: too many occupied channels: \"occupied\" and "
            "\"vacated\" are not sent for channel %s and others; select fewer channels with "
            "channel=",
            channel);
    }
}

/* Fill in the next notification of a channel and mark its entry. @return 0: none is due */
static int occupancy_decide(const char *channel, notice *n)
{
    apr_uint64_t hash = ws_channel_hash(channel, strlen(channel));
    int occupied = occupancy_now(hash), died;
    occupancy_entry *p = occupancy_find(hash, channel, occupied);
    if (!p) {
        if (occupied) {
            occupancy_warn(channel);
        }
        return 0;
    }
    /* If the sender has ended, the result of its notification is unknown. */
    died = p->sender && !ws_shm_is_alive(p->sender);
    if (p->sender && !died) {
        return 0; /* that process will check the channel again when it has the result */
    }
    p->sender = 0;
    if (!died && occupied == (p->told != 0)) {
        p->hash = occupied ? p->hash : 0;
        return 0;
    }
    if (!occupancy_application->wants(occupied ? WS_APP_OCCUPIED : WS_APP_VACATED, channel)) {
        p->told = (apr_uint32_t)occupied;
        p->hash = occupied ? p->hash : 0;
        return 0;
    }
    p->sender = ws_shm_process();
    n->occupied = occupied;
    strcpy(n->channel, channel);
    return 1;
}

/* Store the result of a notification. @param told  1: the application has received it */
static void occupancy_settle(const notice *n, int told)
{
    occupancy_entry *p;
    if (!ws_shm_lock_take(occupancy_guard)) {
        return; /* the entry stays marked until this process ends */
    }
    p = occupancy_find(ws_channel_hash(n->channel, strlen(n->channel)), n->channel, 0);
    if (p && p->sender == ws_shm_process()) {
        p->sender = 0;
        p->told = told ? (apr_uint32_t)n->occupied : p->told;
    }
    ws_shm_lock_give(occupancy_guard);
}

/* ---- Notifications ---- */

/* Process the result of a notification. If the application is down, a sweep repeats the
 * notification. A refusal counts as a successful notification. */
static void occupancy_told(void *arg, const ws_app_answer *answer)
{
    notice *n = arg;
    int told = answer->status != WS_FULL;
    occupancy_settle(n, told);
    if (told) {
        ws_occupancy_changed(n->channel); /* the channel may have changed meanwhile */
    }
    free(n);
}

static void occupancy_check(const char *channel)
{
    notice *n = calloc(1, sizeof(*n));
    ws_app_question question = {.channel = channel};
    int tell;
    if (!n || !ws_shm_lock_take(occupancy_guard)) {
        free(n);
        return; /* the next sweep tries again */
    }
    tell = occupancy_decide(channel, n);
    ws_shm_lock_give(occupancy_guard);
    question.event = n->occupied ? WS_APP_OCCUPIED : WS_APP_VACATED;
    if (!tell) {
        free(n);
    }
    else if (occupancy_application->ask(&question, occupancy_told, n) < 0) {
        occupancy_settle(n, 0);
        free(n);
    }
}

/* ---- The thread ---- */

static int occupancy_is_lowest(void)
{
    ws_shm_owner owner;
    for (int i = 0; i < ws_shm_slot(); i++) {
        if (ws_shm_owner_of((unsigned)i, &owner)) {
            return 0;
        }
    }
    return 1;
}

/* Check all channels of the table. A compromised child may have written any value to it. */
static void occupancy_sweep(void)
{
    for (unsigned i = 0; i < BUCKETS * BUCKET; i++) {
        char channel[WS_CHANNEL_MAX + 1];
        apr_uint32_t len = occupancy_entries[i].len;
        if (!occupancy_entries[i].hash || len > WS_CHANNEL_MAX) {
            continue;
        }
        memcpy(channel, occupancy_entries[i].name, len);
        channel[len] = 0;
        if (ws_channel_valid(channel)) {
            occupancy_check(channel);
        }
    }
}

/* Wait for a queued channel. @return NULL: `until` has passed, or the thread has to stop */
static waiting *occupancy_next(apr_time_t until)
{
    struct timespec t = {.tv_sec = (time_t)apr_time_sec(until),
                         .tv_nsec = (long)apr_time_usec(until) * 1000};
    return (waiting *)ws_queue_wait_until(&occupancy_queue, &t);
}

static void *APR_THREAD_FUNC occupancy_run(apr_thread_t *self, void *arg)
{
    apr_time_t next = apr_time_now() + apr_time_from_sec(SWEEP);
    (void)self, (void)arg;
    while (!__atomic_load_n(&occupancy_stopping, __ATOMIC_RELAXED)) {
        waiting *w = occupancy_next(next);
        if (w) {
            occupancy_check(w->channel);
            free(w);
        }
        if (apr_time_now() >= next) {
            if (occupancy_is_lowest()) {
                occupancy_sweep();
            }
            next = apr_time_now() + apr_time_from_sec(SWEEP);
        }
    }
    return NULL;
}

apr_status_t ws_occupancy_start(apr_pool_t *pchild, server_rec *s, const ws_application *app)
{
    occupancy_application = app;
    occupancy_log_server = s;
    ws_queue_init(&occupancy_queue);
    return ws_shm_slot() < 0 ? APR_ENOTIMPL
                             : ws_thread_create(&occupancy_thread, occupancy_run, NULL, pchild);
}

void ws_occupancy_stop(void)
{
    apr_status_t rv;
    if (occupancy_thread) {
        __atomic_store_n(&occupancy_stopping, 1, __ATOMIC_RELAXED);
        ws_queue_close(&occupancy_queue);
        apr_thread_join(&rv, occupancy_thread);
        occupancy_thread = NULL;
    }
}
