/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/interest.h"

#include <apr_thread_mutex.h>
#include <string.h>

#include "httpd/shm.h"

/* Places of all rows together; each row has a power of two of them. Those that are not used cost no
 * memory. */
#define PLACES_IN_ALL (1u << 21)
#define PLACES_MAX (1u << 16)
#define PLACES_MIN (1u << 10)

/* A channel stands in one of so many places from that of its hash on, so that nothing has to be moved
 * while others read. */
#define WINDOW 16

typedef struct place {
    apr_uint64_t channel; /* atomic; 0: free */
    apr_uint32_t count;   /* atomic */
    apr_uint32_t unused;
} place;

/* What is read of a row first. */
typedef struct summary {
    apr_uint32_t count;    /* atomic; subscribers in all */
    apr_uint32_t overflow; /* atomic; those of channels that have no place */
} summary;

static place *rows;
static apr_uint32_t places;
static summary *summaries;
static apr_thread_mutex_t *lock; /* of this child's row */
static int own = -1;

static place *row_of(unsigned slot)
{
    return rows + (apr_size_t)slot * places;
}

static void clear(unsigned slot)
{
    if (rows && __atomic_load_n(&summaries[slot].count, __ATOMIC_SEQ_CST)) {
        /* Whoever looks now finds nothing wanted, whatever stands in the row. */
        __atomic_store_n(&summaries[slot].count, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&summaries[slot].overflow, 0, __ATOMIC_SEQ_CST);
        memset(row_of(slot), 0, places * sizeof(place));
    }
}

int ws_interest_init(server_rec *s)
{
    unsigned slots = ws_shm_slots();
    apr_size_t all = PLACES_IN_ALL / slots;
    for (places = PLACES_MIN; places * 2 <= all && places < PLACES_MAX; places *= 2) {
    }
    rows = ws_shm_table(s, "wants", sizeof(*rows) * places * slots, NULL);
    summaries = ws_shm_table(s, "wants-summary", sizeof(*summaries) * slots, NULL);
    if (!rows || !summaries) {
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

int ws_interest_child_init(apr_pool_t *pchild)
{
    if (!rows || ws_shm_slot() < 0
        || apr_thread_mutex_create(&lock, APR_THREAD_MUTEX_DEFAULT, pchild) != APR_SUCCESS) {
        return -1;
    }
    own = ws_shm_slot();
    clear((unsigned)own);
    return 0;
}

void ws_interest_register(void)
{
    ws_shm_on_reclaim(clear);
}

static place *find(unsigned slot, apr_uint64_t channel)
{
    place *row = row_of(slot);
    for (apr_uint32_t i = 0; i < WINDOW; i++) {
        place *p = &row[(channel + i) & (places - 1)];
        if (__atomic_load_n(&p->channel, __ATOMIC_SEQ_CST) == channel) {
            return p;
        }
    }
    return NULL;
}

static place *find_free(unsigned slot, apr_uint64_t channel)
{
    place *row = row_of(slot);
    for (apr_uint32_t i = 0; i < WINDOW; i++) {
        place *p = &row[(channel + i) & (places - 1)];
        if (!p->channel) {
            return p;
        }
    }
    return NULL;
}

static void one_more(apr_uint64_t channel)
{
    place *p = find((unsigned)own, channel);
    if (p) {
        __atomic_add_fetch(&p->count, 1, __ATOMIC_SEQ_CST);
    }
    else if ((p = find_free((unsigned)own, channel))) {
        __atomic_store_n(&p->count, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&p->channel, channel, __ATOMIC_SEQ_CST);
    }
    else {
        __atomic_add_fetch(&summaries[own].overflow, 1, __ATOMIC_SEQ_CST);
    }
}

static void one_less(apr_uint64_t channel)
{
    place *p = find((unsigned)own, channel);
    if (!p) {
        __atomic_sub_fetch(&summaries[own].overflow, 1, __ATOMIC_SEQ_CST);
    }
    else if (__atomic_sub_fetch(&p->count, 1, __ATOMIC_SEQ_CST) == 0) {
        __atomic_store_n(&p->channel, 0, __ATOMIC_SEQ_CST);
    }
}

void ws_interest_change(apr_uint64_t channel, int change)
{
    apr_thread_mutex_lock(lock);
    if (change > 0) {
        __atomic_add_fetch(&summaries[own].count, 1, __ATOMIC_SEQ_CST);
        one_more(channel);
    }
    else {
        one_less(channel);
        __atomic_sub_fetch(&summaries[own].count, 1, __ATOMIC_SEQ_CST);
    }
    apr_thread_mutex_unlock(lock);
}

int ws_interest_any(unsigned slot)
{
    return __atomic_load_n(&summaries[slot].count, __ATOMIC_SEQ_CST) != 0;
}

int ws_interest_has(unsigned slot, apr_uint64_t channel)
{
    return ws_interest_any(slot)
           && (__atomic_load_n(&summaries[slot].overflow, __ATOMIC_SEQ_CST) || find(slot, channel));
}

apr_uint32_t ws_interest_count(unsigned slot, apr_uint64_t channel)
{
    const place *p = find(slot, channel);
    apr_uint32_t count = p ? __atomic_load_n(&p->count, __ATOMIC_SEQ_CST) : 0;
    return p && __atomic_load_n(&p->channel, __ATOMIC_SEQ_CST) == channel ? count : 0;
}
