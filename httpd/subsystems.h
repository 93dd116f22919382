/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The parts of the module and the order in which they begin and end: one table, in subsystems.c. */

#ifndef WS_HTTPD_SUBSYSTEMS_H
#define WS_HTTPD_SUBSYSTEMS_H

#include <httpd.h>

#include "engine/engine.h"
#include "httpd/shm.h"

/** What a part has to do when. All functions may be NULL. */
typedef struct ws_subsystem {
    const char *name;
    /** What it defines in shared memory and in messages between children. */
    const ws_shm_layout *const *layout;
    /** pre_config: a new configuration is going to be read. */
    void (*reset)(apr_pool_t *pconf);
    void (*register_hooks)(apr_pool_t *p);
    /** post_config: tables and files that all children share. httpd stops if it fails. */
    apr_status_t (*parent_init)(apr_pool_t *ptemp, server_rec *s);
    /** In the parent: a child has ended, clear what it has left in shared memory. parent_init of all
     *  subsystems has run before. */
    void (*reclaim)(unsigned slot);
    /** child_init. What the engine is to know goes into options. If it fails, this child has no engine. */
    apr_status_t (*child_init)(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);
    /** The child ends: let nothing begin any more. @return 0 if one cannot be stopped; then the process ends without
     *  child_exit, since the thread may use anything */
    int (*child_stop)(void);
    /** No callback of a handler runs any more: release. */
    void (*child_exit)(void);
} ws_subsystem;

/** register_hooks of the module. */
void ws_subsystems_register(apr_pool_t *p);

/** child_init of all. If one fails, those before it have been stopped again. */
apr_status_t ws_subsystems_child_init(apr_pool_t *pchild, server_rec *s,
                                      ws_engine_options *options);

/** child_stop of all, the last one first; then child_exit likewise. */
void ws_subsystems_child_exit(void);

#endif
