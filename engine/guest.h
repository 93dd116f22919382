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
typedef struct ws_guest ws_guest;
struct ws_guest {
    struct ws_loop *loop;
    ws_guest *next, **link;
    int fd, watched; /**< events that the poller watches fd for, -1: none */
    void (*ready)(ws_guest *g, unsigned events);
    void (*stop)(ws_guest *g); /**< the engine stops: the guest has to leave */
    void (*free)(ws_guest *g); /**< it has left, and nothing points to it any more */
};

void ws_guest_enter(struct ws_loop *loop, ws_guest *g);

/** Watch fd for events (WS_READABLE...), instead of what it was watched for. */
apr_status_t ws_guest_watch(ws_guest *g, int fd, unsigned events);

/** Watch no descriptor: before fd is closed, or becomes somebody else's. */
void ws_guest_unwatch(ws_guest *g);

/** Leave the loop. g->free is called at the end of the turn. A guest leaves once. */
void ws_guest_leave(ws_guest *g);

/* For the loop: */

/** Call a guest. @return whether it was one's descriptor that is ready */
int ws_guest_ready(const struct ws_ready *r);
void ws_guests_stop(struct ws_loop *loop);
void ws_guests_sweep(struct ws_loop *loop);

#endif
