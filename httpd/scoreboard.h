/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Watches the scoreboard, where old children keep their places as long as they have WebSockets. */

#ifndef WS_HTTPD_PLACES_H
#define WS_HTTPD_PLACES_H

#include <httpd.h>

/** register_hooks: the parent periodically checks for free places. */
void ws_scoreboard_register(apr_pool_t *p);

#endif
