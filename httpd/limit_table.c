/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/limit_table.h"

#include <apr_thread_mutex.h>
#include <string.h>

#include "httpd/shm.h"

/* Places of all children's tables together; each has a power of two of them, at most PLACES_MAX. */
#define PLACES_IN_ALL (1u << 20)
#define PLACES_MAX (1u << 14)
#define PLACES_MIN (1u << 10)

#define PACES (1u << 16)

/* A key stands in one of so many places from that of its hash on. So nothing has to be moved, and a
 * reader of another process finds it wherever it is. */
#define WINDOW 16

/* Of one child. Only that child writes, under its lock. */
typedef struct tally {
    apr_uint64_t key;   /**< atomic; 0: free */
    apr_uint32_t count; /**< atomic */
    apr_uint32_t unused;
} tally;

/* Of all children, changed without locks. */
typedef struct pace {
    apr_uint64_t key;  /**< atomic */
    apr_int64_t until; /**< atomic; when as many as are allowed will have been due, microseconds; in
                            the past: free */
} pace;

static tally *tallies; /* ws_shm_slots() tables */
static apr_uint32_t places;
static unsigned char *used; /* whether anything was ever written to a slot's table; atomic */
static pace *paces;
static apr_thread_mutex_t *lock; /* of this child's table */
static tally *own;

static tally *table_of(unsigned slot)
{
    return tallies + (apr_size_t)slot * places;
}

/* Even to read a page of shared memory is to have it. */
static int is_used(unsigned slot)
{
    return __atomic_load_n(&used[slot], __ATOMIC_SEQ_CST);
}

static void clear(unsigned slot)
{
    if (tallies && is_used(slot)) {
        tally *t = table_of(slot);
        for (apr_uint32_t i = 0; i < places; i++) {
            if (t[i].key) {
                __atomic_store_n(&t[i].count, 0, __ATOMIC_SEQ_CST);
                __atomic_store_n(&t[i].key, 0, __ATOMIC_SEQ_CST);
            }
        }
        __atomic_store_n(&used[slot], 0, __ATOMIC_SEQ_CST);
    }
}

int ws_limit_table_init(server_rec *s)
{
    unsigned slots = ws_shm_slots();
    apr_size_t all = PLACES_IN_ALL / slots;

    for (places = PLACES_MIN; places * 2 <= all && places < PLACES_MAX; places *= 2) {
    }
    tallies = ws_shm_table(s, "census", sizeof(*tallies) * places * slots, NULL);
    used = ws_shm_table(s, "census-used", slots, NULL);
    paces = ws_shm_table(s, "paces", sizeof(*paces) * PACES, NULL);
    if (!tallies || !used || !paces) {
        return -1;
    }
    for (unsigned i = 0; i < slots; i++) {
        ws_shm_owner owner;
        if (!ws_shm_owner_of(i, &owner) && !owner.pid) {
            clear(i); /* it may have ended before this table was known here */
        }
    }
    return 0;
}

void ws_limit_table_child_init(apr_pool_t *pchild)
{
    int slot = ws_shm_slot();
    if (tallies && slot >= 0
        && apr_thread_mutex_create(&lock, APR_THREAD_MUTEX_DEFAULT, pchild) == APR_SUCCESS) {
        clear((unsigned)slot);
        own = table_of((unsigned)slot);
    }
}

void ws_limit_table_register(void)
{
    ws_shm_on_reclaim(clear);
}

/* ---- Counts ---- */

static apr_uint32_t place_of(apr_uint64_t key, apr_uint32_t i, apr_uint32_t size)
{
    return ((apr_uint32_t)(key >> 32) + i) & (size - 1);
}

