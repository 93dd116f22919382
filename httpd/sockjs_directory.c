/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements the directory of the SockJS sessions in all children, as a hash table in shared memory
 * without locks. An entry names the process that has the session. The entries of a killed process
 * need no cleanup. They show that its sessions are lost, until new sessions reuse the entries.
 */

#include "httpd/sockjs_directory.h"

#include <string.h>

#include "httpd/ipc.h"
#include "httpd/sockjs_config.h"

/* A session's key selects its bucket. */
#define BUCKETS 4096u
#define BUCKET 64u

WS_SHM_STRUCT(sockjs_entry, {
    apr_uint64_t owner; /* atomic; process and slot of the owner; 0: the entry is free */
    apr_uint64_t key;   /* atomic */
});

WS_SHM_NUMBER(BUCKETS);
WS_SHM_NUMBER(BUCKET);

const ws_shm_layout *const ws_sockjs_directory_layout[] = {&sockjs_entry_layout, &BUCKETS_layout,
                                                           &BUCKET_layout, NULL};

static sockjs_entry *directory;

apr_status_t ws_sockjs_directory_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    if (!ws_sockjs_used()) {
        return APR_SUCCESS;
    }
    directory = ws_shm_table(s, "sockjs", sizeof(*directory) * BUCKETS * BUCKET);
    return directory ? APR_SUCCESS : APR_ENOMEM;
}

static apr_uint64_t directory_self(void)
{
    return (apr_uint64_t)ws_shm_process() << 32 | (apr_uint64_t)(ws_shm_slot() + 1);
}

static int directory_alive(apr_uint64_t owner)
{
    unsigned slot = (unsigned)(owner & 0xFFFFFFFF) - 1;
    ws_shm_owner now;
    return slot < ws_ipc_count() && ws_shm_owner_of(slot, &now)
           && now.process == (apr_uint32_t)(owner >> 32);
}

static sockjs_entry *directory_bucket(const ws_sockjs_key *key)
{
    return directory + key->low % BUCKETS * BUCKET;
}

/* Get the owner of a session. @param but  an entry to skip @return the owner; 0: not found */
static apr_uint64_t directory_owner(const ws_sockjs_key *key, const sockjs_entry *but)
{
    sockjs_entry *bucket = directory_bucket(key);
    for (unsigned i = 0; i < BUCKET; i++) {
        sockjs_entry *e = &bucket[i];
        apr_uint64_t owner = __atomic_load_n(&e->owner, __ATOMIC_SEQ_CST);
        if (owner && e != but && __atomic_load_n(&e->key, __ATOMIC_SEQ_CST) == key->high) {
            return owner;
        }
    }
    return 0;
}

static ws_sockjs_owner directory_owner_slot(apr_uint64_t owner, unsigned *slot)
{
    *slot = (unsigned)(owner & 0xFFFFFFFF) - 1;
    return !owner ? WS_SOCKJS_NONE : directory_alive(owner) ? WS_SOCKJS_KNOWN : WS_SOCKJS_LOST;
}

ws_sockjs_owner ws_sockjs_directory_find(const ws_sockjs_key *key, unsigned *slot)
{
    return directory ? directory_owner_slot(directory_owner(key, NULL), slot) : WS_SOCKJS_NO_ROOM;
}

/* Take a free entry. If no entry is free, take the entry of a process that has ended. */
static sockjs_entry *directory_take(const ws_sockjs_key *key)
{
    for (int dead = 0; dead < 2; dead++) {
        sockjs_entry *e = directory_bucket(key);
        for (unsigned i = 0; i < BUCKET; i++, e++) {
            apr_uint64_t owner = __atomic_load_n(&e->owner, __ATOMIC_SEQ_CST);
            if ((dead ? owner && !directory_alive(owner) : !owner)
                && __atomic_compare_exchange_n(&e->owner, &owner, directory_self(), 0,
                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
                return e;
            }
        }
    }
    return NULL;
}

ws_sockjs_owner ws_sockjs_directory_claim(const ws_sockjs_key *key, unsigned *slot)
{
    ws_sockjs_owner found = ws_sockjs_directory_find(key, slot);
    apr_uint64_t other;
    sockjs_entry *e;
    if (found != WS_SOCKJS_NONE) {
        return found;
    }
    if (ws_shm_slot() < 0 || !ws_ipc_reachable() || !(e = directory_take(key))) {
        return WS_SOCKJS_NO_ROOM;
    }
    __atomic_store_n(&e->key, key->high, __ATOMIC_SEQ_CST);
    /* If two requests create the same session at the same time, at least one of them finds the
     * entry of the other. */
    if ((other = directory_owner(key, e))) {
        __atomic_store_n(&e->owner, 0, __ATOMIC_SEQ_CST);
        return directory_owner_slot(other, slot);
    }
    *slot = (unsigned)ws_shm_slot();
    return WS_SOCKJS_MINE;
}

void ws_sockjs_directory_release(const ws_sockjs_key *key)
{
    sockjs_entry *e = directory_bucket(key);
    for (unsigned i = 0; i < BUCKET; i++, e++) {
        if (__atomic_load_n(&e->key, __ATOMIC_SEQ_CST) == key->high
            && __atomic_load_n(&e->owner, __ATOMIC_SEQ_CST) == directory_self()) {
            __atomic_store_n(&e->owner, 0, __ATOMIC_SEQ_CST);
        }
    }
}
