/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Serves stranded connections, which httpd has accepted but never started to process.
 *
 * The event MPM queues an accepted connection, and counts it only when a worker thread dequeues it.
 * In a stopping child, workers exit while that count is lower than the number of remaining threads
 * (worker_thread_should_exit_early() in event.c). WebSockets are not counted, since the engine has
 * taken them over. So all workers can exit while the last accepted connection is still in the
 * queue. During a reload under load, this happens to one or two connections. A child without
 * WebSockets then exits, which closes the connection. A child with WebSockets stays until they end,
 * and the client would have to wait that long.
 */

#ifndef WS_HTTPD_STRANDED_H
#define WS_HTTPD_STRANDED_H

#include <httpd.h>

/** Serve this child's stranded connections. Must be called after the MPM has joined its worker
 *  threads. */
void ws_stranded_serve(server_rec *s);

/** Get the number of stranded connections that are being served.  [httpd's last thread] */
unsigned ws_stranded_count(void);

/** child_stop: shut down the connections that are being served, and join their threads.
 *  [httpd's last thread] */
int ws_stranded_child_stop(void);

#endif
