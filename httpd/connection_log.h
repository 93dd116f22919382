/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements WebSocketLog, which writes a record for each connection that has ended. Loops only
 * append records to a list. A thread in the child writes the records, so that a full disk or a slow
 * program does not block a loop. For a log in a database, another module provides a queue and a
 * thread (log_provider.h).
 */

#ifndef WS_HTTPD_CONNECTION_LOG_H
#define WS_HTTPD_CONNECTION_LOG_H

#include <httpd.h>
#include <http_config.h>

#include "engine/engine.h"

/** The configuration of one WebSocketLog line. */
typedef struct ws_connection_log ws_connection_log;

/** The value in sections with `WebSocketLog off`. */
extern const ws_connection_log ws_connection_log_off;

/** pre_config: discard the targets of the previous configuration. */
void ws_connection_log_reset(apr_pool_t *pconf);

/** Setter of the directive. config: a ws_dir_config. */
const char *ws_connection_log_set(cmd_parms *cmd, void *config, int argc, char *const argv[]);

/** register_hooks: register the hook that opens the files and starts the programs. */
void ws_connection_log_register(apr_pool_t *p);

/** child_init: start the thread if there is a log. */
apr_status_t ws_connection_log_child_init(apr_pool_t *pchild, server_rec *s,
                                          ws_engine_options *options);

/** child_stop, after ws_engine_stop(): write the remaining records, for one second at most. */
int ws_connection_log_child_stop(void);

/** Record the end of a connection. This is the engine's on_end. */
void ws_connection_log_on_end(const ws_conn *c, const char *why);

#endif
