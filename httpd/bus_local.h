/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements the bus for channel messages between the children of one httpd, which can belong to
 * different generations (before and after a reload).
 *
 * interest.h records in shared memory which child has subscribers of which channel. Its table has a
 * row for each slot, and each child owns a slot (shm.h). Only the owner of a slot writes to the
 * slot's row. After this child has ended, the parent clears the row. A publisher reads the rows and
 * writes to the sockets of the interested children (ipc.h). Packets that a socket does not accept
 * wait in a bounded queue in the publisher's process, and a thread sends them.
 */

#ifndef WS_HTTPD_BUS_LOCAL_H
#define WS_HTTPD_BUS_LOCAL_H

#include <httpd.h>

#include "channels/channels.h"

/** register_hooks: set the function that receives packets from other children. */
void ws_bus_local_register(apr_pool_t *p);

/**
 * child_init, after ws_ipc_child_init().
 * @param server  ws_server()
 * @param queue   maximum size of the queue for one child, bytes
 * @return NULL: this child has no bus; the reason has been logged
 */
ws_bus *ws_bus_local_child_init(apr_pool_t *pchild, server_rec *s, apr_uint64_t server,
                                apr_size_t queue);

/** Stop accepting packets, and send the queued ones for at most half a second. */
void ws_bus_local_child_stop(void);

#endif
