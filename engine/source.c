/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "engine/source.h"

#include <stdint.h>

#include "engine/loop.h"

/* The poller gives back pointers: those to guests have this bit set, others have not. */
#define TAG 2

void ws_source_enter(ws_loop *loop, ws_source *g)
{
    g->loop = loop;
    g->watched = -1;
    g->next = loop->guests;
    if (g->next) {
        g->next->link = &g->next;
    }
    g->link = &loop->guests;
    loop->guests = g;
}

apr_status_t ws_source_watch(ws_source *g, int fd, unsigned events)
{
    apr_status_t rv = APR_SUCCESS;
    if (g->watched != (int)events) {
        rv = ws_poller_set(g->loop->poller, fd, (char *)g + TAG, g->watched, events);
        g->fd = fd;
        g->watched = rv == APR_SUCCESS ? (int)events : g->watched;
    }
    return rv;
}

void ws_source_unwatch(ws_source *g)
{
    if (g->watched >= 0) {
        ws_poller_remove(g->loop->poller, g->fd);
        g->watched = -1;
    }
}

void ws_source_leave(ws_source *g)
{
    ws_source_unwatch(g);
    *g->link = g->next;
    if (g->next) {
        g->next->link = g->link;
    }
    g->next = g->loop->guests_gone;
    g->loop->guests_gone = g;
}

int ws_source_ready(const ws_ready *r)
{
    ws_source *g;
    if (!((uintptr_t)r->what & TAG)) {
        return 0;
    }
    g = (ws_source *)((char *)r->what - TAG);
    if (g->watched >= 0) { /* else it came in one turn with what made it leave */
        g->ready(g, r->events);
    }
    return 1;
}

void ws_sources_stop(ws_loop *loop)
{
    while (loop->guests) {
        loop->guests->stop(loop->guests);
    }
}

void ws_sources_sweep(ws_loop *loop)
{
    ws_source *g;
    while ((g = loop->guests_gone)) {
        loop->guests_gone = g->next;
        g->free(g);
    }
}
