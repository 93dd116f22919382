/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Which child wants messages of which channels, and how many subscribers it has: in shared memory, a row
 * for each slot. A child writes its own row, all read without locks, the parent clears the row of a child
 * that has ended. A channel is known by the hash of its name: two names of one hash only bring a child
 * messages that it does not want.
 *
 * A row has so many places; a child with more channels wants everything.
 */

#ifndef WS_HTTPD_WANTS_H
#define WS_HTTPD_WANTS_H

#include <httpd.h>

/** register_hooks. */
void ws_interest_register(void);

/** post_config, behind ws_shm_init(). @return 0, or -1 when there is no memory */
int ws_interest_init(server_rec *s);

/** child_init. @return 0, or -1 when this child has no row */
int ws_interest_child_init(apr_pool_t *pchild);

/** One subscriber of this child more or less. change: 1 or -1  [child, any thread] */
void ws_interest_change(apr_uint64_t channel, int change);

/** Whether a slot's child has any subscribers.  [any process, any thread] */
int ws_interest_any(unsigned slot);

/** Whether a slot's child is to get messages of a channel.  [any process, any thread] */
int ws_interest_has(unsigned slot, apr_uint64_t channel);

/** How many subscribers of a channel a slot's child has, as far as its row has places.  [any process,
 *  any thread] */
apr_uint32_t ws_interest_count(unsigned slot, apr_uint64_t channel);

#endif
