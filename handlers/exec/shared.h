/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A program that all connections of a WebSocketHandler line in this child process share, or in all of them
 * (server.h). Messages have a
 * tag that says of which connection they are, or for which:
 *
 *     ID TAB open TAB peer TAB user TAB path TAB arguments      to the program
 *     ID TAB message TAB text                                   both ways; from it also to ID *
 *     ID TAB close TAB code                                     to the program
 *     ID TAB close TAB code reason                              from it
 *
 * The program's pipes are the keeper's thread's, connections and threads of httpd come in under a lock.
 * It is taken before the keeper's, never the other way.
 */

#ifndef WS_EXEC_HUB_H
#define WS_EXEC_HUB_H

#include "exec.h"

/** @param pool  of the child process. @return NULL when there is no memory */
exec_hub *exec_hub_new(exec_config *config, ws_location *here, apr_pool_t *pool);

/** Let go of the program: before exec_keeper_stop(). */
void exec_hub_stop(exec_hub *h);
/** Behind it. */
void exec_hub_free(exec_hub *h);

/** In on_request: start the program if it does not run. @return 0, or the status to refuse with */
int exec_hub_ready(exec_hub *h, request_rec *r);

void exec_hub_join(exec_hub *h, ws_conn *c);
void exec_hub_message(exec_hub *h, ws_conn *c, const char *data, apr_size_t len);
void exec_hub_leave(exec_hub *h, ws_conn *c, int code);

/** exec.c: where a program runs, and the limits of a request's Location. */
void exec_how(exec_start *how, const exec_config *config, request_rec *r);

/** exec.c: start a program. @return 0, or the status to refuse with, which has been logged */
int exec_launch(const exec_config *config, const exec_start *how, const server_rec *server,
                exec_process *process, int **slot);

#endif
