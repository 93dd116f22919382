/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines the table of all subsystems, and starts and stops them in its order. */

#include "httpd/subsystems.h"

#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <signal.h>
#include <unistd.h>

#include "httpd/accept.h"
#include "httpd/access.h"
#include "httpd/bus_local.h"
#include "httpd/channel_acl.h"
#include "httpd/channel_http.h"
#include "httpd/channels.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/connection_log.h"
#include "httpd/connections.h"
#include "httpd/control.h"
#include "httpd/counters.h"
#include "httpd/descriptors.h"
#include "httpd/extensions.h"
#include "httpd/handlers.h"
#include "httpd/history.h"
#include "httpd/interest.h"
#include "httpd/ipc.h"
#include "httpd/key_counts.h"
#include "httpd/limit_table.h"
#include "httpd/limits.h"
#include "httpd/loopback.h"
#include "httpd/mapping.h"
#include "httpd/metrics.h"
#include "httpd/occupancy.h"
#include "httpd/once.h"
#include "httpd/policy_file.h"
#include "httpd/reauthorize.h"
#include "httpd/rpc.h"
#include "httpd/scoreboard.h"
#include "httpd/settings.h"
#include "httpd/sockjs_config.h"
#include "httpd/sockjs_route.h"
#include "httpd/status.h"
#include "httpd/stranded.h"
#include "httpd/takeover.h"
#include "httpd/token_conn.h"
#include "httpd/token_request.h"

APLOG_USE_MODULE(websocket);

/* Subsystems start in this order, and stop in the reverse order. The comment on a line names the
 * subsystems that must come before it, or another reason for its place. */
