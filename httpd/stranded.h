/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Serves stranded connections: those that httpd has accepted but never started to process.
 *
 * The event MPM queues an accepted connection, and counts it only when a worker thread dequeues it.
 * In a stopping child, workers exit while that count is lower than the number of remaining threads
 * (worker_thread_should_exit_early() in event.c). WebSockets do not count, since the engine has
 * taken them over. So all workers can exit while the last accepted connection is still in the
 * queue. Without WebSockets the child then exits, which closes the connection. With WebSockets the
 * child stays until they end, and the client would wait as long. This file serves such a connection
 * on a separate thread.
 */

#ifndef WS_HTTPD_STRANDED_H
#define WS_HTTPD_STRANDED_H

#include <httpd.h>

#include "engine/engine.h"

/** child_init: prepares to note accepted connections, from the first one on. Does nothing with MPMs
 *  other than event, and for the second and further buckets of ListenCoresBucketsRatio. */
apr_status_t ws_stranded_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** pre_connection, first: httpd processes this connection, so it is not stranded.
 *  @return 1; 0: this file serves it already, and httpd must drop it */
int ws_stranded_begins(apr_socket_t *socket);

/** child_stopping, graceful: start to look for stranded connections.
 *  [any thread; further calls do nothing] */
void ws_stranded_look(void);

/** Number of stranded connections: not yet started, or served by this file.  [any thread] */
unsigned ws_stranded_count(void);

/** child_stop: shut down the connections that this file serves, and join their threads.
 *  [httpd's last thread] */
int ws_stranded_child_stop(void);

#endif
