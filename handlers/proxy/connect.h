/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Connects to a server before the client gets a response, on the request's thread. */

#ifndef WS_HANDLERS_PROXY_CONNECT_H
#define WS_HANDLERS_PROXY_CONNECT_H

#include "config.h"
#include "pair.h"

/**
 * Connect to one of the servers, or to the server that mod_proxy chooses. Sets the request's
 * headers, subprotocol and extensions from the answer.
 * @param server_side  handler of the server's connection. Its on_open calls proxy_attempt_over()
 * @param made         set to the pair, which has the server's connection
 * @return 0, or the status for on_request
 */
int proxy_connect(ws_request *rq, const proxy_config *config, const ws_handler *server_side,
                  pair **made);

#endif
