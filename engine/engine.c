/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "engine/engine.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/handoff.h"
#include "engine/ticker.h"
#include "protocol/hixie.h"

/* How long stopping waits for WS_BLOCKING callbacks that do not return, milliseconds. */
#define STOP_WAIT 5000

/* Where closing all connections is spread, some are closed this often, milliseconds. */
#define CLOSE_STEP 100

void ws_engine_log(ws_engine *engine, ws_log_level level, const ws_conn *c, const char *format, ...)
{
    const ws_settings *settings = c ? c->settings : NULL;
    char text[1024];
    va_list args;
    if (!engine->options.logs(level, settings)) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    engine->options.log(level, settings, c, text);
}

static apr_status_t set_up(ws_engine *e)
{
    apr_status_t rv;
    if ((rv = apr_thread_mutex_create(&e->lock, APR_THREAD_MUTEX_DEFAULT, e->pool)) != APR_SUCCESS
        || (rv = apr_thread_cond_create(&e->empty, e->pool)) != APR_SUCCESS) {
        return rv;
    }
    if (!(e->loops = calloc(e->options.loops, sizeof(*e->loops)))) {
        return APR_ENOMEM;
    }
    if (!e->options.counters) {
        apr_size_t size = e->options.loops * sizeof(ws_counters);
        if (!(e->own_counters = aligned_alloc(_Alignof(ws_counters), size))) {
            return APR_ENOMEM;
        }
        e->options.counters = memset(e->own_counters, 0, size);
    }
    for (unsigned i = 0; i < e->options.loops; i++) {
        if ((rv = ws_loop_init(&e->loops[i], e, i)) != APR_SUCCESS) {
            return rv;
        }
    }
    for (unsigned i = 0; i < e->options.loops; i++) {
        if ((rv = ws_event_loop_start(&e->loops[i].event, e->pool)) != APR_SUCCESS) {
            return rv;
        }
    }
    return e->options.watchdog ? ws_watchdog_start(&e->watchdog, e, e->options.watchdog)
                               : APR_SUCCESS;
}

apr_status_t ws_engine_create(ws_engine **engine, const ws_engine_options *options,
                              apr_pool_t *pool)
{
    ws_engine *e = calloc(1, sizeof(*e));
    apr_status_t rv;
    if (!e) {
        return APR_ENOMEM;
    }
    e->options = *options;
    if ((rv = apr_pool_create(&e->pool, pool)) != APR_SUCCESS) {
        free(e);
        return rv;
    }
    for (unsigned i = 0; i < options->location_count; i++) {
        options->locations[i]->engine = e;
        options->locations[i]->index = i;
    }
    if ((rv = set_up(e)) != APR_SUCCESS) {
        ws_engine_stop(e);
        ws_engine_destroy(e);
        return rv;
    }
    *engine = e;
    return APR_SUCCESS;
}

void ws_engine_channels(ws_engine *e, const ws_channels_hooks *hooks)
{
    e->channels = hooks;
}

static apr_uint32_t count_of(const ws_loop *loop)
{
    return __atomic_load_n(&loop->count, __ATOMIC_RELAXED)
           + __atomic_load_n(&loop->outgoing, __ATOMIC_RELAXED);
}

ws_loop *ws_engine_least_busy(ws_engine *e)
{
    ws_loop *best = &e->loops[0];
    for (unsigned i = 1; i < e->options.loops; i++) {
        if (count_of(&e->loops[i]) < count_of(best)) {
            best = &e->loops[i];
        }
    }
    return best;
}

static void drop(int fd, SSL *ssl, apr_pool_t *pool, ws_ticket *ticket, ws_chain *chain,
                 ws_outgoing *outgoing)
{
    ws_chain_free(chain);
    free(outgoing);
    if (ssl) {
        SSL_free(ssl);
    }
    close(fd);
    if (pool) {
        apr_pool_destroy(pool);
    }
    ws_tickets_release(ticket);
}

void ws_new_conn_drop(const ws_new_conn *n)
{
    drop(n->fd, n->ssl, n->pool, n->ticket, n->chain, n->outgoing);
}

void ws_handoff_drop(ws_handoff *a)
{
    drop(a->fd, a->ssl, a->pool, a->ticket, a->chain, a->outgoing);
    free(a->strings);
    free(a->early);
    free(a->framer);
    free(a);
}

