/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Taking a connection out of httpd: its worker thread, conn_rec and pools go back to httpd, the
 * socket and its TLS state go to a loop of the engine.
 */

#ifndef WS_HTTPD_TAKEOVER_H
#define WS_HTTPD_TAKEOVER_H

#include <httpd.h>
#include <util_filter.h>

#include "engine/engine.h"

/** register_hooks: the filter that takeover needs, and the connection's hooks. */
void ws_takeover_register(apr_pool_t *p);

/** child_init: what stands for httpd's conn_rec in the callbacks of mod_ssl. */
apr_status_t ws_takeover_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** Why a connection cannot be taken over, or NULL if it can. */
const char *ws_takeover_obstacle(conn_rec *c);

/** Why an answer with a body, an event stream or a poll's, has to pass httpd's filters; NULL if it has not. */
const char *ws_takeover_answer_obstacle(request_rec *r);

/** Whether an output filter changes headers only: it can be run on nothing. */
int ws_takeover_filter_of_headers(const ap_filter_t *f);

/**
 * One WebSocket more (change 1) or less (-1) on the HTTP/2 connection that c is a stream of.  [any thread]
 * @return how many there are now
 */
int ws_takeover_streams(conn_rec *c, int change);

/**
 * After the 101 has been sent: collect what httpd has read already, and mark the connection, so that
 * it goes to the engine when httpd is done with the request.
 * @param n  location, settings, version, data, pool and strings are filled in; strings are copied
 * @return APR_SUCCESS, or why it failed; n->pool is then still the caller's
 */
apr_status_t ws_takeover(request_rec *r, const ws_new_conn *n);

/**
 * The same for a connection that does not become one of the engine's: when httpd is done with the request, give is
 * called with its fd and ssl, which it takes over. fd -1: the connection is lost.  [a thread of httpd]
 * @return as ws_takeover(); give is not called after an error
 */
apr_status_t ws_takeover_to(request_rec *r, void (*give)(void *arg, int fd, SSL *ssl), void *arg);

#endif
