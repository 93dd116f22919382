/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Serves `SetHandler websocket-status`: counters and open connections, as a page, as JSON, or in
 *  the format of Prometheus. */

#ifndef WS_HTTPD_STATUS_H
#define WS_HTTPD_STATUS_H

#include <httpd.h>

/** The content handler: serves the status page, and closes connections on request. */
int ws_status_handler(request_rec *r);

/** register_hooks: register the content handler. */
void ws_status_register(apr_pool_t *p);

#endif
