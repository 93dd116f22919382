/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Takes a connection over from httpd. The socket and its TLS state move to an engine loop, and
 * httpd gets its worker thread, conn_rec and pools back.
 */

#ifndef WS_HTTPD_TAKEOVER_H
#define WS_HTTPD_TAKEOVER_H

#include <httpd.h>
#include <util_filter.h>

#include "engine/engine.h"

/** register_hooks: register the input filter for takeovers, and the connection hooks. */
void ws_takeover_register(apr_pool_t *p);

/** child_init: creates a stub conn_rec for each virtual host. After a takeover, mod_ssl's callbacks
 *  use the stub. */
apr_status_t ws_takeover_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** Why a connection cannot be taken over, or NULL if it can. */
const char *ws_takeover_obstacle(conn_rec *c);

/** Why the response of an event stream or a poll has to pass httpd's filters, or NULL if it can
 *  bypass them. */
const char *ws_takeover_answer_obstacle(request_rec *r);

/** Whether an output filter changes headers only, so that it can run on an empty brigade. */
int ws_takeover_filter_of_headers(const ap_filter_t *f);

/**
 * Count the WebSockets on an HTTP/2 connection.  [any thread]
 * @param c       a stream of the connection
 * @param change  1: one more; -1: one fewer
 * @return the new number; 0 if c is not a stream
 */
int ws_takeover_streams(conn_rec *c, int change);

/**
 * Prepare the takeover after the 101 has been sent: collect the input that httpd has read already,
 * and mark the connection. When httpd has finished the request, the engine gets the connection.
 * @param n  the caller has set location, settings, version, data, pool and strings; this function
 *           copies the strings
 * @return APR_SUCCESS, or an error. After an error, n->pool still belongs to the caller
 */
apr_status_t ws_takeover(request_rec *r, const ws_new_conn *n);

/**
 * Like ws_takeover(), but the connection is passed to `give` instead of the engine. When httpd has
 * finished the request, the module calls give(), which takes ownership of fd and ssl. If fd is -1,
 * the connection is lost. [an httpd thread]
 * @return the same as ws_takeover(); give() is not called after an error
 */
apr_status_t ws_takeover_to(request_rec *r, void (*give)(void *arg, int fd, SSL *ssl), void *arg);

#endif
