/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "engine/mask_keys.h"

#include <stdlib.h>
#include <sys/random.h>

void ws_random(void *out, size_t len)
{
    /* getrandom(2): up to 256 bytes are given whole, and no signal interrupts it, once the kernel's
     * source has been seeded. No key is better than one that can be guessed. */
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
