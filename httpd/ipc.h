/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sends messages between the children of one httpd, which can belong to different generations
 * (before and after a reload). The parent creates a socket pair for each slot of shm.h and keeps it
 * across reloads. The child that owns the slot reads from one end, and all other children write to
 * the other end. The kernel queues messages, wakes readers and cleans up after a crash. No lock is
 * needed that a killed child could leave locked.
 *
 * A thread of each child receives the messages. Only ws_ipc_ask() and ws_ipc_ask_iov() wait for an
 * answer.
 */

#ifndef WS_HTTPD_IPC_H
#define WS_HTTPD_IPC_H

#include <httpd.h>
#include <sys/uio.h>

#include "engine/engine.h"
#include "httpd/shm.h"

/** Largest message, bytes. */
#define WS_IPC_SIZE (32 * 1024)

/** How long a caller waits until it can send a message with a descriptor, milliseconds. */
#define WS_IPC_PATIENCE 15000

extern const ws_shm_layout *const ws_ipc_layout[];

/** The kinds of messages. Children whose build has another layout of shared memory (shm.h) use
 *  other sockets. */
typedef enum {
    WS_IPC_ANSWER,
    WS_IPC_LIST,          /**< list connections (httpd/connections.c) */
    WS_IPC_CLOSE,         /**< close a connection (httpd/connections.c) */
    WS_IPC_PACKETS,       /**< channel messages (httpd/bus_local.c) */
    WS_IPC_SOCKJS_ATTACH, /**< a response for a session (httpd/sockjs_route.c) */
    WS_IPC_SOCKJS_INPUT,  /**< messages for a session (httpd/sockjs_route.c) */
    WS_IPC_KINDS
} ws_ipc_kind;

typedef struct ws_ipc_message {
    unsigned from;             /**< slot of the sender */
    apr_uint32_t from_process; /**< see ws_shm_process() */
    apr_uint32_t request;      /**< number to repeat in the answer */
    const void *data;          /**< valid until the function returns; aligned to 8 bytes */
    apr_size_t len;
    int fd; /**< descriptor that came with the message, closed after the function has returned;
                 -1: none */
} ws_ipc_message;

/**
 * Set the function for messages of a kind. The receiving thread calls the function, so it must not
 * block. [register_hooks]
 */
void ws_ipc_on(ws_ipc_kind kind, void (*fn)(const ws_ipc_message *m));

/** parent_init: create the socket pairs. */
apr_status_t ws_ipc_init(apr_pool_t *ptemp, server_rec *s);

/** child_init, after ws_shm_child_init(): start receiving. */
apr_status_t ws_ipc_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** child_stop: stop receiving. When it returns, no function set with ws_ipc_on() is running. */
int ws_ipc_child_stop(void);

/**
 * Process a received message. Public only for the fuzz target.
 * @param bytes  aligned to 8
 * @param fd     the descriptor that came with the message, or -1
 */
void ws_ipc_receive(const void *bytes, apr_size_t len, int fd);

/**
 * Answer a message. Never blocks.  [any thread in a child]
 * @return 0; -1 if the socket is full or does not exist
 */
int ws_ipc_answer(const ws_ipc_message *m, const void *data, apr_size_t len);

/**
 * Send a message to a process. `slot` is its slot, and `process` is the number that
 * ws_shm_owner_of() returned for this slot.  [any thread of a child]
 * @param n        entries of iov, at most WS_IPC_IOVECS, WS_IPC_SIZE bytes in all
 * @param fd       a descriptor to pass, or -1
 * @param timeout  how long to wait while the message cannot be sent, milliseconds; 0: do not block
 * @return 0; -1 with errno. EAGAIN: the socket is full. ETOOMANYREFS: the processes of httpd's user
 *         have too many descriptors in flight (unix(7)), and POLLOUT does not show when this ends.
 *         ESRCH: another process owns the slot by now
 */
int ws_ipc_send(unsigned slot, apr_uint32_t process, ws_ipc_kind kind, const struct iovec *iov,
                int n, int fd, apr_uint32_t timeout);
#define WS_IPC_IOVECS 64

/** Get the socket of a slot, which the caller can poll for POLLOUT.  [any thread in a child] */
int ws_ipc_socket(unsigned slot);

/** Get the number of slots that have sockets, starting at slot 0.  [any thread] */
unsigned ws_ipc_count(void);

/** Whether this child receives messages.  [any thread in a child] */
int ws_ipc_reachable(void);

/**
 * Send a message to the child that owns a slot, which may be this child, and wait for its answer.
 * While the message cannot be sent, this waits like ws_ipc_send(). [httpd's threads]
 * @param answer   size bytes
 * @param timeout  milliseconds
 * @return length of the answer, truncated to size; -1 if none arrived in time, with errno as for
 *         ws_ipc_send(), or ETIMEDOUT
 */
apr_ssize_t ws_ipc_ask(unsigned slot, ws_ipc_kind kind, const void *data, apr_size_t len,
                       void *answer, apr_size_t size, apr_uint32_t timeout);

/** Like ws_ipc_ask(), with n pieces and a descriptor as in ws_ipc_send(). */
apr_ssize_t ws_ipc_ask_iov(unsigned slot, ws_ipc_kind kind, const struct iovec *iov, int n, int fd,
                           void *answer, apr_size_t size, apr_uint32_t timeout);

#endif
