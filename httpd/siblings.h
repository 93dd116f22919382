/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Messages between the children of one httpd, old generations and new ones. Each slot of shared.h has
 * a pair of sockets, made by the parent and kept across reloads: the child that owns the slot reads
 * one end, all others write to the other. The kernel does the queueing and the waking, and cleans up
 * after a crash; there is no lock that a killed child could leave held.
 *
 * Each child has a thread that receives. Nothing is ever waited for but the answer of ask.
 */

#ifndef WS_HTTPD_SIBLINGS_H
#define WS_HTTPD_SIBLINGS_H

#include <httpd.h>
#include <sys/uio.h>

/** Greatest message, bytes. */
#define WS_SIBLING_SIZE (32 * 1024)

/** What a message is about. Children of two versions of the module can meet: a meaning never changes. */
typedef enum {
    WS_SIBLING_ANSWER,
    WS_SIBLING_LIST,    /**< list connections: httpd/list.c */
    WS_SIBLING_CLOSE,   /**< close one: httpd/list.c */
    WS_SIBLING_PACKETS, /**< of channels: httpd/localbus.c */
    WS_SIBLING_KINDS
} ws_sibling_kind;

typedef struct ws_sibling_message {
    unsigned from;             /**< slot of the sender */
    apr_uint32_t from_process; /**< see ws_shared_process() */
    apr_uint32_t request;      /**< for the answer */
    const void *data;          /**< valid until the function returns; aligned to 8 bytes */
    apr_size_t len;
    int fd; /**< a descriptor that came along, closed when the function has returned; -1: none */
} ws_sibling_message;

/** fn is called for messages of this kind, on the thread that receives; it must not block.
 *  [register_hooks] */
void ws_siblings_on(ws_sibling_kind kind, void (*fn)(const ws_sibling_message *m));

/** post_config, behind ws_shared_init(). */
void ws_siblings_init(server_rec *s);

/** child_init, behind ws_shared_child_init(). */
void ws_siblings_child_init(apr_pool_t *pchild, server_rec *s);

/** No function of ws_siblings_on() runs any more when this returns. */
void ws_siblings_child_exit(void);

/** Send to the child that owns a slot; never waits.  [any thread of a child]
 *  @return 0; -1 when it takes no more, or has no socket */
int ws_siblings_answer(const ws_sibling_message *m, const void *data, apr_size_t len);

/**
 * Send to the process that owned a slot when it was looked up; never waits.  [any thread of a child]
 * @param n   entries of iov, at most WS_SIBLING_IOVECS, WS_SIBLING_SIZE bytes in all
 * @param fd  a descriptor to go along, or -1
 * @return 0; -1 with errno: EAGAIN when it takes no more
 */
int ws_siblings_send(unsigned slot, apr_uint32_t process, ws_sibling_kind kind,
                     const struct iovec *iov, int n, int fd);
#define WS_SIBLING_IOVECS 64

/** To poll for POLLOUT.  [any thread of a child] */
int ws_siblings_socket(unsigned slot);

/** How many slots, from the first on, have sockets.  [any thread] */
unsigned ws_siblings_count(void);

/** Whether this child receives anything.  [any thread of a child] */
int ws_siblings_reachable(void);

/**
 * Send to the child that owns a slot, this one included, and wait for its answer.  [threads of httpd]
 * @param answer   size bytes
 * @param timeout  milliseconds
 * @return bytes of the answer, cut to size; -1 when none has come
 */
apr_ssize_t ws_siblings_ask(unsigned slot, ws_sibling_kind kind, const void *data, apr_size_t len,
                            void *answer, apr_size_t size, apr_uint32_t timeout);

#endif
