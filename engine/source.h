/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What a loop looks after besides its connections: a connection that is still being made, say. It may
 * have a descriptor watched, and learns when the engine stops. For the loop's thread.
 */

#ifndef WS_ENGINE_GUEST_H
#define WS_ENGINE_GUEST_H

#include <apr_errno.h>

struct ws_loop;
struct ws_ready;

/** Part of what it belongs to, and owned by it; zeroed at first, but for the functions. */
typedef struct ws_source ws_source;
struct ws_source {
    struct ws_loop *loop;
    ws_source *next, **link;
    int fd, watched; /**< events that the poller watches fd for, -1: none */
    void (*ready)(ws_source *g, unsigned events);
    void (*stop)(ws_source *g); /**< the engine stops: the guest has to leave */
    void (*free)(ws_source *g); /**< it has left, and nothing points to it any more */
};

void ws_source_enter(struct ws_loop *loop, ws_source *g);

/** Watch fd for events (WS_READABLE...), instead of what it was watched for. */
apr_status_t ws_source_watch(ws_source *g, int fd, unsigned events);

/** Watch no descriptor: before fd is closed, or becomes somebody else's. */
void ws_source_unwatch(ws_source *g);

/** Leave the loop. g->free is called at the end of the turn. A guest leaves once. */
void ws_source_leave(ws_source *g);

/* For the loop: */

/** Call a guest. @return whether it was one's descriptor that is ready */
int ws_source_ready(const struct ws_ready *r);
void ws_sources_stop(struct ws_loop *loop);
void ws_sources_sweep(struct ws_loop *loop);

#endif
