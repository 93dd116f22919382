/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Watches httpd's scoreboard. Old children keep their slots in the scoreboard as long as they have
 *  WebSockets, so new children may find no free slot. */

#ifndef WS_HTTPD_SCOREBOARD_H
#define WS_HTTPD_SCOREBOARD_H

#include <httpd.h>

/** register_hooks: the parent periodically checks for free slots. */
void ws_scoreboard_register(apr_pool_t *p);

#endif
