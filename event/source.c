/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Sources: descriptors that the poller watches for a loop. */

#include "event/source.h"

#include "event/loop.h"
#include "event/poller.h"

apr_status_t ws_source_watch(ws_event_loop *loop, ws_source *s, int fd, unsigned events)
{
    apr_status_t rv = APR_SUCCESS;
    if (s->watched != (int)events) {
        rv = ws_poller_set(loop->poller, fd, s, s->watched, events);
        s->fd = fd;
        s->watched = rv == APR_SUCCESS ? (signed char)events : s->watched;
    }
    return rv;
}

void ws_source_unwatch(ws_event_loop *loop, ws_source *s)
{
    if (s->watched >= 0) {
        ws_poller_remove(loop->poller, s->fd);
        s->watched = -1;
    }
}
