/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sends each message back unchanged.
 *
 *     WebSocketHandler ws_echo.so
 */

#include "mod_websocket.h"

/* The result of ws_send() is ignored: a client that does not read its echoes fills its send queue,
 * and WebSocketSendQueue applies. */
static void echo_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_send(c, type, data, len);
}

WS_HANDLER(echo) = {.on_message = echo_message};
