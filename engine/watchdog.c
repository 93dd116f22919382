/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The watchdog thread. It reports a blocking callback, but never interrupts it. */

#include "engine/watchdog.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/handoff.h"
#include "base/thread.h"

/* The interval between two checks is the limit divided by LOOKS, but at least LOOK_MIN
 * milliseconds. */
#define LOOKS 4
#define LOOK_MIN 5

/* What the watchdog saw when it last checked a loop. */
typedef struct seen {
    apr_uint32_t number; /**< number of the call that the loop was in */
    apr_uint32_t since;
    int in_call, told;
} seen;

struct ws_watchdog {
    ws_engine *engine;
    apr_size_t (*count)(ws_engine *engine);
    apr_uint32_t limit;
    apr_thread_t *thread;
    apr_thread_mutex_t *lock; /**< the thread holds it, except while it waits */
    apr_thread_cond_t *wake;
    int asleep; /**< atomic; set while there are no connections */
    int stopping;
    seen seen[];
};

/* Log a call that takes too long. The call may return at any time, and another connection may then
 * get the slot of c. So what was read from c is valid only if the loop is still in the same call
 * afterwards. What it points to stays allocated: see ws_watchdog_free(). */
static void watchdog_tell(ws_watchdog *w, ws_call *call, seen *s, apr_uint32_t now)
{
    const ws_conn *c = __atomic_load_n(&call->c, __ATOMIC_RELAXED);
    const char *what = __atomic_load_n(&call->what, __ATOMIC_ACQUIRE);
    const ws_settings *settings = __atomic_load_n(&c->settings, __ATOMIC_ACQUIRE);
    const ws_location *location = __atomic_load_n(&c->location, __ATOMIC_ACQUIRE);
    ws_id id = __atomic_load_n(&c->id, __ATOMIC_ACQUIRE);
    char text[256];

    if (!what || __atomic_load_n(&call->number, __ATOMIC_ACQUIRE) != s->number) {
        return;
    }
    s->told = 1;
    __atomic_store_n(&call->since, s->since, __ATOMIC_RELAXED);
    __atomic_store_n(&call->late, s->number, __ATOMIC_RELEASE);
    snprintf(text, sizeof(text),
             "handler %s has not returned from %s for %u ms, connection %016" APR_UINT64_T_HEX_FMT
             ": its event loop is blocked (WebSocketWatchdog)",
             location->name, what, now - s->since, id);
    if (w->engine->options.logs(WS_LOG_WARNING, settings)) {
        w->engine->options.log(WS_LOG_WARNING, settings, NULL, text);
    }
}

static void watchdog_look(ws_watchdog *w, ws_call *call, seen *s, apr_uint32_t now)
{
    int in_call = __atomic_load_n(&call->what, __ATOMIC_ACQUIRE) != NULL;
    apr_uint32_t number = __atomic_load_n(&call->number, __ATOMIC_RELAXED);
    if (!in_call || !s->in_call || number != s->number) {
        *s = (seen){.number = number, .since = now, .in_call = in_call};
    }
    else if (!s->told && now - s->since >= w->limit) {
        watchdog_tell(w, call, s, now);
    }
}

void ws_cb_late(ws_call *call, ws_conn *c)
{
    apr_uint32_t late = __atomic_exchange_n(&call->late, 0, __ATOMIC_ACQUIRE);
    if (late == call->number) {
        ws_engine_log(c->loop->engine, WS_LOG_WARNING, c,
                      "handler %s has returned, after %u ms (WebSocketWatchdog)", c->location->name,
                      ws_clock() - __atomic_load_n(&call->since, __ATOMIC_RELAXED));
    }
}

static void *APR_THREAD_FUNC watchdog_run(apr_thread_t *thread, void *arg)
{
    ws_watchdog *w = arg;
    apr_uint32_t step = w->limit / LOOKS < LOOK_MIN ? LOOK_MIN : w->limit / LOOKS;
    (void)thread;

    apr_thread_mutex_lock(w->lock);
    while (!w->stopping) {
        __atomic_store_n(&w->asleep, 1, __ATOMIC_SEQ_CST);
        if (w->count(w->engine) == 0) {
            apr_thread_cond_wait(w->wake, w->lock);
            continue;
        }
        __atomic_store_n(&w->asleep, 0, __ATOMIC_SEQ_CST);
        apr_thread_cond_timedwait(w->wake, w->lock, apr_time_from_msec(step));
        for (unsigned i = 0; i < w->engine->options.loops; i++) {
            watchdog_look(w, &w->engine->loops[i].call, &w->seen[i], ws_clock());
        }
    }
    apr_thread_mutex_unlock(w->lock);
    return NULL;
}

apr_status_t ws_watchdog_start(ws_watchdog **watchdog, ws_engine *engine, apr_uint32_t limit,
                               apr_size_t (*count)(ws_engine *engine))
{
    ws_watchdog *w =
        apr_pcalloc(engine->pool, sizeof(*w) + engine->options.loops * sizeof(*w->seen));
    apr_status_t rv;

    w->engine = engine;
    w->limit = limit;
    w->count = count;
    if ((rv = apr_thread_mutex_create(&w->lock, APR_THREAD_MUTEX_DEFAULT, engine->pool))
            != APR_SUCCESS
        || (rv = apr_thread_cond_create(&w->wake, engine->pool)) != APR_SUCCESS) {
        return rv;
    }
    rv = ws_thread_create(&w->thread, watchdog_run, w, engine->pool);
    if (rv == APR_SUCCESS) {
        *watchdog = w;
    }
    return rv;
}

void ws_watchdog_wake(ws_watchdog *w)
{
    if (__atomic_load_n(&w->asleep, __ATOMIC_SEQ_CST)) {
        apr_thread_mutex_lock(w->lock);
        apr_thread_cond_signal(w->wake);
        apr_thread_mutex_unlock(w->lock);
    }
}

void ws_watchdog_free(ws_watchdog *w, void *memory)
{
    if (w) {
        apr_thread_mutex_lock(w->lock);
    }
    free(memory);
    if (w) {
        apr_thread_mutex_unlock(w->lock);
    }
}

void ws_watchdog_stop(ws_watchdog *w)
{
    apr_status_t rv;
    if (!w || !w->thread) {
        return;
    }
    apr_thread_mutex_lock(w->lock);
    w->stopping = 1;
    apr_thread_cond_signal(w->wake);
    apr_thread_mutex_unlock(w->lock);
    apr_thread_join(&rv, w->thread);
    w->thread = NULL;
}
