/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Masking keys of outgoing connections. RFC 6455, section 5.3, requires unpredictable keys. */

#ifndef WS_ENGINE_MASK_KEYS_H
#define WS_ENGINE_MASK_KEYS_H

#include <stddef.h>

/** Number of keys requested from the kernel at a time. */
#define WS_MASK_KEYS_COUNT 256

/** Unused keys. The owner initializes the struct with zeros. For use by one thread. */
typedef struct ws_mask_keys {
    unsigned char keys[WS_MASK_KEYS_COUNT][4];
    unsigned left;
} ws_mask_keys;

/** Get an unused key. It is valid until the next call, and the caller may write to it. */
unsigned char *ws_mask_keys_next(ws_mask_keys *m);

/** Fill out with random bytes from the kernel. len: at most 256 */
void ws_random(void *out, size_t len);

#endif
