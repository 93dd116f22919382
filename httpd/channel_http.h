/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * WebSocketChannelHTTP: channels for who speaks plain HTTP. POST publishes, GET counts, DELETE clears the
 * history; and GET subscribes (sse.h).
 */

#ifndef WS_HTTPD_CHANNELHTTP_H
#define WS_HTTPD_CHANNELHTTP_H

#include <httpd.h>
#include <http_config.h>

#define WS_CHANNEL_HTTP_PUBLISH 0x1
#define WS_CHANNEL_HTTP_SUBSCRIBE 0x2

/** What a section says. */
typedef struct ws_channel_http {
    unsigned what;    /**< WS_CHANNEL_HTTP_..., 0: off */
    const char *base; /**< the Location's path, without a slash at its end */
} ws_channel_http;

/** pre_config. */
void ws_channel_http_reset(apr_pool_t *pconf);

/** WebSocketChannelHTTP. @return NULL, or what is wrong */
const char *ws_channel_http_set(cmd_parms *cmd, void *config, int argc, char *const argv[]);

/** Whether a section says anything but off: then children need an engine.  [any process] */
int ws_channel_http_used(void);

/** Whether a request's Locations set WebSocketChannelHTTP. */
int ws_channel_http_wanted(const request_rec *r);

/** handler: publishing, subscribing, counting. */
int ws_channel_http_handler(request_rec *r);

#endif
