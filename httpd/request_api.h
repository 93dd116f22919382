/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines the state of a handshake request while the handler's on_request is running. */

#ifndef WS_HTTPD_REQUEST_API_H
#define WS_HTTPD_REQUEST_API_H

#include <httpd.h>

#include "engine/extensions.h"

struct ws_request {
    request_rec *r;
    const char *location;   /**< returned by ws_request_location() */
    const char *protocol;   /**< selected subprotocol, or NULL */
    apr_table_t *headers;   /**< headers of the response */
    apr_pool_t *pool;       /**< the connection's pool, or NULL */
    ws_chain *chain;        /**< negotiated extensions, or NULL */
    const char *extensions; /**< value of the response header, or NULL */
    /** An extension of WebSocketExtension is used, so messages have to be decoded. */
    int extended;
    /** Another server has negotiated the extensions, so messages are not decoded. */
    int passes;
    const char *body;      /**< body of a refusal, or NULL */
    apr_size_t body_len;   /**< its length, bytes */
    const char *body_type; /**< its Content-Type, or NULL */
    void *data;
    ws_ticket *ticket; /**< ticket to release when the connection has ended, or NULL */
    int sockjs;        /**< messages are wrapped in SockJS frames */
    int version;       /**< version of the handshake: 13, 76 ...; 0: not a WebSocket */
    ws_loop *loop;     /**< loop of an outgoing connection made for this request, or NULL */
};

/** Copy the request headers with these names, in the format of ws_strings.headers, to r->pool.
 *  @return NULL if names is NULL */
const char *const *ws_request_kept(request_rec *r, const char *names);

#endif
