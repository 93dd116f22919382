/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses the directives that set a child process's event loops, backend, drain and watchdog. */

#include "httpd/child_config.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "httpd/config.h"

/* Defaults of WebSocketThreads: the maximum number of event loops, and the number of blocking
 * threads. */
#define LOOPS_MAX_DEFAULT 4
#define BLOCKING_DEFAULT 16
#define BLOCKING_MAX 1024

/* Default for WebSocketWatchdog, milliseconds. */
#define WATCHDOG_DEFAULT (1000)

/* Default for WebSocketDrainTimeout, milliseconds. */
#define DRAIN_TIMEOUT (5 * 60 * 1000)

const char *ws_set_threads(cmd_parms *cmd, void *config, const char *loops, const char *blocking)
{
    ws_server_config *s = ws_server_config_of(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    if (error) {
        return error;
    }
    error = ws_set_count(cmd, loops, WS_LOOPS_MAX, ", of event loops", &s->loops);
    if (!error && blocking) {
        error = ws_set_count(cmd, blocking, BLOCKING_MAX, ", of threads for blocking handlers",
                             &s->blocking);
    }
    return error;
}

const char *ws_set_backend(cmd_parms *cmd, void *config, const char *arg)
{
    ws_server_config *s = ws_server_config_of(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    char why[WS_BACKEND_TEXT];
    (void)config;
    if (error) {
        return error;
    }
    if (ws_backend_parse(arg, &s->backend) < 0) {
        return ws_wrong(cmd, arg, WS_BACKEND_NAMES);
    }
    return ws_backend_check(s->backend, why) == APR_SUCCESS
               ? NULL
               : apr_psprintf(cmd->pool, "WebSocketBackend: %s, or set epoll", why);
}

const char *ws_set_drain_timeout(cmd_parms *cmd, void *config, const char *arg)
{
    ws_server_config *s = ws_server_config_of(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    return error ? error
                 : ws_refused(cmd, arg,
                              ws_parse_interval(cmd->pool, arg, 1, WS_INTERVAL_MAX, &s->drain), "");
}

const char *ws_set_watchdog(cmd_parms *cmd, void *config, const char *arg)
{
    ws_server_config *s = ws_server_config_of(cmd->server);
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    if (error) {
        return error;
    }
    if (!strcasecmp(arg, "off")) {
        s->watchdog = -1;
        return NULL;
    }
    return ws_refused(
        cmd, arg, ws_parse_interval(cmd->pool, arg, 10, WS_INTERVAL_MAX, &s->watchdog), "; or off");
}

int ws_mpm_threaded(void)
{
    int is = 0;
    ap_mpm_query(AP_MPMQ_IS_THREADED, &is);
    return is != AP_MPMQ_NOT_SUPPORTED;
}

static unsigned child_default_loops(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    /* prefork runs many children, so one loop each is enough. */
    return !ws_mpm_threaded() || cpus < 1 ? 1
           : cpus > LOOPS_MAX_DEFAULT     ? LOOPS_MAX_DEFAULT
                                          : (unsigned)cpus;
}

void ws_child_configure(ws_engine_options *options, const ws_server_config *conf)
{
    options->backend = conf->backend;
    options->loops = conf->loops ? conf->loops : child_default_loops();
    options->blocking = conf->blocking ? conf->blocking : BLOCKING_DEFAULT;
    options->watchdog = conf->watchdog > 0    ? (unsigned)conf->watchdog
                        : conf->watchdog == 0 ? WATCHDOG_DEFAULT
                                              : 0;
}

apr_int64_t ws_drain_timeout(const ws_server_config *conf)
{
    return conf->drain ? conf->drain : DRAIN_TIMEOUT;
}
