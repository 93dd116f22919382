/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * mod_websocket: WebSocket connections for Apache httpd that cost httpd nothing.
 *
 * A connection's way, and where to read about it:
 *
 *   configuration          httpd/config.c     directives, merging, the settings of a request
 *                          httpd/plugins.c   handlers: loading and checking
 *                          httpd/handler_directory.c  a directory of them
 *   which module answers   httpd/mapping.c
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
 *                          httpd/limit_table.c     counts across processes, in tables of httpd/key_counts.c
 *                          engine/rate_limit.c     of one connection
 *   access, again          httpd/reauthorize.c
 *   requests to itself     httpd/loopback.c   that count as those of a client
 *   history                channels/history_lmdb.c  and httpd/history.c
 *   beginning and end      httpd/subsystems.c  what there is, in its order
 *                          httpd/child.c      of the child
 *                          httpd/handlers.c   of handlers
 *                          httpd/stranded.c   what httpd leaves behind then
 *   what children share    httpd/shm.c     memory, and a slot in it for each child
 *                          httpd/ipc.c   messages from child to child
 *   channels               channels/          subscribers, publishing, presence, resuming
 *                          httpd/channels.c   in a child
 *                          httpd/bus_local.c   from child to child, to those in httpd/interest.c
 *                          httpd/channel_acl.c  who may
 *                          httpd/access.c     sections for which nothing says so
 *   what it is doing       httpd/counters.c, httpd/metrics.c, httpd/connections.c, httpd/status.c
 */

#include <httpd.h>
#include <http_config.h>

#include "httpd/config.h"
#include "httpd/subsystems.h"

AP_DECLARE_MODULE(websocket) = {STANDARD20_MODULE_STUFF,
                                ws_create_dir_config,
                                ws_merge_dir_config,
                                ws_create_server_config,
                                NULL,
                                ws_directives,
                                ws_subsystems_register,
                                0};
