/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Limits the number of programs that run at the same time in all of httpd's child processes. Each
 * program has a slot with its pid, in memory shared with the parent. When all slots are taken, a
 * slot is reused if the process with its pid has ended. So a killed child process leaks no slots.
 */

#ifndef WS_EXEC_SLOTS_H
#define WS_EXEC_SLOTS_H

#include <apr_pools.h>
#include <sys/types.h>

/** Create slots. They are unmapped from this process when the pool is destroyed. @return NULL: out
 *  of memory */
int *exec_slots_new(apr_pool_t *pool, apr_uint32_t count);

/** Take a slot for a program that this process is about to start. @return NULL: none is free */
int *exec_slot_take(int *slots, apr_uint32_t count);

/** Store the pid of the started program in its slot. 0 releases the slot. */
void exec_slot_set(int *slot, pid_t pid);

#endif
