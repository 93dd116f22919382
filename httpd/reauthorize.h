/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * WebSocketReauthorize: while a connection is open, httpd is asked again and again whether it would
 * still let its handshake through.
 */

#ifndef WS_HTTPD_REAUTHORIZE_H
#define WS_HTTPD_REAUTHORIZE_H

#include <httpd.h>

#include "engine/engine.h"

/** register_hooks. */
void ws_reauthorize_register(apr_pool_t *p);

/** child_init. */
apr_status_t ws_reauthorize_child_init(apr_pool_t *pchild, server_rec *s,
                                       ws_engine_options *options);

/** pre_config; and WebSocketReauthorize is set somewhere. */
void ws_reauthorize_reset(apr_pool_t *pconf);
void ws_reauthorize_use(void);

/** Which headers are kept. */
typedef enum {
    WS_HEADERS_AS_READ,   /**< for checks, where modules change them again */
    WS_HEADERS_AS_CHANGED /**< by modules, for expressions */
} ws_reauthorize_headers;

/** Keep of a handshake what later checks or expressions need: a ticket more, of at most 64 KiB. @return OK, or the status
 *  to refuse with */
int ws_reauthorize_save(request_rec *r, ws_reauthorize_headers which, ws_ticket **tickets);

/**
 * A request as the handshake's was, made of what has been kept, for expressions: method, URI, headers,
 * addresses and user are there, as modules have changed them, and nothing else that they have added.
 * @return NULL if nothing has been kept, or there is no memory  [callback]
 */
request_rec *ws_reauthorize_request(ws_conn *conn, apr_pool_t *p);

/** Check the connection on another thread; it is closed if access is not granted any more.  [loop] */
void ws_reauthorize(ws_conn *c);

/** The engine has stopped: wait for checks that run. */
int ws_reauthorize_child_stop(void);

#endif
