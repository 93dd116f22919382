/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the directives WebSocketTransports and WebSocketSockJS. */

#ifndef WS_HTTPD_SOCKJS_CONFIG_H
#define WS_HTTPD_SOCKJS_CONFIG_H

#include <httpd.h>
#include <http_config.h>

#include "engine/engine.h"

/** The value of WebSocketTransports. */
typedef struct ws_transports {
    int websocket, sockjs;
    const char *base;  /**< path of the <Location>, without a trailing slash */
    unsigned sessions; /**< atomic; number of open sessions in this child */
} ws_transports;

/** The value of WebSocketSockJS. Fields that are -1 or NULL are not set. */
typedef struct ws_sockjs_config {
    const char *client;                     /**< URL of the client library, for the iframe page */
    apr_int64_t response, heartbeat, delay; /**< bytes, milliseconds, milliseconds */
    /** Maximum number of sessions of the Location in each child. */
    apr_int64_t sessions;
    int cookie;
} ws_sockjs_config;

#define WS_SOCKJS_UNSET                                                                            \
    {                                                                                              \
        NULL, -1, -1, -1, -1, -1                                                                   \
    }

/** pre_config: reset the previous configuration's state. */
void ws_sockjs_config_reset(apr_pool_t *pconf);

/** Whether any section enables SockJS. */
int ws_sockjs_used(void);

/** Get the ws_location for WebSockets with SockJS frames. Valid only if ws_sockjs_used(). */
ws_location *ws_sockjs_location(void);

/** Setters of the directives. config: a ws_dir_config. */
const char *ws_transports_set(cmd_parms *cmd, void *config, int argc, char *const argv[]);
const char *ws_sockjs_set(cmd_parms *cmd, void *config, int argc, char *const argv[]);

void ws_sockjs_merge(ws_sockjs_config *to, const ws_sockjs_config *outer,
                     const ws_sockjs_config *inner);

#endif
