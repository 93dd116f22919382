/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reference-counted buffers of encoded frames. */

#ifndef WS_ENGINE_FRAMES_H
#define WS_ENGINE_FRAMES_H

#include <apr.h>

#include "engine/mask_keys.h"
#include "protocol/frame.h"

/** Encoded frames, ready to be sent. Many queues can refer to the same buffer, for example the
 *  queues of a broadcast's receivers. */
typedef struct ws_frames {
    apr_uint32_t refs;   /**< atomic */
    unsigned char pong;  /**< a Pong; a newer Pong may replace it */
    unsigned char whole; /**< exactly one message, from its first frame to its last */
    apr_uint64_t key;    /**< the key given to ws_send_keyed(), 0: none */
    apr_size_t len, size;
    unsigned char data[];
} ws_frames;

/** Allocate an empty buffer for size bytes, with one reference. @return NULL: out of memory */
ws_frames *ws_frames_new(apr_size_t size);

/** Build one frame, not masked. first: opcode and WS_FIN. @return NULL: out of memory */
ws_frames *ws_frames_build(unsigned first, const void *payload, apr_size_t len);

/** Build frames with a payload of at most `most` bytes each; 0: one frame. masks: source of a
 *  masking key for each frame; NULL: not masked. */
ws_frames *ws_frames_build_cut(unsigned first, const void *payload, apr_size_t len, apr_size_t most,
                               ws_mask_keys *masks);

/** The payload of a buffer that holds one frame, not masked. */
const unsigned char *ws_frames_payload(const ws_frames *f, apr_size_t *len);

ws_frames *ws_frames_ref(ws_frames *f);
void ws_frames_unref(ws_frames *f);

#endif
