/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Counts open connections (key_counts.h) and measures the rate of handshakes for each key, across
 * all children of all generations. A key is a hash of a limit and of the value that the limit
 * counts by, such as an address. A key's count is the sum of its counts in the children. A key's
 * rate is a single number that all children share. When the table is full, a new key cannot be
 * counted, and the caller must refuse the handshake.
 */

#ifndef WS_HTTPD_LIMIT_TABLE_H
#define WS_HTTPD_LIMIT_TABLE_H

#include "httpd/shm.h"

extern const ws_shm_layout *const ws_limit_table_layout[];

/** parent_init: create the tables. */
apr_status_t ws_limit_table_init(apr_pool_t *ptemp, server_rec *s);

/** Clear the counts of a child that has ended.  [parent] */
void ws_limit_table_reclaim(unsigned slot);

/** child_init, after ws_shm_child_init(): use this child's row. */
void ws_limit_table_child_init(apr_pool_t *pchild);

/**
 * Count a connection with this key.  [child, any thread]
 * @param key  from ws_hash()
 * @param sum  set to the number of connections with this key in all children, this one included
 * @return 1; 0: not counted, because the table is full or this child has no slot
 */
int ws_limit_table_add(apr_uint64_t key, apr_uint64_t *sum);

/** Stop counting a connection with this key, which has ended.  [child, any thread] */
void ws_limit_table_remove(apr_uint64_t key);

/**
 * Count an event of this key against a rate limit.  [child, any thread]
 * @param key    from ws_hash()
 * @param rate   events per second
 * @param burst  largest number of events in a burst
 * @return 0: the event is within the limit, and has been counted. Above 0: the event exceeds the
 *         limit, and has not been counted; the value is the time until it would be within the
 *         limit, microseconds. -1: the table is full
 */
apr_int64_t ws_limit_table_rate(apr_uint64_t key, apr_uint64_t rate, apr_uint64_t burst);

#endif