static apr_uint32_t count_in(const tally *t, apr_uint64_t key)
{
    for (apr_uint32_t i = 0; i < WINDOW; i++) {
        const tally *at = &t[place_of(key, i, places)];
        if (__atomic_load_n(&at->key, __ATOMIC_SEQ_CST) == key) {
            apr_uint32_t count = __atomic_load_n(&at->count, __ATOMIC_SEQ_CST);
            if (__atomic_load_n(&at->key, __ATOMIC_SEQ_CST) == key) {
                return count;
            }
        }
    }
    return 0;
}

/* Under the lock. */
static apr_uint32_t add(apr_uint64_t key)
{
    apr_uint32_t spare = WS_CENSUS_NONE;
    for (apr_uint32_t i = 0; i < WINDOW; i++) {
        apr_uint32_t place = place_of(key, i, places);
        if (own[place].key == key) {
            __atomic_add_fetch(&own[place].count, 1, __ATOMIC_SEQ_CST);
            return place;
        }
        if (!own[place].key && spare == WS_CENSUS_NONE) {
            spare = place;
        }
    }
    if (spare != WS_CENSUS_NONE) {
        __atomic_store_n(&own[spare].count, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&own[spare].key, key, __ATOMIC_SEQ_CST);
    }
    return spare;
}

apr_uint32_t ws_limit_table_add(apr_uint64_t key, apr_uint32_t *sum)
{
    apr_uint32_t place;
    *sum = 0;
    if (!own) {
        return WS_CENSUS_NONE;
    }
    apr_thread_mutex_lock(lock);
    __atomic_store_n(&used[ws_shm_slot()], 1, __ATOMIC_SEQ_CST);
    place = add(key);
    apr_thread_mutex_unlock(lock);
    /* Counted first, summed up then: of two children that let in the last one at the same time, at
     * least one sees both. */
    for (unsigned i = 0; place != WS_CENSUS_NONE && i < ws_shm_slots(); i++) {
        ws_shm_owner owner;
        if (is_used(i) && (table_of(i) == own || ws_shm_owner_of(i, &owner))) {
            *sum += count_in(table_of(i), key);
        }
    }
    return place;
}

void ws_limit_table_remove(apr_uint32_t place)
{
    apr_thread_mutex_lock(lock);
    if (__atomic_sub_fetch(&own[place].count, 1, __ATOMIC_SEQ_CST) == 0) {
        __atomic_store_n(&own[place].key, 0, __ATOMIC_SEQ_CST);
    }
    apr_thread_mutex_unlock(lock);
}

/* ---- Paces ---- */

/* Find the key's place, or take one whose time is over. @return NULL when there is none */
static pace *place_for(apr_uint64_t key, apr_int64_t now)
{
    for (apr_uint32_t i = 0; i < WINDOW; i++) {
        pace *p = &paces[place_of(key, i, PACES)];
        if (__atomic_load_n(&p->key, __ATOMIC_SEQ_CST) == key) {
            return p;
        }
    }
    for (apr_uint32_t i = 0; i < WINDOW; i++) {
        pace *p = &paces[place_of(key, i, PACES)];
        apr_uint64_t old = __atomic_load_n(&p->key, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&p->until, __ATOMIC_SEQ_CST) <= now
            && __atomic_compare_exchange_n(&p->key, &old, key, 0, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST)) {
            return p;
        }
    }
    return NULL;
}

apr_int64_t ws_rate(apr_uint64_t key, apr_uint64_t rate, apr_uint64_t burst)
{
    apr_int64_t now = apr_time_now(), step = (apr_int64_t)(APR_USEC_PER_SEC / rate), until, then;
    pace *p = paces ? place_for(key, now) : NULL;
    if (!p) {
        return -1;
    }
    step = step ? step : 1;
    until = __atomic_load_n(&p->until, __ATOMIC_SEQ_CST);
    do {
        then = (until > now ? until : now) + step;
        if (then - now > (apr_int64_t)burst * step) {
            return then - now - (apr_int64_t)burst * step;
        }
    } while (!__atomic_compare_exchange_n(&p->until, &until, then, 0, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    return 0;
}
