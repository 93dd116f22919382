/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Starts the engine in each child process, and drains its connections when the MPM stops the child.
 * A graceful stop keeps connections open for up to WebSocketDrainTimeout. Any other stop closes
 * them immediately.
 */

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

#include "httpd/child_config.h"
#include "httpd/config.h"
#include "httpd/shm.h"
#include "httpd/stranded.h"

APLOG_USE_MODULE(websocket);

/* Period over which the child closes the remaining connections after WebSocketDrainTimeout,
 * milliseconds. If it closed all of them immediately, all clients would reconnect at the same
 * time. */
#define DRAIN_SPREAD (10 * 1000)

/* How long a child waits for its clients' Close frames in an ungraceful stop, milliseconds. httpd
 * kills children that take longer. */
#define STOP_GRACE 1500

/* How often ws_child_wait() checks whether the child must end. */
#define LOOK apr_time_from_msec(250)

/* How long a child waits for Close frames after the drain and DRAIN_SPREAD, milliseconds. */
#define CLOSE_GRACE 5000

static ws_engine *engine; /* accepts handshakes; NULL before child_init and after child_cleanup */
static ws_engine *created;
static server_rec *main_server;
static volatile sig_atomic_t stop_at_once; /* 1: the MPM is stopping this child ungracefully */
static apr_int64_t drain_timeout;          /* milliseconds */
static apr_time_t drain_end;               /* end of the drain; 0: no drain has started */
static apr_time_t stop_end;                /* end of STOP_GRACE; 0: child_close_all() has not run */
static volatile sig_atomic_t terminated;   /* 1: SIGTERM has arrived */
static void (*mpm_sigterm)(int);           /* prefork's handler for SIGTERM */

ws_engine *ws_child_engine(void)
{
    return __atomic_load_n(&engine, __ATOMIC_ACQUIRE);
}

apr_status_t ws_child_parent_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp;
    /* The module uses mod_ssl's objects, so both need the same OpenSSL version. */
    if (OpenSSL_version_num() >> 20 != OPENSSL_VERSION_NUMBER >> 20) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "websocket: built for %s, but mod_ssl has loaded %s: rebuild the module",
                     OPENSSL_VERSION_TEXT, OpenSSL_version(OPENSSL_VERSION));
    }
    return APR_SUCCESS;
}

/* ---- Log ---- */

static int child_level_of(ws_log_level level)
{
    static const int levels[] = {APLOG_ERR, APLOG_WARNING, APLOG_INFO, APLOG_DEBUG, APLOG_TRACE4};
    return levels[level];
}

static const server_rec *child_server_of(const ws_settings *settings)
{
    return settings && settings->server ? settings->server : main_server;
}

static int child_engine_logs(ws_log_level level, const ws_settings *settings)
{
    return APLOG_IS_LEVEL(child_server_of(settings), child_level_of(level));
}

static void child_engine_log(ws_log_level level, const ws_settings *settings, const ws_conn *c,
                             const char *text)
{
    if (c) {
        ap_log_error(APLOG_MARK, child_level_of(level), 0, child_server_of(settings),
                     "websocket: [%s %s] %s, connection %016" APR_UINT64_T_HEX_FMT ": %s",
                     ws_conn_transport(c) == WS_TRANSPORT_OUTGOING ? "server" : "client",
                     ws_peer(c) ? ws_peer(c) : "-", ws_uri(c), ws_conn_id(c), text);
    }
    else {
        ap_log_error(APLOG_MARK, child_level_of(level), 0, child_server_of(settings),
                     "websocket: %s", text);
    }
}

/* ---- Stopping ---- */

/* Set *when to the time in ms milliseconds, unless it is already set. @return *when */
static apr_time_t child_set_once(apr_time_t *when, apr_int64_t ms)
{
    apr_time_t set = 0, then = apr_time_now() + apr_time_from_msec(ms);
    return __atomic_compare_exchange_n(when, &set, then, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)
               ? then
               : set;
}

/* Close all connections. @return the time when to stop waiting for the clients' Close frames */
static apr_time_t child_close_all(ws_engine *e)
{
    static int said;
    if (!__atomic_exchange_n(&said, 1, __ATOMIC_RELAXED)) {
        ws_engine_close_all(e, WS_CLOSE_GOING_AWAY, "server stops", 0);
    }
    return child_set_once(&stop_end, STOP_GRACE);
}

static void child_on_sigterm(int sig, siginfo_t *info, void *context)
{
    (void)context;
    /* Threads of the MPM send SIGTERM to their own process to wake its main thread. worker's listener
     * may do so during the drain, because the MPM does not wait longer than 5 s for it. */
    terminated |= info->si_pid != getpid();
    if (mpm_sigterm) {
        mpm_sigterm(sig);
    }
}

static void child_catch(int sig)
{
    struct sigaction catch = {.sa_sigaction = child_on_sigterm, .sa_flags = SA_SIGINFO};
    sigaction(sig, &catch, NULL);
}

