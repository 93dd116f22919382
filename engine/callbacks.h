/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The handler's callbacks, and its resources: timers and watches, which end with their
 *  connection. */

#ifndef WS_ENGINE_CALLBACKS_H
#define WS_ENGINE_CALLBACKS_H

#include "engine/conn.h"

/* callbacks.c: the handler's callbacks, on the loop or as jobs of the pool */

/** Call before the first callback. @return 0; -1: out of memory */
int ws_cb_init(ws_conn *c);
void ws_cb_open(ws_conn *c);
void ws_cb_message(ws_conn *c, ws_type type, const unsigned char *data, apr_size_t len);
/** Call on_frame. where: WS_FIRST, WS_LAST */
void ws_cb_frame(ws_conn *c, ws_type type, const unsigned char *data, apr_size_t len,
                 unsigned where);
void ws_cb_pong(ws_conn *c, const unsigned char *data, apr_size_t len);
void ws_cb_ping(ws_conn *c, const unsigned char *data, apr_size_t len);
void ws_cb_drain(ws_conn *c);
/** Call on_closing, then answer the peer's Close unless the handler answers later. */
void ws_cb_closing(ws_conn *c);
/** Set the connection's state, and call on_state if the state changes. */
void ws_cb_set_state(ws_conn *c, ws_state state);
/** Call on_close, if on_open was called. A second call does nothing. */
void ws_cb_close(ws_conn *c);
/** End the connection's subscriptions. Call after on_close. */
static inline void ws_cb_leave_channels(ws_conn *c)
{
    if (c->rare->channels) {
        c->loop->engine->channels->leave(c);
    }
}
/** The functions of a kind of resource: one calls the handler's function, the other cleans up. */
typedef struct ws_cb_resource {
    const char *name; /**< what the log calls the callback */
    void (*call)(ws_conn *c, void *what,
                 unsigned events);        /**< runs the callback, unless `what` was stopped
                                               [the handler's thread] */
    void (*done)(ws_conn *c, void *what); /**< cleanup after call, or instead of it
                                               [the handler's thread] */
} ws_cb_resource;
void ws_cb_call(ws_conn *c, const ws_cb_resource *r, void *what, unsigned events);
/** Count bytes that callbacks of a WS_BLOCKING handler have sent, but the loop has not handled yet.
 *  @return the new total, bytes; 0 for other handlers  [any thread of its callbacks] */
apr_size_t ws_cb_posted(ws_conn *c, apr_ssize_t change);
/** Whether the last callback has returned, so that c may be freed. */
int ws_cb_over(const ws_conn *c);
void ws_cb_free(ws_conn *c);

/* Maximum number of pending callbacks of a WS_BLOCKING handler, per connection. */
#define WS_CALLBACKS_MAX 4096

/* resources.c */

void ws_resource_link(ws_conn *c, ws_resource *o);
/** Unlink a resource. Does nothing if it is not linked. */
void ws_resource_unlink(ws_conn *c, ws_resource *o);
/** End all resources of a connection; the second function frees them. */
void ws_resource_end(ws_conn *c);
void ws_resource_free(ws_conn *c);

#endif
