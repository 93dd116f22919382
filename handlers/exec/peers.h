/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The other child processes, as the owner of a program for all of them has them: each is a connection that
 * carries the same lines as the program's pipes, behind their length. All of it under the hub's lock.
 */

#ifndef WS_EXEC_PEERS_H
#define WS_EXEC_PEERS_H

#include <poll.h>

#include "framing.h"
#include "ids.h"

/** Bytes that wait in one direction before who writes them has to wait. */
#define EXEC_MARK (256 * 1024)

typedef struct exec_peer {
    struct exec_peer *next;
    int fd;
    int leaving; /**< it is closed when it has taken what waits */
    outbox to;
    exec_input from;
    exec_ids ids;       /**< of its connections that the program knows */
    apr_time_t stalled; /**< since when it has taken nothing of what waits; 0: nothing waits */
} exec_peer;

/** What a peer says. @param len  of the line, without its tag in front */
typedef void exec_peer_says(void *arg, exec_peer *p, const char *line, apr_size_t len);

/** Take over a connection, and greet. fd is closed if there is no memory. */
void exec_peer_add(exec_peer **all, int fd);

/** Queue a line. */
void exec_peer_put(exec_peer *p, const char *line, apr_size_t len);

/** Whether one of them has so much to take that the program is not read. */
int exec_peers_full(const exec_peer *all);

/** Whether one of them has anything to take. */
int exec_peers_waiting(const exec_peer *all);

unsigned exec_peers_count(const exec_peer *all);

/** @param hold  the program does not read: nor are they. @return how many of fds */
int exec_peers_fill(const exec_peer *all, struct pollfd *fds, int hold);

/**
 * One of fds has been polled. Does nothing if it is none of theirs.
 * @param gone  called for each that has gone, before it is freed
 */
void exec_peers_act(exec_peer **all, const struct pollfd *fd, exec_peer_says *says,
                    void (*gone)(void *arg, exec_peer *p), void *arg);

/** Close those that have taken nothing for too long. */
void exec_peers_sweep(exec_peer **all, void (*gone)(void *arg, exec_peer *p), void *arg);

/** Close all, at once. */
void exec_peers_close(exec_peer **all);

#endif
