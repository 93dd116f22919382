/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sends every message back as it came.
 *
 *     WebSocketHandler ws_echo.so
 */

#include "mod_websocket.h"

/* What comes of the send needs no look: a client that does not read its echoes fills its own send
 * queue, and WebSocketSendQueue then deals with it. */
static void echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_send(c, type, data, len);
}

WS_HANDLER(echo) = {.on_message = echo};
