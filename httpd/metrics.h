/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Writes the counters of all children as text. */

#ifndef WS_HTTPD_METRICS_H
#define WS_HTTPD_METRICS_H

#include <httpd.h>

#include "base/strbuf.h"

/** register_hooks: add a section to the page of mod_status. */
void ws_metrics_register(apr_pool_t *p);

/** Write the Prometheus text format, version 0.0.4. */
void ws_metrics_prometheus(ws_strbuf *t);

/** Write a JSON object with a member for each metric. The member is the metric's value, or an
 *  object with a value for each label. */
void ws_metrics_json(ws_strbuf *t);

#endif
