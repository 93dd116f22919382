/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The other child processes, as seen by the owner of a program that all processes share. Each peer
 * is a connection that carries the same lines as the program's pipes, each preceded by its length.
 * Call these functions with the shared program's lock held.
 */

#ifndef WS_EXEC_PEERS_H
#define WS_EXEC_PEERS_H

#include <poll.h>

#include "framing.h"
#include "ids.h"

/** Bytes queued in one direction before the writer must wait. */
#define EXEC_MARK (256 * 1024)

typedef struct exec_peer {
    struct exec_peer *next;
    int fd;
    int leaving; /**< close it when its queue is empty */
    outbox to;
    exec_input from;
    exec_ids ids;       /**< the peer's connections that the program knows */
    apr_time_t stalled; /**< when the peer last read from its queue; 0: the queue is empty */
} exec_peer;

/** Called with a line of a peer. @param len  length of the line */
typedef void exec_peer_says(void *arg, exec_peer *p, const char *line, apr_size_t len);

/** Add a connection, and send the greeting. Closes fd if memory is exhausted. */
void exec_peer_add(exec_peer **all, int fd);

/** Queue a line. */
void exec_peer_put(exec_peer *p, const char *line, apr_size_t len);

/** Whether a peer's queue is so long that the owner must stop reading from the program. */
int exec_peers_full(const exec_peer *all);

/** Whether a peer's queue is not empty. */
int exec_peers_waiting(const exec_peer *all);

unsigned exec_peers_count(const exec_peer *all);

/** @param hold  do not read from peers, because the program is not reading
 *  @return number of fds */
int exec_peers_fill(const exec_peer *all, struct pollfd *fds, int hold);

/**
 * Handle a polled descriptor. Ignores one that is not a peer's.
 * @param gone  called for each peer that has ended, before it is freed
 */
void exec_peers_act(exec_peer **all, const struct pollfd *fd, exec_peer_says *says,
                    void (*gone)(void *arg, exec_peer *p), void *arg);

/** Close peers that have read nothing for too long. */
void exec_peers_sweep(exec_peer **all, void (*gone)(void *arg, exec_peer *p), void *arg);

/** Close all peers immediately. */
void exec_peers_close(exec_peer **all);

#endif
