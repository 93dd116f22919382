/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The counters of engine/counters.h in shared memory: for each child its loops' rows and one for the
 *  threads of httpd, and the totals of children that are no more. */

#ifndef WS_HTTPD_COUNTERS_H
#define WS_HTTPD_COUNTERS_H

#include <httpd.h>

#include "engine/engine.h"

/** register_hooks. */
void ws_counters_register(void);

/** post_config, behind ws_shm_init(). */
apr_status_t ws_counters_init(server_rec *s);

/** child_init, behind ws_shm_child_init(). @return rows for so many loops; NULL if this child has
 *  no slot */
ws_counters *ws_counters_child_init(unsigned loops);

/** Count 1 in the row of httpd's threads.  [any thread of a child] */
void ws_counters_add(ws_counter which);

/** Sum up all children, those that are no more included.  [any process, any thread] */
void ws_counters_sum(ws_counters *sum);

/** The open connections of one child.  [any process, any thread] */
apr_uint64_t ws_counters_open(unsigned slot);

#endif
