/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements the opening handshake, from httpd's request to the 101. */

#ifndef WS_HTTPD_UPGRADE_H
#define WS_HTTPD_UPGRADE_H

#include <httpd.h>

#include "engine/engine.h"

/** Whether a request is a handshake in a section with WebSocketHandler. httpd must have run the
 *  location walk. */
int ws_upgrade_wanted(request_rec *r);

/** Whether the handler of a request has on_claim. If so, a request that mod_proxy has mapped stays
 *  mapped until the handler hook. */
int ws_upgrade_is_asked(request_rec *r);

/** The content handler: answers handshakes in sections with WebSocketHandler, and declines all
 *  other requests. */
int ws_upgrade_handler(request_rec *r);

/**
 * Restore the arguments of the request line if a front controller has replaced them. For example,
 * `RewriteRule ^/(.*)$ /index.html?path=$1` maps the request to another file, but keeps the path
 * and therefore the section. If a rule has also rewritten the path ([PT]), or the file belongs to
 * the path, the new arguments are intended and kept.
 */
void ws_upgrade_restore_args(request_rec *r);

/**
 * Admit a connection: find its handler, count the connection, and call on_request.
 * @param n  the caller has set all members except version and chain
 * @return OK, or the status to refuse with; in both cases, ws_upgrade_release() must follow
 */
int ws_upgrade_admit(request_rec *r, struct ws_request *rq, ws_new_conn *n);

/** Release all resources that no connection has taken over. */
void ws_upgrade_release(struct ws_request *rq);

/** Record that a connection has taken over the resources, so that ws_upgrade_release() does not
 *  release them. */
void ws_upgrade_adopted(struct ws_request *rq);

/** Save the parts of a request that WebSocketReauthorize and channel expressions need, if these are
 *  configured. Adds tickets to *tickets. @return OK, or the status with which to refuse the
 *  request */
int ws_upgrade_keep_request(request_rec *r, const ws_settings *settings, ws_ticket **tickets);

#endif
