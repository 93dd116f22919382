/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements slots and tables in shared memory. Each child takes a slot, whose number selects the
 *  child's row in the tables. Only the parent frees slots. */

#include "httpd/shm.h"

#include <ap_mpm.h>
#include <apr_general.h>
#include <apr_hash.h>
#include <apr_shm.h>
#include <apr_strings.h>
#include <errno.h>
#include <http_log.h>
#include <mpm_common.h>
#include <scoreboard.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/hash.h"

APLOG_USE_MODULE(websocket);

/* The number of slots is enough for this many generations with ServerLimit children each. More than
 * one full generation is rare, because an old child usually keeps its slot in the scoreboard (for
 * the exceptions see ap_register_extra_mpm_process()). Unused slots cost only address space. */
#define GENERATIONS 4
#define SLOTS_MIN 64

/* Alignment of tables, bytes. apr_shm stores a length before the memory that it returns. */
#define CACHE_LINE 64

/* Keys of user data in the process's pool and in the pool of the tables. The keys must be the same
 * in all builds. */
#define POOL_KEY "mod_websocket shared memory"
#define LAYOUT_KEY "mod_websocket layout"
#define DESCRIPTORS_KEY "mod_websocket descriptors"

/* Name of the first table in old builds, which had no layouts (shm.h). */
#define LEGACY_KEY "mod_websocket slots"

/* A slot. A child takes it by replacing the 0 in pid. Only the parent frees it. */
WS_SHM_STRUCT(slot, {
    char shift[WS_SHM_SHIFT];
    pid_t pid; /* atomic; 0: free */
    int ready; /* atomic; 1: the fields below are valid */
    int generation;
    apr_uint32_t process;
    apr_int64_t started_at;
});

WS_SHM_STRUCT(slots, {
    char shift[WS_SHM_SHIFT];
    apr_uint32_t processes; /* atomic; number of children that have been started so far */
    int full_told;          /* atomic; 1: the warning that no slot is free has been logged */
    slot slot[];
});

/* A table. The pool of the tables holds this struct. It is part of the layout, since the module
 * reads it after a reload. */
WS_SHM_STRUCT(table, {
    void *start;
    apr_size_t size;
});

WS_SHM_NUMBER(WS_HASH_KEY);

const ws_shm_layout *const ws_shm_layouts[] = {&slot_layout, &slots_layout, &table_layout,
                                               &WS_HASH_KEY_layout, NULL};

static apr_pool_t *pool; /* holds all tables of this layout; its parent is the process's pool */
static slots *memory;
static unsigned slot_count;
static int own_slot = -1;
static apr_uint32_t own_process, layout_id;
static void (*reclaim_rows)(unsigned slot);

/* ---- Tables ---- */

/* Find user data in a pool. To store user data, never use apr_pool_userdata_setn(), because it does
 * not copy the key, and a reload unloads the module with the text of the key. */
static void *shm_find(apr_pool_t *in, const char *key)
{
    void *data = NULL;
    apr_pool_userdata_get(&data, key, in);
    return data;
}

static table *shm_make(server_rec *s, const char *name, apr_size_t size)
{
    apr_shm_t *shm;
    table *t;
    apr_status_t rv = apr_shm_create(&shm, size + CACHE_LINE, NULL, pool);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "websocket: cannot create %" APR_SIZE_T_FMT
                     " bytes of shared memory: free memory, or decrease ServerLimit",
                     size);
        return NULL;
    }
    t = apr_palloc(pool, sizeof(*t));
    t->start = (void *)APR_ALIGN((apr_uintptr_t)apr_shm_baseaddr_get(shm), CACHE_LINE);
    t->size = size;
    apr_pool_userdata_set(t, name, NULL, pool);
    return t;
}

void *ws_shm_table(server_rec *s, const char *name, apr_size_t size)
{
    const table *t = shm_find(pool, name);
    /* Never use a table of another size, even if the layout is equal. */
    if (!t || t->size != size) {
        t = shm_make(s, name, size);
    }
    return t ? t->start : NULL;
}

void *ws_shm_private(const char *name, apr_size_t size)
{
    void *data = shm_find(pool, name);
    if (!data) {
        data = apr_pcalloc(pool, size);
        apr_pool_userdata_set(data, name, NULL, pool);
    }
    return data;
}

void ws_shm_keep_descriptors(int *count_and_fds)
{
    apr_pool_userdata_set(count_and_fds, DESCRIPTORS_KEY, NULL, pool);
}

/* Abandon the tables of another build. Its children still have their own mappings and
 * descriptors. */
static void shm_give_up(apr_pool_t *theirs)
{
    const int *fds = shm_find(theirs, DESCRIPTORS_KEY);
    for (int i = 1; fds && i <= fds[0]; i++) {
        close(fds[i]);
    }
    apr_pool_destroy(theirs);
}

