/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements WebSocketReauthorize, which periodically repeats httpd's access control for the
 * handshake of an open connection.
 */

#ifndef WS_HTTPD_REAUTHORIZE_H
#define WS_HTTPD_REAUTHORIZE_H

#include <httpd.h>
#include <http_config.h>

#include "engine/engine.h"

/** register_hooks: register the hooks that save and recreate handshakes. */
void ws_reauthorize_register(apr_pool_t *p);

/** child_init: set the function that starts checks in the options of the engine. */
apr_status_t ws_reauthorize_child_init(apr_pool_t *pchild, server_rec *s,
                                       ws_engine_options *options);

/** pre_config: reset the previous configuration's state. */
void ws_reauthorize_reset(apr_pool_t *pconf);

/** Also save handshakes of requests without Upgrade. Called if the configuration lets such requests
 *  subscribe. */
void ws_reauthorize_subscribers(void);

/** Setter of the directive. config: a ws_dir_config. */
const char *ws_reauthorize_set(cmd_parms *cmd, void *config, const char *arg);

/** Which headers to save. */
typedef enum {
    /** Headers as they were received, for checks. In each check, modules repeat their changes. */
    WS_HEADERS_AS_READ,
    WS_HEADERS_AS_CHANGED /**< headers after modules have changed them, for expressions */
} ws_reauthorize_headers;

/** Save the parts of a handshake that later checks or expressions need, at most 64 KiB. Adds a
 *  ticket to *tickets. @return OK, or the status with which to refuse the handshake */
int ws_reauthorize_save(request_rec *r, ws_reauthorize_headers which, ws_ticket **tickets);

/**
 * Recreate the handshake's request for expressions. The result has the method, URI, headers,
 * addresses and user as modules have changed them. It has nothing else that modules have added.
 * @return NULL: nothing was saved, or out of memory  [callback]
 */
request_rec *ws_reauthorize_request(ws_conn *conn, apr_pool_t *p);

/** Start a check of the connection on another thread. Closes the connection if httpd denies access.
 *  [loop] */
void ws_reauthorize(ws_conn *c);

/** child_stop, after the engine has stopped: wait for running checks. */
int ws_reauthorize_child_stop(void);

#endif
