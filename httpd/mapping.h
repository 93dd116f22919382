/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Decides which module answers a request. This module answers handshakes in sections with
 * WebSocketHandler, requests for SockJS URLs where it is enabled, and all requests in sections with
 * WebSocketChannelHTTP. ProxyPass, RewriteRule, mod_cache and the order of LoadModule do not change
 * that.
 */

#ifndef WS_HTTPD_MAPPING_H
#define WS_HTTPD_MAPPING_H

#include <httpd.h>

/** register_hooks: register the hooks that select this module. */
void ws_mapping_register(apr_pool_t *p);

#endif
