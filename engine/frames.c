/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Encodes frames into reference-counted buffers. The queues of many connections can share one
 * buffer.
 */

#include "engine/frames.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/mask.h"

ws_frames *ws_frames_new(apr_size_t size)
{
    ws_frames *f = size > APR_SIZE_MAX / 2 ? NULL : malloc(sizeof(*f) + size);
    if (f) {
        f->refs = 1;
        f->pong = f->whole = 0;
        f->key = 0;
        f->len = 0;
        f->size = size;
    }
    return f;
}

static void frames_add(ws_frames *f, unsigned first, const void *payload, apr_size_t len,
                       ws_mask_keys *masks)
{
    unsigned char *key = masks ? ws_mask_keys_next(masks) : NULL;
    f->len += ws_frame_header(f->data + f->len, first, len, key);
    if (len) {
        memcpy(f->data + f->len, payload, len);
        if (key) {
            ws_mask(f->data + f->len, len, key);
        }
        f->len += len;
    }
}

ws_frames *ws_frames_build_cut(unsigned first, const void *payload, apr_size_t len, apr_size_t most,
                               ws_mask_keys *masks)
{
    static const unsigned char any[4];
    const char *data = payload;
    unsigned char head[WS_HEADER_MAX];
    apr_size_t heads =
        ws_frame_header(head, first, most && len > most ? most : len, masks ? any : NULL);
    ws_frames *f;
    int whole = (first & WS_FIN) && (first & 0xF) && !(first & 0x8);

    if (most && len > most) {
        heads *= (len - 1) / most + 1;
    }
    if (len > APR_SIZE_MAX / 4 || heads > APR_SIZE_MAX / 4 || !(f = ws_frames_new(heads + len))) {
        return NULL;
    }
    f->whole = (unsigned char)whole;
    f->pong = (first & 0xF) == WS_OP_PONG;
    for (; most && len > most; data += most, len -= most) {
        frames_add(f, first & ~WS_FIN, data, most, masks);
        first = (first & WS_FIN) | WS_OP_CONTINUATION;
    }
    frames_add(f, first, data, len, masks);
    f->size =
        f->len; /* a short last header leaves room, which ws_send_queue_append() must not use */
    return f;
}

ws_frames *ws_frames_build(unsigned first, const void *payload, apr_size_t len)
{
    return ws_frames_build_cut(first, payload, len, 0, NULL);
}

const unsigned char *ws_frames_payload(const ws_frames *f, apr_size_t *len)
{
    unsigned n = f->data[1] & 0x7F; /* RFC 6455, section 5.2; the frame is not masked */
    apr_size_t head = n == 127 ? 10 : n == 126 ? 4 : 2;
    *len = f->len - head;
    return f->data + head;
}

ws_frames *ws_frames_ref(ws_frames *f)
{
    __atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
    return f;
}

void ws_frames_unref(ws_frames *f)
{
    if (__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        free(f);
    }
}
