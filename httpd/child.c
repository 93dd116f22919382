/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/child.h"

#include <ap_mpm.h>
#include <apr_signal.h>
#include <http_core.h>
#include <http_config.h>
#include <http_log.h>
#include <mpm_common.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "httpd/config.h"
#include "httpd/shm.h"
#include "httpd/stranded.h"
#include "httpd/subsystems.h"

APLOG_USE_MODULE(websocket);

/* Event loops of a child when WebSocketThreads does not say. */
#define LOOPS_MAX_DEFAULT 4
#define BLOCKING_DEFAULT 16

/* WebSocketWatchdog when it does not say, milliseconds. */
#define WATCHDOG_DEFAULT (1000)

/* WebSocketDrainTimeout when it does not say: connections of a child that was told to go live on this
 * long, milliseconds; then they are closed over a while, so that the clients do not all come back to
 * the new children at once. */
#define DRAIN_TIMEOUT (5 * 60 * 1000)
#define DRAIN_SPREAD (10 * 1000)

/* A server that stops has to be gone before it is killed: farewell within this, milliseconds. */
#define STOP_GRACE 1500

/* One that was let go on until the end of its time need not hurry, milliseconds. */
#define CLOSE_GRACE 5000

static ws_engine *engine; /* takes handshakes */
static ws_engine *created;
static server_rec *main_server;
static volatile sig_atomic_t stop_at_once; /* told to go without grace */
static apr_int64_t drain_timeout;          /* milliseconds */
static apr_time_t drain_end;               /* when it is over; 0: not told to go with grace */
static apr_time_t stop_end;                /* 0: nobody has said goodbye */
static volatile sig_atomic_t terminated;   /* SIGTERM has come */
static void (*mpm_sigterm)(int);           /* prefork's handler of it */

static int threaded(void)
{
    int is = 0;
    ap_mpm_query(AP_MPMQ_IS_THREADED, &is);
    return is != AP_MPMQ_NOT_SUPPORTED;
}

ws_engine *ws_child_engine(void)
{
    return __atomic_load_n(&engine, __ATOMIC_ACQUIRE);
}

apr_status_t ws_child_parent_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    /* mod_ssl hands us its objects: both have to mean the same by them. */
    if (OpenSSL_version_num() >> 20 != OPENSSL_VERSION_NUMBER >> 20) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "websocket: built for %s, but mod_ssl has brought %s: build the module again",
                     OPENSSL_VERSION_TEXT, OpenSSL_version(OPENSSL_VERSION));
    }
    return APR_SUCCESS;
}

/* ---- The engine's log is httpd's ---- */

static int level_of(ws_log_level level)
{
    static const int levels[] = {APLOG_ERR, APLOG_WARNING, APLOG_INFO, APLOG_DEBUG, APLOG_TRACE4};
    return levels[level];
}

static const server_rec *server_of(const ws_settings *settings)
{
    return settings && settings->server ? settings->server : main_server;
}

static int engine_logs(ws_log_level level, const ws_settings *settings)
{
    return APLOG_IS_LEVEL(server_of(settings), level_of(level));
}

static void engine_log(ws_log_level level, const ws_settings *settings, const ws_conn *c,
                       const char *text)
{
    if (c) {
        ap_log_error(APLOG_MARK, level_of(level), 0, server_of(settings),
                     "websocket: [%s %s] %s, connection %016" APR_UINT64_T_HEX_FMT ": %s",
                     ws_conn_transport(c) == WS_TRANSPORT_OUTGOING ? "server" : "client",
                     ws_peer(c) ? ws_peer(c) : "-", ws_uri(c), ws_conn_id(c), text);
    }
    else {
        ap_log_error(APLOG_MARK, level_of(level), 0, server_of(settings), "websocket: %s", text);
    }
}

/* ---- The end ---- */

/* Set a point in time so many milliseconds from now, unless it is set already. @return it */
static apr_time_t set_once(apr_time_t *when, apr_int64_t ms)
{
    apr_time_t set = 0, then = apr_time_now() + apr_time_from_msec(ms);
    return __atomic_compare_exchange_n(when, &set, then, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)
               ? then
               : set;
}

