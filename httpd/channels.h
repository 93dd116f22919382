/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Creates, stops and destroys the channels of a child process. */

#ifndef WS_HTTPD_CHANNELS_H
#define WS_HTTPD_CHANNELS_H

#include <httpd.h>
#include <http_config.h>

#include "channels/channels.h"

/** Setters of WebSocketChannels and WebSocketBusQueue. */
const char *ws_httpd_channels_set(cmd_parms *cmd, void *config, const char *arg);
const char *ws_httpd_channels_set_queue(cmd_parms *cmd, void *config, const char *arg);

/** parent_init: choose the random number that identifies this httpd. */
apr_status_t ws_httpd_channels_init(apr_pool_t *ptemp, server_rec *s);

/** child_init, after the engine is created and before its first connection. */
apr_status_t ws_httpd_channels_child_init(apr_pool_t *pchild, server_rec *s,
                                          ws_engine_options *options);

/** child_stop, before ws_engine_stop(): stop receiving from other processes, and stop
 *  publishing. */
int ws_httpd_channels_child_stop(void);

/**
 * child_exit, after ws_engine_stop(): close the histories and the bus to other machines, and answer
 * all requests that still wait.
 */
void ws_httpd_channels_finish(void);

void ws_httpd_channels_child_exit(void);

#endif
