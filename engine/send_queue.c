/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A connection's send queue: a ring of reference-counted buffers. Control frames overtake
 * frames of which no byte has been sent.
 */

#include "engine/send_queue.h"

#include <stdlib.h>
#include <string.h>

/* Minimum size of a buffer for copied bytes, so that many short messages share one. */
#define APPEND_SIZE 4096

static ws_send_entry *sendq_at(const ws_send_queue *q, apr_uint32_t i)
{
    return &q->ring->entry[(q->ring->head + i) & (q->ring->size - 1)];
}

static apr_uint32_t sendq_hint_of(apr_uint64_t key)
{
    return (apr_uint32_t)(key * 0x9E3779B97F4A7C15u >> 32); /* mixes all bits of the key */
}

static ws_send_entry sendq_entry_of(ws_frames *f, apr_uint32_t now)
{
    return (ws_send_entry){f, now, sendq_hint_of(f->key)};
}

static void sendq_add_bytes(ws_send_queue *q, apr_size_t n)
{
    __atomic_store_n(&q->bytes, q->bytes + n, __ATOMIC_RELAXED);
}

apr_size_t ws_send_queue_bytes(const ws_send_queue *q)
{
    return __atomic_load_n(&q->bytes, __ATOMIC_RELAXED);
}

static int sendq_reserve(ws_send_queue *q)
{
    ws_send_ring *old = q->ring, *ring;
    apr_uint32_t size = old ? old->size * 2 : 4;
    if (old && old->count < old->size) {
        return 0;
    }
    if (!(ring = malloc(sizeof(*ring) + size * sizeof(*ring->entry)))) {
        return -1;
    }
    *ring = (ws_send_ring){.size = size};
    if (old) {
        ring->count = old->count;
        ring->partial = old->partial;
        ring->sent = old->sent;
        for (apr_uint32_t i = 0; i < old->count; i++) {
            ring->entry[i] = *sendq_at(q, i);
        }
        free(old);
    }
    q->ring = ring;
    return 0;
}

/* Free the ring if the queue has no entries. */
static void sendq_settle(ws_send_queue *q)
{
    if (q->ring && !q->ring->count) {
        ws_send_queue_clear(q);
    }
}

int ws_send_queue_push(ws_send_queue *q, ws_frames *f, apr_uint32_t now)
{
    if (sendq_reserve(q) < 0) {
        ws_frames_unref(f);
        return -1;
    }
    *sendq_at(q, q->ring->count++) = sendq_entry_of(f, now);
    sendq_add_bytes(q, f->len);
    return 0;
}

int ws_send_queue_append(ws_send_queue *q, const struct iovec *iov, int n, apr_uint32_t now)
{
    ws_frames *f = q->ring ? sendq_at(q, q->ring->count - 1)->frames : NULL;
    apr_size_t len = 0;
    for (int i = 0; i < n; i++) {
        len += iov[i].iov_len;
    }
    if (!f || f->size - f->len < len || f->pong
        || __atomic_load_n(&f->refs, __ATOMIC_ACQUIRE) > 1) {
        if (!(f = ws_frames_new(len < APPEND_SIZE ? APPEND_SIZE : len))
            || ws_send_queue_push(q, f, now) < 0) {
            return -1;
        }
    }
    for (int i = 0; i < n; i++) {
        if (iov[i].iov_len) {
            memcpy(f->data + f->len, iov[i].iov_base, iov[i].iov_len);
            f->len += iov[i].iov_len;
        }
    }
    sendq_add_bytes(q, len);
    return 0;
}

int ws_send_queue_prepend(ws_send_queue *q, const void *data, apr_size_t n, int cut,
                          apr_uint32_t now)
{
    ws_frames *f = sendq_reserve(q) < 0 ? NULL : ws_frames_new(n);
    if (!f) {
        sendq_settle(q);
        return -1;
    }
    memcpy(f->data, data, n);
    f->len = n;
    q->ring->head--;
    q->ring->count++;
    *sendq_at(q, 0) = sendq_entry_of(f, now);
    q->ring->partial = cut != 0;
    sendq_add_bytes(q, n);
    return 0;
}

const ws_send_entry *ws_send_queue_at(const ws_send_queue *q, apr_uint32_t i)
{
    return sendq_at(q, i);
}

