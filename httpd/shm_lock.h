/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A lock in shared memory that belongs to a process: a child that was killed gives it up. */

#ifndef WS_HTTPD_SHM_LOCK_H
#define WS_HTTPD_SHM_LOCK_H

#include "httpd/shm.h"

WS_SHM_STRUCT(ws_shm_lock, {
    apr_uint32_t process; /* atomic; the holder, 0: none */
});

/** Whether a process of this httpd runs. @param process  see ws_shm_process() */
int ws_shm_is_alive(apr_uint32_t process);

/** Take the lock; the caller checks what the lock guards, since a killed child may have left anything.
 *  @return 0 if another process holds it for 200 ms: it was stopped, for example */
int ws_shm_lock_take(ws_shm_lock *lock);

void ws_shm_lock_give(ws_shm_lock *lock);

#endif
