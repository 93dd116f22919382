/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** WebSocketLimit: how many connections and handshakes there may be, and what a connection may do. */

#ifndef WS_HTTPD_LIMITS_H
#define WS_HTTPD_LIMITS_H

#include <httpd.h>
#include <http_config.h>

#include "engine/engine.h"

/** One WebSocketLimit line. */
typedef struct ws_limit ws_limit;

/** The directive. @param limits  of the section: ws_limit *, made with its first line
 *  @return NULL, or what is wrong */
const char *ws_limit_add(cmd_parms *cmd, apr_array_header_t **limits, int argc, char *const argv[]);

/** Limits of a section inside of another. */
apr_array_header_t *ws_limits_merge(apr_pool_t *p, apr_array_header_t *outer,
                                    apr_array_header_t *inner);

/** What they say of an open connection. */
void ws_limits_bounds(const apr_array_header_t *limits, ws_bounds bounds[2]);

/** pre_config: a new configuration is going to be read. */
void ws_limits_reset(apr_pool_t *pconf);

/** child_init, after ws_shm_child_init(). */
apr_status_t ws_limits_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/**
 * A handshake that is in order: count it.
 * @param limits  of its section, or NULL
 * @param ticket  set to what has to be released when the connection is gone, or NULL
 * @return OK; or HTTP_SERVICE_UNAVAILABLE, with Retry-After: nothing is to be released
 */
int ws_limits_admit(request_rec *r, const apr_array_header_t *limits, ws_ticket **ticket);

#endif
