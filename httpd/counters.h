/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The counters of engine/counters.h in shared memory: for each child its loops' rows and one for the
 *  threads of httpd, and the totals of children that are no more. */

#ifndef WS_HTTPD_COUNTERS_H
#define WS_HTTPD_COUNTERS_H

#include <httpd.h>

#include "engine/engine.h"
#include "httpd/shm.h"

extern const ws_shm_layout *const ws_counters_layout[];

/** parent_init. */
apr_status_t ws_counters_init(apr_pool_t *ptemp, server_rec *s);

/** A child has ended: add what it has counted to the totals.  [parent] */
void ws_counters_reclaim(unsigned slot);

/** child_init, after ws_shm_child_init(): rows for options->loops loops, if this child has a slot. */
apr_status_t ws_counters_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** Count 1 in the row of httpd's threads.  [any thread of a child] */
void ws_counters_add(ws_counter which);

/** Sum up all children, those that are no more included.  [any process, any thread] */
void ws_counters_sum(ws_counters *sum);

/** The open connections of one child.  [any process, any thread] */
apr_uint64_t ws_counters_open(unsigned slot);

#endif
