/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A FIFO queue between threads. Callers embed the queue's link in their items, so the queue
 * allocates nothing.
 */

#ifndef WS_BASE_QUEUE_H
#define WS_BASE_QUEUE_H

#include <pthread.h>
#include <sys/queue.h>
#include <time.h>

typedef struct ws_queue_item {
    STAILQ_ENTRY(ws_queue_item) next;
} ws_queue_item;

typedef STAILQ_HEAD(ws_queue_items, ws_queue_item) ws_queue_items;

/** Private. */
typedef struct ws_queue {
    pthread_mutex_t lock; /**< protects the fields below */
    pthread_cond_t more;
    ws_queue_items items;
    unsigned count; /**< atomic; written with the lock held */
    unsigned idle;  /**< threads in ws_queue_wait() */
    int closed;
} ws_queue;

void ws_queue_init(ws_queue *q);

/** Free the queue's lock. No other thread may use the queue any more. */
void ws_queue_destroy(ws_queue *q);

/**
 * Append an item.  [any thread]
 * @return 1: the queue was empty; 0: it was not; -1: it is closed, and the caller keeps the item
 */
int ws_queue_push(ws_queue *q, ws_queue_item *item);

/** Remove the first item.  [any thread] @return NULL if the queue is empty */
ws_queue_item *ws_queue_pop(ws_queue *q);

/**
 * Remove the first item, or wait for one.  [any thread]
 * @return NULL: the queue is closed and empty
 */
ws_queue_item *ws_queue_wait(ws_queue *q);

/** Like ws_queue_wait(), but wait no longer than until the time `until` (CLOCK_REALTIME).
 *  @return NULL also if that time has come */
ws_queue_item *ws_queue_wait_until(ws_queue *q, const struct timespec *until);

/** Remove all items, in order.  [any thread] */
void ws_queue_take(ws_queue *q, ws_queue_items *items);

/**
 * Close the queue for new items. ws_queue_wait() returns the remaining ones, then NULL.
 * [any thread]
 */
void ws_queue_close(ws_queue *q);

/** Whether there are more items than waiting threads. [any thread] */
int ws_queue_is_busy(ws_queue *q);

/** Number of items. Another thread may change it at any time.  [any thread] */
static inline unsigned ws_queue_count(const ws_queue *q)
{
    return __atomic_load_n(&q->count, __ATOMIC_ACQUIRE);
}

#endif
