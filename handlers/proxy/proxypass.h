/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements to=proxypass, which uses the server that mod_proxy would use. The code can be loaded
 *  without mod_proxy. */

#ifndef WS_HANDLERS_PROXY_PROXYPASS_H
#define WS_HANDLERS_PROXY_PROXYPASS_H

#include "mod_websocket.h"

struct proxy_worker;
struct proxy_balancer;

/** The target of a request. */
typedef struct {
    struct proxy_worker *worker;
    struct proxy_balancer *balancer; /* NULL: the worker belongs to no balancer */
    const char *shown;               /* URL without query string, for the log */
    int attempts;
} proxypass_target;

/** Check that mod_proxy is loaded. @return NULL, or an error text */
const char *proxypass_available(void);

/** Whether the request is mapped to a WebSocket server. */
int proxypass_claims(ws_request *rq);

/**
 * Let mod_proxy choose a worker. With a balancer, it chooses another worker after each failure.
 * Sets the options url, unix_socket, headers and the timeouts.
 * @return OK, or the status to answer
 */
int proxypass_choose(ws_request *rq, proxypass_target *target, ws_connect_options *options);

/** Report to mod_proxy that no connection could be made. @return whether mod_proxy would try
 *  another worker */
int proxypass_failed(ws_request *rq, proxypass_target *target, int timed_out);

/** Report the HTTP status of the handshake to mod_proxy. */
void proxypass_answered(ws_request *rq, proxypass_target *target, int status);

/**
 * Change the headers of the server's answer as mod_proxy does for ProxyPassReverse,
 * ProxyPassReverseCookieDomain, ProxyPassReverseCookiePath and ProxyVia.
 * @return the new headers
 */
struct apr_table_t *proxypass_answer_headers(ws_request *rq, struct apr_table_t *headers);

/** Whether ProxyErrorOverride replaces the server's page for this status. */
int proxypass_overrides(ws_request *rq, int status);

/** Count the worker as busy until the pool is destroyed. */
void proxypass_keep_busy(apr_pool_t *pool, proxypass_target *target);

#endif