static void child_stopping(apr_pool_t *pchild, int graceful)
{
    (void)pchild;
    /* prefork always passes 0. It sends SIGTERM only for an ungraceful stop. For reloads, surplus
     * idle children and MaxConnectionsPerChild, it stops children in other ways. */
    stop_at_once = ws_mpm_threaded() ? !graceful : terminated;
    if (!stop_at_once) {
        child_set_once(&drain_end, drain_timeout);
    }
    if (ws_mpm_threaded() && !graceful && ws_child_engine()) {
        /* Close now, because a thread of the MPM may be waiting for a slow backend. httpd kills the
         * child if that takes too long. */
        child_close_all(ws_child_engine());
    }
    if (ws_mpm_threaded() && graceful) {
        /* From now on the MPM only waits for its threads and no longer handles SIGTERM, so the
         * module does. */
        child_catch(SIGTERM);
    }
}

/* Wait until all clients have disconnected or SIGTERM arrives, at most until the time `until`.
 * Outgoing connections of handlers do not delay the stop. @return 0: `until` has passed */
static int child_wait_unless_terminated(ws_engine *e, apr_time_t until)
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

/* Start the drain if it has not started yet. @return the end of the drain */
static apr_time_t child_start_drain(ws_engine *e)
{
    static int told;
    if (ws_engine_count(e) && !__atomic_exchange_n(&told, 1, __ATOMIC_RELAXED)) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, main_server,
                     "websocket: child is stopping; draining %" APR_SIZE_T_FMT
                     " connections for up to %" APR_INT64_T_FMT " s (WebSocketDrainTimeout)",
                     ws_engine_count(e), (drain_timeout + 999) / 1000);
    }
    return child_set_once(&drain_end, drain_timeout);
}

/* Whether the MPM is stopping this child, gracefully or not. */
static int child_told_to_go(void)
{
    int state;
    if (ws_mpm_threaded()) {
        return stop_at_once || __atomic_load_n(&drain_end, __ATOMIC_RELAXED);
    }
    /* A prefork child has only one thread, which runs the relay, so child_stopping runs only after
     * the relay has returned. */
    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING;
}

int ws_child_check(void)
{
    static int said;
    ws_engine *e = ws_child_engine();

    if (!e) {
        return 1;
    }
    if (!child_told_to_go()) {
        return 0;
    }
    if (stop_at_once || terminated) {
        return apr_time_now() >= child_close_all(e);
    }
    if (apr_time_now() >= child_start_drain(e)
        && !__atomic_exchange_n(&said, 1, __ATOMIC_RELAXED)) {
        ws_engine_close_all(e, WS_CLOSE_RESTART, "server restarts", DRAIN_SPREAD);
    }
    return 0;
}

int ws_child_wait(apr_thread_cond_t *signal, apr_thread_mutex_t *lock, apr_time_t until)
{
    apr_time_t left, end = until;
    if (stop_at_once || terminated) {
        apr_time_t stop = child_set_once(&stop_end, STOP_GRACE);
        end = stop < until ? stop : until;
    }
    if ((left = end - apr_time_now()) <= 0) {
        return 0;
    }
    apr_thread_cond_timedwait(signal, lock, left < LOOK ? left : LOOK);
    return 1;
}

void ws_child_drain(void)
{
    ws_engine *e = engine;
    apr_time_t farewell;
    if (!stop_at_once) {
        apr_time_t end = child_start_drain(e);
        ws_stranded_serve(main_server);
        /* A stop during the drain arrives as a SIGTERM, which the MPM no longer handles. */
        mpm_sigterm = NULL;
        child_catch(SIGTERM);
        apr_signal_unblock(SIGTERM);
        if (!child_wait_unless_terminated(e, end)) {
            ws_engine_close_all(e, WS_CLOSE_RESTART, "server restarts", DRAIN_SPREAD);
            child_wait_unless_terminated(e, apr_time_now()
                                                + apr_time_from_msec(DRAIN_SPREAD + CLOSE_GRACE));
        }
    }
    farewell = child_close_all(e) - apr_time_now();
    ws_engine_wait(e, farewell > 0 ? (apr_uint32_t)apr_time_as_msec(farewell) : 0);
    /* From now on, handshakes are refused, and messages that handlers send by id are dropped. */
    __atomic_store_n(&engine, NULL, __ATOMIC_RELEASE);
}

/* ---- Starting ---- */

/* Raise the limit, since every connection needs a descriptor, and the default limit on Debian is
 * 8,192. */
static void child_raise_descriptor_limit(server_rec *s)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, errno, s,
                         "websocket: cannot raise the descriptor limit to its hard limit");
        }
    }
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

int ws_child_prepare(server_rec *s, ws_engine_options *options)
{
    main_server = s;
    if (!ws_handler_lines || !ws_handler_lines->nelts) {
        return 0;
    }
    options->log = child_engine_log;
    options->logs = child_engine_logs;
    child_raise_descriptor_limit(s);
    ws_child_configure(options, ws_server_config_of(s));
    drain_timeout = ws_drain_timeout(ws_server_config_of(s));
    return 1;
}

void ws_child_accept(void)
{
    if (!ws_mpm_threaded()) {
        struct sigaction before;
        sigaction(SIGTERM, NULL, &before);
        mpm_sigterm = before.sa_handler;
        child_catch(SIGTERM);
        child_catch(SIGHUP); /* the MPM sends it for an ungraceful stop or restart */
    }
    engine = created;
}

void ws_child_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_child_stopping(child_stopping, NULL, NULL, APR_HOOK_MIDDLE);
}
