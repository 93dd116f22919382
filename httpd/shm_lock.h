/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines a lock in shared memory. Its holder is a process, and if that process is killed, the
 *  lock becomes free. */

#ifndef WS_HTTPD_SHM_LOCK_H
#define WS_HTTPD_SHM_LOCK_H

#include "httpd/shm.h"

WS_SHM_STRUCT(ws_shm_lock, {
    apr_uint32_t process; /* atomic; process number of the holder; 0: the lock is free */
});

/** Whether a process of this httpd is running. @param process  see ws_shm_process() */
int ws_shm_is_alive(apr_uint32_t process);

/** Take the lock. The caller must check the protected data, since a killed child may have left it
 *  inconsistent.
 *  @return 1; 0: another process held it for 200 ms, for example a stopped one */
int ws_shm_lock_take(ws_shm_lock *lock);

void ws_shm_lock_give(ws_shm_lock *lock);

#endif
