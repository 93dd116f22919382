/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Gets masking keys from the kernel in batches, because a system call for each frame is slow. */

#include "engine/mask_keys.h"

#include <stdlib.h>
#include <sys/random.h>

void ws_random(void *out, size_t len)
{
    /* Until the kernel has seeded its generator, a signal can interrupt getrandom(2). Retry,
     * because a key must not be predictable. Later, getrandom(2) always returns requests of up to
     * 256 bytes completely. */
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
