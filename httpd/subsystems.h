/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines the subsystems, which are parts of the module that start and stop separately, and their
 *  order. */

#ifndef WS_HTTPD_SUBSYSTEMS_H
#define WS_HTTPD_SUBSYSTEMS_H

#include <httpd.h>

#include "engine/engine.h"
#include "httpd/shm.h"

/** The functions of a subsystem. Each may be NULL. */
typedef struct ws_subsystem {
    const char *name;
    /** The layouts of structs in shared memory and in messages between children. */
    const ws_shm_layout *const *layout;
    /** pre_config: discard the state of the previous configuration, since httpd is about to read a
     *  new one. */
    void (*reset)(apr_pool_t *pconf);
    void (*register_hooks)(apr_pool_t *p);
    /** post_config: create tables and files that all children share. If it fails, httpd stops. */
    apr_status_t (*parent_init)(apr_pool_t *ptemp, server_rec *s);
    /** Clear the rows of a child that has ended.  [parent, after parent_init of all] */
    void (*reclaim)(unsigned slot);
    /** child_init. Fills in options for the engine. If it fails, this child has no engine. */
    apr_status_t (*child_init)(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);
    /**
     * Stop the threads, and start nothing new, because the child is stopping. @return 1; 0: a
     * thread cannot be stopped. The process then ends with _exit(), because the thread may still
     * use any object
     */
    int (*child_stop)(void);
    /** Release resources, after all handlers' callbacks have ended. */
    void (*child_exit)(void);
} ws_subsystem;

/** register_hooks of the module. A child calls child_init of all subsystems in order. When it ends,
 *  it calls child_stop of all, then child_exit of all, both in reverse order. */
void ws_subsystems_register(apr_pool_t *p);

#endif
