/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The bus between the children of one httpd, old generations and new ones.
 *
 * Which child wants which channel stands in shared memory: a row for each slot of shared.h, which that
 * child alone writes and the parent clears when it has ended. A publisher looks there, and writes to the
 * sockets of those who want it (siblings.h). What a socket does not take waits in the publisher's
 * process, bounded, and is sent by a thread.
 */

#ifndef WS_HTTPD_LOCALBUS_H
#define WS_HTTPD_LOCALBUS_H

#include <httpd.h>

#include "channels/channels.h"

/** register_hooks. */
void ws_localbus_register(void);

/** post_config, behind ws_siblings_init(). @return 0, or -1 when there is no memory */
int ws_localbus_init(server_rec *s);

/**
 * child_init, behind ws_siblings_child_init().
 * @param server  ws_server()
 * @param queue   bytes that may wait for a child
 * @return NULL when this child cannot take part, which has been logged
 */
ws_bus *ws_localbus_child_init(apr_pool_t *pchild, server_rec *s, apr_uint64_t server,
                               apr_size_t queue);

/** Send what waits, for half a second at most, and nothing more. */
void ws_localbus_child_stop(void);

#endif
