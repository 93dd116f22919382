/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The opening handshake: from httpd's request to the 101. */

#ifndef WS_HTTPD_UPGRADE_H
#define WS_HTTPD_UPGRADE_H

#include <httpd.h>

/** map_to_storage: a handshake has no file, and no directory to be redirected to. */
int ws_upgrade_map_to_storage(request_rec *r);

/** handler: answers handshakes where a WebSocketHandler stands, declines everything else. */
int ws_upgrade_handler(request_rec *r);

#endif
