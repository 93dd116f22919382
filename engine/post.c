/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Posts the API's tasks to loops, and limits how many bytes the pending tasks of a loop hold. */

#include "engine/post.h"

/* The engine of this process, for calls that name a connection by its id. */
static ws_engine *the_engine;

void ws_api_engine(ws_engine *engine)
{
    __atomic_store_n(&the_engine, engine, __ATOMIC_RELEASE);
}

ws_engine *ws_api_engine_now(void)
{
    return __atomic_load_n(&the_engine, __ATOMIC_ACQUIRE);
}

ws_status ws_api_post_to(ws_loop *loop, ws_api_task *t, apr_size_t cost, apr_uint32_t receivers)
{
    ws_loop *here = ws_loop_current();
    apr_size_t before = __atomic_fetch_add(&loop->posted, cost, __ATOMIC_RELAXED);
    t->cost = cost;
    if (before >= WS_POSTED_MAX && cost) {
        __atomic_sub_fetch(&loop->posted, cost, __ATOMIC_RELAXED);
        return WS_FULL;
    }
    if (here && cost) {
        ws_loop_spend(here, cost + ws_fan_out_work(receivers));
    }
    if (ws_loop_post(loop, &t->task) < 0) {
        __atomic_sub_fetch(&loop->posted, cost, __ATOMIC_RELAXED);
        return WS_GONE;
    }
    return WS_QUEUED;
}

void ws_api_arrived(ws_loop *loop, const ws_api_task *t)
{
    __atomic_sub_fetch(&loop->posted, t->cost, __ATOMIC_RELAXED);
}

ws_status ws_api_post(ws_id id, ws_api_task *t, apr_size_t cost)
{
    ws_engine *e = ws_api_engine_now();
    ws_loop *loop = e ? ws_id_loop(e, id) : NULL;
    if (!t) {
        return WS_FULL;
    }
    t->id = id;
    return loop ? ws_api_post_to(loop, t, cost, 1) : WS_GONE;
}
