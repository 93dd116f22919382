/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The hash function for tables whose keys a client chooses: channel names, addresses. It is
 * SipHash-2-4 from APR, with a secret key, so that clients cannot construct collisions.
 */

#ifndef WS_ENGINE_HASH_H
#define WS_ENGINE_HASH_H

#include <apr.h>

#include "include/mod_websocket.h"

#define WS_HASH_KEY 16 /**< bytes */

/** Set the key: random bytes, the same in all processes that share a table. Call before the first
 *  ws_hash(). The default key is all zero. */
void ws_hash_set_key(const unsigned char key[WS_HASH_KEY]);

/** Hash a key. @param seed  differs for each kind of key; 0 if there is only one kind
 *  @return never 0  [any thread] */
apr_uint64_t ws_hash(apr_uint64_t seed, const void *data, apr_size_t len);

#endif