static void on_late_sigterm(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    terminated |= info->si_pid != getpid(); /* the MPM's threads wake each other with it, too */
}

static void child_stopping(apr_pool_t *pchild, int graceful)
{
    (void)pchild;
    /* prefork says 0 whatever the reason; but what is to end at once it tells by SIGTERM, and a
     * reload, too many idle children and MaxConnectionsPerChild in other ways. */
    stop_at_once = threaded() ? !graceful : terminated;
    if (!stop_at_once) {
        set_once(&drain_end, drain_timeout);
    }
    if (threaded() && graceful) {
        /* The MPM waits for its threads now, and looks for nothing else. */
        struct sigaction late = {.sa_sigaction = on_late_sigterm, .sa_flags = SA_SIGINFO};
        sigaction(SIGTERM, &late, NULL);
        ws_stranded_look();
    }
}

static void on_sigterm(int sig)
{
    terminated = 1;
    if (mpm_sigterm) {
        mpm_sigterm(sig);
    }
}

/* @return whether all clients are gone, or a stop has come. What handlers have connected to is no reason
 * to live on. */
static int wait_unless_terminated(ws_engine *e, apr_time_t until)
{
    while (!terminated && (ws_engine_count(e) || ws_stranded_count())) {
        if (apr_time_now() >= until) {
            return 0;
        }
        if (ws_engine_wait(e, 100) && ws_stranded_count()) {
            apr_sleep(apr_time_from_msec(20));
        }
    }
    return 1;
}

/* @return until when connections live on */
static apr_time_t start_drain(ws_engine *e)
{
    static int told;
    if (ws_engine_count(e) && !__atomic_exchange_n(&told, 1, __ATOMIC_RELAXED)) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, main_server,
                     "websocket: this child has to go; its %" APR_SIZE_T_FMT
                     " connections live on, for %" APR_INT64_T_FMT
                     " s at most (WebSocketDrainTimeout)",
                     ws_engine_count(e), (drain_timeout + 999) / 1000);
    }
    return set_once(&drain_end, drain_timeout);
}

/* @return when those that have not answered are left */
static apr_time_t close_all(ws_engine *e)
{
    static int said;
    if (!__atomic_exchange_n(&said, 1, __ATOMIC_RELAXED)) {
        ws_engine_close_all(e, WS_CLOSE_GOING_AWAY, "server stops", 0);
    }
    return set_once(&stop_end, STOP_GRACE);
}

/* Whether the MPM wants this child to go, with grace or without. */
static int told_to_go(void)
{
    int state;
    if (threaded()) {
        return stop_at_once || __atomic_load_n(&drain_end, __ATOMIC_RELAXED);
    }
    /* Its only thread is the relay's: child_stopping comes when that is over. */
    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING;
}

int ws_child_check(void)
{
    static int said;
    ws_engine *e = ws_child_engine();

    if (!e) {
        return 1;
    }
    if (!told_to_go()) {
        return 0;
    }
    if (stop_at_once || terminated) {
        return apr_time_now() >= close_all(e);
    }
    if (apr_time_now() >= start_drain(e) && !__atomic_exchange_n(&said, 1, __ATOMIC_RELAXED)) {
        ws_engine_close_all(e, WS_CLOSE_RESTART, "server restarts", DRAIN_SPREAD);
    }
    return 0;
}

