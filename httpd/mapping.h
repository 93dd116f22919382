/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Which module answers a request. A handshake where WebSocketHandler is set, and any request where
 * WebSocketChannelHTTP is set, is this module's, whatever ProxyPass, RewriteRule and mod_cache say, and whatever the
 * order of LoadModule is.
 */

#ifndef WS_HTTPD_MAPPING_H
#define WS_HTTPD_MAPPING_H

#include <httpd.h>

/** register_hooks. */
void ws_mapping_register(apr_pool_t *p);

#endif