const ws_framing *ws_new_conn_framing(const ws_new_conn *n)
{
    return n->framing ? n->framing : ws_hixie_framing(n->version);
}

/* @return NULL when there is no memory: the newcomer has been dropped */
static ws_handoff *adoption_of(const ws_new_conn *n)
{
    ws_handoff *a = ws_task_new(sizeof(*a), ws_handoff_accept);
    const ws_framing *framing = ws_new_conn_framing(n);

    if (!a) {
        ws_new_conn_drop(n);
        return NULL;
    }
    a->fd = n->fd;
    a->ssl = n->ssl;
    a->secure = n->secure;
    a->relayed = n->relayed;
    a->carrier = n->carrier;
    a->location = n->outgoing ? &n->outgoing->location : n->location;
    a->settings = n->outgoing ? &n->outgoing->settings : n->settings;
    a->outgoing = n->outgoing;
    a->version = n->version;
    a->data = n->data;
    a->pool = n->pool;
    a->ticket = n->ticket;
    a->chain = n->chain;
    a->strings = ws_strings_pack(&n->strings);
    a->early = n->early_len ? ws_bytes_new(n->early, n->early_len) : NULL;
    a->connecting = n->connecting;
    if (framing && (a->framer = calloc(1, framing->size))) {
        a->framer->framing = framing;
        if (n->connecting) {
            memcpy(((ws_hixie *)a->framer)->numbers, n->numbers, sizeof(n->numbers));
        }
    }
    if (!a->strings || (n->early_len && !a->early) || (framing && !a->framer)) {
        ws_handoff_drop(a);
        return NULL;
    }
    return a;
}

apr_status_t ws_engine_add(ws_engine *e, const ws_new_conn *n)
{
    ws_loop *loop = n->loop ? n->loop : ws_engine_least_busy(e);
    ws_handoff *a = adoption_of(n);

    if (!a) {
        return APR_ENOMEM;
    }
    ws_loop_entered(loop, 0);
    if (__atomic_load_n(&e->stopping, __ATOMIC_ACQUIRE) || ws_loop_post(loop, &a->task) < 0) {
        ws_loop_left(loop, 0);
        ws_handoff_drop(a);
        return ESHUTDOWN;
    }
    return APR_SUCCESS;
}

apr_status_t ws_handoff_here(ws_loop *loop, const ws_new_conn *n)
{
    ws_handoff *a = adoption_of(n);
    if (!a) {
        ws_loop_left(loop, n->outgoing != NULL);
        return APR_ENOMEM;
    }
    ws_handoff_accept(loop, &a->task);
    return APR_SUCCESS;
}

void ws_loop_entered(ws_loop *loop, int outgoing)
{
    apr_uint32_t *count = outgoing ? &loop->outgoing : &loop->count;
    if (__atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST) == 0 && loop->engine->watchdog) {
        ws_watchdog_wake(loop->engine->watchdog);
    }
}

void ws_loop_left(ws_loop *loop, int outgoing)
{
    ws_engine *e = loop->engine;
    if (__atomic_sub_fetch(outgoing ? &loop->outgoing : &loop->count, 1, __ATOMIC_RELEASE) == 0) {
        apr_thread_mutex_lock(e->lock);
        apr_thread_cond_broadcast(e->empty);
        apr_thread_mutex_unlock(e->lock);
    }
}

apr_size_t ws_engine_count(ws_engine *e)
{
    apr_size_t n = 0;
    for (unsigned i = 0; i < e->options.loops; i++) {
        n += __atomic_load_n(&e->loops[i].count, __ATOMIC_SEQ_CST);
    }
    return n;
}

typedef struct close_task {
    ws_task task;
    int code;
    const char *reason;
    apr_uint32_t spread;
} close_task;

/* Close the first most open connections of a loop. @return how many are open; with most 0 it only
 * counts */
static apr_uint32_t close_first(ws_loop *loop, apr_uint32_t most)
{
    apr_uint32_t open = 0;
    for (unsigned i = 0; i <= loop->engine->options.location_count; i++) {
        ws_conn *c;
        LIST_FOREACH(c, &loop->heads[i], of_location)
        {
            if (ws_state_of(c) == WS_OPEN && open++ < most) {
                ws_conn_close(c, loop->close_code, loop->close_reason, strlen(loop->close_reason));
            }
        }
    }
    return open;
}

