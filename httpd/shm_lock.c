/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements a lock in shared memory with compare-and-swap. A lock whose holder has ended counts
 *  as free. */

#include "httpd/shm_lock.h"

#include <apr_time.h>

/* Number of attempts to take a lock. Between two attempts, the caller sleeps for a millisecond. */
#define ATTEMPTS 200

int ws_shm_is_alive(apr_uint32_t process)
{
    for (unsigned i = 0; i < ws_shm_slots(); i++) {
        ws_shm_owner owner;
        if (ws_shm_owner_of(i, &owner) && owner.process == process) {
            return 1;
        }
    }
    return 0;
}

int ws_shm_lock_take(ws_shm_lock *lock)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        apr_uint32_t holder = 0;
        if (__atomic_compare_exchange_n(&lock->process, &holder, ws_shm_process(), 0,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
            || (!ws_shm_is_alive(holder)
                && __atomic_compare_exchange_n(&lock->process, &holder, ws_shm_process(), 0,
                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))) {
            return 1;
        }
        apr_sleep(1000);
    }
    return 0;
}

void ws_shm_lock_give(ws_shm_lock *lock)
{
    __atomic_store_n(&lock->process, 0, __ATOMIC_SEQ_CST);
}
