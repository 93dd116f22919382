/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Relays a connection that cannot leave httpd, because it is an HTTP/2 stream, or because a filter
 * has to process its bytes. The engine gets one end of a socket pair in place of the client's
 * socket. The thread that accepted the handshake keeps running, and copies bytes between the other
 * end and httpd's filters.
 */

#ifndef WS_HTTPD_RELAY_H
#define WS_HTTPD_RELAY_H

#include <httpd.h>

#include "engine/engine.h"

/**
 * Hand the connection to the engine after the 101 has been sent, and relay its bytes until both
 * sides have closed.
 * @param n  as for ws_takeover(). If this function succeeds, the pool then belongs to the engine.
 *           If it fails, it destroys the pool
 * @return the return value for the request's handler
 */
int ws_relay(request_rec *r, ws_new_conn *n);

/**
 * Relay a response. The engine gets one end of a socket pair, and the bytes that the engine sends
 * become the response's body, until the engine or the client closes the connection.
 * @param n  as for ws_relay()
 * @return the return value for the request's handler
 */
int ws_relay_answer(request_rec *r, ws_new_conn *n);

/**
 * Read the body of a response from a socket and send it, until the sender or the client closes the
 * connection. Then close the socket.
 * @return the return value for httpd's handler
 */
int ws_relay_body(request_rec *r, int fd);

/** Wait until the peer of a socket, which sends nothing, or the client closes its connection, or
 *  this time has passed. Then close the socket. */
void ws_relay_wait(request_rec *r, int fd, apr_interval_time_t most);

/** Set ws_socket_keep_alive() for the client of a request. It also applies after a takeover. No
 *  effect with HTTP/2. */
void ws_relay_keep_alive(request_rec *r, const ws_settings *settings);

/**
 * Why a request's connection has to be relayed, or NULL if it can be taken over.
 * @param answers  1: for a response with a body; 0: for a 101
 */
const char *ws_relay_reason(request_rec *r, int answers);

#endif
