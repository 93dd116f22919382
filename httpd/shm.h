/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Manages memory that the parent shares with its children of all generations. The parent creates
 * the memory with the first configuration. It survives reloads, and has the same address in all
 * processes.
 *
 * Each child with WebSockets owns a slot, a small number. It takes the slot in child_init, and the
 * parent frees the slot after the child has exited or was killed. Per-child state is in tables with
 * one row per slot. When a child has ended, the reclaim function of each subsystem (subsystems.h)
 * clears the child's row. So a killed child leaves no stale state, and no child has to clean up.
 *
 * LAYOUT. A reload loads the module's current file, so children of two builds can run at the same
 * time. All tables belong to a layout, which consists of the text and the size of every struct in
 * the tables, and of the dimensions of the tables. A build with another layout gets separate
 * tables, and the children of the two builds do not see each other.
 *
 * TRUST. Children run as a different user than the parent. A compromised child can write anything
 * to any table. Therefore bounds, such as the number of slots and the size of a row, are in private
 * memory, which children inherit. An index, length or address from a table is always checked before
 * use.
 */

#ifndef WS_HTTPD_SHM_H
#define WS_HTTPD_SHM_H

#include <httpd.h>
#include <sys/types.h>

#include "engine/engine.h"

/** A part of the layout. */
typedef struct ws_shm_layout {
    const char *text; /**< text of a struct's definition, or name of a dimension */
    apr_size_t size;  /**< size of the struct, bytes; or the dimension */
} ws_shm_layout;

/**
 * Define a struct for shared memory or for messages between children: WS_SHM_STRUCT(name, {...}).
 * The macro also defines name_layout, which has the text and the size of the struct. Add
 * name_layout to a NULL-terminated list in the table of subsystems.
 */
#define WS_SHM_STRUCT(name, ...)                                                                   \
    typedef struct name __VA_ARGS__ name;                                                          \
    static const ws_shm_layout name##_layout                                                       \
        __attribute__((unused)) = {#name #__VA_ARGS__, sizeof(name)}

/**
 * Make a macro part of the layout: WS_SHM_NUMBER(ROWS) defines ROWS_layout, for the same list. Use
 * it for every number that two builds must share to find the same entry in a table, such as the
 * number of its rows, or to read each other's messages.
 */
#define WS_SHM_NUMBER(name)                                                                        \
    static const ws_shm_layout name##_layout __attribute__((unused)) = {#name, name}

/* -DWS_SHM_SHIFT=BYTES gives a build a separate layout, to test upgrades. */
#ifndef WS_SHM_SHIFT
#define WS_SHM_SHIFT 0
#endif

extern const ws_shm_layout *const ws_shm_layouts[];

/** Latest time (microseconds) that is accepted from another process. It is the end of the year
 *  9999. */
#define WS_SHM_TIME_MAX (APR_INT64_C(253402214400) * APR_USEC_PER_SEC)

/** The owner of a slot. */
typedef struct ws_shm_owner {
    pid_t pid;              /**< 0: the slot is free */
    int generation;         /**< httpd's generation, incremented by each reload */
    apr_uint32_t process;   /**< unique number of the child, see ws_shm_process() */
    apr_int64_t started_at; /**< apr_time_t, of the years 1970 to 9999 */
} ws_shm_owner;

/** register_hooks: register the hook that runs when a child has ended. */
void ws_shm_register(apr_pool_t *p);

/** Find the tables of this layout, or create new ones. The parent abandons existing tables of
 *  another layout, and logs that. [parent, before parent_init of all subsystems]
 *  @param layout  a NUL-terminated text */
apr_status_t ws_shm_open(server_rec *s, const char *layout);

/** parent_init: creates the slots and the hash key. */
apr_status_t ws_shm_init(apr_pool_t *ptemp, server_rec *s);

/**
 * Set the function that clears the rows of a slot. The parent calls fn after a child has ended,
 * before another child can take the slot. ws_shm_start_reclaiming() itself also calls fn for
 * children that ended while the module was not loaded. Other children keep running, and may be
 * reading the rows. [parent, after parent_init of all subsystems]
 */
void ws_shm_start_reclaiming(void (*fn)(unsigned slot));

/** child_init: take a slot. If no slot is free, the function logs this once per reload, and the
 *  child runs without a slot. */
apr_status_t ws_shm_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/**
 * Get a table. The first call for a layout creates the table and fills it with zeros. Calls after
 * reloads find it again. [parent_init; children use the pointer]
 * @param size  bytes, at least 1. It must depend only on the layout and on ws_shm_slots()
 * @return aligned to 64 bytes; NULL: out of memory
 */
void *ws_shm_table(server_rec *s, const char *name, apr_size_t size);

/** Like ws_shm_table(), but in private memory, which children inherit as a copy. Aligned to 8
 *  bytes. [parent_init] */
void *ws_shm_private(const char *name, apr_size_t size);

/**
 * Register descriptors for the parent to close when it abandons the tables.
 * @param count_and_fds  from ws_shm_private(): the number of descriptors, then the descriptors. The
 *                       parent reads them when it abandons the tables
 * [parent_init, once for each layout]
 */
void ws_shm_keep_descriptors(int *count_and_fds);

/** Get a hash of the layout, which messages between children contain.  [any process, any thread] */
apr_uint32_t ws_shm_layout_id(void);

/** Get the number of slots, which is enough for ServerLimit children of several generations. It is
 *  constant until httpd stops.  [after ws_shm_init, any process, any thread] */
unsigned ws_shm_slots(void);

/** Get this child's slot, below ws_shm_slots(); -1: the child has none, or this is the parent. [any
 *  thread] */
int ws_shm_slot(void);

/** Get this child's number, which is part of the ids of its connections. The first child has number
 *  1.  [any thread] */
apr_uint32_t ws_shm_process(void);

/** Copy the owner of a slot. By the time this returns, the owner may have ended.  [any process, any
 *  thread]
 *  @return 1; 0: the slot is free */
int ws_shm_owner_of(unsigned slot, ws_shm_owner *owner);

#endif
