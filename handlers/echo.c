/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sends each message back unchanged.
 *
 *     WebSocketHandler ws_echo.so
 */

#include "mod_websocket.h"

/* The result of ws_send() is ignored. If a client does not read its echoes, its send queue fills,
 * and WebSocketSendQueue applies. */
static void echo_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_send(c, type, data, len);
}

WS_HANDLER(echo) = {.on_message = echo_message};
