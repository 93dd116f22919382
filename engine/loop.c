/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What an event loop of the engine has besides: connections, their buffers, and what happens in each turn. */

#include "engine/loop.h"

#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"

static void loop_started(ws_loop *loop, ws_backend backend, apr_status_t failure)
{
    char text[120];
    if (failure != APR_SUCCESS) {
        ws_engine_log(loop->engine, WS_LOG_WARNING, NULL,
               "%s cannot be used (%s), epoll is used instead (WebSocketBackend)",
               ws_backend_name(backend), apr_strerror(failure, text, sizeof(text)));
    }
}

static int loop_pending(const ws_loop *loop)
{
    return loop->dirty != NULL;
}

static const ws_loop_hooks loop_hooks = {.started = loop_started,
                                         .pending = loop_pending,
                                         .turn = ws_conn_flush_dirty,
                                         .submit = ws_conn_send_queues};

apr_status_t ws_loop_init(ws_loop *loop, ws_engine *engine, unsigned index)
{
    apr_status_t rv = ws_event_loop_init(&loop->event, &loop_hooks, engine->options.backend, index);
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
    ws_chain_loop_end(loop);
    ws_slab_destroy(&loop->slab);
    free(loop->heads);
    free(loop->input);
    free(loop->own_cork);
}
