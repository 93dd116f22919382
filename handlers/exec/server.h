/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Selects the owner of a program that all child processes share (shared=server), and connects the
 * other processes to the owner.
 *
 * The parent creates a lock and a listening unix socket, which all children inherit, including
 * those of later generations. The child that holds the lock owns the program and accepts on the
 * socket. The kernel frees the lock when that process ends for any reason. Connections that the
 * process has not accepted wait in the socket for the next owner.
 */

#ifndef WS_EXEC_SERVER_H
#define WS_EXEC_SERVER_H

#include <apr_pools.h>
#include <apr_time.h>

typedef struct exec_server exec_server;

/**
 * Find the server that an earlier configuration created under this name, or create one. The parent
 * must call this.
 * @return NULL: no descriptors are left, or out of memory
 */
exec_server *exec_server_new(apr_pool_t *pconf, const char *name);

/** Try to become the owner. @return whether this process is the owner */
int exec_server_own(exec_server *s);
void exec_server_disown(exec_server *s);

/** Connect to the owner. @return a non-blocking descriptor, or -1 */
int exec_server_connect(const exec_server *s);

/** exec_server_listener() returns the descriptor that the owner polls. exec_server_accept() accepts
 *  a connection, or returns -1. */
int exec_server_listener(const exec_server *s);
int exec_server_accept(const exec_server *s);

/** Get the time when any process last started the program. */
apr_time_t exec_server_started(const exec_server *s);
void exec_server_set_started(exec_server *s, apr_time_t when);

#endif
