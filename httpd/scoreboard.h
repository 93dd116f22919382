/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Places for child processes: old ones keep theirs as long as they have WebSockets. */

#ifndef WS_HTTPD_PLACES_H
#define WS_HTTPD_PLACES_H

#include <httpd.h>

/** register_hooks: the parent looks now and then whether there are enough. */
void ws_scoreboard_register(apr_pool_t *p);

#endif
