/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The directives WebSocketTransports and WebSocketSockJS. */

#ifndef WS_HTTPD_SOCKJS_CONFIG_H
#define WS_HTTPD_SOCKJS_CONFIG_H

#include <httpd.h>
#include <http_config.h>

/** What WebSocketTransports says. */
typedef struct ws_transports {
    int websocket, sockjs;
    const char *base;  /**< of the <Location>, without a slash at its end */
    unsigned sessions; /**< open ones of this child; atomic */
} ws_transports;

/** What WebSocketSockJS says; -1, NULL: not set. */
typedef struct ws_sockjs_config {
    const char *client;                     /**< URL of the client library, for the iframe page */
    apr_int64_t response, heartbeat, delay; /**< bytes, milliseconds */
    apr_int64_t sessions;                   /**< of this Location in each child */
    int cookie;
} ws_sockjs_config;

#define WS_SOCKJS_UNSET                                                                            \
    {                                                                                              \
        NULL, -1, -1, -1, -1, -1                                                                   \
    }

/** pre_config: a new configuration is going to be read. */
void ws_sockjs_config_reset(apr_pool_t *pconf);

/** Whether any section of the configuration speaks SockJS. */
int ws_sockjs_used(void);

/** The directives' setters; config is a ws_dir_config. */
const char *ws_transports_set(cmd_parms *cmd, void *config, int argc, char *const argv[]);
const char *ws_sockjs_set(cmd_parms *cmd, void *config, int argc, char *const argv[]);

void ws_sockjs_merge(ws_sockjs_config *to, const ws_sockjs_config *outer,
                     const ws_sockjs_config *inner);

#endif
