/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the URL of a Redis server, and the options after it in a directive. */

#ifndef WS_REDIS_OPTIONS_H
#define WS_REDIS_OPTIONS_H

#include <apr_pools.h>

#include "redis/bus.h"

/** Parse a URL: redis://, rediss://, sentinel://, redis-cluster:// and the like, or unix:/path.
 *  @return NULL, or the error */
const char *ws_redis_options_url(apr_pool_t *p, const char *url, ws_redis_options *o);

/** The accepted URLs and options, for error texts. */
extern const char ws_redis_options_takes[];

/**
 * Parse prefix=, sentinel=, sharded=, ca=, cert=, key= or name=. File names stay unchanged.
 * @param text  modified; must stay valid afterwards
 * @return NULL, or the error
 */
const char *ws_redis_options_word(apr_pool_t *p, char *text, ws_redis_options *o);

/** Check the combination of options, and read the TLS files as root. @return NULL, or the error */
const char *ws_redis_options_check(apr_pool_t *p, ws_redis_options *o);

#endif
