/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Counts by a key in shared memory: a row for each slot of shm.h. A child adds to its own row, under its
 * lock; all read all rows without one; the parent clears the row of a child that has ended.
 *
 * A key stands in one of two buckets that its two halves choose, so that nothing ever moves while others
 * read. Keys come from ws_hash(): a client cannot choose its buckets.
 */

#ifndef WS_HTTPD_KEY_COUNTS_H
#define WS_HTTPD_KEY_COUNTS_H

#include "httpd/shm.h"

typedef struct ws_key_counts ws_key_counts;

extern const ws_shm_layout *const ws_key_counts_layout[];

/** The table of this name, with about so many places in all rows together.  [parent_init]
 *  @return NULL when there is no memory */
ws_key_counts *ws_key_counts_attach(server_rec *s, const char *name, apr_size_t places);

/** Clear a row.  [parent, of a child that has ended; or the slot's owner] */
void ws_key_counts_clear(ws_key_counts *t, unsigned slot);

/** Take this child's row.  [child_init] @return 0, or -1: it has none */
int ws_key_counts_child_init(ws_key_counts *t, apr_pool_t *pchild);

/** Count a key in this child's row. @return 1; 0 when both of its buckets are full, or there is no row
 *  [child, any thread] */
int ws_key_counts_add(ws_key_counts *t, apr_uint64_t key);

/** Take one away. @return 1; 0 when the key is not there  [child, any thread] */
int ws_key_counts_remove(ws_key_counts *t, apr_uint64_t key);

/** How often a row has a key.  [any process, any thread] */
apr_uint32_t ws_key_counts_get(const ws_key_counts *t, unsigned slot, apr_uint64_t key);

/** Whether there is anything in a row.  [any process, any thread] */
int ws_key_counts_any(const ws_key_counts *t, unsigned slot);

#endif
