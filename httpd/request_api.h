/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A handshake request on its way through the handler's on_request. */

#ifndef WS_HTTPD_REQUEST_H
#define WS_HTTPD_REQUEST_H

#include <httpd.h>

#include "engine/extensions.h"

struct ws_request {
    request_rec *r;
    const char *location;   /**< as ws_request_location() tells */
    const char *protocol;   /**< chosen subprotocol, or NULL */
    apr_table_t *headers;   /**< of the answer */
    apr_pool_t *pool;       /**< the connection's, or NULL */
    ws_chain *chain;        /**< extensions agreed on, or NULL */
    const char *extensions; /**< as the answer names them, or NULL */
    int extended;           /**< WebSocketExtension: messages have to be decoded */
    int passes;             /**< the extensions are another server's: messages pass as they are */
    const char *body;       /**< of a refusal, or NULL */
    apr_size_t body_len;    /**< bytes */
    const char *body_type;  /**< its Content-Type, or NULL */
    void *data;
    ws_ticket *ticket; /**< of who counts connections, or NULL */
    int sockjs;        /**< its messages lie in frames of SockJS */
    ws_loop *loop;     /**< of what has been connected to for it, or NULL */
};

/** The request headers of these names, as ws_strings.headers; NULL for NULL. From r->pool. */
const char *const *ws_request_kept(request_rec *r, const char *names);

#endif
