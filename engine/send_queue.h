/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A connection's send queue: frames to be written. */

#ifndef WS_ENGINE_SEND_QUEUE_H
#define WS_ENGINE_SEND_QUEUE_H

#include <apr.h>
#include <sys/uio.h>

#include "engine/frames.h"

/** An entry of a queue. */
typedef struct ws_send_entry {
    ws_frames *frames;
    apr_uint32_t since; /**< when its first bytes were queued, milliseconds */
    apr_uint32_t hint;  /**< hash of the key; a search skips entries with another hash */
} ws_send_entry;

/** Memory that an entry needs in addition to its frames, bytes. */
#define WS_SEND_ENTRY_COST (sizeof(ws_send_entry) + sizeof(ws_frames))

/** A ring of reference-counted buffers. */
typedef struct ws_send_ring {
    apr_uint32_t size, head, count;
    unsigned char partial; /**< the first buffer begins inside a frame whose start has been sent */
    apr_size_t sent;       /**< bytes of the first buffer that have been sent */
    ws_send_entry entry[];
} ws_send_ring;

typedef struct ws_send_queue {
    ws_send_ring *ring; /**< NULL while the queue is empty */
    apr_size_t bytes;   /**< bytes in the queue; atomic, other threads read it */
} ws_send_queue;

/** The number of entries in the queue. */
static inline apr_uint32_t ws_send_queue_count(const ws_send_queue *q)
{
    return q->ring ? q->ring->count : 0;
}

/** Append a buffer. Takes over the reference to it. now: loop time, milliseconds.
 *  @return 0, or -1 if out of memory: the reference is released */
int ws_send_queue_push(ws_send_queue *q, ws_frames *f, apr_uint32_t now);

/** Append a copy of bytes: to the last buffer if that has room and only this queue refers to it,
 *  otherwise in a new buffer. @return 0, or -1 if out of memory */
int ws_send_queue_append(ws_send_queue *q, const struct iovec *iov, int n, apr_uint32_t now);

/** Put n unsent bytes before all entries. No byte of the entries may have been sent. cut: the bytes
 *  begin inside a frame. @return 0, or -1 if out of memory */
int ws_send_queue_prepend(ws_send_queue *q, const void *data, apr_size_t n, int cut,
                          apr_uint32_t now);

/** Insert a control frame before all frames of which nothing has been sent. A newer Pong replaces
 *  a queued one (RFC 6455, section 5.5.3). Takes over the reference. @return as
 *  ws_send_queue_push() */
int ws_send_queue_push_control(ws_send_queue *q, ws_frames *f, apr_uint32_t now);

/** Get an entry of the queue. i: its index; the entry with index 0 is sent first */
const ws_send_entry *ws_send_queue_at(const ws_send_queue *q, apr_uint32_t i);

/** Find the first entry of which no byte has been sent. @return its index, or the number of entries
 *  if the queue has no such entry */
apr_uint32_t ws_send_queue_untouched(const ws_send_queue *q);

/** Find the entry with this key of which no byte has been sent. @return its index, or the number of
 *  entries if the queue has no such entry */
apr_uint32_t ws_send_queue_find(const ws_send_queue *q, apr_uint64_t key);

/** Replace the buffer of an entry of which nothing has been sent. Takes over the reference. */
void ws_send_queue_replace(ws_send_queue *q, apr_uint32_t i, ws_frames *f, apr_uint32_t now);

/** Remove an entry of which nothing has been sent, and release its reference. */
void ws_send_queue_remove(ws_send_queue *q, apr_uint32_t i);

/** Get the bytes to be sent next. @return how many elements of iov were filled */
int ws_send_queue_peek(const ws_send_queue *q, struct iovec *iov, int max);

/** Remove n bytes that have been written. */
void ws_send_queue_drop(ws_send_queue *q, apr_size_t n);

/** Remove the first buffer, and return it with its reference; NULL: the queue is empty. Nothing of
 *  the buffer may have been sent. */
ws_frames *ws_send_queue_shift(ws_send_queue *q);

void ws_send_queue_clear(ws_send_queue *q);

apr_size_t ws_send_queue_bytes(const ws_send_queue *q);

#endif
