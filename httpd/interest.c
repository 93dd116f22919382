/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Keeps a table in shared memory with the number of subscribers that each child has of each
 * channel. If a child has subscriptions that do not fit in its row of the table, their number is
 * counted, and the child receives the messages of all channels.
 */

#include "httpd/interest.h"

#include "httpd/key_counts.h"

#define PLACES (1u << 21)

/* Number of subscriptions that do not fit in a child's row. If there are any, the child receives
 * the messages of all channels. */
WS_SHM_STRUCT(interest_overflow, {
    apr_uint32_t count; /* atomic */
});

static ws_key_counts *interest;
static interest_overflow *overflow; /* array with an entry for each slot */

WS_SHM_NUMBER(PLACES);

const ws_shm_layout *const ws_interest_layout[] = {&interest_overflow_layout, &PLACES_layout, NULL};

apr_status_t ws_interest_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    interest = ws_key_counts_attach(s, "interest", PLACES);
    overflow = ws_shm_table(s, "interest-overflow", ws_shm_slots() * sizeof(*overflow));
    return interest && overflow ? APR_SUCCESS : APR_ENOMEM;
}

void ws_interest_reclaim(unsigned slot)
{
    ws_key_counts_clear(interest, slot);
    __atomic_store_n(&overflow[slot].count, 0, __ATOMIC_SEQ_CST);
}

int ws_interest_child_init(apr_pool_t *pchild)
{
    if (ws_key_counts_child_init(interest, pchild) < 0) {
        return -1;
    }
    __atomic_store_n(&overflow[ws_shm_slot()].count, 0, __ATOMIC_SEQ_CST);
    return 0;
}

void ws_interest_change(apr_uint64_t channel, int change)
{
    if (change > 0 ? !ws_key_counts_add(interest, channel)
                   : !ws_key_counts_remove(interest, channel)) {
        __atomic_add_fetch(&overflow[ws_shm_slot()].count, (apr_uint32_t)change, __ATOMIC_SEQ_CST);
    }
}

int ws_interest_has(unsigned slot, apr_uint64_t channel)
{
    return __atomic_load_n(&overflow[slot].count, __ATOMIC_SEQ_CST)
           || ws_key_counts_get(interest, slot, channel);
}

apr_uint32_t ws_interest_count(unsigned slot, apr_uint64_t channel)
{
    return ws_key_counts_get(interest, slot, channel);
}
