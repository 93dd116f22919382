/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements a worker process: its event loop, and the schedule of messages. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/wake.h"
#include "tools/wsbench/connection.h"

/* Event data of the wake-up descriptor and the timer. */
static char wake_event, timer_event;

static struct {
    unsigned next_to_open;
    unsigned next_to_open_again; /* used in MODE_CONNECT: the connection to reopen next */
    unsigned next_to_send;       /* used in MODE_ECHO with a rate: the next connection that sends */
    uint64_t scheduled;          /* number of messages that are due so far at the given rate */
    double interval;             /* nanoseconds between messages; 0: no rate is set */
    int timer;
} this;

/* ---- Fan-out in batches ---- */

static peer *worker_publisher(worker *w)
{
    return opt.mode == MODE_FAN && w->number == 0 ? &w->peers[w->count - 1] : NULL;
}

static void worker_publish_batch(worker *w)
{
    uint64_t then = nanoseconds();
    peer *p = worker_publisher(w);
    if (p->state != PEER_OPEN) {
        return;
    }
    __atomic_store_n(&board_shared->first, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&board_shared->waiting,
                     __atomic_load_n(&board_shared->participants, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
    for (unsigned i = 0; i < opt.in_flight; i++) {
        measure_due(p, then);
    }
    connection_write(w, p);
}

/* ---- Phases ---- */

/* Send the first messages on all connections. @param messages  number of messages for each
 * connection */
static void worker_start_all(worker *w, unsigned messages)
{
    for (unsigned i = 0; i < w->count; i++) {
        peer *p = &w->peers[i];
        if (p->state == PEER_OPEN && !p->publisher) {
            for (unsigned m = 0; m < messages; m++) {
                measure_due(p, nanoseconds());
            }
            connection_write(w, p);
        }
    }
}

/* Get the part of the rate that this worker sends, messages per second. */
static double worker_rate_here(const worker *w)
{
    return opt.mode == MODE_FAN ? (w->number == 0 ? opt.rate : 0)
                                : opt.rate * w->count / opt.connections;
}

static void worker_begin_run(worker *w)
{
    if (opt.rate > 0) {
        double rate = worker_rate_here(w);
        this.interval = rate > 0 ? SECOND / rate : 0;
    }
    else if (opt.mode == MODE_ECHO) {
        worker_start_all(w, opt.in_flight);
    }
    else if (opt.mode == MODE_FAN && w->number == 0) {
        worker_publish_batch(w);
    }
}

static void worker_follow_phase(worker *w)
{
    bench_phase phase = board_phase();
    while (w->phase < phase) {
        w->phase++;
        switch (w->phase) {
        case PHASE_GREET:
            if (opt.mode == MODE_IDLE) {
                worker_start_all(w, 1);
            }
            if (w->subscribers > 0) {
                __atomic_add_fetch(&board_shared->participants, 1, __ATOMIC_ACQ_REL);
            }
            break;
        case PHASE_RUN:
            worker_begin_run(w);
            break;
        case PHASE_DRAIN:
            this.interval = 0;
            break;
        default:
            break;
        }
        __atomic_store_n(&w->board->phase, w->phase, __ATOMIC_RELEASE);
    }
}

/* ---- The event loop ---- */

static void worker_open_some(worker *w)
{
    while (this.next_to_open < w->count && w->opening < opt.opening) {
        w->opening++;
        connection_open(w, &w->peers[this.next_to_open++]);
    }
}

/* Reopen connections that have closed, in MODE_CONNECT, after each has been opened once. */
static void worker_open_again(worker *w)
{
    for (unsigned i = 0; i < w->count && w->phase < PHASE_DRAIN && w->opening < opt.opening
                         && this.next_to_open == w->count;
         i++) {
        peer *p = &w->peers[this.next_to_open_again++ % w->count];
        if (p->state == PEER_GONE) {
            w->opening++;
            connection_open(w, p);
        }
    }
}

/* Give up addresses that have timed out. @return whether an address may time out soon */
static int worker_change_addresses(worker *w)
{
    int more = 0;
    for (unsigned i = 0; w->opening > 0 && i < w->count; i++) {
        more |= connection_next_address(w, &w->peers[i]);
    }
    return more;
}

static peer *worker_next_open(worker *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        peer *p = &w->peers[this.next_to_send++ % w->count];
        if (p->state == PEER_OPEN) {
            return p;
        }
    }
    return NULL;
}

/* Send messages that are due at the given rate. If they are late, latency is still measured from
 * the scheduled time. @return the next due time; 0: no message will be due */
static uint64_t worker_send_due(worker *w)
{
    uint64_t now = nanoseconds(), due = 0;
    unsigned from = this.next_to_send, n;
    while (this.interval > 0) {
        peer *p = worker_publisher(w);
        due = board_shared->start + (uint64_t)((double)this.scheduled * this.interval);
        if (due > now) {
            break;
        }
        this.scheduled++;
        if ((p = p ? p : worker_next_open(w)) && p->state == PEER_OPEN) {
            measure_due(p, due);
        }
    }
    if (worker_publisher(w)) {
        from = w->count - 1;
        this.next_to_send = w->count;
    }
    n = this.next_to_send - from < w->count ? this.next_to_send - from : w->count;
    for (unsigned i = 0; i < n; i++) {
        peer *p = &w->peers[(from + i) % w->count];
        if (p->state == PEER_OPEN && p->sent < p->due && !p->pending) {
            connection_write(w, p);
        }
    }
    return due;
}

/* End the worker if a system call has failed. @return its result */
static int worker_must(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "wsbench: %s: %s\n", what, strerror(errno));
        _exit(1);
    }
    return result;
}

