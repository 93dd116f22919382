/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * mod_websocket provides WebSocket connections for Apache httpd that occupy no worker thread. They
 * run on the event loops of engine/.
 *
 * The path of a connection, and the files that implement it:
 *
 *   configuration          httpd/directives.c         the table of directives, merging of sections
 *                          httpd/settings.c           settings of a request
 *                          httpd/plugins.c            loading and checking of handlers
 *                          httpd/handler_directory.c  directories of handlers
 *   which module answers   httpd/mapping.c
 *   handshake              httpd/upgrade.c            request -> on_request -> 101
 *                          protocol/handshake.c       checks of the headers
 *   takeover               httpd/takeover.c           the socket and its TLS state leave httpd
 *                          httpd/relay.c              or they stay, and the bytes are copied
 *   messages               engine/conn.c              states of a connection on its event loop
 *                          engine/input.c             socket -> protocol/frame.c -> messages
 *                          engine/output.c            sends -> socket
 *                          engine/callbacks.c         the handler's callbacks
 *                          httpd/connection_log.c     a log record at the end of the connection
 *   limits                 httpd/limits.c             WebSocketLimit
 *                          httpd/limit_table.c        counts across processes (httpd/key_counts.c)
 *                          engine/rate_limit.c        rates of one connection
 *   repeated access checks httpd/reauthorize.c
 *   requests to itself     httpd/loopback.c           requests on behalf of a client
 *   history                channels/history_lmdb.c    the store
 *                          httpd/history.c            the directives
 *   start and stop         httpd/subsystems.c         all subsystems, in order
 *                          httpd/child.c              the child process
 *                          httpd/handlers.c           start and stop of handlers
 *                          httpd/stranded.c           accepted connections that httpd never started
 *   shared by children     httpd/shm.c                shared memory, with a slot for each child
 *                          httpd/ipc.c                messages between children
 *   channels               channels/                  subscribers, publishing, presence, resuming
 *                          httpd/channels.c           the channels of a child
 *                          httpd/bus_local.c          messages between children (httpd/interest.c)
 *                          httpd/channel_acl.c        access control
 *                          httpd/access.c             sections without access control
 *   monitoring             httpd/counters.c, httpd/metrics.c, httpd/connections.c, httpd/status.c
 */

#include <httpd.h>
#include <http_config.h>

#include "httpd/config.h"
#include "httpd/directives.h"
#include "httpd/subsystems.h"

AP_DECLARE_MODULE(websocket) = {STANDARD20_MODULE_STUFF,
                                ws_create_dir_config,
                                ws_merge_dir_config,
                                ws_create_server_config,
                                NULL,
                                ws_directives,
                                ws_subsystems_register,
                                0};
