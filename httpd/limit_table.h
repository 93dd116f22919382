/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Counts of open connections and paces of handshakes, by a key, across all children of the server and
 * all their generations.
 *
 * A count is the sum of what the children have counted. Each child writes to a table of its own, which
 * the others read without a lock; when a child is no more, however it ended, its table is cleared. A
 * pace is one number that all children share.
 */

#ifndef WS_HTTPD_CENSUS_H
#define WS_HTTPD_CENSUS_H

#include <httpd.h>

/** post_config, behind ws_shm_init(). @return 0, or -1 when there is no memory */
int ws_limit_table_init(server_rec *s);

/** child_init, behind ws_shm_child_init(). */
void ws_limit_table_child_init(apr_pool_t *pchild);

/** register_hooks. */
void ws_limit_table_register(void);

/** What is returned when the table is full, or this child has none. */
#define WS_CENSUS_NONE 0xFFFFFFFFu

/**
 * One more connection with this key.  [child, any thread]
 * @param key  not 0
 * @param sum  set to how many there are now in all children
 * @return the place, for ws_limit_table_remove(); WS_CENSUS_NONE: it was not counted
 */
apr_uint32_t ws_limit_table_add(apr_uint64_t key, apr_uint32_t *sum);

/** One less.  [child, any thread] */
void ws_limit_table_remove(apr_uint32_t place);

/**
 * One more event at a pace of so many a second, and so many at once.  [child, any thread]
 * @param key   not 0
 * @return microseconds until there would have been room; 0 when there was; -1 when the table is full
 */
apr_int64_t ws_rate(apr_uint64_t key, apr_uint64_t rate, apr_uint64_t burst);

#endif
