/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A connection that cannot leave httpd: a stream of HTTP/2, or one with a filter that has to see its
 * bytes. The engine gets one end of a socket pair, as if that were the client; the thread that took
 * the handshake stays, and carries bytes between the other end and httpd's filters.
 */

#ifndef WS_HTTPD_RELAY_H
#define WS_HTTPD_RELAY_H

#include <httpd.h>

#include "engine/engine.h"

/**
 * After the 101 has been sent: give the connection to the engine, and carry its bytes until both
 * sides have ended.
 * @param n  as for ws_takeover(); its pool is the engine's from now on, or is destroyed
 * @return what the request's handler is to return
 */
int ws_relay(request_rec *r, ws_new_conn *n);

/**
 * Give the engine the other end of an answer: what it sends there is the body, until it or the client has ended.
 * @param n  as for ws_relay()
 * @return as a handler of httpd
 */
int ws_relay_answer(request_rec *r, ws_new_conn *n);

/**
 * Carry the body of an answer from a socket, until it or the client has ended; closes the socket.
 * @return as a handler of httpd
 */
int ws_relay_body(request_rec *r, int fd);

/**
 * Why a request's connection has to be relayed, or NULL if it can be taken over.
 * @param answers  whether there is to be an answer with a body, not a 101
 */
const char *ws_relay_reason(request_rec *r, int answers);

#endif
