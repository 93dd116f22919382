/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements WebSocketOrigin, which sets the origins whose pages may connect. */

#ifndef WS_HTTPD_ORIGIN_H
#define WS_HTTPD_ORIGIN_H

#include "httpd/config.h"

/** Setter of the directive. config: a ws_dir_config. */
const char *ws_set_origins(cmd_parms *cmd, void *config, int argc, char *const argv[]);

/** Whether WebSocketOrigin lists an origin itself or as `same`. The value `any` does not count. */
int ws_origin_listed(const ws_dir_config *d, const char *origin, const char *host);

/** Whether a section allows pages from this origin to connect. origin is NULL if the client sent
 *  none. */
int ws_origin_allowed(const ws_dir_config *d, const char *origin, const char *host);

#endif