static const ws_subsystem table[] = {
    {.name = "shm", /* first, because all others use slots and the hash key */
     .layout = ws_shm_layouts,
     .register_hooks = ws_shm_register,
     .parent_init = ws_shm_init,
     .child_init = ws_shm_child_init},
    {.name = "counters", /* shm, since it has a row per slot */
     .layout = ws_counters_layout,
     .parent_init = ws_counters_init,
     .reclaim = ws_counters_reclaim,
     .child_init = ws_counters_child_init},
    {.name = "limit_table", /* shm */
     .layout = ws_limit_table_layout,
     .parent_init = ws_limit_table_init,
     .reclaim = ws_limit_table_reclaim},
    {.name = "descriptors",
     .child_init = ws_descriptors_child_init}, /* after the limit is raised */
    {.name = "limits",                         /* limit_table */
     .reset = ws_limits_reset,
     .child_init = ws_limits_child_init},
    {.name = "interest", /* shm */
     .layout = ws_interest_layout,
     .parent_init = ws_interest_init,
     .reclaim = ws_interest_reclaim},
    {.name = "once", .layout = ws_once_layout, .parent_init = ws_once_init}, /* shm */
    {.name = "occupancy",                                                    /* shm */
     .layout = ws_occupancy_layout,
     .parent_init = ws_occupancy_init},
    {.name = "key_counts", .layout = ws_key_counts_layout}, /* layout of the tables of limit_table
                                                             * and interest */
    {.name = "extensions", /* shm, since it counts zlib's memory per child */
     .layout = ws_extensions_layout,
     .reset = ws_extensions_reset,
     .parent_init = ws_extensions_init,
     .reclaim = ws_extensions_reclaim,
     .child_init = ws_extensions_child_init},
    {.name = "takeover", /* before mapping, whose hooks use its state for a connection */
     .register_hooks = ws_takeover_register,
     .child_init = ws_takeover_child_init},
    {.name = "policy_file", .reset = ws_policy_file_reset, .parent_init = ws_policy_file_init},
    {.name = "mapping", .register_hooks = ws_mapping_register},
    {.name = "channel_http", .reset = ws_channel_http_reset},
    {.name = "channel_acl",
     .reset = ws_channelrules_reset,
     .register_hooks = ws_channelrules_register},
    {.name = "tokens", /* tokens of requests and connections */
     .register_hooks = ws_token_request_register,
     .child_init = ws_token_conn_child_init},
    {.name = "access", /* needs the complete configuration */
     .reset = ws_access_reset,
     .register_hooks = ws_access_register,
     .parent_init = ws_access_parent_init},
    {.name = "loopback", /* shm */
     .layout = ws_loopback_layout,
     .register_hooks = ws_loopback_register,
     .parent_init = ws_loopback_init},
    {.name = "status", .register_hooks = ws_status_register},
    {.name = "control_work", .register_hooks = ws_control_work_register},
#ifdef WS_WITH_CJSON
    {.name = "control", .register_hooks = ws_control_register},
#endif
    {.name = "metrics", .register_hooks = ws_metrics_register},
    {.name = "scoreboard", .register_hooks = ws_scoreboard_register},
    {.name = "connection_log", /* stops after the engine, which still logs its last connections */
     .reset = ws_connection_log_reset,
     .register_hooks = ws_connection_log_register,
     .child_init = ws_connection_log_child_init,
     .child_stop = ws_connection_log_child_stop},
    {.name = "settings", .child_init = ws_settings_child_init},
    {.name = "reauthorize", /* stops after the engine, which starts the checks */
     .reset = ws_reauthorize_reset,
     .register_hooks = ws_reauthorize_register,
     .child_init = ws_reauthorize_child_init,
     .child_stop = ws_reauthorize_child_stop},
    {.name = "plugins",
     .reset = ws_plugins_reset}, /* before the engine, which has a list per line */
    {.name = "engine",           /* after all that fill in its options */
     .register_hooks = ws_child_register,
     .parent_init = ws_child_parent_init,
     .child_init = ws_child_engine_init,
     .child_stop = ws_child_engine_stop,
     .child_exit = ws_child_engine_exit},
    {.name = "ipc", /* stops before the engine, to which it delivers messages */
     .layout = ws_ipc_layout,
     .parent_init = ws_ipc_init,
     .child_init = ws_ipc_child_init,
     .child_stop = ws_ipc_child_stop},
    {.name = "connections", /* ipc */
     .layout = ws_connections_layout,
     .register_hooks = ws_connections_register},
    {.name = "bus_local", .register_hooks = ws_bus_local_register}, /* ipc */
    {.name = "sockjs", .reset = ws_sockjs_config_reset},
    {.name = "sockjs_directory", /* shm */
     .layout = ws_sockjs_directory_layout,
     .parent_init = ws_sockjs_directory_init},
    {.name = "sockjs_route", /* ipc */
     .layout = ws_sockjs_route_layout,
     .register_hooks = ws_sockjs_route_register},
    {.name = "history",
     .reset = ws_httpd_history_reset,
     .register_hooks = ws_httpd_history_register,
     .parent_init = ws_httpd_history_init},
    {.name = "channels", /* engine, ipc, history; stop before engine and ipc, exit after them */
     .parent_init = ws_httpd_channels_init,
     .child_init = ws_httpd_channels_child_init,
     .child_stop = ws_httpd_channels_child_stop,
     .child_exit = ws_httpd_channels_child_exit},
    {.name = "handlers", /* after the whole API, which their start and stop functions may use */
     .child_init = ws_handlers_child_init,
     .child_exit = ws_handlers_child_exit},
    /* Stop before the handlers, because no store may call a stopped handler. */
    {.name = "channel_stores", .child_exit = ws_httpd_channels_finish},
    /* Replaces the accept function when descriptors run short. */
    {.name = "accept", .child_init = ws_accept_child_init},
    {.name = "stranded", /* last, because it serves connections with all of the above */
     .child_stop = ws_stranded_child_stop},
};

#define COUNT (sizeof(table) / sizeof(*table))

static server_rec *main_server;
static unsigned started; /* number of subsystems that have started in this child */

static void subsystems_trace(const ws_subsystem *sub, const char *phase)
{
    ap_log_error(APLOG_MARK, APLOG_TRACE1, 0, main_server, "websocket: %s: %s", phase, sub->name);
}

static int subsystems_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog, (void)ptemp;
    for (unsigned i = 0; i < COUNT; i++) {
        if (table[i].reset) {
            table[i].reset(pconf);
        }
    }
    return OK;
}

