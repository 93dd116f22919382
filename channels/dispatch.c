/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Hands events to the loops that have subscribers. Each loop's queue has a size limit. While a
 * queue is full, publishers are refused, and buses wait.
 */

#include "channels/dispatch.h"

#include <stdlib.h>

#include "channels/deliver.h"
#include "channels/replay.h"

/* How long publishers and buses wait for a loop whose queue stays full, milliseconds. */
#define PATIENCE 5000

/* ---- Tasks ---- */

typedef struct delivery {
    ws_task task;
    ws_channels *h;
    ws_channel *ch;
    ws_event_kind kind;
    ws_message *m;
} delivery;

static void dispatch_do_deliver(ws_loop *loop, ws_task *task)
{
    delivery *d = (delivery *)task;
    __atomic_sub_fetch(&d->h->loop_queues[ws_loop_index(loop)].waiting, ws_message_cost(d->m),
                       __ATOMIC_RELAXED);
    if (d->kind == WS_EVENT_MESSAGE && d->ch->kept) {
        ws_deliver_in_order(d->h, loop, d->ch, d->m);
    }
    else {
        ws_deliver_now(d->h, loop, d->ch, d->kind, d->m, NULL);
    }
    ws_channel_unref(d->h, d->ch);
    ws_message_unref(d->m);
    free(d);
}

int ws_dispatch(ws_channels *h, unsigned loop, ws_channel *ch, ws_event_kind kind, ws_message *m)
{
    delivery *d = ws_task_new(sizeof(*d), dispatch_do_deliver);
    if (!d) {
        return -1;
    }
    d->h = h;
    d->ch = ws_channel_ref(h, ch);
    d->kind = kind;
    d->m = ws_message_ref(m);
    __atomic_add_fetch(&h->loop_queues[loop].waiting, ws_message_cost(m), __ATOMIC_RELAXED);
    if (ws_loop_post(ws_engine_loop(h->options.engine, loop), &d->task) < 0) {
        __atomic_sub_fetch(&h->loop_queues[loop].waiting, ws_message_cost(m), __ATOMIC_RELAXED);
        ws_channel_unref(h, ch);
        ws_message_unref(m);
        free(d);
        return -1;
    }
    return 0;
}

/* ---- Limits ---- */

typedef enum { STOPPED = -1, FULL = 0, FREE = 1 } queue_state;

/* Whether a loop's queue has room for a message. Threads check the size and add messages without a
 * lock, so a queue may exceed its limit by a few messages. */
static queue_state dispatch_queue_state_of(ws_channels *h, unsigned loop, const ws_message *m)
{
    ws_loop_queue *queue = &h->loop_queues[loop];
    apr_uint32_t since = __atomic_load_n(&queue->full_since, __ATOMIC_RELAXED), now;
    apr_size_t waiting = __atomic_load_n(&queue->waiting, __ATOMIC_RELAXED);
    if (!waiting || waiting + ws_message_cost(m) <= h->options.queue) {
        if (since) {
            __atomic_store_n(&queue->full_since, 0, __ATOMIC_RELAXED);
        }
        return FREE;
    }
    now = ws_clock() | 1;
    if (!since) {
        __atomic_store_n(&queue->full_since, now, __ATOMIC_RELAXED);
        return FULL;
    }
    return now - since < PATIENCE ? FULL : STOPPED;
}

int ws_dispatch_must_wait(ws_channels *h, const ws_channel *ch, const ws_message *m)
{
    for (unsigned i = 0; ch && i < h->loops; i++) {
        if (ws_sub_list_count(ch, i) && dispatch_queue_state_of(h, i, m) == FULL) {
            return 1;
        }
    }
    return 0;
}

/* Handle a message that a loop cannot receive: the loop will read it from the history, or report a
 * gap. */
static void dispatch_lose(ws_channels *h, unsigned loop, const ws_channel *ch)
{
    if (!ch->kept) {
        ws_channels_count(h, WS_COUNT_BUS_MISSED, 1);
    }
    ws_look_again(h, loop);
}

apr_uint32_t ws_dispatch_message(ws_channels *h, ws_channel *ch, ws_message *m)
{
    ws_loop *here = ws_loop_current(); /* the publisher's loop, or NULL */
    apr_uint32_t receivers = 0;
    for (unsigned i = 0; ch && i < h->loops; i++) {
        apr_uint32_t count = ws_sub_list_count(ch, i);
        if (!count) {
            continue;
        }
        receivers += count;
        if (here) {
            ws_loop_spend(here, ws_message_cost(m) + ws_fan_out_work(count));
        }
        if (dispatch_queue_state_of(h, i, m) != FREE
            || ws_dispatch(h, i, ch, WS_EVENT_MESSAGE, m) < 0) {
            dispatch_lose(h, i, ch);
        }
    }
    return receivers;
}