apr_uint32_t ws_send_queue_untouched(const ws_send_queue *q)
{
    return q->ring && (q->ring->sent > 0 || q->ring->partial);
}

apr_uint32_t ws_send_queue_find(const ws_send_queue *q, apr_uint64_t key)
{
    apr_uint32_t i, hint = sendq_hint_of(key);
    for (i = ws_send_queue_untouched(q); i < ws_send_queue_count(q); i++) {
        if (sendq_at(q, i)->hint == hint && sendq_at(q, i)->frames->key == key) {
            break;
        }
    }
    return i;
}

void ws_send_queue_replace(ws_send_queue *q, apr_uint32_t i, ws_frames *f, apr_uint32_t now)
{
    sendq_add_bytes(q, f->len - sendq_at(q, i)->frames->len);
    ws_frames_unref(sendq_at(q, i)->frames);
    *sendq_at(q, i) = sendq_entry_of(f, now);
}

static void sendq_advance(ws_send_queue *q)
{
    q->ring->head = (q->ring->head + 1) & (q->ring->size - 1);
    q->ring->count--;
}

void ws_send_queue_remove(ws_send_queue *q, apr_uint32_t i)
{
    ws_frames *f = sendq_at(q, i)->frames;
    sendq_add_bytes(q, -f->len);
    for (; i > 0; i--) { /* removed entries are usually near the head */
        *sendq_at(q, i) = *sendq_at(q, i - 1);
    }
    sendq_advance(q);
    ws_frames_unref(f);
    sendq_settle(q);
}

int ws_send_queue_push_control(ws_send_queue *q, ws_frames *f, apr_uint32_t now)
{
    apr_uint32_t i = ws_send_queue_untouched(q); /* never put it in the middle of a frame */
    if (f->pong && i < ws_send_queue_count(q) && sendq_at(q, i)->frames->pong) {
        ws_send_queue_replace(q, i, f, sendq_at(q, i)->since);
        return 0;
    }
    if (sendq_reserve(q) < 0) {
        ws_frames_unref(f);
        return -1;
    }
    for (apr_uint32_t j = q->ring->count++; j > i; j--) {
        *sendq_at(q, j) = *sendq_at(q, j - 1);
    }
    /* The new entry gets the time of the entry after it, so that the first entry always shows how
     * long the queue has waited. */
    *sendq_at(q, i) = sendq_entry_of(f, i + 1 < q->ring->count ? sendq_at(q, i + 1)->since : now);
    sendq_add_bytes(q, f->len);
    return 0;
}

int ws_send_queue_peek(const ws_send_queue *q, struct iovec *iov, int max)
{
    int n = 0;
    for (apr_uint32_t i = 0; i < ws_send_queue_count(q) && n < max; i++, n++) {
        apr_size_t sent = i ? 0 : q->ring->sent;
        iov[n].iov_base = sendq_at(q, i)->frames->data + sent;
        iov[n].iov_len = sendq_at(q, i)->frames->len - sent;
    }
    return n;
}

void ws_send_queue_drop(ws_send_queue *q, apr_size_t n)
{
    if (!q->ring) {
        return;
    }
    sendq_add_bytes(q, -n);
    n += q->ring->sent;
    while (q->ring->count && n >= sendq_at(q, 0)->frames->len) {
        n -= sendq_at(q, 0)->frames->len;
        ws_frames_unref(sendq_at(q, 0)->frames);
        sendq_advance(q);
        q->ring->partial = 0;
    }
    q->ring->sent = n;
    sendq_settle(q);
}

ws_frames *ws_send_queue_shift(ws_send_queue *q)
{
    ws_frames *f = q->ring ? sendq_at(q, 0)->frames : NULL;
    if (f) {
        sendq_add_bytes(q, -f->len);
        sendq_advance(q);
        sendq_settle(q);
    }
    return f;
}

void ws_send_queue_clear(ws_send_queue *q)
{
    for (apr_uint32_t i = 0; i < ws_send_queue_count(q); i++) {
        ws_frames_unref(sendq_at(q, i)->frames);
    }
    free(q->ring);
    q->ring = NULL;
    __atomic_store_n(&q->bytes, 0, __ATOMIC_RELAXED);
}
