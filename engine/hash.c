/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** SipHash-2-4 with a key that is set once per process. The seed that ws_hash() gets is mixed into
 *  the key. */

#include "engine/hash.h"

#include <apr_siphash.h>
#include <string.h>

static unsigned char hash_key[WS_HASH_KEY];

void ws_hash_set_key(const unsigned char key[WS_HASH_KEY])
{
    memcpy(hash_key, key, sizeof(hash_key));
}

apr_uint64_t ws_hash(apr_uint64_t seed, const void *data, apr_size_t len)
{
    unsigned char key[WS_HASH_KEY];
    apr_uint64_t hash;
    memcpy(key, hash_key, sizeof(key));
    for (unsigned i = 0; i < sizeof(seed); i++) {
        key[i] ^= (unsigned char)(seed >> 8 * i);
    }
    hash = apr_siphash24(data, len, key);
    return hash ? hash : 1;
}
