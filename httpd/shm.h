/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Memory that the parent and all its children share, old generations and new ones. It is made by the
 * parent at the first configuration and outlives reloads; what lies in it is found at the same
 * address in all of them.
 *
 * Each child that has WebSockets owns a slot, a small number, from its child_init until the parent
 * has seen it end, in whichever way. Who keeps something per child makes a table with a row for each
 * slot, and with ws_shm_on_reclaim() clears the row of a child that is no more. So nothing of a
 * child that was killed stays behind, and no child has to clean up after itself.
 */

#ifndef WS_HTTPD_SHARED_H
#define WS_HTTPD_SHARED_H

#include <httpd.h>
#include <sys/types.h>

/** Who owns a slot. */
typedef struct ws_shm_owner {
    pid_t pid;              /**< 0: nobody */
    int generation;         /**< httpd's, grows with each reload */
    apr_uint32_t process;   /**< a number that no two children have, see ws_shm_process() */
    apr_int64_t started_at; /**< apr_time_t */
} ws_shm_owner;

/** register_hooks. */
void ws_shm_register(apr_pool_t *p);

/** post_config, before the first of the functions below. @return APR_SUCCESS, or why there is no
 *  memory */
apr_status_t ws_shm_init(server_rec *s);

/** child_init: take a slot. If all are taken, the log says so, once for each reload. */
void ws_shm_child_init(server_rec *s);

/**
 * A table of a fixed size: zeroed when it is first asked for, found again after reloads.  [parent,
 * post_config; children use the pointer]
 * @param size   bytes, at least 1. After a reload that asks for another size it is what it was: only a
 *               stop and start can change it, since old children go on using it
 * @param actual NULL, or set to the size that it has
 * @return aligned to 64 bytes; NULL when there is no memory
 */
void *ws_shm_table(server_rec *s, const char *name, apr_size_t size, apr_size_t *actual);

/** How many slots there are: enough for ServerLimit children of several generations. The same
 *  until httpd stops.  [after ws_shm_init, any process, any thread] */
unsigned ws_shm_slots(void);

/** This child's slot, below ws_shm_slots(); -1 when it got none, and in the parent.  [any thread] */
int ws_shm_slot(void);

/** The number of this child that goes into its ids; 1 in the first child.  [any thread] */
apr_uint32_t ws_shm_process(void);

/** Who owns a slot now; a copy. It may have ended a moment ago.  [any process, any thread]
 *  @return 1, or 0 if nobody does */
int ws_shm_owner_of(unsigned slot, ws_shm_owner *owner);

/**
 * fn is called in the parent for the slot of each child that has ended, before another child can get
 * it. All others go on meanwhile, and may read.  [register_hooks]
 */
void ws_shm_on_reclaim(void (*fn)(unsigned slot));

#endif
