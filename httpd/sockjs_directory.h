/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Which child has a session of SockJS: a table in shared memory. */

#ifndef WS_HTTPD_SOCKJS_DIRECTORY_H
#define WS_HTTPD_SOCKJS_DIRECTORY_H

#include "httpd/shm.h"
#include "sockjs/session.h"

extern const ws_shm_layout *const ws_sockjs_directory_layout[];

apr_status_t ws_sockjs_directory_init(apr_pool_t *ptemp, server_rec *s);

typedef enum {
    WS_SOCKJS_NONE,  /**< there is none */
    WS_SOCKJS_MINE,  /**< there was none: it is this child's from now on */
    WS_SOCKJS_KNOWN, /**< a child has it */
    WS_SOCKJS_LOST,  /**< a child had it, and has ended */
    WS_SOCKJS_NO_ROOM
} ws_sockjs_place;

/** @param slot  set to the child's  [threads of a child] */
ws_sockjs_place ws_sockjs_directory_find(const ws_sockjs_key *key, unsigned *slot);

/** The same, but a session that does not exist becomes this child's. */
ws_sockjs_place ws_sockjs_directory_claim(const ws_sockjs_key *key, unsigned *slot);

/** A session of this child has ended. */
void ws_sockjs_directory_release(const ws_sockjs_key *key);

#endif
