/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * An event loop: one thread that waits for sources, runs alarms, and runs tasks that other threads post. It
 * knows nothing of connections. Functions without a remark are for the loop's thread.
 *
 * A turn: events of sources, tasks, alarms, hooks.turn, deferred frees, hooks.submit, and the wait.
 */

#ifndef WS_EVENT_LOOP_H
#define WS_EVENT_LOOP_H

#include <apr_thread_proc.h>
#include <sys/queue.h>

#include "base/queue.h"
#include "event/clock.h"
#include "event/source.h"
#include "event/timer_wheel.h"

/** The user's loop: a struct that begins with a ws_event_loop. event/ knows no more of it. */
typedef struct ws_loop ws_loop;

/** What waits for the sources. */
typedef enum {
    WS_BACKEND_EPOLL,
    WS_BACKEND_URING /**< io_uring; epoll where it is unavailable */
} ws_backend;

#define WS_BACKEND_NAMES "epoll or io_uring"

/** [any thread] */
const char *ws_backend_name(ws_backend backend);

/** @return 0, or -1: there is none of this name.  [any thread] */
int ws_backend_parse(const char *name, ws_backend *backend);

/** Room for what ws_backend_check() writes, bytes. */
#define WS_BACKEND_TEXT 256

/** Whether a backend can be used here. why: if not, the reason and the remedy in words; or NULL  [any thread]
 *  @return APR_ENOTIMPL: not built in; ENOSYS or EINVAL: the kernel is too old; EPERM: the kernel forbids it */
apr_status_t ws_backend_check(ws_backend backend, char why[WS_BACKEND_TEXT]);

/** What another thread wants done on a loop; the start of a struct that fn releases. */
typedef struct ws_task ws_task;
struct ws_task {
    ws_queue_item link;
    void (*fn)(ws_loop *loop, ws_task *task);
};

/** Something to release at the end of a turn, when no event of the turn can refer to it any more. */
typedef struct ws_deferred ws_deferred;
struct ws_deferred {
    STAILQ_ENTRY(ws_deferred) next;
    /** @return whether it has been released; if not, it is called in the next turn again */
    int (*release)(ws_loop *loop, ws_deferred *d);
};

/** A source with a life of its own, such as a connection in progress, which the loop stops at its end. */
typedef struct ws_handle ws_handle;
struct ws_handle {
    ws_source source; /**< first */
    ws_loop *loop;    /**< NULL until ws_handle_open() */
    LIST_ENTRY(ws_handle) of_loop;
    ws_deferred deferred;
    void (*stop)(ws_handle *h);    /**< the loop ends: close the handle */
    void (*release)(ws_handle *h); /**< the handle was closed; called at the end of the turn */
};

typedef struct ws_loop_hooks {
    /** Called once, before the first turn. failure: why the backend that was asked for is not used, or
     *  APR_SUCCESS */
    void (*started)(ws_loop *loop, ws_backend backend, apr_status_t failure);
    /** Whether `turn` has something to do, so that the loop must not sleep. */
    int (*pending)(const ws_loop *loop);
    /** After events, tasks and alarms. */
    void (*turn)(ws_loop *loop);
    /** Before the wait; ws_stream_send_pieces() may be called. Only if streams are async; see stream.h */
    void (*submit)(ws_loop *loop);
} ws_loop_hooks;

/** Private, except now and wheel. */
struct ws_event_loop {
    apr_uint32_t now;  /**< ws_clock() at the turn's beginning, milliseconds */
    apr_uint32_t seed; /**< of ws_loop_spread() */
    const ws_loop_hooks *hooks;
    struct ws_poller *poller;
    struct ws_ring *ring; /**< NULL: the poller does everything */
    ws_backend backend;   /**< asked for */
    int running;
    apr_thread_t *thread;
    int wake_fd;
    ws_source wake;
    ws_queue tasks;
    STAILQ_HEAD(ws_deferred_list, ws_deferred) deferred;
    LIST_HEAD(ws_handle_handles, ws_handle) handles;
    ws_timer_wheel wheel;
};

/* ---- Life ---- */

/** [any thread] */
apr_status_t ws_event_loop_init(ws_event_loop *loop, const ws_loop_hooks *hooks, ws_backend backend,
                                unsigned seed);

/** Start its thread, with all signals blocked.  [any thread] */
apr_status_t ws_event_loop_start(ws_event_loop *loop, apr_pool_t *pool);

/** Run what was posted, and end; tasks are refused from then on. */
void ws_event_loop_stop(ws_event_loop *loop);

/** Wait for its thread, if it has one.  [another thread] */
void ws_event_loop_join(ws_event_loop *loop);

/** Free it, also if ws_event_loop_init() has failed.  [another thread, after ws_event_loop_join] */
void ws_event_loop_destroy(ws_event_loop *loop);

/** The loop of the calling thread, or NULL.  [any thread] */
ws_loop *ws_loop_current(void);

/* ---- Tasks ---- */

/** A task with its fn set, or NULL if there is no memory.  [any thread] */
void *ws_task_new(apr_size_t size, void (*fn)(ws_loop *loop, ws_task *task));

/** Run a task on the loop. Tasks of one thread keep their order.  [any thread]
 *  @return 0; -1 if the loop has ended: the task stays the caller's */
int ws_loop_post(ws_loop *loop, ws_task *task);

/* ---- Within a turn ---- */

/** Release d at the end of the turn. */
void ws_loop_defer(ws_loop *loop, ws_deferred *d);

/** Handle all that has been received until now, for a decision about a peer that has been silent for too long. Does
 *  nothing if streams are not async. */
void ws_loop_catch_up(ws_loop *loop);

/** A random time between ms / 2 and ms, so that what starts together does not stay in step. */
apr_uint32_t ws_loop_spread(ws_loop *loop, apr_uint32_t ms);

/* ---- Handles ---- */

void ws_handle_open(ws_loop *loop, ws_handle *h);

/** Undo ws_handle_open() at once; release is not called. No descriptor may be watched. */
void ws_handle_forget(ws_handle *h);

/** Watch h's descriptor, as ws_source_watch(). */
apr_status_t ws_handle_watch(ws_handle *h, int fd, unsigned events);
void ws_handle_unwatch(ws_handle *h);

/** End it: once. */
void ws_handle_close(ws_handle *h);

/** Stop all handles. */
void ws_handles_stop(ws_loop *loop);

#endif
