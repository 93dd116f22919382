/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** An engine loop: an event loop, and the buffers that its connections share. */

#include "engine/loop.h"

#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"
#include "engine/socket.h"

apr_status_t ws_loop_init(ws_loop *loop, ws_engine *engine, unsigned index,
                          const ws_loop_hooks *hooks)
{
    apr_status_t rv = ws_event_loop_init(&loop->event, hooks, engine->options.backend, index);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    loop->engine = engine;
    loop->index = index;
    loop->counters = &engine->options.counters[index];
    loop->input = malloc(WS_INPUT_SIZE);
    loop->cork = loop->own_cork = malloc(WS_SEND_BUFFER);
    loop->cork_room = WS_SEND_BUFFER;
    loop->heads = calloc(engine->options.location_count + 1, sizeof(*loop->heads));
    if (!loop->input || !loop->cork || !loop->heads
        || ws_slab_init(&loop->slab, sizeof(ws_conn)) < 0) {
        return APR_ENOMEM;
    }
    return ws_tls_init(loop);
}

void ws_loop_destroy(ws_loop *loop)
{
    ws_event_loop_destroy(&loop->event);
    ws_tls_destroy(loop);
    ws_slab_destroy(&loop->slab);
    free(loop->heads);
    free(loop->input);
    free(loop->own_cork);
}

/* ---- The number of connections ---- */

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

apr_size_t ws_engine_count_all(ws_engine *e)
{
    apr_size_t n = ws_engine_count(e);
    for (unsigned i = 0; i < e->options.loops; i++) {
        n += __atomic_load_n(&e->loops[i].outgoing, __ATOMIC_SEQ_CST);
    }
    return n;
}

static apr_uint32_t loop_count(const ws_loop *loop)
{
    return __atomic_load_n(&loop->count, __ATOMIC_RELAXED)
           + __atomic_load_n(&loop->outgoing, __ATOMIC_RELAXED);
}

ws_loop *ws_engine_least_busy(ws_engine *e)
{
    ws_loop *best = &e->loops[0];
    for (unsigned i = 1; i < e->options.loops; i++) {
        if (loop_count(&e->loops[i]) < loop_count(best)) {
            best = &e->loops[i];
        }
    }
    return best;
}
