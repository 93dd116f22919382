/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Replaces the parts of httpd that handlers and httpd/plugins.c need, which are the log and an
 *  empty set of providers. */

#pragma GCC visibility push(default)
#include <httpd.h>
#include <ap_provider.h>
#include <http_config.h>
#include <http_log.h>
#include <http_main.h>
#include <http_protocol.h>
#pragma GCC visibility pop

#include <stdio.h>

#include "httpd/config.h"
#include "tools/wshandler-test/harness.h"
#include "tools/wshandler-test/transcript.h"

#pragma GCC visibility push(default)

/* The address of this variable locates the module's directory, where handlers without a path are
 * looked up. */
module AP_MODULE_DECLARE_DATA websocket_module;

/* The log macros use this server. Its level passes all lines to the functions below. */
server_rec *ap_server_conf;

static void httpd_stubs_show(int level, apr_status_t status, const char *format, va_list args)
{
    static const ws_log_level levels[] = {WS_LOG_ERROR,   WS_LOG_ERROR, WS_LOG_ERROR, WS_LOG_ERROR,
                                          WS_LOG_WARNING, WS_LOG_INFO,  WS_LOG_INFO,  WS_LOG_DEBUG};
    char text[1024], reason[128] = "";
    level &= APLOG_LEVELMASK;
    if ((level > APLOG_DEBUG ? WS_LOG_TRACE : levels[level]) > ws_harness_log_level) {
        return;
    }
    vsnprintf(text, sizeof(text), format, args);
    if (status) {
        apr_strerror(status, reason, sizeof(reason));
    }
    ws_print_line(stdout, "# log: %s%s%s", reason, status ? ": " : "", text);
}

/* Define one of httpd's log functions. They differ in the type of the object to which a line
 * refers. */
#define LOG_FUNCTION(NAME, TYPE)                                                                   \
    void NAME(const char *file, int line, int module_index, int level, apr_status_t status,        \
              TYPE about, const char *format, ...)                                                 \
    {                                                                                              \
        va_list args;                                                                              \
        (void)file, (void)line, (void)module_index, (void)about;                                   \
        va_start(args, format);                                                                    \
        httpd_stubs_show(level, status, format, args);                                             \
        va_end(args);                                                                              \
    }
LOG_FUNCTION(ap_log_error_, const server_rec *)
LOG_FUNCTION(ap_log_rerror_, const request_rec *)
LOG_FUNCTION(ap_log_cerror_, const conn_rec *)
LOG_FUNCTION(ap_log_perror_, apr_pool_t *)

apr_port_t ap_run_default_port(const request_rec *r)
{
    (void)r;
    return DEFAULT_HTTP_PORT;
}

const char *ap_run_http_scheme(const request_rec *r)
{
    return apr_table_get(r->subprocess_env, "HTTPS") ? "https" : "http";
}

void *ap_lookup_provider(const char *group, const char *name, const char *version)
{
    (void)group, (void)name, (void)version;
    return NULL;
}

#pragma GCC visibility pop
