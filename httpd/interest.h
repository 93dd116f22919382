/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Which child wants messages of which channels, and how many subscribers it has: counts by the hash of a
 * channel's name (key_counts.h). Two names of one hash only bring a child messages that it does not want.
 * A child with more channels than its row takes wants everything.
 */

#ifndef WS_HTTPD_INTEREST_H
#define WS_HTTPD_INTEREST_H

#include "httpd/shm.h"

extern const ws_shm_layout *const ws_interest_layout[];

/** parent_init. */
apr_status_t ws_interest_init(apr_pool_t *ptemp, server_rec *s);

/** A child has ended.  [parent] */
void ws_interest_reclaim(unsigned slot);

/** child_init. @return 0, or -1 when this child has no row */
int ws_interest_child_init(apr_pool_t *pchild);

/** One subscriber of this child more or less. change: 1 or -1  [child, any thread] */
void ws_interest_change(apr_uint64_t channel, int change);

/** Whether a slot's child is to get messages of a channel.  [any process, any thread] */
int ws_interest_has(unsigned slot, apr_uint64_t channel);

/** How many subscribers of a channel a slot's child has, as far as its row has places.  [any process,
 *  any thread] */
apr_uint32_t ws_interest_count(unsigned slot, apr_uint64_t channel);

#endif
