/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * How many programs run at once, in all child processes of httpd together. Each has a slot in memory that
 * the parent has made, with its process id. Nobody has to give back a slot for it to become free: when all
 * are taken, those are looked for whose process is gone. So a child that is killed costs none.
 */

#ifndef WS_EXEC_SLOTS_H
#define WS_EXEC_SLOTS_H

#include <apr_pools.h>
#include <sys/types.h>

/** @return slots, released with the pool in this process; NULL when there is no memory */
int *exec_slots_new(apr_pool_t *pool, apr_uint32_t count);

/** Take a free one, for a program that this process is about to start. @return it, or NULL */
int *exec_slot_take(int *slots, apr_uint32_t count);

/** The program runs, or is gone (0). */
void exec_slot_set(int *slot, pid_t pid);

#endif
