/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Draws masking keys from the kernel in batches: a system call for each frame would be slow. */

#include "engine/mask_keys.h"

#include <stdlib.h>
#include <sys/random.h>

void ws_random(void *out, size_t len)
{
    /* Until the kernel's generator is seeded, getrandom(2) can be interrupted. Wait for that: a key
     * must not be predictable. After that, it always returns up to 256 bytes completely. */
    while (getrandom(out, len, 0) != (ssize_t)len) {
    }
}

unsigned char *ws_mask_keys_next(ws_mask_keys *m)
{
    if (!m->left) {
        for (size_t done = 0; done < sizeof(m->keys); done += 256) {
            ws_random((unsigned char *)m->keys + done, 256);
        }
        m->left = WS_MASK_KEYS_COUNT;
    }
    return m->keys[--m->left];
}
