/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Starts, drains and stops the engine and the handlers in a child process. */

#ifndef WS_HTTPD_CHILD_H
#define WS_HTTPD_CHILD_H

#include <apr_thread_cond.h>
#include <httpd.h>

#include "engine/engine.h"

/** register_hooks: hook child_stopping. */
void ws_child_register(apr_pool_t *p);

/** parent_init: check that the module and mod_ssl use the same OpenSSL version. */
apr_status_t ws_child_parent_init(apr_pool_t *ptemp, server_rec *s);

/** Fill in options. Called before the child_init of all subsystems. @return 0: the configuration
 *  needs no engine */
int ws_child_prepare(server_rec *s, ws_engine_options *options);

/** Make the engine accept connections. Called after the child_init of all subsystems. */
void ws_child_accept(void);

/** Keep connections open for up to WebSocketDrainTimeout, then close them. Called before the
 *  child_stop of all subsystems. */
void ws_child_drain(void);

/** child_init, child_stop and child_exit: create, stop and destroy the engine. */
apr_status_t ws_child_engine_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);
int ws_child_engine_stop(void);
void ws_child_engine_exit(void);

/**
 * Check whether this child is stopping. Each relay calls this function repeatedly. A relay occupies
 * a thread of the MPM, and the MPM waits for its threads before it cleans up the child. Therefore
 * the relays start the drain, and close all connections when the drain ends.
 * @return 1: the relay must end now, even if data remains to be sent
 */
int ws_child_check(void);

/**
 * Wait for a signal on a condition variable, as apr_thread_cond_timedwait(). A thread of the MPM that
 * waits for anything but its client calls this function in a loop: an ungraceful stop ends the wait
 * after 1.5 seconds, since the MPM cannot stop the child before its threads end.
 * @param lock  locked by the caller
 * @param until  end of the wait
 * @return 1: signalled, or 250 ms have passed; 0: the wait is over, because the time `until` has come
 *         or the child must end
 */
int ws_child_wait(apr_thread_cond_t *signal, apr_thread_mutex_t *lock, apr_time_t until);

/** Get this child's engine; NULL if the child has none, or after the engine has stopped. */
ws_engine *ws_child_engine(void);

#endif
