/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/counters.h"

#include <string.h>

#include "httpd/shm.h"

/* Rows that are not used are not touched, and so cost no memory. */
typedef struct child {
    unsigned rows; /* atomic; that are used */
    ws_counters row[1 + WS_LOOPS_MAX];
} child;

typedef struct counters {
    unsigned folding;  /* atomic; odd while a child's rows move to the totals */
    ws_counters ended; /* of children that are no more */
    child child[];
} counters;

static counters *memory;
static ws_counters unseen, *httpd_row = &unseen;

static void add_up(ws_counters *sum, const ws_counters *row)
{
    for (unsigned i = 0; i < WS_COUNTER_COUNT; i++) {
        sum->value[i] += __atomic_load_n(&row->value[i], __ATOMIC_RELAXED);
    }
}

static void sum_up(unsigned slot, ws_counters *sum)
{
    const child *c = &memory->child[slot];
    unsigned rows = __atomic_load_n(&c->rows, __ATOMIC_ACQUIRE);
    memset(sum, 0, sizeof(*sum));
    for (unsigned r = 0; r < rows; r++) {
        add_up(sum, &c->row[r]);
    }
}

apr_uint64_t ws_counters_open(unsigned slot)
{
    ws_counters sum;
    sum_up(slot, &sum);
    return sum.value[WS_COUNT_OPEN_DIRECT] + sum.value[WS_COUNT_OPEN_TLS]
           + sum.value[WS_COUNT_OPEN_RELAY];
}

/* Nobody writes to these rows any more; others may read. What a counter has counted stays; what a
 * gauge showed is gone with the child. */
static void fold(unsigned slot)
{
    child *c = &memory->child[slot];
    ws_counters sum;
    sum_up(slot, &sum);
    __atomic_add_fetch(&memory->folding, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < WS_COUNTER_COUNT; i++) {
        if (!ws_counter_table[i].gauge) {
            ws_count(&memory->ended, (ws_counter)i, (apr_int64_t)sum.value[i]);
        }
    }
    memset(c->row, 0, c->rows * sizeof(*c->row));
    __atomic_store_n(&c->rows, 0, __ATOMIC_RELAXED);
    __atomic_add_fetch(&memory->folding, 1, __ATOMIC_SEQ_CST);
}

void ws_counters_sum(ws_counters *sum)
{
    unsigned before;
    do {
        while ((before = __atomic_load_n(&memory->folding, __ATOMIC_SEQ_CST)) & 1) {
        }
        memset(sum, 0, sizeof(*sum));
        add_up(sum, &memory->ended);
        for (unsigned s = 0; s < ws_shm_slots(); s++) {
            const child *c = &memory->child[s];
            ws_shm_owner owner;
            unsigned rows =
                ws_shm_owner_of(s, &owner) ? __atomic_load_n(&c->rows, __ATOMIC_ACQUIRE) : 0;
            for (unsigned r = 0; r < rows; r++) {
                add_up(sum, &c->row[r]);
            }
        }
    } while (__atomic_load_n(&memory->folding, __ATOMIC_SEQ_CST) != before);
}

apr_status_t ws_counters_init(server_rec *s)
{
    memory = ws_shm_table(s, "counters", sizeof(*memory) + ws_shm_slots() * sizeof(*memory->child),
                          NULL);
    return memory ? APR_SUCCESS : APR_ENOMEM;
}

ws_counters *ws_counters_child_init(unsigned loops)
{
    int slot = ws_shm_slot();
    child *c;
    if (slot < 0) {
        return NULL;
    }
    c = &memory->child[slot];
    __atomic_store_n(&c->rows, 1 + loops, __ATOMIC_RELEASE);
    httpd_row = &c->row[0];
    return &c->row[1];
}

void ws_counters_add(ws_counter which)
{
    ws_count_shared(httpd_row, which, 1);
}

void ws_counters_register(void)
{
    ws_shm_on_reclaim(fold);
}
