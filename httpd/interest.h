/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Counts the subscribers that each child has of each channel. The keys of the counters are hashes
 * of channel names (key_counts.h). If two names have the same hash, a child receives messages that
 * it then drops. A child with more channels than its row can hold receives all messages.
 */

#ifndef WS_HTTPD_INTEREST_H
#define WS_HTTPD_INTEREST_H

#include "httpd/shm.h"

extern const ws_shm_layout *const ws_interest_layout[];

/** parent_init: create the tables. */
apr_status_t ws_interest_init(apr_pool_t *ptemp, server_rec *s);

/** Clear the counts of an ended child.  [parent] */
void ws_interest_reclaim(unsigned slot);

/** child_init: use this child's row. @return 0; -1: the child has none */
int ws_interest_child_init(apr_pool_t *pchild);

/** Add a subscriber of this child if change is 1, or remove one if it is -1.  [child, any
 *  thread] */
void ws_interest_change(apr_uint64_t channel, int change);

/** Whether the child in a slot needs the messages of a channel.  [any process, any thread] */
int ws_interest_has(unsigned slot, apr_uint64_t channel);

/**
 * Get the number of subscribers that the child in a slot has of a channel. Subscribers that do not
 * fit in the child's row are not included. [any process, any thread]
 */
apr_uint32_t ws_interest_count(unsigned slot, apr_uint64_t channel);

#endif