/* httpd ends this child as soon as pchild is cleaned up. Connections are let go on until then. */
static apr_status_t child_cleanup(void *pchild)
{
    ws_engine *e = engine;
    apr_time_t farewell;
    (void)pchild;
    if (!stop_at_once) {
        apr_time_t end = start_drain(e);
        /* A stop that comes meanwhile is a SIGTERM, and the MPM has done with those. */
        mpm_sigterm = NULL;
        apr_signal(SIGTERM, on_sigterm);
        apr_signal_unblock(SIGTERM);
        if (!wait_unless_terminated(e, end)) {
            ws_engine_close_all(e, WS_CLOSE_RESTART, "server restarts", DRAIN_SPREAD);
            wait_unless_terminated(e,
                                   apr_time_now() + apr_time_from_msec(DRAIN_SPREAD + CLOSE_GRACE));
        }
    }
    farewell = close_all(e) - apr_time_now();
    ws_engine_wait(e, farewell > 0 ? (apr_uint32_t)apr_time_as_msec(farewell) : 0);
    /* From here on handshakes are refused; handlers may still send by id, in vain. */
    __atomic_store_n(&engine, NULL, __ATOMIC_RELEASE);
    ws_subsystems_child_exit();
    return APR_SUCCESS;
}

/* ---- The beginning ---- */

/* Every connection is a descriptor, and Debian's limit is 8,192. */
static void raise_descriptor_limit(server_rec *s)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, errno, s,
                         "websocket: the limit of descriptors cannot be raised");
        }
    }
}

static unsigned default_loops(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    /* Where every child serves one request at a time there are many children. */
    return !threaded() || cpus < 1    ? 1
           : cpus > LOOPS_MAX_DEFAULT ? LOOPS_MAX_DEFAULT
                                      : (unsigned)cpus;
}

apr_status_t ws_child_engine_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    apr_status_t rv;
    options->process = ws_shm_process();
    options->location_count = (unsigned)ws_handler_lines->nelts;
    options->locations = apr_palloc(pchild, options->location_count * sizeof(*options->locations));
    for (unsigned i = 0; i < options->location_count; i++) {
        options->locations[i] = &APR_ARRAY_IDX(ws_handler_lines, i, ws_handler_line *)->location;
    }
    (void)s;
    if ((rv = ws_engine_create(&created, options, pchild)) == APR_SUCCESS) {
        ws_api_engine(created);
    }
    return rv;
}

int ws_child_engine_stop(void)
{
    return ws_engine_stop(created);
}

void ws_child_engine_exit(void)
{
    ws_api_engine(NULL);
    ws_engine_destroy(created);
}

static void configure(ws_engine_options *options, const ws_server_config *conf)
{
    options->backend = conf->backend;
    options->loops = conf->loops ? conf->loops : default_loops();
    options->blocking = conf->blocking ? conf->blocking : BLOCKING_DEFAULT;
    options->watchdog = conf->watchdog > 0    ? (unsigned)conf->watchdog
                        : conf->watchdog == 0 ? WATCHDOG_DEFAULT
                                              : 0;
    drain_timeout = conf->drain ? conf->drain : DRAIN_TIMEOUT;
}

static void begin(apr_pool_t *pchild, server_rec *s)
{
    ws_engine_options options = {.log = engine_log, .logs = engine_logs};
    apr_status_t rv;

    main_server = s;
    if (!ws_handler_lines || !ws_handler_lines->nelts) {
        return;
    }
    raise_descriptor_limit(s);
    configure(&options, ws_server_config_of(s));
    if ((rv = ws_subsystems_child_init(pchild, s, &options)) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "websocket: no event loops: handshakes are refused in this child");
        return;
    }
    if (!threaded()) {
        mpm_sigterm = apr_signal(SIGTERM, on_sigterm);
        apr_signal(SIGHUP, on_sigterm); /* an ungraceful restart; prefork's handler is the same */
    }
    engine = created;
    apr_pool_pre_cleanup_register(pchild, pchild, child_cleanup);
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    sigset_t deadly, before;
    /* prefork's handler of these (just_die() in prefork.c) cleans up all pools wherever it has interrupted
     * the child, be it in the middle of malloc(). They wait until everything stands. */
    sigemptyset(&deadly);
    sigaddset(&deadly, SIGTERM);
    sigaddset(&deadly, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &deadly, &before);
    begin(pchild, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void ws_child_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_stopping(child_stopping, NULL, NULL, APR_HOOK_MIDDLE);
}
