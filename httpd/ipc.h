/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Messages between the children of one httpd, old generations and new ones. Each slot of shm.h has
 * a pair of sockets, made by the parent and kept across reloads: the child that owns the slot reads
 * one end, all others write to the other. The kernel does the queueing and the waking, and cleans up
 * after a crash; there is no lock that a killed child could leave held.
 *
 * Each child has a thread that receives. Nothing is ever waited for but the answer of ask.
 */

#ifndef WS_HTTPD_IPC_H
#define WS_HTTPD_IPC_H

#include <httpd.h>
#include <sys/uio.h>

#include "engine/engine.h"
#include "httpd/shm.h"

/** Greatest message, bytes. */
#define WS_IPC_SIZE (32 * 1024)

extern const ws_shm_layout *const ws_ipc_layout[];

/** What a message is about. Children of builds with another layout (shm.h) have other sockets. */
typedef enum {
    WS_IPC_ANSWER,
    WS_IPC_LIST,          /**< list connections: httpd/connections.c */
    WS_IPC_CLOSE,         /**< close one: httpd/connections.c */
    WS_IPC_PACKETS,       /**< of channels: httpd/bus_local.c */
    WS_IPC_SOCKJS_ATTACH, /**< a response for a session: httpd/sockjs_route.c */
    WS_IPC_SOCKJS_INPUT,  /**< messages for one: httpd/sockjs_route.c */
    WS_IPC_KINDS
} ws_ipc_kind;

typedef struct ws_ipc_message {
    unsigned from;             /**< slot of the sender */
    apr_uint32_t from_process; /**< see ws_shm_process() */
    apr_uint32_t request;      /**< for the answer */
    const void *data;          /**< valid until the function returns; aligned to 8 bytes */
    apr_size_t len;
    int fd; /**< a descriptor that came along, closed when the function has returned; -1: none */
} ws_ipc_message;

/** fn is called for messages of this kind, on the thread that receives; it must not block.
 *  [register_hooks] */
void ws_ipc_on(ws_ipc_kind kind, void (*fn)(const ws_ipc_message *m));

/** parent_init: the sockets. */
apr_status_t ws_ipc_init(apr_pool_t *ptemp, server_rec *s);

/** child_init, after ws_shm_child_init(): receive. */
apr_status_t ws_ipc_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options);

/** child_stop: no function of ws_ipc_on() runs any more when this returns. */
int ws_ipc_child_stop(void);

/** What the thread does with a message; for the fuzz target. @param bytes  aligned to 8  @param fd  a
 *  descriptor that came along, or -1 */
void ws_ipc_receive(const void *bytes, apr_size_t len, int fd);

/** Send to the child that owns a slot; never waits.  [any thread of a child]
 *  @return 0; -1 when it takes no more, or has no socket */
int ws_ipc_answer(const ws_ipc_message *m, const void *data, apr_size_t len);

/**
 * Send to the process that owned a slot when it was looked up; never waits.  [any thread of a child]
 * @param n   entries of iov, at most WS_IPC_IOVECS, WS_IPC_SIZE bytes in all
 * @param fd  a descriptor to go along, or -1
 * @return 0; -1 with errno: EAGAIN when it takes no more
 */
int ws_ipc_send(unsigned slot, apr_uint32_t process, ws_ipc_kind kind, const struct iovec *iov,
                int n, int fd);
#define WS_IPC_IOVECS 64

/** To poll for POLLOUT.  [any thread of a child] */
int ws_ipc_socket(unsigned slot);

/** How many slots, from the first on, have sockets.  [any thread] */
unsigned ws_ipc_count(void);

/** Whether this child receives anything.  [any thread of a child] */
int ws_ipc_reachable(void);

/**
 * Send to the child that owns a slot, this one included, and wait for its answer.  [threads of httpd]
 * @param answer   size bytes
 * @param timeout  milliseconds
 * @return bytes of the answer, cut to size; -1 when none has come
 */
apr_ssize_t ws_ipc_ask(unsigned slot, ws_ipc_kind kind, const void *data, apr_size_t len,
                       void *answer, apr_size_t size, apr_uint32_t timeout);

/** The same, with n pieces and a descriptor as for ws_ipc_send(). */
apr_ssize_t ws_ipc_ask_iov(unsigned slot, ws_ipc_kind kind, const struct iovec *iov, int n, int fd,
                           void *answer, apr_size_t size, apr_uint32_t timeout);

#endif
