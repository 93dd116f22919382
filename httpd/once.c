/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Compares the ids of messages with those of earlier messages, to detect messages that have
 * already been published. The ids are in a table in shared memory. When a bucket is full, a new id
 * replaces the oldest one.
 */

#include "httpd/once.h"

#include <apr_time.h>
#include <string.h>

#include "httpd/shm_lock.h"

/* The first bytes of an id select its bucket. */
#define BUCKETS 512u
#define BUCKET 32u

enum { UNDER_WAY = 1, PUBLISHED = 2 };

WS_SHM_STRUCT(once_entry, {
    unsigned char id[WS_MESSAGE_ID];
    apr_uint64_t number; /* number of the message that claimed the id, unique in its process */
    /* apr_time_t when the id expires; if it is in the past, the entry is free. */
    apr_int64_t until;
    apr_uint64_t epoch, offset;
    apr_uint32_t process;
    apr_uint32_t state;
    apr_uint32_t receivers;
    apr_uint32_t unused;
});

WS_SHM_NUMBER(BUCKETS);
WS_SHM_NUMBER(BUCKET);

const ws_shm_layout *const ws_once_layout[] = {&once_entry_layout, &ws_shm_lock_layout,
                                               &BUCKETS_layout, &BUCKET_layout, NULL};

static once_entry *entries;
static ws_shm_lock *once_guard;

apr_status_t ws_once_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    entries = ws_shm_table(s, "once", sizeof(*entries) * BUCKETS * BUCKET);
    once_guard = ws_shm_table(s, "once-lock", sizeof(*once_guard));
    return entries && once_guard ? APR_SUCCESS : APR_ENOMEM;
}

static once_entry *once_bucket_of(const ws_message *m)
{
    unsigned n = ((unsigned)m->id[0] << 8 | m->id[1]) % BUCKETS;
    return entries + n * BUCKET;
}

static once_entry *once_find(once_entry *bucket, const ws_message *m, apr_int64_t now)
{
    for (unsigned i = 0; i < BUCKET; i++) {
        if (bucket[i].until > now && !memcmp(bucket[i].id, m->id, sizeof(m->id))) {
            return &bucket[i];
        }
    }
    return NULL;
}

static once_entry *once_oldest(once_entry *bucket)
{
    once_entry *oldest = bucket;
    for (unsigned i = 1; i < BUCKET; i++) {
        oldest = bucket[i].until < oldest->until ? &bucket[i] : oldest;
    }
    return oldest;
}

static ws_once_answer once_claim_locked(const ws_message *m, ws_published *then)
{
    apr_int64_t now = apr_time_now();
    once_entry *bucket = once_bucket_of(m), *p = once_find(bucket, m, now);
    if (p && p->state == PUBLISHED) {
        then->position = (ws_position){p->epoch, p->offset};
        then->receivers = p->receivers;
        return WS_ONCE_AGAIN;
    }
    if (p && ws_shm_is_alive(p->process)) {
        return WS_ONCE_BUSY;
    }
    p = p ? p : once_oldest(bucket);
    *p = (once_entry){.number = m->number,
                      .until = now + apr_time_from_sec(WS_ONCE_TIME),
                      .process = ws_shm_process(),
                      .state = UNDER_WAY};
    memcpy(p->id, m->id, sizeof(p->id));
    return WS_ONCE_NEW;
}

static void once_claim(ws_once *o, ws_message *m, ws_once_done done, void *arg)
{
    ws_published then = {.status = WS_QUEUED};
    ws_once_answer answer = WS_ONCE_BUSY;
    (void)o;
    if (ws_shm_lock_take(once_guard)) {
        answer = once_claim_locked(m, &then);
        ws_shm_lock_give(once_guard);
    }
    done(arg, answer, &then);
}

static void once_settle(ws_once *o, ws_message *m, const ws_published *what)
{
    once_entry *p;
    (void)o;
    if (!ws_shm_lock_take(once_guard)) {
        return; /* the id stays claimed until this process has ended */
    }
    p = once_find(once_bucket_of(m), m, apr_time_now());
    if (p && p->process == ws_shm_process() && p->number == m->number) {
        p->state = PUBLISHED;
        p->epoch = what->position.epoch;
        p->offset = what->position.offset;
        p->receivers = what->receivers;
        if (what->status < 0 && what->status != WS_UNCERTAIN) {
            p->until = 0;
        }
    }
    ws_shm_lock_give(once_guard);
}

ws_once *ws_once_local(void)
{
    static ws_once local = {once_claim, once_settle, 0};
    return entries ? &local : NULL;
}
