/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Counts the programs of all child processes, in slots in shared memory (slots.h), without
 *  locks. */

#include "slots.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct {
    int *slots;
    apr_size_t size;
} mapping;

static apr_status_t slots_unmap(void *data)
{
    const mapping *m = data;

    munmap(m->slots, m->size);
    return APR_SUCCESS;
}

int *exec_slots_new(apr_pool_t *pool, apr_uint32_t count)
{
    mapping *m = apr_palloc(pool, sizeof(*m));

    m->size = count * sizeof(*m->slots);
    m->slots = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (m->slots == MAP_FAILED) {
        return NULL;
    }
    apr_pool_cleanup_register(pool, m, slots_unmap, apr_pool_cleanup_null);
    return m->slots;
}

/* Whether the owner of a slot has ended. A negative owner is the pid of an httpd process that is
 * about to start a program. */
static int slots_gone(int owner)
{
    return owner != 0 && kill(owner < 0 ? -owner : owner, 0) < 0 && errno == ESRCH;
}

static int slots_take(int *slot, int from)
{
    return __atomic_compare_exchange_n(slot, &from, -(int)getpid(), 0, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

int *exec_slot_take(int *slots, apr_uint32_t count)
{
    for (apr_uint32_t i = 0; i < count; i++) {
        if (__atomic_load_n(&slots[i], __ATOMIC_RELAXED) == 0 && slots_take(&slots[i], 0)) {
            return &slots[i];
        }
    }
    for (apr_uint32_t i = 0; i < count; i++) {
        int owner = __atomic_load_n(&slots[i], __ATOMIC_RELAXED);
        if ((owner == 0 || slots_gone(owner)) && slots_take(&slots[i], owner)) {
            return &slots[i];
        }
    }
    return NULL;
}

void exec_slot_set(int *slot, pid_t pid)
{
    __atomic_store_n(slot, (int)pid, __ATOMIC_RELEASE);
}
