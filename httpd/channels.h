/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The channels of a child process: what they are made of, from its beginning to its end. */

#ifndef WS_HTTPD_CHANNELS_H
#define WS_HTTPD_CHANNELS_H

#include <httpd.h>

#include "channels/channels.h"

/** parent_init: the number of this httpd. */
apr_status_t ws_httpd_channels_init(apr_pool_t *ptemp, server_rec *s);

/** child_init, after the engine's creation and before its first connection. */
apr_status_t ws_httpd_channels_child_init(apr_pool_t *pchild, server_rec *s,
                                          ws_engine_options *options);

/** child_stop, before ws_engine_stop(): nothing comes from other processes any more, nothing is
 *  published. */
int ws_httpd_channels_child_stop(void);

/** child_exit, after ws_engine_stop(). */
/** Ends the stores and the bus to other machines, and answers what waits. */
void ws_httpd_channels_finish(void);

void ws_httpd_channels_child_exit(void);

#endif
