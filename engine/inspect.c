/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Lets the engine's owner inspect connections. The owner's function runs on the loop of the
 *  connection. */

#include <stdlib.h>

#include "engine/conn.h"

typedef struct visit_task {
    ws_task task;
    void (*fn)(ws_engine *engine, unsigned loop, void *arg);
    void *arg;
} visit_task;

static void inspect_do_visit(ws_loop *loop, ws_task *task)
{
    visit_task *t = (visit_task *)task;
    t->fn(loop->engine, loop->index, t->arg);
    free(t);
}

int ws_engine_on_loop(ws_engine *e, unsigned loop,
                      void (*fn)(ws_engine *engine, unsigned loop, void *arg), void *arg)
{
    visit_task *t = ws_task_new(sizeof(*t), inspect_do_visit);
    if (!t) {
        return -1;
    }
    t->fn = fn;
    t->arg = arg;
    if (ws_loop_post(&e->loops[loop], &t->task) < 0) {
        free(t);
        return -1;
    }
    return 0;
}

typedef struct conn_task {
    ws_task task;
    ws_id id;
    void (*fn)(ws_conn *c);
} conn_task;

static void inspect_do_visit_conn(ws_loop *loop, ws_task *task)
{
    conn_task *t = (conn_task *)task;
    ws_conn *c = ws_conn_find(loop, t->id);
    if (c) {
        t->fn(c);
    }
    free(t);
}

void ws_engine_on_conn(ws_conn *c, void (*fn)(ws_conn *c))
{
    conn_task *t = ws_task_new(sizeof(*t), inspect_do_visit_conn);
    if (t) {
        t->id = c->id;
        t->fn = fn;
        if (ws_loop_post(c->loop, &t->task) < 0) {
            free(t);
        }
    }
}

unsigned ws_engine_loops(const ws_engine *e)
{
    return e->options.loops;
}

const ws_conn *ws_engine_at(ws_engine *e, unsigned loop, apr_uint32_t slot, int *end)
{
    const ws_conn *c = ws_slab_at(&e->loops[loop].slab, slot);
    *end = !c;
    return c && c->id && !c->freed ? c : NULL;
}

int ws_engine_loop_of(ws_engine *e, ws_id id)
{
    const ws_loop *loop = ws_id_loop(e, id);
    return loop ? (int)loop->index : -1;
}

ws_conn *ws_engine_find(ws_engine *e, unsigned loop, ws_id id)
{
    return ws_conn_find(&e->loops[loop], id);
}
void ws_conn_inspect(const ws_conn *c, ws_conn_info *r)
{
    r->tally = (ws_tally){.start = c->start,
                          .messages_in = ws_conn_sum(c, WS_SUM_MESSAGES_IN),
                          .messages_out = ws_conn_sum(c, WS_SUM_MESSAGES_OUT),
                          .bytes_in = ws_conn_sum(c, WS_SUM_BYTES_IN),
                          .bytes_out = ws_conn_sum(c, WS_SUM_BYTES_OUT),
                          .wire_in = ws_conn_sum(c, WS_SUM_WIRE_IN),
                          .wire_out = ws_conn_sum(c, WS_SUM_WIRE_OUT),
                          .queued = c->queued,
                          .most_queued = c->rare->most_queued};
    r->transport = (ws_transport)c->transport;
    r->carrier = (ws_carrier)c->carrier;
    r->closed_by = (ws_closed_by)c->closed_by;
    r->code = c->end_code ? c->end_code : WS_CLOSE_ABNORMAL;
    r->reason = c->rare->end_reason ? (const char *)c->rare->end_reason->data : "";
    r->reason_len = c->rare->end_reason ? c->rare->end_reason->len : 0;
    r->pings_missed = c->missed;
    r->silent = c->loop->event.now - c->last_input;
    r->location = c->location;
    r->settings = c->settings;
}
