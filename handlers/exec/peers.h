/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Manages the other child processes (peers) in the owner, which is the process that runs a program
 * that all processes share. Each peer is a connection that carries the same lines as the program's
 * pipes, each preceded by its length. Call these functions with the shared program's lock held.
 */

#ifndef WS_EXEC_PEERS_H
#define WS_EXEC_PEERS_H

#include <poll.h>

#include "framing.h"
#include "ids.h"

/** Maximum size of a queue in one direction, bytes. If a queue is longer, the writer must wait. */
#define EXEC_MARK (256 * 1024)

typedef struct exec_peer {
    struct exec_peer *next;
    int fd;
    int leaving; /**< 1: close the connection when its queue is empty */
    outbox to;
    exec_input from;
    exec_ids ids;       /**< the peer's connections that the program knows */
    apr_time_t stalled; /**< time when the peer last read from its queue; 0: the queue is empty */
} exec_peer;

/** A function that is called with a line from a peer. @param len  length of the line */
typedef void exec_peer_says(void *arg, exec_peer *p, const char *line, apr_size_t len);

/** Add the connection of a peer, and send the greeting to it. Closes fd if memory is exhausted. */
void exec_peer_add(exec_peer **all, int fd);

/** Queue a line for a peer. */
void exec_peer_put(exec_peer *p, const char *line, apr_size_t len);

/** Whether any peer's queue is so long that the owner must stop reading from the program. */
int exec_peers_full(const exec_peer *all);

/** Whether any peer's queue contains data. */
int exec_peers_waiting(const exec_peer *all);

unsigned exec_peers_count(const exec_peer *all);

/**
 * Fill in the descriptors to poll.
 * @param hold  1: do not read from peers, because the program is not reading
 * @return number of descriptors
 */
int exec_peers_fill(const exec_peer *all, struct pollfd *fds, int hold);

/**
 * Handle a polled descriptor. A descriptor that does not belong to a peer is ignored.
 * @param gone  called for each peer that has ended, before it is freed
 */
void exec_peers_act(exec_peer **all, const struct pollfd *fd, exec_peer_says *says,
                    void (*gone)(void *arg, exec_peer *p), void *arg);

/** Close the connections of peers that have read nothing for too long. */
void exec_peers_sweep(exec_peer **all, void (*gone)(void *arg, exec_peer *p), void *arg);

/** Close the connections of all peers immediately. */
void exec_peers_close(exec_peer **all);

#endif
