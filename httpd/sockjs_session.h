/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Starts the SockJS sessions of this child, and wraps WebSockets that carry SockJS frames. */

#ifndef WS_HTTPD_SOCKJS_SESSION_H
#define WS_HTTPD_SOCKJS_SESSION_H

#include <httpd.h>

#include "engine/engine.h"
#include "sockjs/session.h"

/* A seat, which counts one session for its Location and owns the session's entry in the directory
 * of sessions (sockjs_directory.h). Releasing the ticket ends the count and removes the entry. */
typedef struct ws_sockjs_seat {
    ws_ticket ticket; /* must be first */
    ws_sockjs_key key;
    unsigned *sessions;
    int listed;
} ws_sockjs_seat;

/**
 * Count a session of a request's Location.
 * @param listed  1: the directory contains the session
 * @return NULL: too many sessions, or out of memory
 */
ws_sockjs_seat *ws_sockjs_seat_new(request_rec *r, const ws_sockjs_key *key, int listed);

/** Create a pair of connected sockets with small buffers. @return 0; -1 with errno */
int ws_sockjs_pair(int pair[2]);

/**
 * Start the session and the handler's connection. Takes ownership of the resources of n and seat,
 * even if it fails.
 * @return 0; -1
 */
int ws_sockjs_connect(request_rec *r, ws_new_conn *n, ws_sockjs_seat *seat, ws_carrier carrier);

/** Get the path that a handler sees, which lacks the segments that SockJS appends for
 *  WebSockets. */
char *ws_sockjs_handler_uri(request_rec *r);

/** Whether a handshake is for a WebSocket with SockJS frames. */
int ws_sockjs_frames(request_rec *r);

/**
 * Wrap a WebSocket with SockJS frames. n becomes the connection that carries the frames, and the
 * handler's connection moves from n to a new session.
 * @return 0; -1: all resources of n are released, except its chain
 */
int ws_sockjs_wrap(request_rec *r, ws_new_conn *n);

#endif