static void close_step(ws_alarm *a)
{
    ws_loop *loop = (ws_loop *)((char *)a - offsetof(ws_loop, close_alarm));
    apr_uint32_t steps = loop->close_steps--;
    close_first(loop, (close_first(loop, 0) + steps - 1) / steps);
    if (loop->close_steps) {
        ws_timer_wheel_set(&loop->event.wheel, a, loop->event.now + CLOSE_STEP);
    }
}

static void close_all(ws_loop *loop, ws_task *task)
{
    close_task *t = (close_task *)task;
    loop->close_code = t->code;
    loop->close_reason = t->reason;
    loop->close_steps = t->spread / CLOSE_STEP + 1;
    loop->close_alarm.fn = close_step;
    ws_timer_wheel_clear(&loop->event.wheel, &loop->close_alarm);
    close_step(&loop->close_alarm);
    free(t);
}

void ws_engine_close_all(ws_engine *e, int code, const char *reason, apr_uint32_t spread)
{
    for (unsigned i = 0; i < e->options.loops; i++) {
        close_task *t = ws_task_new(sizeof(*t), close_all);
        if (t) {
            t->code = code;
            t->reason = reason;
            t->spread = spread;
            if (ws_loop_post(&e->loops[i], &t->task) < 0) {
                free(t);
            }
        }
    }
}

apr_size_t ws_engine_count_all(ws_engine *e)
{
    apr_size_t n = ws_engine_count(e);
    for (unsigned i = 0; i < e->options.loops; i++) {
        n += __atomic_load_n(&e->loops[i].outgoing, __ATOMIC_SEQ_CST);
    }
    return n;
}

int ws_engine_wait(ws_engine *e, apr_uint32_t timeout)
{
    apr_time_t until = apr_time_now() + apr_time_from_msec(timeout);
    apr_size_t left;
    apr_thread_mutex_lock(e->lock);
    while ((left = ws_engine_count_all(e)) > 0) {
        apr_interval_time_t rest = until - apr_time_now();
        if (rest <= 0 || APR_STATUS_IS_TIMEUP(apr_thread_cond_timedwait(e->empty, e->lock, rest))) {
            left = ws_engine_count_all(e);
            break;
        }
    }
    apr_thread_mutex_unlock(e->lock);
    return left == 0;
}

static void break_all(ws_loop *loop, ws_task *task)
{
    ws_handles_stop(loop);
    for (unsigned i = 0; i <= loop->engine->options.location_count; i++) {
        while (!LIST_EMPTY(&loop->heads[i])) {
            ws_conn_end(LIST_FIRST(&loop->heads[i]), "the server stops");
        }
    }
    free(task);
}

static void stop_running(ws_loop *loop, ws_task *task)
{
    ws_event_loop_stop(&loop->event);
    free(task);
}

static void post_all(ws_engine *e, void (*fn)(ws_loop *loop, ws_task *task))
{
    for (unsigned i = 0; i < e->options.loops; i++) {
        ws_task *t = e->loops[i].event.thread ? ws_task_new(sizeof(*t), fn) : NULL;
        if (t && ws_loop_post(&e->loops[i], t) < 0) {
            free(t);
        }
    }
}

int ws_engine_stop(ws_engine *e)
{
    __atomic_store_n(&e->stopping, 1, __ATOMIC_RELEASE);
    if (!e->loops) {
        return 1;
    }
    post_all(e, break_all);
    if (!ws_engine_wait(e, STOP_WAIT)) {
        ws_engine_log(e, WS_LOG_ERROR, NULL,
                      "a WS_BLOCKING handler does not return from a callback");
        return 0;
    }
    post_all(e, stop_running);
    for (unsigned i = 0; i < e->options.loops; i++) {
        ws_event_loop_join(&e->loops[i].event);
    }
    ws_watchdog_stop(e->watchdog);
    if (e->threads) {
        ws_thread_pool_destroy(e->threads);
        e->threads = NULL;
    }
    ws_tickers_end(e);
    return 1;
}

void ws_engine_destroy(ws_engine *e)
{
    if (e->loops) {
        for (unsigned i = 0; i < e->options.loops; i++) {
            ws_loop_destroy(&e->loops[i]);
        }
        free(e->loops);
    }
    free(e->own_counters);
    apr_pool_destroy(e->pool);
    free(e);
}
