/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The channels of a child process: what they are made of, from its beginning to its end. */

#ifndef WS_HTTPD_CHANNELS_H
#define WS_HTTPD_CHANNELS_H

#include <httpd.h>

#include "channels/channels.h"

/** post_config, behind ws_shm_init(). @return 0, or -1 when there is no memory */
int ws_httpd_channels_init(server_rec *s);

/** child_init, behind the engine's creation and before its first connection. */
void ws_httpd_channels_child_init(apr_pool_t *pchild, server_rec *s, ws_engine *engine);

/** The child is to end: nothing comes from other processes any more, nothing is published. Before
 *  ws_engine_stop(). */
void ws_httpd_channels_child_stop(void);

/** After ws_engine_stop(). */
void ws_httpd_channels_child_exit(void);

#endif
