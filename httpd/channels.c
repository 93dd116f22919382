/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Creates the channels of a child process. Connects them to the buses (to other children and other
 * machines), the history and the application.
 */

#include "httpd/token_conn.h"
#include "httpd/channels.h"

#include <httpd.h>

#include <ap_provider.h>
#include <apr_general.h>
#include <http_log.h>

#include "base/parse.h"
#include "httpd/application_provider.h"
#include "httpd/channel_acl.h"
#include "httpd/config.h"
#include "httpd/bus_local.h"
#include "httpd/rpc.h"
#include "httpd/bus_remote.h"
#include "httpd/history.h"
#include "httpd/occupancy.h"
#include "httpd/once.h"
#include "httpd/shm.h"

APLOG_USE_MODULE(websocket);

#define CHANNELS_DEFAULT 65536
#define QUEUE_DEFAULT (8 * 1024 * 1024)
#define CHANNELS_MAX 10000000
#define BUS_QUEUE_MIN (64 * 1024)

static apr_uint64_t *number; /* the number of this httpd, which is secret and kept across reloads */
static ws_channels *channels;
static const ws_remote_bus *remote;                /* bus to other machines, or NULL */
static const ws_application_provider *application; /* provider of the application, or NULL */

const char *ws_httpd_channels_set(cmd_parms *cmd, void *config, const char *arg)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    (void)config;
    return error ? error
                 : ws_set_count(cmd, arg, CHANNELS_MAX, ", of channels",
                                &ws_server_config_of(cmd->server)->channels);
}

const char *ws_httpd_channels_set_queue(cmd_parms *cmd, void *config, const char *arg)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    apr_int64_t *size = &ws_server_config_of(cmd->server)->bus_queue;
    (void)config;
    return error ? error
                 : ws_refused(cmd, arg,
                              ws_parse_size(cmd->pool, arg, BUS_QUEUE_MIN, WS_SIZE_MAX, size), "");
}

apr_status_t ws_httpd_channels_init(apr_pool_t *ptemp, server_rec *s)
{
    (void)ptemp, (void)s;
    number = ws_shm_private("server", sizeof(*number));
    return *number ? APR_SUCCESS
                   : apr_generate_random_bytes((unsigned char *)number, sizeof(*number));
}

/* Find the application, provided by another module, that authorizes channel use. */
static void channels_find_application(apr_pool_t *pchild, server_rec *s,
                                      ws_channels_options *options)
{
    application = ap_lookup_provider(WS_APPLICATION_GROUP, "application", WS_APPLICATION_VERSION);
    if (application && (options->application = application->child_init(pchild, s))
        && ws_occupancy_start(pchild, s, options->application) == APR_SUCCESS) {
        options->changed = ws_occupancy_changed;
    }
}

apr_status_t ws_httpd_channels_child_init(apr_pool_t *pchild, server_rec *s,
                                          ws_engine_options *engine_options)
{
    const ws_server_config *conf = ws_server_config_of(s);
    ws_channels_options options = {.engine = ws_api_engine_now()};
    (void)engine_options;
    options.channels = conf->channels ? conf->channels : CHANNELS_DEFAULT;
    options.queue = conf->bus_queue ? (apr_size_t)conf->bus_queue : QUEUE_DEFAULT;
    options.may = ws_channelrules_may;
    options.called = ws_rpc_received;
    options.wildcards = ws_channelrules_wildcards();
    options.use_token = ws_token_conn_use;
    options.self.server = *number;
    options.self.process = ws_shm_process() & 0xFFFF;
    options.local = ws_bus_local_child_init(pchild, s, *number, options.queue);
    options.once = ws_once_local();
    remote = ap_lookup_provider(WS_REMOTE_BUS_GROUP, "remote", WS_REMOTE_BUS_VERSION);
    if (remote && remote->configured()) {
        const ws_history_rule *rules;
        unsigned count = ws_httpd_history_rules(&rules);
        remote->child_init(pchild, s, &options, rules, count);
    }
    else {
        options.history = ws_httpd_history_child_init(pchild, s);
    }
    channels_find_application(pchild, s, &options);
    if (!(channels = ws_channels_create(&options, pchild))) {
        ap_log_error(APLOG_MARK, APLOG_ERR, APR_ENOMEM, s,
                     "websocket: channels are unavailable in this child: subscriptions and "
                     "publications are refused");
    }
    return APR_SUCCESS;
}

int ws_httpd_channels_child_stop(void)
{
    ws_occupancy_stop();
    if (application) {
        application->child_stop();
    }
    if (channels) {
        ws_channels_stop(channels);
    }
    ws_bus_local_child_stop();
    return 1;
}

void ws_httpd_channels_finish(void)
{
    ws_httpd_history_child_exit();
    if (remote) {
        remote->child_exit();
    }
    if (channels) {
        ws_channels_finish(channels);
    }
}

void ws_httpd_channels_child_exit(void)
{
    if (channels) {
        ws_channels_destroy(channels);
        channels = NULL;
    }
}
