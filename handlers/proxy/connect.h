/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Connecting to a server, on the request's thread, before the client is answered. */

#ifndef WS_HANDLERS_PROXY_CONNECT_H
#define WS_HANDLERS_PROXY_CONNECT_H

#include "config.h"
#include "pair.h"

/**
 * Connect to one of the servers, or to the one that mod_proxy chooses. Then the request has the answer's
 * headers, subprotocol and extensions.
 * @param made  set to the pair, with the server's connection
 * @return 0, or the status for on_request
 */
int proxy_connect(ws_request *rq, const proxy_config *config, pair **made);

#endif
