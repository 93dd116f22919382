/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Authenticates requests that the server sends to itself on behalf of a client.
 *  include/websocket_loopback.h describes them. */

#ifndef WS_HTTPD_LOOPBACK_H
#define WS_HTTPD_LOOPBACK_H

#include <httpd.h>

#include "httpd/shm.h"

extern const ws_shm_layout *const ws_loopback_layout[];

void ws_loopback_register(apr_pool_t *p);

/** parent_init: create the secret key for signatures and the table of used credentials. The key is
 *  kept until httpd stops. */
apr_status_t ws_loopback_init(apr_pool_t *ptemp, server_rec *s);

#endif
