/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements WebSocketChannelHTTP, which makes channels available to plain HTTP clients. POST
 * publishes, GET counts subscribers, DELETE clears the history, and GET can also subscribe (sse.h).
 */

#ifndef WS_HTTPD_CHANNEL_HTTP_H
#define WS_HTTPD_CHANNEL_HTTP_H

#include <httpd.h>
#include <http_config.h>

#define WS_CHANNEL_HTTP_PUBLISH 0x1
#define WS_CHANNEL_HTTP_SUBSCRIBE 0x2

/** The value of WebSocketChannelHTTP in a section. */
typedef struct ws_channel_http {
    unsigned what;    /**< WS_CHANNEL_HTTP_..., 0: off */
    const char *base; /**< path of the Location, without a trailing slash */
} ws_channel_http;

/** pre_config: reset ws_channel_http_used(). */
void ws_channel_http_reset(apr_pool_t *pconf);

/** Parse WebSocketChannelHTTP. @return NULL, or the error */
const char *ws_channel_http_set(cmd_parms *cmd, void *config, int argc, char *const argv[]);

/** Whether any section enables WebSocketChannelHTTP, so that children need an engine.  [any
 *  process] */
int ws_channel_http_used(void);

/** Whether WebSocketChannelHTTP is enabled for a request. */
int ws_channel_http_wanted(const request_rec *r);

/** The content handler: publishes, subscribes, counts subscribers and clears the history. */
int ws_channel_http_handler(request_rec *r);

#endif
