/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Counts a worker's connections and messages, and measures latencies: from the time that a message
 * was due to its arrival, and from a batch's publication to its last delivery.
 */

#include <stdlib.h>

#include "base/wake.h"
#include "tools/wsbench/connection.h"

void measure_due(peer *p, uint64_t then)
{
    uint64_t waiting = p->due - p->got;
    if (opt.mode == MODE_FAN) {
        __atomic_store_n(&board_shared->published_at[p->due % FAN_RING], then, __ATOMIC_RELAXED);
    }
    else {
        if (waiting >= p->times_size) {
            uint32_t size = p->times_size ? 2 * p->times_size : 1;
            uint64_t *times;
            while (size < opt.in_flight) {
                size *= 2;
            }
            times = memory_must(malloc(size * sizeof(*times)));
            for (uint64_t i = p->got; i < p->due; i++) {
                times[i & (size - 1)] = p->times[i & (p->times_size - 1)];
            }
            free(p->times);
            p->times = times;
            p->times_size = size;
        }
        p->times[p->due & (p->times_size - 1)] = then;
    }
    p->due++;
}

/* ---- Fan-out in batches ---- */

/* Handle the end of a batch in this worker, after all subscribers of this worker have received the
 * batch. */
static void measure_batch_over_here(worker *w)
{
    uint64_t begun = __atomic_load_n(
        &board_shared->published_at[(w->target - opt.in_flight) % FAN_RING], __ATOMIC_RELAXED);
    w->target += opt.in_flight;
    w->at_target = 0;
    if (__atomic_sub_fetch(&board_shared->waiting, 1, __ATOMIC_ACQ_REL) == 0) {
        uint64_t first = __atomic_load_n(&board_shared->first, __ATOMIC_RELAXED);
        uint64_t now = nanoseconds();
        if (w->phase == PHASE_MEASURE && first) {
            histogram_add(&board_shared->complete, now - begun);
            histogram_add(&board_shared->spread, now > first ? now - first : 0);
        }
        __atomic_store_n(&board_shared->batch_over, 1, __ATOMIC_RELEASE);
        ws_wake(board_shared->worker[0].wake);
    }
}

static void measure_delivered(worker *w, peer *p)
{
    uint64_t none = 0;
    if (opt.rate > 0) {
        return;
    }
    if (!__atomic_load_n(&board_shared->first, __ATOMIC_RELAXED)) {
        __atomic_compare_exchange_n(&board_shared->first, &none, w->now, 0, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    }
    if (p->got + 1 == w->target && ++w->at_target == w->subscribers) {
        measure_batch_over_here(w);
    }
}

static void measure_subscriber_lost(worker *w, const peer *p)
{
    w->subscribers--;
    if (p->got == w->target) {
        w->at_target--;
    }
    if (opt.rate > 0 || w->phase < PHASE_RUN) {
        return;
    }
    if (w->subscribers == 0) {
        __atomic_sub_fetch(&board_shared->participants, 1, __ATOMIC_ACQ_REL);
    }
    if (w->at_target == w->subscribers) {
        measure_batch_over_here(w);
    }
}

/* ---- What connections report ---- */

void measure_opened(worker *w, peer *p)
{
    w->opening--;
    w->open++;
    w->board->opened++;
    if (opt.mode == MODE_CONNECT && w->phase == PHASE_MEASURE) {
        histogram_add(&w->board->latency, nanoseconds() - p->started);
    }
    else if (opt.mode == MODE_FAN && !p->publisher) {
        w->subscribers++;
    }
}

void measure_gone(worker *w, peer *p, int was_open)
{
    if (!was_open) {
        w->opening--;
        return;
    }
    w->open--;
    if (opt.mode == MODE_FAN && !p->publisher) {
        measure_subscriber_lost(w, p);
    }
}

/* Whether each echo triggers the next message. */
static int measure_closed_loop(const worker *w)
{
    return opt.mode == MODE_ECHO && opt.rate == 0
           && (w->phase == PHASE_RUN || w->phase == PHASE_MEASURE);
}

void measure_message(worker *w, peer *p)
{
    uint64_t then;
    if (opt.mode == MODE_FAN) {
        then = __atomic_load_n(&board_shared->published_at[p->got % FAN_RING], __ATOMIC_RELAXED);
    }
    else if (p->got >= p->due) { /* more echoes than messages, which is counted as wrong */
        w->board->wrong++;
        p->due++;
        p->sent++;
        return;
    }
    else {
        then = p->times[p->got & (p->times_size - 1)];
    }
    w->board->messages++;
    w->board->bytes += opt.size;
    if (w->phase == PHASE_MEASURE) {
        histogram_add(&w->board->latency, w->now > then ? w->now - then : 0);
    }
    if (opt.mode == MODE_FAN) {
        measure_delivered(w, p);
    }
    else if (measure_closed_loop(w)) {
        measure_due(p, w->now);
    }
}
