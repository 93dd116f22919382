/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * An event loop: one thread that waits for events of sources (descriptors), runs alarms (timers),
 * and runs tasks that other threads post. It contains nothing about connections. Call a function in
 * the loop's thread, unless its comment names other threads.
 *
 * An iteration of the loop is called a turn. A turn handles, in this order: events of sources,
 * tasks, alarms, hooks.turn, deferred frees and hooks.submit. Then the loop waits for the next
 * events.
 */

#ifndef WS_EVENT_LOOP_H
#define WS_EVENT_LOOP_H

#include <apr_thread_proc.h>
#include <sys/queue.h>

#include "base/queue.h"
#include "event/clock.h"
#include "event/source.h"
#include "event/timer_wheel.h"

/** The user's loop: a struct that begins with a ws_event_loop. event/ uses only that member. */
typedef struct ws_loop ws_loop;

/** The system interface that waits for the sources. */
typedef enum {
    WS_BACKEND_EPOLL,
    WS_BACKEND_URING, /**< io_uring; if it is unavailable, epoll and a warning */
    WS_BACKEND_AUTO   /**< io_uring if it is available, otherwise epoll */
} ws_backend;

#define WS_BACKEND_NAMES "auto, epoll or io_uring"

/** Get a backend's name.  [any thread] */
const char *ws_backend_name(ws_backend backend);

/** Find a backend by its name. @return 0; -1: no backend has this name  [any thread] */
int ws_backend_parse(const char *name, ws_backend *backend);

/** Size of the buffer for the text of ws_backend_explain(), bytes. */
#define WS_BACKEND_TEXT 256

/** Write why io_uring cannot be used, and what to do. rv: as returned by ws_backend_check()
 *  [any thread] */
void ws_backend_explain(apr_status_t rv, char why[WS_BACKEND_TEXT]);

/** Check whether a backend can be used. why: NULL, or set to the text of ws_backend_explain() on
 *  failure
 *  @return APR_SUCCESS; APR_ENOTIMPL: not built in; ENOSYS or EINVAL: the kernel is too old; EPERM:
 *  the kernel forbids it.  [any thread] */
apr_status_t ws_backend_check(ws_backend backend, char why[WS_BACKEND_TEXT]);

/** A call that another thread posts to a loop; the first member of a struct that fn releases. */
typedef struct ws_task ws_task;
struct ws_task {
    ws_queue_item link;
    void (*fn)(ws_loop *loop, ws_task *task);
};

/** An object to release at the end of a turn, when no event of the turn can refer to it. */
typedef struct ws_deferred ws_deferred;
struct ws_deferred {
    STAILQ_ENTRY(ws_deferred) next;
    /** Release the object. @return 0: not possible yet; the next turn calls this again */
    int (*release)(ws_loop *loop, ws_deferred *d);
};

/** A source that no connection owns, such as a connection attempt. When the loop ends, the loop
 * calls the handle's function stop. */
typedef struct ws_handle ws_handle;
struct ws_handle {
    ws_source source; /**< must be first */
    ws_loop *loop;    /**< NULL until ws_handle_open() */
    LIST_ENTRY(ws_handle) of_loop;
    ws_deferred deferred;
    void (*stop)(ws_handle *h);    /**< the loop ends: close the handle */
    void (*release)(ws_handle *h); /**< the handle was closed; called at the end of the turn */
};

typedef struct ws_loop_hooks {
    /** Called once, before the first turn. failure: why the requested backend is not used, or
         *  APR_SUCCESS */
    void (*started)(ws_loop *loop, ws_backend backend, apr_status_t failure);
    /** Whether `turn` has work to do, so that the loop must not sleep. */
    int (*pending)(const ws_loop *loop);
    /** Called after the turn's events, tasks and alarms. */
    void (*turn)(ws_loop *loop);
    /** Called before the wait, only if streams are async (stream.h). May call
         *  ws_stream_send_pieces(). */
    void (*submit)(ws_loop *loop);
} ws_loop_hooks;

/** Private, except now and wheel. */
struct ws_event_loop {
    apr_uint32_t now;  /**< ws_clock() at the start of the turn, milliseconds */
    apr_uint32_t seed; /**< state of ws_loop_spread() */
    const ws_loop_hooks *hooks;
    struct ws_poller *poller;
    struct ws_ring *ring; /**< NULL: the poller handles all sources */
    ws_backend backend;   /**< the requested one */
    int running;
    apr_thread_t *thread;
    int wake_fd;
    ws_source wake;
    ws_queue tasks;
    STAILQ_HEAD(ws_deferred_list, ws_deferred) deferred;
    LIST_HEAD(ws_handle_handles, ws_handle) handles;
    ws_timer_wheel wheel;
};

/* ---- Start and stop ---- */

/** Initialize a loop. seed: for ws_loop_spread(), different in each loop  [any thread] */
apr_status_t ws_event_loop_init(ws_event_loop *loop, const ws_loop_hooks *hooks, ws_backend backend,
                                unsigned seed);

/** Start the loop's thread, with all signals blocked.  [any thread] */
apr_status_t ws_event_loop_start(ws_event_loop *loop, apr_pool_t *pool);

/** Run the tasks already posted, then end the loop. Tasks posted later are refused. */
void ws_event_loop_stop(ws_event_loop *loop);

/** Wait for the loop's thread to end, if it was started.  [another thread] */
void ws_event_loop_join(ws_event_loop *loop);

/** Free the loop, also after a failed ws_event_loop_init().  [another thread, after
 *  ws_event_loop_join] */
void ws_event_loop_destroy(ws_event_loop *loop);

/** The loop of the calling thread, or NULL.  [any thread] */
ws_loop *ws_loop_current(void);

/* ---- Tasks ---- */

/** Allocate a zeroed struct of size bytes that begins with a ws_task, and set the task's fn.
 *  @return NULL: out of memory  [any thread] */
void *ws_task_new(apr_size_t size, void (*fn)(ws_loop *loop, ws_task *task));

/** Run a task on the loop. Tasks posted by one thread run in order.  [any thread]
 *  @return 0; -1 if the loop has ended: the caller still owns the task */
int ws_loop_post(ws_loop *loop, ws_task *task);

/* ---- Within a turn ---- */

/** Release d at the end of the turn. */
void ws_loop_defer(ws_loop *loop, ws_deferred *d);

/** Handle all bytes that have been received. Call this before you close a connection because its
 *  peer is silent. Does nothing if streams are not async. */
void ws_loop_catch_up(ws_loop *loop);

/** Get a random time from ms / 2 to ms. Timers that are set at the same time with such times fire
 *  at different times. */
apr_uint32_t ws_loop_spread(ws_loop *loop, apr_uint32_t ms);

/* ---- Handles ---- */

void ws_handle_open(ws_loop *loop, ws_handle *h);

/** Undo ws_handle_open() immediately. release is not called. The handle must not watch a
 *  descriptor. */
void ws_handle_forget(ws_handle *h);

/** Watch the handle's descriptor, as ws_source_watch() does. */
apr_status_t ws_handle_watch(ws_handle *h, int fd, unsigned events);
void ws_handle_unwatch(ws_handle *h);

/** Close the handle; call it once. release is called at the end of the turn. */
void ws_handle_close(ws_handle *h);

/** Stop all handles. */
void ws_handles_stop(ws_loop *loop);

#endif
