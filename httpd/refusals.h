/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Refusals that an administrator has to see at httpd's usual LogLevel. */

#ifndef WS_HTTPD_REFUSALS_H
#define WS_HTTPD_REFUSALS_H

#include <httpd.h>

typedef enum {
    WS_REFUSAL_ORIGIN, /**< WebSocketOrigin */
    WS_REFUSAL_LIMIT,  /**< WebSocketLimit */
    WS_REFUSAL_ACCESS, /**< nothing says who has access */
    WS_REFUSALS
} ws_refusal;

/**
 * Log a refusal with the client's address: as a warning; when WS_LOG_WINDOW_MAX of its kind were logged within a
 * minute in this process, at level info, since a client can cause as many as it likes.
 * @param format  what is refused, why, and in parentheses the directive
 */
void ws_refusal_log(request_rec *r, ws_refusal kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
