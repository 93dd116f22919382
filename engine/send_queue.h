/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Frames that wait to be written: counted buffers, and the queue of a connection. */

#ifndef WS_ENGINE_FRAMES_H
#define WS_ENGINE_FRAMES_H

#include <apr.h>
#include <sys/uio.h>

#include "engine/mask_keys.h"
#include "protocol/frame.h"

/** Bytes ready for the wire. A frame that is broadcast stands in many queues. */
typedef struct ws_frames {
    apr_uint32_t refs;   /**< atomic */
    unsigned char pong;  /**< a Pong, which a newer one may replace */
    unsigned char whole; /**< one message from its first frame to its last, and nothing else */
    apr_uint64_t key;    /**< what the message is about, 0: nothing; see ws_send_keyed() */
    apr_size_t len, size;
    unsigned char data[];
} ws_frames;

/** Room for size bytes, empty, one reference; NULL when there is no memory. */
ws_frames *ws_frames_new(apr_size_t size);

/** A whole frame. first: opcode and WS_FIN. */
ws_frames *ws_frames_build(unsigned first, const void *payload, apr_size_t len);

/** The same as frames with a payload of at most so many bytes, 0: any; with keys from masks, each masked
 *  with one, unless that is NULL. */
ws_frames *ws_frames_build_cut(unsigned first, const void *payload, apr_size_t len, apr_size_t most,
                               ws_mask_keys *masks);

/** The payload of a whole frame that is not masked. */
const unsigned char *ws_frames_payload(const ws_frames *f, apr_size_t *len);

ws_frames *ws_frames_ref(ws_frames *f);
void ws_frames_unref(ws_frames *f);

/** A place in a queue. */
typedef struct ws_send_entry {
    ws_frames *frames;
    apr_uint32_t since; /**< when it came, or the first of what is in it: milliseconds */
    apr_uint32_t hint;  /**< of the key: entries with another one need not be looked at */
} ws_send_entry;

/** What a place costs besides its bytes. */
#define WS_SEND_ENTRY_COST (sizeof(ws_send_entry) + sizeof(ws_frames))

/** A ring of counted buffers, which exists only while something waits. */
typedef struct ws_send_queue {
    ws_send_entry *ring;
    apr_uint32_t size, head, count;
    unsigned char partial; /**< the first buffer begins inside a frame whose start has been sent */
    apr_size_t sent;       /**< of the first buffer, bytes */
    apr_size_t bytes;      /**< that wait, in all; read by other threads, atomic */
} ws_send_queue;

/** Take over a reference. now: milliseconds. @return 0, or -1 when there is no memory: the reference
 *  is released */
int ws_send_queue_push(ws_send_queue *q, ws_frames *f, apr_uint32_t now);

/** Copy bytes behind what waits, into its last buffer where that has room and is nobody else's. */
int ws_send_queue_append(ws_send_queue *q, const struct iovec *iov, int n, apr_uint32_t now);

/** Put what is left of bytes on their way before all that waits, of which nothing has been sent: n of
 *  data. cut: it begins inside a frame */
int ws_send_queue_prepend(ws_send_queue *q, const void *data, apr_size_t n, int cut,
                          apr_uint32_t now);

/** Put a control frame before all frames of which nothing has been sent. A waiting Pong is replaced by
 *  a newer one (RFC 6455, section 5.5.3). Takes over the reference, as ws_send_queue_push. */
int ws_send_queue_push_control(ws_send_queue *q, ws_frames *f, apr_uint32_t now);

/** The buffer at a place below q->count, 0 being the next to leave. */
const ws_send_entry *ws_send_queue_at(const ws_send_queue *q, apr_uint32_t i);

/** The first place of which nothing has been sent; q->count if there is none. */
apr_uint32_t ws_send_queue_untouched(const ws_send_queue *q);

/** The untouched place of a message with this key, or q->count. */
apr_uint32_t ws_send_queue_find(const ws_send_queue *q, apr_uint64_t key);

/** Put another buffer in an untouched place. Takes over the reference. */
void ws_send_queue_replace(ws_send_queue *q, apr_uint32_t i, ws_frames *f, apr_uint32_t now);

/** Take out an untouched place, with its reference. */
void ws_send_queue_remove(ws_send_queue *q, apr_uint32_t i);

/** What comes next. @return how many entries of iov were filled */
int ws_send_queue_peek(const ws_send_queue *q, struct iovec *iov, int max);

/** Forget n bytes that have been written. */
void ws_send_queue_drop(ws_send_queue *q, apr_size_t n);

/** Take out the first buffer, with its reference; NULL if there is none. Nothing of it may have been
 *  sent. */
ws_frames *ws_send_queue_shift(ws_send_queue *q);

void ws_send_queue_clear(ws_send_queue *q);

apr_size_t ws_send_queue_bytes(const ws_send_queue *q);

#endif
