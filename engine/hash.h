/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The hash of tables whose keys a client chooses: names of channels, addresses. It is keyed, so that nobody
 * outside can find keys that share a place (SipHash-2-4, of APR).
 */

#ifndef WS_ENGINE_HASH_H
#define WS_ENGINE_HASH_H

#include <apr.h>

#include "include/mod_websocket.h"

#define WS_HASH_KEY 16

/** Set the key: random bytes, the same in all processes that share a table. Before the first ws_hash();
 *  without it, all bytes are 0. */
void ws_hash_set_key(const unsigned char key[WS_HASH_KEY]);

/** @param seed  keeps keys of several kinds apart, 0 where there is one  @return never 0  [any thread] */
apr_uint64_t ws_hash(apr_uint64_t seed, const void *data, apr_size_t len);

#endif
