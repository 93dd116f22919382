/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements counters with keys as a hash table per child, in shared memory. Each key has two
 * buckets of 16 entries, and its entry can be in either. Readers take no lock, so entries never
 * move.
 */

#include "httpd/key_counts.h"

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <string.h>

/* Limits for the number of entries per row, powers of two. Unused entries cost no memory, because
 * the kernel allocates pages on first use. */
#define ENTRIES_MIN (1u << 10)
#define ENTRIES_MAX (1u << 16)

/* Number of entries per bucket. They occupy four cache lines. With two buckets per key, a row is
 * about 90 % full before an insertion fails for the first time. */
#define BUCKET 16

WS_SHM_STRUCT(key_entry, {
    apr_uint64_t key;   /* atomic; 0: free */
    apr_uint32_t count; /* atomic */
    apr_uint32_t unused;
});

/* The summary of a row. Readers check it first, because reading an unused row would make the kernel
 * allocate its pages. */
WS_SHM_STRUCT(key_summary, {
    apr_uint32_t keys; /* atomic */
    apr_uint32_t unused;
});

struct ws_key_counts {
    key_entry *rows;
    key_summary *summaries;
    apr_uint32_t entries; /* number of entries per row */
    int own;              /* slot of this child; -1: none */
    apr_thread_mutex_t *lock;
};

WS_SHM_NUMBER(ENTRIES_MIN);
WS_SHM_NUMBER(ENTRIES_MAX);
WS_SHM_NUMBER(BUCKET);

const ws_shm_layout *const ws_key_counts_layout[] = {&key_entry_layout,   &key_summary_layout,
                                                     &ENTRIES_MIN_layout, &ENTRIES_MAX_layout,
                                                     &BUCKET_layout,      NULL};

ws_key_counts *ws_key_counts_attach(server_rec *s, const char *name, apr_size_t entries)
{
    ws_key_counts *t = apr_pcalloc(s->process->pconf, sizeof(*t));
    unsigned slots = ws_shm_slots();
    for (t->entries = ENTRIES_MIN; t->entries * 2 <= entries / slots && t->entries < ENTRIES_MAX;) {
        t->entries *= 2;
    }
    t->own = -1;
    t->rows = ws_shm_table(s, name, sizeof(*t->rows) * t->entries * slots);
    t->summaries = ws_shm_table(s, apr_pstrcat(s->process->pconf, name, "-summary", NULL),
                                sizeof(*t->summaries) * slots);
    return t->rows && t->summaries ? t : NULL;
}

static key_entry *key_row(const ws_key_counts *t, unsigned slot)
{
    return t->rows + (apr_size_t)slot * t->entries;
}

void ws_key_counts_clear(ws_key_counts *t, unsigned slot)
{
    if (ws_key_counts_any(t, slot)) {
        /* Clear this number first. Readers check it before anything else, so they regard the row as
         * empty from now on. */
        __atomic_store_n(&t->summaries[slot].keys, 0, __ATOMIC_SEQ_CST);
        memset(key_row(t, slot), 0, t->entries * sizeof(key_entry));
    }
}

int ws_key_counts_child_init(ws_key_counts *t, apr_pool_t *pchild)
{
    if (ws_shm_slot() < 0
        || apr_thread_mutex_create(&t->lock, APR_THREAD_MUTEX_DEFAULT, pchild) != APR_SUCCESS) {
        return -1;
    }
    t->own = ws_shm_slot();
    ws_key_counts_clear(t, (unsigned)t->own);
    return 0;
}

/* Get bucket 0 or 1 (which) of a key in a row. Each key has two buckets. */
static key_entry *key_bucket(const ws_key_counts *t, unsigned slot, apr_uint64_t key, int which)
{
    apr_uint32_t half = (apr_uint32_t)(which ? key >> 32 : key);
    return key_row(t, slot) + (half & (t->entries / BUCKET - 1)) * BUCKET;
}

static key_entry *key_find(const ws_key_counts *t, unsigned slot, apr_uint64_t key)
{
    for (int which = 0; which < 2; which++) {
        key_entry *bucket = key_bucket(t, slot, key, which);
        for (unsigned i = 0; i < BUCKET; i++) {
            if (__atomic_load_n(&bucket[i].key, __ATOMIC_SEQ_CST) == key) {
                return &bucket[i];
            }
        }
    }
    return NULL;
}

/* Find a free entry in the emptier bucket of a key. The caller holds the lock. @return NULL: both
 * buckets are full */
static key_entry *key_free(const ws_key_counts *t, apr_uint64_t key)
{
    key_entry *found = NULL;
    unsigned most = 0;
    for (int which = 0; which < 2; which++) {
        key_entry *bucket = key_bucket(t, (unsigned)t->own, key, which), *free = NULL;
        unsigned n = 0;
        for (unsigned i = 0; i < BUCKET; i++) {
            if (!__atomic_load_n(&bucket[i].key, __ATOMIC_RELAXED)) {
                free = &bucket[i];
                n++;
            }
        }
        if (n > most) {
            found = free;
            most = n;
        }
    }
    return found;
}

int ws_key_counts_add(ws_key_counts *t, apr_uint64_t key)
{
    key_entry *p;
    if (t->own < 0) {
        return 0;
    }
    apr_thread_mutex_lock(t->lock);
    if ((p = key_find(t, (unsigned)t->own, key))) {
        __atomic_add_fetch(&p->count, 1, __ATOMIC_SEQ_CST);
    }
    else if ((p = key_free(t, key))) {
        __atomic_add_fetch(&t->summaries[t->own].keys, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&p->count, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&p->key, key, __ATOMIC_SEQ_CST);
    }
    apr_thread_mutex_unlock(t->lock);
    return p != NULL;
}

int ws_key_counts_remove(ws_key_counts *t, apr_uint64_t key)
{
    key_entry *p;
    if (t->own < 0) {
        return 0;
    }
    apr_thread_mutex_lock(t->lock);
    p = key_find(t, (unsigned)t->own, key);
    if (p && __atomic_sub_fetch(&p->count, 1, __ATOMIC_SEQ_CST) == 0) {
        __atomic_store_n(&p->key, 0, __ATOMIC_SEQ_CST);
        __atomic_sub_fetch(&t->summaries[t->own].keys, 1, __ATOMIC_SEQ_CST);
    }
    apr_thread_mutex_unlock(t->lock);
    return p != NULL;
}

apr_uint32_t ws_key_counts_get(const ws_key_counts *t, unsigned slot, apr_uint64_t key)
{
    const key_entry *p = ws_key_counts_any(t, slot) ? key_find(t, slot, key) : NULL;
    apr_uint32_t count = p ? __atomic_load_n(&p->count, __ATOMIC_SEQ_CST) : 0;
    return p && __atomic_load_n(&p->key, __ATOMIC_SEQ_CST) == key ? count : 0;
}

int ws_key_counts_any(const ws_key_counts *t, unsigned slot)
{
    return __atomic_load_n(&t->summaries[slot].keys, __ATOMIC_SEQ_CST) != 0;
}
