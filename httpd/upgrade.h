/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The opening handshake: from httpd's request to the 101. */

#ifndef WS_HTTPD_UPGRADE_H
#define WS_HTTPD_UPGRADE_H

#include <httpd.h>

#include "engine/engine.h"

/** map_to_storage: a handshake has no file, and no directory to be redirected to. */
int ws_upgrade_map_to_storage(request_rec *r);

/** handler: answers handshakes where a WebSocketHandler stands, declines everything else. */
int ws_upgrade_handler(request_rec *r);

/**
 * Give a request the arguments of its request line again, if a front controller has replaced them:
 * `RewriteRule ^/(.*)$ /index.html?path=$1` leaves the path, so the same section answers, and maps it to
 * another file. Where the path was rewritten, too ([PT]), or the file is the path's, the arguments are those
 * that the rule was written for.
 */
void ws_upgrade_restore_args(request_rec *r);

/** Run the filter of mod_headers over r->headers_out, for an answer that httpd does not send. */
void ws_upgrade_run_mod_headers(request_rec *r);

/** Keep what WebSocketReauthorize and expressions about channels have to know of a request, if they are
 *  configured: a ticket more. @return OK, or the status to refuse with */
int ws_upgrade_keep_request(request_rec *r, const ws_settings *settings, ws_ticket **tickets);

/** register_hooks. */
void ws_upgrade_register(apr_pool_t *p);

#endif
