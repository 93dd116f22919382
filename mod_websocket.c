/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * mod_websocket: WebSocket connections for Apache httpd that cost httpd nothing.
 *
 * A connection's way, and where to read about it:
 *
 *   configuration          httpd/config.c     directives, merging, the settings of a request
 *                          httpd/plugins.c   handlers: loading and checking
 *                          httpd/handler_directory.c  a directory of them
 *   handshake              httpd/upgrade.c    request -> on_request -> 101
 *                          protocol/handshake.c
 *   take-over              httpd/takeover.c   socket and TLS leave httpd
 *                          httpd/relay.c      or stay there, and the bytes are carried
 *   messages               engine/conn.c      a connection's life on its event loop
 *                          engine/input.c     socket -> protocol/frame.c -> messages
 *                          engine/output.c    sends -> socket
 *                          engine/callbacks.c     the handler's callbacks
 *                          httpd/connection_log.c    a record at its end
 *   limits                 httpd/limits.c     WebSocketLimit
 *                          httpd/limit_table.c     counts across processes
 *                          engine/rate_limit.c     of one connection
 *   access, again          httpd/reauthorize.c
 *   history                channels/history_lmdb.c  and httpd/history.c
 *   end of the child       httpd/child.c
 *                          httpd/stranded.c   what httpd leaves behind then
 *   what children share    httpd/shm.c     memory, and a slot in it for each child
 *                          httpd/ipc.c   messages from child to child
 *   channels               channels/          subscribers, publishing, presence, resuming
 *                          httpd/channels.c   in a child
 *                          httpd/bus_local.c   from child to child, to those in httpd/interest.c
 *                          httpd/channel_acl.c  who may
 *   what it is doing       httpd/counters.c, httpd/metrics.c, httpd/connections.c, httpd/status.c
 */

#include <httpd.h>
#include <http_connection.h>
#include <http_config.h>
#include <http_log.h>
#include <http_request.h>
#include <mpm_common.h>

#include "httpd/channel_http.h"
#include "httpd/channel_acl.h"
#include "httpd/child.h"
#include "httpd/config.h"
#include "httpd/connection_log.h"
#include "httpd/extensions.h"
#include "httpd/history.h"
#include "httpd/counters.h"
#include "httpd/limits.h"
#include "httpd/connections.h"
#include "httpd/bus_local.h"
#include "httpd/metrics.h"
#include "httpd/scoreboard.h"
#include "httpd/reauthorize.h"
#include "httpd/shm.h"
#include "httpd/status.h"
#include "httpd/takeover.h"
#include "httpd/limit_table.h"
#include "httpd/upgrade.h"

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog, (void)ptemp;
    ws_plugins_reset(pconf);
    ws_connection_log_reset(pconf);
    ws_limits_reset(pconf);
    ws_extensions_reset(pconf);
    ws_httpd_history_reset(pconf);
    ws_channel_http_reset();
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_open_logs(ws_connection_log_open, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(ws_parent_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(ws_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_stopping(ws_child_stopping, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_map_to_storage(ws_upgrade_map_to_storage, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_map_to_storage(ws_channel_http_map_to_storage, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_handler(ws_channel_http_handler, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_handler(ws_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(ws_upgrade_handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ws_shm_register(p);
    ws_extensions_register();
    ws_counters_register();
    ws_metrics_register();
    ws_connections_register();
    ws_limit_table_register();
    ws_reauthorize_register(p);
    ws_scoreboard_register(p);
    ws_bus_local_register();
    ws_channelrules_register();
    ws_takeover_register(p);
}

AP_DECLARE_MODULE(websocket) = {STANDARD20_MODULE_STUFF,
                                ws_create_dir_config,
                                ws_merge_dir_config,
                                ws_create_server_config,
                                NULL,
                                ws_directives,
                                register_hooks,
                                0};
