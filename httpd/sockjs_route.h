/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What a request of SockJS brings, on its way to the child that has the session. */

#ifndef WS_HTTPD_SOCKJS_ROUTE_H
#define WS_HTTPD_SOCKJS_ROUTE_H

#include "httpd/sockjs_directory.h"

extern const ws_shm_layout *const ws_sockjs_route_layout[];

/** register_hooks: what this child is told. */
void ws_sockjs_route_register(apr_pool_t *p);

/** Longest head of a response, bytes. */
#define WS_SOCKJS_HEAD_MAX (16 * 1024)

/** A response for a session; malloc'ed. */
typedef struct ws_sockjs_delivery {
    ws_sockjs_key key;
    unsigned slot; /**< of the child that has it */
    ws_sockjs_request request;
    char head[];
} ws_sockjs_delivery;

/** @return NULL when there is no memory, or the head is too long */
ws_sockjs_delivery *ws_sockjs_delivery_new(const ws_sockjs_key *key, unsigned slot,
                                           const ws_sockjs_request *request);

/** Deliver, for ws_takeover_to(): frees the delivery, takes over fd (-1: only free it) and ssl. */
void ws_sockjs_deliver(void *delivery, int fd, SSL *ssl);

/** Messages for a session, as ws_sockjs_parse() makes them; freed. Waits for the answer.
 *  @return as ws_sockjs_input() tells */
int ws_sockjs_route_input(const ws_sockjs_key *key, unsigned slot, ws_strbuf *frames);

#endif
