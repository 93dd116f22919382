/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements counters in shared memory. Each loop counts in its own row without a lock. When a
 * child has ended, the parent adds its rows to the totals.
 */

#include "httpd/counters.h"

#include <sched.h>
#include <string.h>

/* Maximum number of retries of a reader while the parent moves a child's rows to the totals. */
#define TRIES 1000

/* Unused rows cost no memory, since the kernel allocates pages on first use. */
WS_SHM_STRUCT(child, {
    char shift[WS_SHM_SHIFT];
    unsigned rows; /* atomic; number of rows in use */
    ws_counters row[1 + WS_LOOPS_MAX];
});

WS_SHM_STRUCT(counters, {
    char shift[WS_SHM_SHIFT];
    unsigned folding;  /* atomic; odd while the parent moves a child's rows to the totals */
    ws_counters ended; /* totals of ended children */
    child child[];
});

#define NAME(id, ...) #id " "
#define NAME_RECEIVED(code) "received " #code " "
#define NAME_SENT(code) "sent " #code " "
static const ws_shm_layout names_layout = {WS_COUNTERS(NAME, NAME_RECEIVED, NAME_SENT),
                                           WS_COUNTER_COUNT};

const ws_shm_layout *const ws_counters_layout[] = {&child_layout, &counters_layout, &names_layout,
                                                   NULL};

static counters *memory;
static ws_counters unseen, *httpd_row = &unseen;

static void counters_add_up(ws_counters *sum, const ws_counters *row)
{
    for (unsigned i = 0; i < WS_COUNTER_COUNT; i++) {
        sum->value[i] += __atomic_load_n(&row->value[i], __ATOMIC_RELAXED);
    }
}

/* A compromised child could have written any number, so limit it. */
static unsigned counters_rows_of(const child *c)
{
    unsigned rows = __atomic_load_n(&c->rows, __ATOMIC_ACQUIRE);
    return rows < 1 + WS_LOOPS_MAX ? rows : 1 + WS_LOOPS_MAX;
}

static void counters_sum_up(unsigned slot, ws_counters *sum)
{
    const child *c = &memory->child[slot];
    unsigned rows = counters_rows_of(c);
    memset(sum, 0, sizeof(*sum));
    for (unsigned r = 0; r < rows; r++) {
        counters_add_up(sum, &c->row[r]);
    }
}

apr_uint64_t ws_counters_open(unsigned slot)
{
    ws_counters sum;
    counters_sum_up(slot, &sum);
    return sum.value[WS_COUNT_OPEN_DIRECT] + sum.value[WS_COUNT_OPEN_TLS]
           + sum.value[WS_COUNT_OPEN_RELAY] + sum.value[WS_COUNT_OPEN_SOCKJS];
}

/* The child has ended, so no process writes to its rows, but other processes may read them. The
 * function adds counters to the totals, but drops gauges, because what they count has ended with
 * the child. */
void ws_counters_reclaim(unsigned slot)
{
    child *c = &memory->child[slot];
    ws_counters sum;
    unsigned odd = __atomic_load_n(&memory->folding, __ATOMIC_SEQ_CST) | 1;
    counters_sum_up(slot, &sum);
    __atomic_store_n(&memory->folding, odd, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < WS_COUNTER_COUNT; i++) {
        if (!ws_counter_table[i].gauge) {
            ws_count(&memory->ended, (ws_counter)i, (apr_int64_t)sum.value[i]);
        }
    }
    memset(c->row, 0, counters_rows_of(c) * sizeof(*c->row));
    __atomic_store_n(&c->rows, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&memory->folding, odd + 1, __ATOMIC_SEQ_CST);
}

static void counters_sum_all(ws_counters *sum)
{
    memset(sum, 0, sizeof(*sum));
    counters_add_up(sum, &memory->ended);
    for (unsigned s = 0; s < ws_shm_slots(); s++) {
        const child *c = &memory->child[s];
        ws_shm_owner owner;
        unsigned rows = ws_shm_owner_of(s, &owner) ? counters_rows_of(c) : 0;
        for (unsigned r = 0; r < rows; r++) {
            counters_add_up(sum, &c->row[r]);
        }
    }
}

void ws_counters_sum(ws_counters *sum)
{
    for (int i = 0; i < TRIES; i++) {
        unsigned before = __atomic_load_n(&memory->folding, __ATOMIC_SEQ_CST);
        if (!(before & 1)) {
            counters_sum_all(sum);
            if (__atomic_load_n(&memory->folding, __ATOMIC_SEQ_CST) == before) {
                return;
            }
        }
        sched_yield();
    }
    counters_sum_all(sum);
}

apr_status_t ws_counters_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    memory = ws_shm_table(s, "counters", sizeof(*memory) + ws_shm_slots() * sizeof(*memory->child));
    return memory ? APR_SUCCESS : APR_ENOMEM;
}

apr_status_t ws_counters_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    int slot = ws_shm_slot();
    child *c;
    (void)pchild, (void)s;
    if (slot >= 0) {
        c = &memory->child[slot];
        __atomic_store_n(&c->rows, 1 + options->loops, __ATOMIC_RELEASE);
        httpd_row = &c->row[0];
        options->counters = &c->row[1];
    }
    return APR_SUCCESS;
}

void ws_counters_add(ws_counter which)
{
    ws_count_shared(httpd_row, which, 1);
}
