/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This handler for bench/compare broadcasts each message to all connections of the location. */

#include "mod_websocket.h"

static void to_all(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_broadcast(ws_conn_location(c), type, data, len, 0);
}

WS_HANDLER(all) = {.on_message = to_all};