/* Get the texts and sizes of all structs that processes share, and the dimensions of tables. */
static const char *subsystems_layout(apr_pool_t *p)
{
    const char *text = apr_psprintf(p, "%d", (int)sizeof(void *));
    for (unsigned i = 0; i < COUNT; i++) {
        for (const ws_shm_layout *const *l = table[i].layout; l && *l; l++) {
            text = apr_psprintf(p, "%s\n%s %" APR_SIZE_T_FMT, text, (*l)->text, (*l)->size);
        }
    }
    return text;
}

static void subsystems_reclaim(unsigned slot)
{
    for (unsigned i = 0; i < COUNT; i++) {
        if (table[i].reclaim) {
            table[i].reclaim(slot);
        }
    }
}

static int subsystems_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                                  server_rec *s)
{
    (void)plog;
    main_server = s;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    if (ws_shm_open(s, subsystems_layout(ptemp)) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (table[i].parent_init) {
            subsystems_trace(&table[i], "parent_init");
            if (table[i].parent_init(ptemp, s) != APR_SUCCESS) {
                return HTTP_INTERNAL_SERVER_ERROR;
            }
        }
    }
    ws_shm_start_reclaiming(subsystems_reclaim);
    ap_add_version_component(pconf, "mod_websocket/" WS_VERSION);
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, s, "websocket: mod_websocket %s", WS_VERSION);
    return OK;
}

static void subsystems_stop_all(void)
{
    int stopped = 1;
    for (unsigned i = started; i-- > 0;) {
        if (table[i].child_stop) {
            subsystems_trace(&table[i], "child_stop");
            stopped &= table[i].child_stop();
        }
    }
    if (!stopped) {
        /* A thread still uses objects in the pool of the child and OpenSSL. If this function
         * returned, httpd would destroy the pool, and exit() would free OpenSSL's globals. */
        _exit(0);
    }
    for (unsigned i = started; i-- > 0;) {
        if (table[i].child_exit) {
            subsystems_trace(&table[i], "child_exit");
            table[i].child_exit();
        }
    }
    started = 0;
}

/* Start all subsystems. If one of them fails, stop those that have started. */
static apr_status_t subsystems_start_all(apr_pool_t *pchild, server_rec *s,
                                         ws_engine_options *options)
{
    apr_status_t rv = APR_SUCCESS;
    for (started = 0; started < COUNT && rv == APR_SUCCESS; started++) {
        if (table[started].child_init) {
            subsystems_trace(&table[started], "child_init");
            rv = table[started].child_init(pchild, s, options);
        }
    }
    if (rv != APR_SUCCESS) {
        started--; /* the subsystem that failed must not be stopped */
        subsystems_stop_all();
    }
    return rv;
}

/* Drain connections in this cleanup, because httpd ends the child after it. */
static apr_status_t subsystems_child_cleanup(void *pchild)
{
    (void)pchild;
    ws_child_drain();
    subsystems_stop_all();
    return APR_SUCCESS;
}

static void subsystems_begin(apr_pool_t *pchild, server_rec *s)
{
    ws_engine_options options = {0};
    apr_status_t rv;

    main_server = s;
    if (!ws_child_prepare(s, &options)) {
        return;
    }
    if ((rv = subsystems_start_all(pchild, s, &options)) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "websocket: cannot start event loops: handshakes are refused in this child");
        return;
    }
    ws_child_accept();
    apr_pool_pre_cleanup_register(pchild, pchild, subsystems_child_cleanup);
}

static void subsystems_child_init(apr_pool_t *pchild, server_rec *s)
{
    sigset_t deadly, before;
    /* prefork's handler for these signals (just_die() in prefork.c) destroys all pools
     * immediately, even if it interrupts malloc(). Block them until initialization is complete. */
    sigemptyset(&deadly);
    sigaddset(&deadly, SIGTERM);
    sigaddset(&deadly, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &deadly, &before);
    subsystems_begin(pchild, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void ws_subsystems_register(apr_pool_t *p)
{
    ap_hook_pre_config(subsystems_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(subsystems_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(subsystems_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    for (unsigned i = 0; i < COUNT; i++) {
        if (table[i].register_hooks) {
            table[i].register_hooks(p);
        }
    }
}
