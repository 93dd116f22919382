/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Connections that httpd has accepted and then forgotten.
 *
 * The event MPM puts what it has accepted into a queue, and counts it only when a worker thread has
 * taken it out. In a child that has to go, threads end for which there are no connections by that count
 * (worker_thread_should_exit_early() in event.c); WebSockets, which have been taken away from it, are
 * none. So the last connection that was accepted can stay in the queue with nobody to take it out. The
 * child of another module would end now, and with it the connection; ours lives on with its WebSockets,
 * and the client would wait as long. Such connections are served here, by threads of their own.
 */

#ifndef WS_HTTPD_STRANDED_H
#define WS_HTTPD_STRANDED_H

#include <httpd.h>

#include "engine/engine.h"

/** child_init: from the first connection on it is known what has been accepted. Does nothing with other
 *  MPMs than event, and for the second and further buckets of ListenCoresBucketsRatio. */
apr_status_t ws_stranded_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** pre_connection, first: httpd has not forgotten this one.
 *  @return 0 if it is served here nevertheless, and httpd has to let go of it; else 1 */
int ws_stranded_begins(apr_socket_t *socket);

/** child_stopping, with grace: look out for them.  [any thread; again: does nothing] */
void ws_stranded_look(void);

/** How many there are: not begun, or being served.  [any thread] */
unsigned ws_stranded_count(void);

/** child_stop: break those that are being served, and wait until they have ended.  [the last thread of
 *  httpd's] */
int ws_stranded_child_stop(void);

#endif
