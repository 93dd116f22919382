/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "engine/conn.h"

void ws_owned_link(ws_conn *c, ws_owned *o)
{
    o->next = c->owned;
    c->owned = o;
}

void ws_owned_unlink(ws_conn *c, ws_owned *o)
{
    ws_owned **link = &c->owned;
    while (*link && *link != o) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = o->next;
    }
}

void ws_owned_end(ws_conn *c)
{
    for (ws_owned *o = c->owned; o; o = o->next) {
        o->end(c, o);
    }
}

void ws_owned_free(ws_conn *c)
{
    ws_owned *o;
    while ((o = c->owned)) {
        c->owned = o->next;
        o->free(o);
    }
}
