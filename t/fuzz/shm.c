/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This target uses the data that child processes share: tables in shared memory, and packets. The
 * input is a list of steps. Some steps write to the tables or send packets, as a child could that
 * an attacker controls. The others do what the parent and other children do. Each segment of shared
 * memory ends at an inaccessible page, so that the program crashes if it accesses bytes beyond the
 * segment.
 */

#include <apr_general.h>
#include <apr_shm.h>
#include <fcntl.h>
#include <httpd.h>
#include <http_config.h>
#include <mpm_common.h>
#include <sys/mman.h>
#include <unistd.h>

#include "channels/channels.h"
#include "engine/hash.h"
#include "httpd/bus_local.h"
#include "httpd/child.h"
#include "httpd/connections.h"
#include "httpd/counters.h"
#include "httpd/interest.h"
#include "httpd/ipc.h"
#include "httpd/limit_table.h"
#include "httpd/once.h"
#include "httpd/sockjs_config.h"
#include "httpd/sockjs_directory.h"
#include "t/fuzz/fuzz.h"

#define PAGE 4096
#define TABLES_MAX 16
#define SLOTS 64 /* number of slots for one child and its earlier generations */

/* ---- httpd ---- */

module AP_MODULE_DECLARE_DATA websocket_module;

static ap_HOOK_child_status_t *child_status;

void ap_hook_child_status(ap_HOOK_child_status_t *fn, const char *const *pre,
                          const char *const *post, int order)
{
    (void)pre, (void)post, (void)order;
    child_status = fn;
}

void ap_log_error_(const char *file, int line, int module_index, int level, apr_status_t status,
                   const server_rec *s, const char *fmt, ...)
{
    (void)file, (void)line, (void)module_index, (void)level, (void)status, (void)s, (void)fmt;
}

apr_status_t ap_mpm_query(int code, int *result)
{
    (void)code;
    *result = 1;
    return APR_SUCCESS;
}

/* ---- apr_shm with an inaccessible page after each segment ---- */

struct apr_shm_t {
    unsigned char *start;
    apr_size_t size;
};

static struct apr_shm_t tables[TABLES_MAX];
static unsigned table_count;

