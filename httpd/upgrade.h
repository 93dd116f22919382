/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The opening handshake: from httpd's request to the 101. */

#ifndef WS_HTTPD_UPGRADE_H
#define WS_HTTPD_UPGRADE_H

#include <httpd.h>

#include "engine/engine.h"

/** Whether a request is a handshake where a WebSocketHandler stands; its Locations are known. */
int ws_upgrade_wanted(request_rec *r);

/** Whether its handler has on_claim: what mod_proxy has mapped is then not taken from it before the handler hook. */
int ws_upgrade_is_asked(request_rec *r);

/** handler: answers handshakes where a WebSocketHandler stands, declines everything else. */
int ws_upgrade_handler(request_rec *r);

/**
 * Give a request the arguments of its request line again, if a front controller has replaced them:
 * `RewriteRule ^/(.*)$ /index.html?path=$1` leaves the path, so the same section answers, and maps it to
 * another file. Where the path was rewritten, too ([PT]), or the file is the path's, the arguments are those
 * that the rule was written for.
 */
void ws_upgrade_restore_args(request_rec *r);

/** Run the filters of mod_headers and mod_session, for an answer that httpd does not send. Behind it the request needs
 *  other output filters: it has the connection's after a take-over. */
void ws_upgrade_run_header_filters(request_rec *r);

/**
 * Admit a connection: find its handler, count it, ask the handler.
 * @param n  filled in, but for version and chain
 * @return OK, or the status to refuse with; ws_upgrade_release() is due after both
 */
int ws_upgrade_admit(request_rec *r, struct ws_request *rq, ws_new_conn *n);

/** Release what has not become a connection's. */
void ws_upgrade_release(struct ws_request *rq);

/** It all is a connection's now. */
void ws_upgrade_adopted(struct ws_request *rq);

/** Keep what WebSocketReauthorize and expressions about channels have to know of a request, if they are
 *  configured: a ticket more. @return OK, or the status to refuse with */
int ws_upgrade_keep_request(request_rec *r, const ws_settings *settings, ws_ticket **tickets);

#endif
