/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Runs a program that all connections of a WebSocketHandler directive share, either in this child
 * process or in all child processes (server.h). Each message has a tag that names its connection:
 *
 *     ID TAB open TAB peer TAB user TAB path TAB arguments      to the program
 *     ID TAB message TAB text                                   both ways; from the program, the ID
 *                                                               * means all connections
 *     ID TAB close TAB code                                     to the program
 *     ID TAB close TAB code reason                              from the program
 *
 * The supervisor's thread handles the program's pipes. Connections and httpd's threads add lines
 * under a lock, which must be taken before the supervisor's lock, never after it.
 */

#ifndef WS_EXEC_SHARED_H
#define WS_EXEC_SHARED_H

#include "exec.h"

/**
 * Create the state of a shared program.
 * @param pool  pool of the child process
 * @return NULL: out of memory
 */
exec_shared *exec_shared_new(exec_config *config, ws_location *here, apr_pool_t *pool);

/** Stop using the program. Must be called before exec_supervisor_stop(). */
void exec_shared_stop(exec_shared *h);
/** Free the state. Must be called after exec_supervisor_stop(). */
void exec_shared_free(exec_shared *h);

/**
 * Start the program if it is not running. on_request must call this. @return 0, or the status to
 * refuse with
 */
int exec_shared_ready(exec_shared *h, request_rec *r);

void exec_shared_join(exec_shared *h, ws_conn *c);
void exec_shared_message(exec_shared *h, ws_conn *c, const char *data, apr_size_t len);
void exec_shared_leave(exec_shared *h, ws_conn *c, int code);

#endif