apr_status_t ws_shm_open(server_rec *s, const char *layout)
{
    /* Use the process's pool, since each reload clears the pool of the configuration. */
    apr_pool_t *process = s->process->pool;
    apr_ssize_t len = APR_HASH_KEY_STRING;
    const char *theirs;

    layout_id = apr_hashfunc_default(layout, &len);
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, s, "websocket: layout of shared memory: %u",
                 layout_id);
    pool = shm_find(process, POOL_KEY);
    theirs = pool ? shm_find(pool, LAYOUT_KEY) : shm_find(process, LEGACY_KEY) ? "" : layout;
    if (strcmp(theirs, layout)) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            "websocket: this build of the module has another layout of shared memory than the "
            "previous one. Counters and WebSocketLimit start at zero. Connections of old children "
            "stay open (WebSocketDrainTimeout), but are not counted, and channels do not reach "
            "them from new children. Stop and start httpd to avoid this");
        if (pool) {
            shm_give_up(pool);
            pool = NULL;
        }
    }
    if (!pool) {
        apr_status_t rv = apr_pool_create(&pool, process);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        apr_pool_userdata_set(apr_pstrdup(pool, layout), LAYOUT_KEY, NULL, pool);
        apr_pool_userdata_set(pool, POOL_KEY, NULL, process);
    }
    return APR_SUCCESS;
}

/* ---- Slots ---- */

/* Set the key of ws_hash(). All children use the same key, since they share tables. The key is
 * random, so that clients cannot predict hashes. */
static apr_status_t shm_set_hash_key(void)
{
    unsigned char *key = ws_shm_private("hash key", WS_HASH_KEY + 1);
    apr_status_t rv = APR_SUCCESS;
    if (!key[WS_HASH_KEY] && (rv = apr_generate_random_bytes(key, WS_HASH_KEY)) == APR_SUCCESS) {
        key[WS_HASH_KEY] = 1;
    }
    ws_hash_set_key(key);
    return rv;
}

apr_status_t ws_shm_init(apr_pool_t *ptemp, server_rec *s)
{
    unsigned *count = ws_shm_private("slot count", sizeof(*count));
    (void)ptemp;
    if (!*count) {
        int limit = 1;
        ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &limit);
        *count = (unsigned)limit * GENERATIONS;
        *count = *count < SLOTS_MIN ? SLOTS_MIN : *count;
    }
    slot_count = *count;
    memory = ws_shm_table(s, "slots", sizeof(slots) + slot_count * sizeof(slot));
    if (!memory) {
        return APR_ENOMEM;
    }
    __atomic_store_n(&memory->full_told, 0, __ATOMIC_RELAXED);
    return shm_set_hash_key();
}

static pid_t shm_pid_of(const slot *sl)
{
    return __atomic_load_n(&sl->pid, __ATOMIC_ACQUIRE);
}

static void shm_reclaim(unsigned i)
{
    slot *sl = &memory->slot[i];
    reclaim_rows(i);
    __atomic_store_n(&sl->ready, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&sl->pid, 0, __ATOMIC_RELEASE);
}

/* Free the slot of a child that has ended. All MPMs run this hook after wait(2) has returned the
 * child, whether it exited or was killed. They do so even if the child has lost its slot in the
 * scoreboard. */
static void shm_child_status(server_rec *s, pid_t pid, ap_generation_t generation, int slot,
                             mpm_child_status state)
{
    (void)s, (void)generation, (void)slot;
    for (unsigned i = 0; reclaim_rows && state == MPM_CHILD_EXITED && i < slot_count; i++) {
        if (shm_pid_of(&memory->slot[i]) == pid) {
            shm_reclaim(i);
        }
    }
}

/* Whether a child of this process is running, or is a zombie that the MPM will wait for. kill()
 * cannot find this out, since another process may have the pid by now. */
static int shm_is_our_child(pid_t pid)
{
    siginfo_t info;
    return pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void ws_shm_start_reclaiming(void (*fn)(unsigned slot))
{
    reclaim_rows = fn;
    for (unsigned i = 0; i < slot_count; i++) {
        pid_t pid = shm_pid_of(&memory->slot[i]);
        if (pid && !shm_is_our_child(pid)) {
            shm_reclaim(i);
        }
    }
}

apr_status_t ws_shm_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    (void)pchild, (void)options;
    own_process = __atomic_add_fetch(&memory->processes, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < slot_count; i++) {
        slot *sl = &memory->slot[i];
        pid_t nobody = 0;
        if (__atomic_compare_exchange_n(&sl->pid, &nobody, getpid(), 0, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED)) {
            ap_mpm_query(AP_MPMQ_GENERATION, &sl->generation);
            sl->process = own_process;
            sl->started_at = apr_time_now();
            own_slot = (int)i;
            __atomic_store_n(&sl->ready, 1, __ATOMIC_RELEASE);
            return APR_SUCCESS;
        }
    }
    if (!__atomic_exchange_n(&memory->full_told, 1, __ATOMIC_RELAXED)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "websocket: no free slot for this child: its connections are not counted. "
                     "Increase ServerLimit (needs a stop and start) or decrease "
                     "WebSocketDrainTimeout");
    }
    return APR_SUCCESS;
}

apr_uint32_t ws_shm_layout_id(void)
{
    return layout_id;
}

unsigned ws_shm_slots(void)
{
    return slot_count;
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
    owner->pid = shm_pid_of(sl);
    if (!owner->pid || !__atomic_load_n(&sl->ready, __ATOMIC_ACQUIRE)) {
        return 0;
    }
    owner->generation = sl->generation;
    owner->process = sl->process;
    owner->started_at = sl->started_at;
    if (owner->started_at < 0 || owner->started_at > WS_SHM_TIME_MAX) {
        owner->started_at = 0;
    }
    return shm_pid_of(sl) == owner->pid;
}

void ws_shm_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_child_status(shm_child_status, NULL, NULL, APR_HOOK_MIDDLE);
}
