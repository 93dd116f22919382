/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The list of a connection's timers and watches, which end with the connection. */

#include "engine/callbacks.h"
#include "engine/conn.h"

void ws_resource_link(ws_conn *c, ws_resource *o)
{
    o->next = c->rare->owned;
    ws_rare_of(c)->owned = o;
}

void ws_resource_unlink(ws_conn *c, ws_resource *o)
{
    ws_resource **link;
    if (!c->rare->owned) {
        return;
    }
    link = &ws_rare_of(c)->owned;
    while (*link && *link != o) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = o->next;
    }
}

void ws_resource_end(ws_conn *c)
{
    for (ws_resource *o = c->rare->owned; o; o = o->next) {
        o->end(c, o);
    }
}

void ws_resource_free(ws_conn *c)
{
    ws_resource *o;
    while ((o = c->rare->owned)) {
        ws_rare_of(c)->owned = o->next;
        o->free(o);
    }
}
