/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Functions that channels/ calls because it cannot access the fields of engines, loops and
 *  connections. */

#include "engine/services.h"

#include "engine/conn.h"
#include "engine/output.h"

const ws_engine_options *ws_engine_options_of(const ws_engine *e)
{
    return &e->options;
}

ws_loop *ws_engine_loop(ws_engine *e, unsigned index)
{
    return &e->loops[index];
}

unsigned ws_loop_index(const ws_loop *loop)
{
    return loop->index;
}

void ws_loop_count(ws_loop *loop, ws_counter which, apr_int64_t n)
{
    ws_count(loop->counters, which, n);
}

const ws_conn *ws_conn_in_callback(void)
{
    const ws_loop *loop = ws_loop_current();
    return loop ? loop->corked : NULL;
}

ws_loop *ws_conn_loop(const ws_conn *c)
{
    return c->loop;
}

const ws_handler *ws_conn_handler(const ws_conn *c)
{
    return c->location->handler;
}

int ws_conn_has_jobs(const ws_conn *c)
{
    return c->rare->jobs != NULL;
}

ws_subscriptions *ws_conn_subscriptions(const ws_conn *c)
{
    return c->rare->channels;
}

int ws_conn_set_subscriptions(ws_conn *c, ws_subscriptions *s)
{
    if (s && !ws_conn_rare(c)) {
        return -1;
    }
    if (s || c->rare->channels) {
        ws_rare_of(c)->channels = s;
    }
    return 0;
}

ws_status ws_conn_share_unasked(ws_conn *c, ws_frames *f)
{
    unsigned drains = c->want_drain;
    ws_status status = ws_conn_share(c, f);
    if (!drains && !ws_conn_backs_up(c)) {
        c->want_drain = 0;
    }
    return status;
}

int ws_conn_drained(ws_conn *c)
{
    if (!ws_send_queue_bytes(&c->out)) {
        return 1;
    }
    c->want_drain = 1; /* the hook `drained` is called together with on_drain */
    return 0;
}
