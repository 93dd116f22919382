/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** SetHandler websocket-status: counters and open connections, as a page, JSON, or for
 *  Prometheus. */

#ifndef WS_HTTPD_STATUS_H
#define WS_HTTPD_STATUS_H

#include <httpd.h>

/** handler. */
int ws_status_handler(request_rec *r);

/** register_hooks. */
void ws_status_register(apr_pool_t *p);

#endif
