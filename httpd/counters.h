/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Keeps the counters of engine/counters.h in shared memory. Each child has one row per loop and one
 * row for httpd's threads. Another row has the totals of ended children.
 */

#ifndef WS_HTTPD_COUNTERS_H
#define WS_HTTPD_COUNTERS_H

#include <httpd.h>

#include "engine/engine.h"
#include "httpd/shm.h"

extern const ws_shm_layout *const ws_counters_layout[];

/** parent_init: create or attach to the table. */
apr_status_t ws_counters_init(apr_pool_t *ptemp, server_rec *s);

/** Add the counters of an ended child to the totals.  [parent] */
void ws_counters_reclaim(unsigned slot);

/**
 * child_init, after ws_shm_child_init(): set options->counters to the rows of options->loops loops,
 * if this child has a slot.
 */
apr_status_t ws_counters_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** Increment a counter in the row of httpd's threads.  [any thread in a child] */
void ws_counters_add(ws_counter which);

/** Add up the counters of all children, including ended ones.  [any process, any thread] */
void ws_counters_sum(ws_counters *sum);

/** Get the number of open connections of a child.  [any process, any thread] */
apr_uint64_t ws_counters_open(unsigned slot);

#endif
