/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The bus between the children of one httpd, old generations and new ones.
 *
 * Which child wants which channel stands in shared memory: a row for each slot of shm.h, which that
 * child alone writes and the parent clears when it has ended. A publisher looks there, and writes to the
 * sockets of those who want it (ipc.h). What a socket does not take waits in the publisher's
 * process, bounded, and is sent by a thread.
 */

#ifndef WS_HTTPD_BUS_LOCAL_H
#define WS_HTTPD_BUS_LOCAL_H

#include <httpd.h>

#include "channels/channels.h"

/** register_hooks. */
void ws_bus_local_register(apr_pool_t *p);

/**
 * child_init, behind ws_ipc_child_init().
 * @param server  ws_server()
 * @param queue   bytes that may wait for a child
 * @return NULL when this child cannot take part, which has been logged
 */
ws_bus *ws_bus_local_child_init(apr_pool_t *pchild, server_rec *s, apr_uint64_t server,
                                apr_size_t queue);

/** Send what waits, for half a second at most, and nothing more. */
void ws_bus_local_child_stop(void);

#endif