/* Set the timer. Its event is edge-triggered, so the worker need not read from it. */
static void worker_set_timer(uint64_t due)
{
    struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(due / SECOND), .tv_nsec = (long)(due % SECOND)}};
    worker_must(timerfd_settime(this.timer, TFD_TIMER_ABSTIME, &t, NULL), "timer");
}

static void worker_woken(worker *w)
{
    ws_woken(w->board->wake);
    if (w->number == 0 && __atomic_exchange_n(&board_shared->batch_over, 0, __ATOMIC_ACQUIRE)
        && (w->phase == PHASE_RUN || w->phase == PHASE_MEASURE)) {
        worker_publish_batch(w);
    }
}

static int worker_all_back(const worker *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        const peer *p = &w->peers[i];
        if (p->state == PEER_OPEN && opt.mode != MODE_FAN && p->got < p->due) {
            return 0;
        }
    }
    return opt.mode != MODE_CONNECT || w->open + w->opening == 0;
}

static void worker_watch(worker *w, int fd, void *event)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = event};
    worker_must(epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e), "epoll");
}

static void *worker_some(size_t n, size_t size)
{
    return memory_must(calloc(n, size));
}

/* Distribute connections round-robin. The publisher belongs to the first worker. */
static void worker_prepare(worker *w, unsigned number)
{
    unsigned share = opt.connections / opt.workers + (number < opt.connections % opt.workers);
    w->number = number;
    w->board = &board_shared->worker[number];
    w->count = share + (opt.mode == MODE_FAN && number == 0);
    w->peers = worker_some(w->count ? w->count : 1, sizeof(*w->peers));
    for (unsigned i = 0; i < share; i++) {
        w->peers[i].fd = -1;
        w->peers[i].number = i * opt.workers + number;
        w->peers[i].to = &opt.targets[w->peers[i].number % opt.target_count];
    }
    if (w->count > share) {
        w->peers[share].fd = -1;
        w->peers[share].publisher = 1;
        w->peers[share].to = &opt.publisher;
    }
    for (unsigned i = 0; i < w->count; i++) {
        w->several |= w->peers[i].to->addresses->count > 1;
    }
    w->target = opt.in_flight;
    w->in = worker_some(1, WORKER_BUFFER);
    w->out = worker_some(1, WORKER_BUFFER);
    if (opt.deflate) {
        w->inflated = worker_some(1, WORKER_BUFFER);
        memory_must_zlib(inflateInit2(&w->inflater, -15));
    }
    w->epoll = worker_must(epoll_create1(EPOLL_CLOEXEC), "epoll");
    this.timer = worker_must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "timer");
    worker_watch(w, w->board->wake, &wake_event);
    worker_watch(w, this.timer, &timer_event);
    payload_forked();
}

void worker_run(unsigned number)
{
    static worker w;
    struct epoll_event events[256];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    worker_prepare(&w, number);
    while (w.phase < PHASE_STOP) {
        uint64_t due;
        int n;
        worker_open_some(&w);
        due = worker_send_due(&w);
        if (due) {
            worker_set_timer(due);
        }
        w.now = nanoseconds();
        n = epoll_wait(w.epoll, events, 256, w.several && worker_change_addresses(&w) ? 100 : 1000);
        w.now = nanoseconds();
        for (int i = 0; i < n; i++) {
            void *event = events[i].data.ptr;
            if (event == &wake_event) {
                worker_woken(&w);
            }
            else if (event != &timer_event) {
                peer *p = event;
                if (i > 0) {
                    w.now = nanoseconds();
                }
                if (p->state != PEER_GONE) {
                    connection_event(&w, p, events[i].events);
                }
            }
        }
        worker_follow_phase(&w);
        if (opt.mode == MODE_CONNECT) {
            worker_open_again(&w);
        }
        w.board->idle = w.phase == PHASE_DRAIN && worker_all_back(&w);
    }
    _exit(0);
}
