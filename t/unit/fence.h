/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Provides memory between two inaccessible pages. A test that reads or writes beyond the memory
 *  crashes. */

#ifndef WS_T_UNIT_FENCE_H
#define WS_T_UNIT_FENCE_H

#include <sys/mman.h>
#include <unistd.h>

#include "t/unit/tap.h"

#define FENCED_SIZE ((size_t)1 << 20)

/** @return the first of FENCED_SIZE bytes, the same in each call */
static inline unsigned char *fenced(void)
{
    static unsigned char *memory;
    if (!memory) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        unsigned char *p = mmap(NULL, FENCED_SIZE + 2 * page, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || mprotect(p, page, PROT_NONE)
            || mprotect(p + page + FENCED_SIZE, page, PROT_NONE)) {
            bail_out("no memory between fences");
        }
        memory = p + page;
    }
    return memory;
}

/** @return the last len bytes of the memory */
static inline unsigned char *fenced_end(size_t len)
{
    return fenced() + FENCED_SIZE - len;
}

#endif
