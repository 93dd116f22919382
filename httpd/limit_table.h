/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Counts of open connections (key_counts.h) and rates of handshakes, by a key, across all children of the
 * server and all their generations. A count is the sum of what the children have counted; a rate is one
 * number that all children share. What finds no place is not counted, and has to be refused.
 */

#ifndef WS_HTTPD_LIMIT_TABLE_H
#define WS_HTTPD_LIMIT_TABLE_H

#include "httpd/shm.h"

extern const ws_shm_layout *const ws_limit_table_layout[];

/** parent_init. */
apr_status_t ws_limit_table_init(apr_pool_t *ptemp, server_rec *s);

/** A child has ended.  [parent] */
void ws_limit_table_reclaim(unsigned slot);

/** child_init, after ws_shm_child_init(). */
void ws_limit_table_child_init(apr_pool_t *pchild);

/**
 * One more connection with this key.  [child, any thread]
 * @param key  of ws_hash()
 * @param sum  set to how many there are now in all children
 * @return 1; 0 when it was not counted: the table is full, or this child has none
 */
int ws_limit_table_add(apr_uint64_t key, apr_uint64_t *sum);

/** One less.  [child, any thread] */
void ws_limit_table_remove(apr_uint64_t key);

/**
 * One more event at a rate of so many a second, and so many at once.  [child, any thread]
 * @param key  of ws_hash()
 * @return microseconds until there would have been room; 0 when there was; -1 when the table is full
 */
apr_int64_t ws_limit_table_rate(apr_uint64_t key, apr_uint64_t rate, apr_uint64_t burst);

#endif
