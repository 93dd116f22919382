/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A FIFO queue between threads, with one lock and no allocation. */

#include "base/queue.h"

#include <errno.h>

void ws_queue_init(ws_queue *q)
{
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, NULL);
    STAILQ_INIT(&q->items);
    q->count = q->idle = 0;
    q->closed = 0;
}

void ws_queue_destroy(ws_queue *q)
{
    pthread_cond_destroy(&q->more);
    pthread_mutex_destroy(&q->lock);
}

static void queue_set_count(ws_queue *q, unsigned count)
{
    __atomic_store_n(&q->count, count, __ATOMIC_RELEASE);
}

int ws_queue_push(ws_queue *q, ws_queue_item *item)
{
    int result = -1;
    pthread_mutex_lock(&q->lock);
    if (!q->closed) {
        result = STAILQ_EMPTY(&q->items);
        STAILQ_INSERT_TAIL(&q->items, item, next);
        queue_set_count(q, q->count + 1);
        if (q->idle) {
            pthread_cond_signal(&q->more);
        }
    }
    pthread_mutex_unlock(&q->lock);
    return result;
}

static ws_queue_item *queue_shift(ws_queue *q)
{
    ws_queue_item *item = STAILQ_FIRST(&q->items);
    if (item) {
        STAILQ_REMOVE_HEAD(&q->items, next);
        queue_set_count(q, q->count - 1);
    }
    return item;
}

ws_queue_item *ws_queue_pop(ws_queue *q)
{
    ws_queue_item *item;
    pthread_mutex_lock(&q->lock);
    item = queue_shift(q);
    pthread_mutex_unlock(&q->lock);
    return item;
}

ws_queue_item *ws_queue_wait_until(ws_queue *q, const struct timespec *until)
{
    ws_queue_item *item;
    int late = 0;
    pthread_mutex_lock(&q->lock);
    while (!(item = queue_shift(q)) && !q->closed && !late) {
        q->idle++;
        late = until ? pthread_cond_timedwait(&q->more, &q->lock, until) == ETIMEDOUT
                     : pthread_cond_wait(&q->more, &q->lock) != 0;
        q->idle--;
    }
    pthread_mutex_unlock(&q->lock);
    return item;
}

ws_queue_item *ws_queue_wait(ws_queue *q)
{
    return ws_queue_wait_until(q, NULL);
}

void ws_queue_take(ws_queue *q, ws_queue_items *items)
{
    STAILQ_INIT(items);
    pthread_mutex_lock(&q->lock);
    STAILQ_CONCAT(items, &q->items);
    queue_set_count(q, 0);
    pthread_mutex_unlock(&q->lock);
}

void ws_queue_close(ws_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = 1;
    pthread_cond_broadcast(&q->more);
    pthread_mutex_unlock(&q->lock);
}

int ws_queue_is_busy(ws_queue *q)
{
    int busy;
    pthread_mutex_lock(&q->lock);
    busy = q->count > q->idle;
    pthread_mutex_unlock(&q->lock);
    return busy;
}
