/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the directives that set a child process's event loops, backend, drain and watchdog. */

#ifndef WS_HTTPD_CHILD_CONFIG_H
#define WS_HTTPD_CHILD_CONFIG_H

#include "httpd/config.h"

/** Setters of the directives. They store values in the ws_server_config of the main server. */
const char *ws_set_threads(cmd_parms *cmd, void *config, const char *loops, const char *blocking);
const char *ws_set_backend(cmd_parms *cmd, void *config, const char *arg);
const char *ws_set_drain_timeout(cmd_parms *cmd, void *config, const char *arg);
const char *ws_set_watchdog(cmd_parms *cmd, void *config, const char *arg);

/** Whether the MPM has several threads in each child. */
int ws_mpm_threaded(void);

/** Fill in the options that directives can set, with the values of conf or the defaults. */
void ws_child_configure(ws_engine_options *options, const ws_server_config *conf);

/** Get the value of WebSocketDrainTimeout or its default, milliseconds. */
apr_int64_t ws_drain_timeout(const ws_server_config *conf);

#endif
