/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Logs refusals that an administrator has to see at httpd's default LogLevel. */

#ifndef WS_HTTPD_REFUSALS_H
#define WS_HTTPD_REFUSALS_H

#include <httpd.h>

typedef enum {
    WS_REFUSAL_ORIGIN, /**< WebSocketOrigin does not allow the origin */
    WS_REFUSAL_LIMIT,  /**< a limit of WebSocketLimit is reached */
    WS_REFUSAL_ACCESS, /**< invalid or missing token, control API, missing access rules */
    WS_REFUSALS
} ws_refusal;

/**
 * Log a refusal with the client's address, as a warning. After WS_LOG_WINDOW_MAX refusals of a kind
 * within a minute, this process logs further ones at level info, since a client can cause any
 * number of refusals.
 * @param format  must name the refused operation, the reason and, in parentheses, the directive
 */
void ws_refusal_log(request_rec *r, ws_refusal kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
