/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses WebSocketHandler and WebSocketHandlerDirectory, which set the handlers of a section. */

#ifndef WS_HTTPD_HANDLER_CONFIG_H
#define WS_HTTPD_HANDLER_CONFIG_H

#include "httpd/config.h"

/** Setters of the directives. config: a ws_dir_config. */
const char *ws_set_handler(cmd_parms *cmd, void *config, int argc, char *const argv[]);
const char *ws_set_handler_directory(cmd_parms *cmd, void *config, const char *path);

#endif
