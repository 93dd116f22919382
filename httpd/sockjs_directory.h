/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Keeps a table in shared memory that names the child of each SockJS session. */

#ifndef WS_HTTPD_SOCKJS_DIRECTORY_H
#define WS_HTTPD_SOCKJS_DIRECTORY_H

#include "httpd/shm.h"
#include "sockjs/session.h"

extern const ws_shm_layout *const ws_sockjs_directory_layout[];

apr_status_t ws_sockjs_directory_init(apr_pool_t *ptemp, server_rec *s);

typedef enum {
    WS_SOCKJS_NONE,   /**< the session does not exist */
    WS_SOCKJS_MINE,   /**< the session did not exist, and now belongs to this child */
    WS_SOCKJS_KNOWN,  /**< a child has the session */
    WS_SOCKJS_LOST,   /**< the child that had the session has ended */
    WS_SOCKJS_NO_ROOM /**< the table is full or missing, or this child has no slot or no IPC */
} ws_sockjs_owner;

/** Find a session. @param slot  set to the slot of its child  [threads in a child] */
ws_sockjs_owner ws_sockjs_directory_find(const ws_sockjs_key *key, unsigned *slot);

/** Find a session, or create its entry. A session that did not exist then belongs to this child. */
ws_sockjs_owner ws_sockjs_directory_claim(const ws_sockjs_key *key, unsigned *slot);

/** Remove a session of this child that has ended. */
void ws_sockjs_directory_release(const ws_sockjs_key *key);

#endif
