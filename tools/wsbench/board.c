/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Creates the board: the phase, and the counters of all workers, in shared memory. */

#include <sys/mman.h>

#include "base/wake.h"
#include "tools/wsbench/wsbench.h"

board *board_shared;

int board_create(unsigned workers)
{
    size_t size = sizeof(board) + workers * sizeof(worker_board);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
    board_shared = memory;
    board_shared->workers = workers;
    for (unsigned i = 0; i < workers; i++) {
        if (ws_wake_create(&board_shared->worker[i].wake) != APR_SUCCESS) {
            return -1;
        }
    }
    return 0;
}
