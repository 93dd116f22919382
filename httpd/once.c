/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/once.h"

#include <apr_time.h>
#include <string.h>

/* An id stands in one bucket, in which the oldest gives its place. */
#define BUCKETS 512u
#define BUCKET 32u

/* How often the lock is tried, a millisecond apart. */
#define ATTEMPTS 200

enum { UNDER_WAY = 1, PUBLISHED = 2 };

WS_SHM_STRUCT(once_place, {
    unsigned char id[WS_MESSAGE_ID];
    apr_uint64_t number; /* of the message that claims it, in its process */
    apr_int64_t until;   /* microseconds; in the past: free */
    apr_uint64_t epoch, offset;
    apr_uint32_t process;
    apr_uint32_t state;
    apr_uint32_t receivers;
    apr_uint32_t unused;
});

WS_SHM_STRUCT(once_lock, {
    apr_uint32_t process; /* atomic; that holds it, 0: none does */
});

const ws_shm_layout *const ws_once_layout[] = {&once_place_layout, &once_lock_layout, NULL};

static once_place *places;
static once_lock *once_guard;

apr_status_t ws_once_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    places = ws_shm_table(s, "once", sizeof(*places) * BUCKETS * BUCKET);
    once_guard = ws_shm_table(s, "once-lock", sizeof(*once_guard));
    return places && once_guard ? APR_SUCCESS : APR_ENOMEM;
}

static int is_alive(apr_uint32_t process)
{
    for (unsigned i = 0; i < ws_shm_slots(); i++) {
        ws_shm_owner owner;
        if (ws_shm_owner_of(i, &owner) && owner.process == process) {
            return 1;
        }
    }
    return 0;
}

/* A child that was killed gives the lock up by that. What it guards is read as if anybody had written it.
 * @return 0 if another holds it for too long: it was stopped, say */
static int lock_table(void)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        apr_uint32_t holder = 0;
        if (__atomic_compare_exchange_n(&once_guard->process, &holder, ws_shm_process(), 0,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
            || (!is_alive(holder)
                && __atomic_compare_exchange_n(&once_guard->process, &holder, ws_shm_process(), 0,
                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))) {
            return 1;
        }
        apr_sleep(1000);
    }
    return 0;
}

static void unlock_table(void)
{
    __atomic_store_n(&once_guard->process, 0, __ATOMIC_SEQ_CST);
}

static once_place *bucket_of(const ws_message *m)
{
    unsigned n = ((unsigned)m->id[0] << 8 | m->id[1]) % BUCKETS;
    return places + n * BUCKET;
}

static once_place *find_place(once_place *bucket, const ws_message *m, apr_int64_t now)
{
    for (unsigned i = 0; i < BUCKET; i++) {
        if (bucket[i].until > now && !memcmp(bucket[i].id, m->id, sizeof(m->id))) {
            return &bucket[i];
        }
    }
    return NULL;
}

static once_place *oldest_place(once_place *bucket)
{
    once_place *oldest = bucket;
    for (unsigned i = 1; i < BUCKET; i++) {
        oldest = bucket[i].until < oldest->until ? &bucket[i] : oldest;
    }
    return oldest;
}

static ws_once_answer claim_locked(const ws_message *m, ws_published *then)
{
    apr_int64_t now = apr_time_now();
    once_place *bucket = bucket_of(m), *p = find_place(bucket, m, now);
    if (p && p->state == PUBLISHED) {
        then->position = (ws_position){p->epoch, p->offset};
        then->receivers = p->receivers;
        return WS_ONCE_AGAIN;
    }
    if (p && is_alive(p->process)) {
        return WS_ONCE_BUSY;
    }
    p = p ? p : oldest_place(bucket);
    *p = (once_place){.number = m->number,
                      .until = now + apr_time_from_sec(WS_ONCE_TIME),
                      .process = ws_shm_process(),
                      .state = UNDER_WAY};
    memcpy(p->id, m->id, sizeof(p->id));
    return WS_ONCE_NEW;
}

static void claim(ws_once *o, ws_message *m, ws_once_done done, void *arg)
{
    ws_published then = {.status = WS_QUEUED};
    ws_once_answer answer = WS_ONCE_BUSY;
    (void)o;
    if (lock_table()) {
        answer = claim_locked(m, &then);
        unlock_table();
    }
    done(arg, answer, &then);
}

static void settle(ws_once *o, ws_message *m, const ws_published *what)
{
    once_place *p;
    (void)o;
    if (!lock_table()) {
        return; /* it stays under way, until this process has ended */
    }
    p = find_place(bucket_of(m), m, apr_time_now());
    if (p && p->process == ws_shm_process() && p->number == m->number) {
        p->state = PUBLISHED;
        p->epoch = what->position.epoch;
        p->offset = what->position.offset;
        p->receivers = what->receivers;
        if (what->status < 0 && what->status != WS_UNCERTAIN) {
            p->until = 0;
        }
    }
    unlock_table();
}

ws_once *ws_once_local(void)
{
    static ws_once local = {claim, settle};
    return places ? &local : NULL;
}
