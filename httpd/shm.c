/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/shm.h"

#include <ap_mpm.h>
#include <apr_shm.h>
#include <apr_strings.h>
#include <errno.h>
#include <http_log.h>
#include <mpm_common.h>
#include <scoreboard.h>
#include <signal.h>
#include <unistd.h>

APLOG_USE_MODULE(websocket);

/* Children of this many generations have a slot at the same time, each with ServerLimit children.
 * That many are rare: an old child keeps its place in the scoreboard, with few exceptions
 * (ap_register_extra_mpm_process()). Slots that are not used cost addresses, no memory. */
#define GENERATIONS 4
#define SLOTS_MIN 64

#define RECLAIMERS_MAX 8

/* apr_shm keeps a length of its own before the memory that it gives. */
#define CACHE_LINE 64

/* A slot is taken by a child, from 0 to its pid; it is given back by the parent alone. */
typedef struct slot {
    pid_t pid; /* atomic; the rest is valid while it is not 0 */
    int ready; /* atomic; the rest has been written */
    int generation;
    apr_uint32_t process;
    apr_int64_t started_at;
} slot;

typedef struct shared {
    unsigned slots;
    apr_uint32_t processes; /* atomic; children so far */
    int full_told;          /* atomic */
    slot slot[];
} shared;

static shared *memory;
static int own_slot = -1;
static apr_uint32_t own_process;
static void (*reclaimers[RECLAIMERS_MAX])(unsigned slot);
static unsigned reclaimer_count;

typedef struct table {
    void *start;
    apr_size_t size;
} table;

void *ws_shm_table(server_rec *s, const char *name, apr_size_t size, apr_size_t *actual)
{
    /* On the process's pool: that of the configuration is cleared by each reload. */
    apr_pool_t *process = s->process->pool;
    const char *key = apr_pstrcat(s->process->pconf, "mod_websocket ", name, NULL);
    table *t = NULL;

    apr_pool_userdata_get((void **)&t, key, process);
    if (!t) {
        apr_shm_t *shm;
        apr_status_t rv = apr_shm_create(&shm, size + CACHE_LINE, NULL, process);
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                         "websocket: no shared memory, %" APR_SIZE_T_FMT " bytes", size);
            return NULL;
        }
        t = apr_palloc(process, sizeof(*t));
        t->start = (void *)APR_ALIGN((apr_uintptr_t)apr_shm_baseaddr_get(shm), CACHE_LINE);
        t->size = size;
        /* Not ..._setn: httpd unloads the module at a reload, and with it what a key points to. */
        apr_pool_userdata_set(t, key, NULL, process);
    }
    if (actual) {
        *actual = t->size;
    }
    return t->start;
}

static void reclaim(unsigned i)
{
    slot *sl = &memory->slot[i];
    for (unsigned r = 0; r < reclaimer_count; r++) {
        reclaimers[r](i);
    }
    __atomic_store_n(&sl->ready, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&sl->pid, 0, __ATOMIC_RELEASE);
}

static pid_t pid_of(const slot *sl)
{
    return __atomic_load_n(&sl->pid, __ATOMIC_ACQUIRE);
}

/* All MPMs run it for each child that they have waited for, whether it ended or was killed; also for
 * those that have lost their place in the scoreboard. */
static void child_status(server_rec *s, pid_t pid, ap_generation_t generation, int place,
                         mpm_child_status state)
{
    (void)s, (void)generation, (void)place;
    for (unsigned i = 0; memory && state == MPM_CHILD_EXITED && i < memory->slots; i++) {
        if (pid_of(&memory->slot[i]) == pid) {
            reclaim(i);
        }
    }
}

apr_status_t ws_shm_init(server_rec *s)
{
    int limit = 1;
    unsigned slots;
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &limit);
    slots = (unsigned)limit * GENERATIONS;
    slots = slots < SLOTS_MIN ? SLOTS_MIN : slots;
    memory = ws_shm_table(s, "slots", sizeof(shared) + slots * sizeof(slot), NULL);
    if (!memory) {
        return APR_ENOMEM;
    }
    if (!memory->slots) {
        memory->slots = slots;
    }
    __atomic_store_n(&memory->full_told, 0, __ATOMIC_RELAXED);
    /* A restart gives up children that do not end; when they do, no hook tells. */
    for (unsigned i = 0; i < memory->slots; i++) {
        pid_t pid = pid_of(&memory->slot[i]);
        if (pid && kill(pid, 0) < 0 && errno == ESRCH) {
            reclaim(i);
        }
    }
    return APR_SUCCESS;
}

void ws_shm_child_init(server_rec *s)
{
    own_process = __atomic_add_fetch(&memory->processes, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < memory->slots; i++) {
        slot *sl = &memory->slot[i];
        pid_t nobody = 0;
        if (__atomic_compare_exchange_n(&sl->pid, &nobody, getpid(), 0, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED)) {
            ap_mpm_query(AP_MPMQ_GENERATION, &sl->generation);
            sl->process = own_process;
            sl->started_at = apr_time_now();
            own_slot = (int)i;
            __atomic_store_n(&sl->ready, 1, __ATOMIC_RELEASE);
            return;
        }
    }
    if (!__atomic_exchange_n(&memory->full_told, 1, __ATOMIC_RELAXED)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "websocket: too many child processes, old and new, have WebSockets: this one "
                     "is missing in the counters. More ServerLimit (and a stop and start) or less "
                     "WebSocketDrainTimeout mends it");
    }
}

unsigned ws_shm_slots(void)
{
    return memory ? memory->slots : 0;
}

int ws_shm_slot(void)
{
    return own_slot;
}

apr_uint32_t ws_shm_process(void)
{
    return own_process;
}

int ws_shm_owner_of(unsigned i, ws_shm_owner *owner)
{
    const slot *sl = &memory->slot[i];
    owner->pid = pid_of(sl);
    if (!owner->pid || !__atomic_load_n(&sl->ready, __ATOMIC_ACQUIRE)) {
        return 0;
    }
    owner->generation = sl->generation;
    owner->process = sl->process;
    owner->started_at = sl->started_at;
    return pid_of(sl) == owner->pid;
}

void ws_shm_on_reclaim(void (*fn)(unsigned slot))
{
    ap_assert(reclaimer_count < RECLAIMERS_MAX);
    reclaimers[reclaimer_count++] = fn;
}

void ws_shm_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_child_status(child_status, NULL, NULL, APR_HOOK_MIDDLE);
}
