/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Memory that the parent and all its children share, old generations and new ones. The parent makes it at
 * the first configuration; it outlives reloads, and lies at the same address in all processes.
 *
 * Each child that has WebSockets owns a slot, a small number, from its child_init until the parent has seen
 * it end, in whichever way. Per-child state lives in a table with one row per slot; the reclaim function of
 * its subsystem (subsystems.h) clears the row of a child that has ended. So nothing of a child that was
 * killed stays behind, and no child has to clean up after itself.
 *
 * LAYOUT. Children of two builds of the module can run at the same time, since any reload loads the file
 * that is there. All tables belong to a layout: the text and the size of every struct in them. A build with
 * another layout gets tables of its own, and children of the two know nothing of each other.
 *
 * TRUST. Children run as another user than the parent, and one that was taken over can write anything to
 * any table. So bounds (the number of slots, the size of a row) are kept in private memory, which children
 * inherit; what is read from a table is never an index, a length or an address without a check.
 */

#ifndef WS_HTTPD_SHM_H
#define WS_HTTPD_SHM_H

#include <httpd.h>
#include <sys/types.h>

#include "engine/engine.h"

/** A part of the layout. */
typedef struct ws_shm_layout {
    const char *text; /**< of a definition */
    apr_size_t size;
} ws_shm_layout;

/**
 * Define struct NAME, which lies in shared memory or goes from child to child: WS_SHM_STRUCT(name, {...});
 * NAME_layout has its text and size. Each stands in a NULL-terminated list in the table of subsystems.
 */
#define WS_SHM_STRUCT(name, ...)                                                                   \
    typedef struct name __VA_ARGS__ name;                                                          \
    static const ws_shm_layout name##_layout                                                       \
        __attribute__((unused)) = {#name #__VA_ARGS__, sizeof(name)}

/* -DWS_SHM_SHIFT=BYTES makes a build that cannot use the tables of any other: for the test of upgrades. */
#ifndef WS_SHM_SHIFT
#define WS_SHM_SHIFT 0
#endif

extern const ws_shm_layout *const ws_shm_layouts[];

/** Greatest time that is taken from another process: 9999-12-31, microseconds. */
#define WS_SHM_TIME_MAX (APR_INT64_C(253402214400) * APR_USEC_PER_SEC)

/** Who owns a slot. */
typedef struct ws_shm_owner {
    pid_t pid;              /**< 0: nobody */
    int generation;         /**< httpd's, grows with each reload */
    apr_uint32_t process;   /**< a number that no two children have, see ws_shm_process() */
    apr_int64_t started_at; /**< apr_time_t, of the years 1970 to 9999 */
} ws_shm_owner;

/** register_hooks. */
void ws_shm_register(apr_pool_t *p);

/** Find the tables of this layout, or begin new ones; another build's are given up, with a line in the
 *  log.  [parent, before parent_init of all subsystems] @param layout  a NUL-terminated text */
apr_status_t ws_shm_open(server_rec *s, const char *layout);

/** parent_init: the slots, and the key of hashes. */
apr_status_t ws_shm_init(apr_pool_t *ptemp, server_rec *s);

/**
 * From now on fn is called in the parent for the slot of each child that has ended, before another child
 * can get it, and now for those that ended while this module was not loaded. All others go on meanwhile, and
 * may read.  [parent, after parent_init of all subsystems]
 */
void ws_shm_start_reclaiming(void (*fn)(unsigned slot));

/** child_init: take a slot. If all are taken, the log says so, once for each reload. */
apr_status_t ws_shm_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/**
 * A table: zeroed when it is first asked for, found again after reloads of the same layout.  [parent_init;
 * children use the pointer]
 * @param size  bytes, at least 1; the same at each reload
 * @return aligned to 64 bytes; NULL when there is no memory
 */
void *ws_shm_table(server_rec *s, const char *name, apr_size_t size);

/** The same in private memory, which children inherit as a copy. Aligned to 8 bytes.  [parent_init] */
void *ws_shm_private(const char *name, apr_size_t size);

/** Descriptors that are closed in the parent when the tables are given up. fd is private memory; count is
 *  read at that time.  [parent_init, once for each layout] */
void ws_shm_keep_descriptors(int *count_and_fds);

/** A number of the layout, for messages between children.  [any process, any thread] */
apr_uint32_t ws_shm_layout_id(void);

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

#endif
