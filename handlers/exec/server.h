/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Which child process has the program that all of them share (shared=server), and how the others reach it.
 *
 * The parent makes a lock and a listening unix socket, which all children inherit, those of later
 * generations too. The child that holds the lock owns the program and accepts on the socket. The kernel
 * frees the lock when its process ends, however that happens; connections that nobody has accepted stay
 * in the socket for the next owner.
 */

#ifndef WS_EXEC_SERVER_H
#define WS_EXEC_SERVER_H

#include <apr_pools.h>
#include <apr_time.h>

typedef struct exec_server exec_server;

/**
 * In the parent. What a line of an earlier configuration has made is found again by its name.
 * @return NULL when there are no descriptors or no memory
 */
exec_server *exec_server_new(apr_pool_t *pconf, const char *name);

/** Try to become the owner. @return whether this process is */
int exec_server_own(exec_server *s);
void exec_server_disown(exec_server *s);

/** Connect to the owner, whichever it is. @return a non-blocking descriptor, or -1 */
int exec_server_connect(const exec_server *s);

/** The owner's: descriptor to poll, and one that has connected. @return -1 if there is none */
int exec_server_listener(const exec_server *s);
int exec_server_accept(const exec_server *s);

/** When the program was last started, by any process. */
apr_time_t exec_server_started(const exec_server *s);
void exec_server_set_started(exec_server *s, apr_time_t when);

#endif
