/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Routes SockJS responses and messages to the child that has the session. */

#ifndef WS_HTTPD_SOCKJS_ROUTE_H
#define WS_HTTPD_SOCKJS_ROUTE_H

#include "httpd/sockjs_directory.h"

extern const ws_shm_layout *const ws_sockjs_route_layout[];

/** register_hooks: set the functions that receive messages from other children. */
void ws_sockjs_route_register(apr_pool_t *p);

/** Size limit of the head of a response, bytes. */
#define WS_SOCKJS_HEAD_MAX (16 * 1024)

/** A response for a session. Allocated with malloc(). */
typedef struct ws_sockjs_delivery {
    ws_sockjs_key key;
    unsigned slot; /**< slot of the child that has the session */
    ws_sockjs_request request;
    char head[];
} ws_sockjs_delivery;

/** Create a delivery. @return NULL: out of memory, or the head is too long */
ws_sockjs_delivery *ws_sockjs_delivery_new(const ws_sockjs_key *key, unsigned slot,
                                           const ws_sockjs_request *request);

/** Deliver a response. This is a callback for ws_takeover_to(). It frees the delivery, and takes
 *  ownership of fd and ssl. If fd is -1, it only frees the delivery. */
void ws_sockjs_deliver(void *delivery, int fd, SSL *ssl);

/** Send messages to a session, and wait for the result. @param frames  from ws_sockjs_parse(); this
 *  function frees them @return the same as ws_sockjs_input() */
int ws_sockjs_route_input(const ws_sockjs_key *key, unsigned slot, ws_strbuf *frames);

#endif
