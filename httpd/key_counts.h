/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements counters in shared memory, each with a 64-bit key. The table has one row for each slot
 * of shm.h. The child that owns the slot changes only this row, and holds a private lock while it
 * does so. All processes read all rows without a lock. The parent clears the row of a child that
 * has ended.
 *
 * The two halves of a key select two buckets, and the entry of the key is in one of the two.
 * Entries never move, since other processes may be reading. Keys come from ws_hash(), so a client
 * cannot choose its buckets.
 */

#ifndef WS_HTTPD_KEY_COUNTS_H
#define WS_HTTPD_KEY_COUNTS_H

#include "httpd/shm.h"

typedef struct ws_key_counts ws_key_counts;

extern const ws_shm_layout *const ws_key_counts_layout[];

/**
 * Create the table of this name, or attach to it. [parent_init]
 * @param entries  the approximate number of entries in all rows together
 * @return NULL when out of memory
 */
ws_key_counts *ws_key_counts_attach(server_rec *s, const char *name, apr_size_t entries);

/** Clear a row.  [parent, after the child has ended; or the slot's owner] */
void ws_key_counts_clear(ws_key_counts *t, unsigned slot);

/** Use the row of this child's slot.  [child_init] @return 0; -1: the child has no slot */
int ws_key_counts_child_init(ws_key_counts *t, apr_pool_t *pchild);

/**
 * Increment a key's count in this child's row.  [child, any thread]
 * @return 1; 0 when both buckets are full, or the child has no row
 */
int ws_key_counts_add(ws_key_counts *t, apr_uint64_t key);

/**
 * Decrement a key's count in this child's row.  [child, any thread]
 * @return 1; 0 when the row does not contain the key, or the child has no row
 */
int ws_key_counts_remove(ws_key_counts *t, apr_uint64_t key);

/** Get the count of a key in a row, or 0 if the row has no such key.  [any process, any thread]
 * */
apr_uint32_t ws_key_counts_get(const ws_key_counts *t, unsigned slot, apr_uint64_t key);

/** Whether a row has any key.  [any process, any thread] */
int ws_key_counts_any(const ws_key_counts *t, unsigned slot);

#endif
