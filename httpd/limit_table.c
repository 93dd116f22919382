/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements the counters of WebSocketLimit in shared memory, without locks. If the table has no
 *  free entry for a key, the caller gets an error. Counts are never dropped silently. */

#include "httpd/limit_table.h"

#include "httpd/key_counts.h"

/* A build for t/upgrade.t has other sizes. */
#ifndef PLACES
#define PLACES (1u << 22)
#define RATES (1u << 16)
#endif

/* Number of entries per bucket. As in key_counts.c, a key is in one of two buckets. */
#define BUCKET 16

/* The rate of one key. All children share it, and change it without locks. */
WS_SHM_STRUCT(limit_rate, {
    apr_uint64_t key; /* atomic */
    /* Atomic; apr_time_t when all counted events will have expired, at the limit's rate. If it is
     * in the past, the entry is free. */
    apr_int64_t until;
});

static ws_key_counts *connections;
static limit_rate *rates;

WS_SHM_NUMBER(PLACES);
WS_SHM_NUMBER(RATES);
WS_SHM_NUMBER(BUCKET);

const ws_shm_layout *const ws_limit_table_layout[] = {&limit_rate_layout, &PLACES_layout,
                                                      &RATES_layout, &BUCKET_layout, NULL};

apr_status_t ws_limit_table_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    connections = ws_key_counts_attach(s, "limits", PLACES);
    rates = ws_shm_table(s, "rates", sizeof(*rates) * RATES);
    return connections && rates ? APR_SUCCESS : APR_ENOMEM;
}

void ws_limit_table_reclaim(unsigned slot)
{
    ws_key_counts_clear(connections, slot);
}

void ws_limit_table_child_init(apr_pool_t *pchild)
{
    ws_key_counts_child_init(connections, pchild);
}

int ws_limit_table_add(apr_uint64_t key, apr_uint64_t *sum)
{
    *sum = 0;
    if (!ws_key_counts_add(connections, key)) {
        return 0;
    }
    /* Count first, then compute the sum. If two children count a connection at the same time, at
     * least one of them then sees both. */
    for (unsigned i = 0; i < ws_shm_slots(); i++) {
        ws_shm_owner owner;
        if (ws_key_counts_any(connections, i)
            && ((int)i == ws_shm_slot() || ws_shm_owner_of(i, &owner))) {
            *sum += ws_key_counts_get(connections, i, key);
        }
    }
    return 1;
}

void ws_limit_table_remove(apr_uint64_t key)
{
    ws_key_counts_remove(connections, key);
}

/* ---- Rates ---- */

static limit_rate *rate_entry(apr_uint64_t key, unsigned i)
{
    apr_uint32_t half = (apr_uint32_t)(i < BUCKET ? key : key >> 32);
    return &rates[(half & (RATES / BUCKET - 1)) * BUCKET + i % BUCKET];
}

/* Find the key's entry, or take a free one. @return NULL: both buckets are full */
static limit_rate *rate_find(apr_uint64_t key, apr_int64_t now)
{
    for (unsigned i = 0; i < 2 * BUCKET; i++) {
        limit_rate *r = rate_entry(key, i);
        if (__atomic_load_n(&r->key, __ATOMIC_SEQ_CST) == key) {
            return r;
        }
    }
    for (unsigned i = 0; i < 2 * BUCKET; i++) {
        limit_rate *r = rate_entry(key, i);
        apr_uint64_t old = __atomic_load_n(&r->key, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&r->until, __ATOMIC_SEQ_CST) <= now
            && __atomic_compare_exchange_n(&r->key, &old, key, 0, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST)) {
            return r;
        }
    }
    return NULL;
}

apr_int64_t ws_limit_table_rate(apr_uint64_t key, apr_uint64_t rate, apr_uint64_t burst)
{
    apr_int64_t now = apr_time_now(), step = (apr_int64_t)(APR_USEC_PER_SEC / rate), most, until,
                then;
    limit_rate *r = rate_find(key, now);
    if (!r) {
        return -1;
    }
    step = step ? step : 1;
    most = now + (apr_int64_t)burst * step;
    until = __atomic_load_n(&r->until, __ATOMIC_SEQ_CST);
    do {
        /* A time later than `most` was set for another key or limit, or by a compromised child. */
        then = (until > most ? most : until > now ? until : now) + step;
        if (then > most) {
            return then - most;
        }
    } while (!__atomic_compare_exchange_n(&r->until, &until, then, 0, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    return 0;
}
