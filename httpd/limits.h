/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements WebSocketLimit, which limits connections, handshakes, messages, bytes, lifetime and
 *  idle time. */

#ifndef WS_HTTPD_LIMITS_H
#define WS_HTTPD_LIMITS_H

#include <httpd.h>
#include <http_config.h>

#include "engine/engine.h"

/** One WebSocketLimit line. */
typedef struct ws_limit ws_limit;

/** Setter of the directive. config: a ws_dir_config. */
const char *ws_limit_set(cmd_parms *cmd, void *config, int argc, char *const argv[]);

/** Merge the limits of nested sections. */
apr_array_header_t *ws_limits_merge(apr_pool_t *p, apr_array_header_t *outer,
                                    apr_array_header_t *inner);

/** Set the bounds of an open connection. The engine enforces bounds[0]. bounds[1] comes from lines
 *  with dry-run, so the engine only logs that a bound is exceeded. */
void ws_limits_bounds(const apr_array_header_t *limits, ws_bounds bounds[2]);

/** pre_config: discard the state of the previous configuration. */
void ws_limits_reset(apr_pool_t *pconf);

/** child_init, after ws_shm_child_init(): use this child's row in the table of limits. */
apr_status_t ws_limits_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/**
 * Count a valid handshake, and check it against the limits.
 * @param limits  the limits of the request's section, or NULL
 * @param ticket  set to a ticket to release when the connection has ended, or NULL
 * @return OK; or HTTP_SERVICE_UNAVAILABLE, with Retry-After set and without a ticket
 */
int ws_limits_admit(request_rec *r, const apr_array_header_t *limits, ws_ticket **ticket);

#endif