apr_status_t apr_shm_create(apr_shm_t **m, apr_size_t size, const char *name, apr_pool_t *pool)
{
    apr_size_t whole = (size + PAGE - 1) / PAGE * PAGE;
    unsigned char *memory = mmap(NULL, whole + PAGE, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    (void)name, (void)pool;
    MUST(memory != MAP_FAILED && table_count < TABLES_MAX);
    mprotect(memory + whole, PAGE, PROT_NONE);
    *m = &tables[table_count++];
    (*m)->start = memory + whole - size;
    (*m)->size = size;
    return APR_SUCCESS;
}

void *apr_shm_baseaddr_get(const apr_shm_t *m)
{
    return m->start;
}

/* A lock whose holder is running is tried many times. */
void apr_sleep(apr_interval_time_t t)
{
    (void)t;
}

/* ---- Stubs: an engine without connections, and channels that read every packet ---- */

static char engine_stub, channels_stub;

ws_engine *ws_child_engine(void)
{
    return (ws_engine *)&engine_stub;
}

unsigned ws_engine_loops(const ws_engine *engine)
{
    (void)engine;
    return 2;
}

int ws_engine_on_loop(ws_engine *engine, unsigned loop,
                      void (*fn)(ws_engine *engine, unsigned loop, void *arg), void *arg)
{
    MUST(loop < 2);
    fn(engine, loop, arg);
    return 0;
}

const ws_conn *ws_engine_at(ws_engine *engine, unsigned loop, apr_uint32_t place, int *end)
{
    (void)engine;
    MUST(loop < 2);
    *end = place >= 8;
    return NULL;
}

int ws_engine_loop_of(ws_engine *engine, ws_id id)
{
    (void)engine;
    return id & 2 ? -1 : (int)(id & 1);
}

ws_conn *ws_engine_find(ws_engine *engine, unsigned loop, ws_id id)
{
    (void)engine, (void)loop, (void)id;
    return NULL;
}

/* Define stubs that abort, because functions of connections must not be called: this program has
 * no connections, and waits for no other process. */
#define NEVER(type, name, ...)                                                                     \
    type name(__VA_ARGS__)                                                                         \
    {                                                                                              \
        abort();                                                                                   \
    }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
NEVER(ws_id, ws_conn_id, const ws_conn *c)
NEVER(void, ws_conn_inspect, const ws_conn *c, ws_conn_info *info)
NEVER(ws_status, ws_close, ws_conn *c, int code, const char *reason)
NEVER(const char *, ws_peer, const ws_conn *c)
NEVER(const char *, ws_user, const ws_conn *c)
NEVER(const char *, ws_vhost, const ws_conn *c)
NEVER(const char *, ws_uri, const ws_conn *c)
NEVER(const char *, ws_protocol, const ws_conn *c)
NEVER(int, ws_version, const ws_conn *c)
NEVER(int, ws_child_wait, apr_thread_cond_t *signal, apr_thread_mutex_t *lock, apr_time_t until)
#pragma GCC diagnostic pop

int ws_sockjs_used(void)
{
    return 1;
}

ws_channels *ws_channels_current(void)
{
    return (ws_channels *)&channels_stub;
}

void ws_channels_missed(ws_channels *h, apr_uint64_t how_many)
{
    (void)h, (void)how_many;
}

void ws_channels_receive(ws_channels *h, const ws_packet *p)
{
    unsigned sum = 0;
    (void)h;
    for (unsigned i = 0; i < p->channel_len; i++) {
        sum += (unsigned char)p->channel[i];
    }
    for (apr_size_t i = 0; i < p->len; i++) {
        sum += (unsigned char)p->data[i];
    }
    __asm__ volatile("" : : "r"(sum));
}

/* ---- Steps ---- */

static process_rec process;
static server_rec server = {.process = &process};
static apr_pool_t *child;

static void reclaim(unsigned slot)
{
    MUST(slot < SLOTS);
    ws_counters_reclaim(slot);
    ws_limit_table_reclaim(slot);
    ws_interest_reclaim(slot);
}

/* Create or attach all tables, as httpd does when it starts and after each reload. */
static void attach(void)
{
    MUST(ws_shm_open(&server, "layout") == APR_SUCCESS);
    MUST(ws_shm_init(child, &server) == APR_SUCCESS);
    MUST(ws_counters_init(child, &server) == APR_SUCCESS);
    MUST(ws_limit_table_init(child, &server) == APR_SUCCESS);
    MUST(ws_interest_init(child, &server) == APR_SUCCESS);
    MUST(ws_once_init(child, &server) == APR_SUCCESS);
    MUST(ws_sockjs_directory_init(child, &server) == APR_SUCCESS);
    MUST(ws_shm_slots() == SLOTS);
    ws_shm_start_reclaiming(reclaim);
}

static void begin_child(void)
{
    ws_engine_options options = {.loops = 2};
    ws_shm_child_init(child, &server, &options);
    ws_counters_child_init(child, &server, &options);
    ws_limit_table_child_init(child);
    ws_interest_child_init(child);
}

static void start(void)
{
    ws_engine_options options = {0};
    apr_initialize();
    apr_pool_create(&process.pool, NULL);
    apr_pool_create(&child, process.pool);
    process.pconf = child;
    ws_shm_register(child);
    ws_connections_register(child);
    ws_bus_local_register(child);
    attach();
    MUST(ws_ipc_init(child, &server) == APR_SUCCESS);
    begin_child();
    MUST(ws_ipc_child_init(process.pool, &server, &options) == APR_SUCCESS);
}

/* Return to the state at the start of an input. MADV_DONTNEED sets all bytes of the tables to
 * zero. */
static void again(void)
{
    for (unsigned i = 0; i < table_count; i++) {
        unsigned char *from = (unsigned char *)((uintptr_t)tables[i].start / PAGE * PAGE);
        apr_size_t size = (apr_size_t)(tables[i].start + tables[i].size - from);
        madvise(from, size, MADV_DONTNEED);
    }
    apr_pool_clear(child);
    attach();
    begin_child();
}

static apr_uint64_t take_number(const uint8_t **data, size_t *len, int bytes)
{
    apr_uint64_t n = 0;
    while (bytes--) {
        n = n << 8 | take_byte(data, len);
    }
    return n;
}

/* Write a value several times to a table. Most offsets are near the table's beginning, which
 * contains the head and the first rows. */
static void scribble(const uint8_t **data, size_t *len)
{
    const struct apr_shm_t *t = &tables[take_byte(data, len) % table_count];
    unsigned how = take_byte(data, len), times = 1 + take_byte(data, len);
    apr_size_t at = (apr_size_t)take_number(data, len, how & 1 ? 4 : 1) * (how & 2 ? 8 : 1);
    apr_uint64_t value = how & 4 ? ~0ull : take_number(data, len, how & 8 ? 8 : 4);
    for (at %= t->size; times-- && at + sizeof(value) <= t->size; at += sizeof(value)) {
        memcpy(t->start + at, &value, sizeof(value));
    }
}

static void sum_up(void)
{
    ws_counters sum;
    ws_shm_owner owner;
    ws_counters_sum(&sum);
    for (unsigned i = 0; i < ws_shm_slots(); i++) {
        ws_counters_open(i);
        if (ws_shm_owner_of(i, &owner)) {
            MUST(owner.started_at >= 0 && owner.started_at <= WS_SHM_TIME_MAX);
        }
    }
}

static void use_keys(unsigned what, apr_uint64_t key)
{
    apr_uint64_t sum;
    if (what & 1) {
        ws_limit_table_add(key, &sum);
        MUST(ws_limit_table_rate(key, 1 + what, 1 + what) >= -1);
    }
    else {
        ws_limit_table_remove(key);
    }
    ws_interest_change(key, what & 1 ? 1 : -1);
    for (unsigned i = 0; i < ws_shm_slots(); i++) {
        ws_interest_has(i, key);
        ws_interest_count(i, key);
    }
}

static void claimed(void *arg, ws_once_answer answer, const ws_published *then)
{
    (void)then;
    *(ws_once_answer *)arg = answer;
}

/* Claim the id of a message, and settle it. */
static void use_ids(const uint8_t **data, size_t *len)
{
    ws_once *once = ws_once_local();
    ws_message m = {.number = take_number(data, len, 1)};
    ws_published what = {.status = take_byte(data, len) & 1 ? WS_QUEUED : WS_FULL};
    ws_once_answer answer = WS_ONCE_BUSY;
    for (unsigned i = 0; i < sizeof(m.id); i++) {
        m.id[i] = i < 4 ? take_byte(data, len) : 0;
    }
    once->claim(once, &m, claimed, &answer);
    if (answer == WS_ONCE_NEW) {
        once->settle(once, &m, &what);
    }
}

/* Find, open and end a SockJS session. The slot of a known session must exist. */
static void use_sessions(const uint8_t **data, size_t *len)
{
    ws_sockjs_key key = {.low = take_number(data, len, 2), .high = take_number(data, len, 8)};
    unsigned slot = 0;
    if (ws_sockjs_directory_find(&key, &slot) == WS_SOCKJS_KNOWN) {
        MUST(slot < SLOTS);
    }
    if (ws_sockjs_directory_claim(&key, &slot) == WS_SOCKJS_MINE) {
        ws_sockjs_directory_release(&key);
    }
}

/* Open a descriptor of the given kind. For kind 1, @return -1; for kind 2, a device; otherwise a
 * file that contains the bytes, sealed completely if kind has bit 4. */
static int make_fd(unsigned kind, const void *bytes, size_t len)
{
    int fd = kind == 1   ? -1
             : kind == 2 ? open("/dev/zero", O_RDONLY)
                         : memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (kind > 2 && fd >= 0) {
        MUST(write(fd, bytes, len) == (ssize_t)len);
        fcntl(fd, F_ADD_SEALS,
              kind & 4 ? F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL : F_SEAL_SHRINK);
    }
    return fd;
}

/* Receive a packet. If bit 0 of the first byte is set, the packet gets a valid head: the receiver
 * would drop nearly all packets without one. */
static void message(const uint8_t **data, size_t *len)
{
    unsigned how = take_byte(data, len), fd_kind = how >> 4 & 7, size = take_byte(data, len);
    size_t n = size < *len ? size : *len;
    unsigned char *bytes = copy_of(*data, n);
    apr_uint32_t layout = ws_shm_layout_id(), process_number = ws_shm_process();
    int fd = make_fd(fd_kind, *data, n);
    if ((how & 1) && n >= 24) {
        memcpy(bytes, &layout, 4);
        bytes[4] = how >> 1 & 3;
        bytes[5] = 0;
        memcpy(bytes + 12, &process_number, 4);
    }
    ws_ipc_receive(bytes, n, fd);
    if (fd >= 0) {
        close(fd);
    }
    free(bytes);
    *data += n;
    *len -= n;
}

/* Check an entry of a child's answer to a request for its connections. The texts of an accepted
 * entry must end within the entry. */
static void item(const uint8_t **data, size_t *len)
{
    size_t n = take_number(data, len, 1);
    char *bytes = (char *)copy_of(*data, n = n < *len ? n : *len);
    const ws_connection_info *l = ws_connection_check(bytes, n);
    for (unsigned i = 0; l && i < WS_LISTED_TEXTS; i++) {
        const char *text = ws_connection_text(l, i);
        MUST(text + strlen(text) < bytes + n);
    }
    free(bytes);
    *data += n;
    *len -= n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static int started;
    if (!started++) {
        start();
    }
    again();
    for (int steps = 0; len && steps < 64; steps++) {
        unsigned step = take_byte(&data, &len);
        switch (step % 11) {
        case 0:
        case 1:
            scribble(&data, &len);
            break;
        case 2:
            child_status(&server, (pid_t)take_number(&data, &len, 4), 0, 0, MPM_CHILD_EXITED);
            break;
        case 3:
            sum_up();
            break;
        case 4:
            use_keys(step, take_number(&data, &len, 8));
            break;
        case 5:
            attach();
            break;
        case 6:
            begin_child();
            break;
        case 7:
            message(&data, &len);
            break;
        case 8:
            item(&data, &len);
            break;
        case 9:
            use_ids(&data, &len);
            break;
        case 10:
            use_sessions(&data, &len);
            break;
        }
    }
    MUST(ws_shm_slots() == SLOTS && ws_shm_slot() < SLOTS);
    return 0;
}
