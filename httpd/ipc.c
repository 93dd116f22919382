/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sends messages between the children of one httpd. Each child owns a slot (shm.h), and receives
 * through the socket pair of its slot. If a child's socket is full, sending to the child fails,
 * unless the sender has asked to wait.
 */

#include "httpd/ipc.h"

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <errno.h>
#include <http_log.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/wake.h"
#include "base/thread.h"
#include "httpd/child.h"
#include "httpd/shm.h"

APLOG_USE_MODULE(websocket);

/* Each pair needs two descriptors in the parent, and one or two in each child. */
#define PAIRS_MAX 512

/* Size of a socket's send buffer, bytes. The system may limit it to less. */
#define SOCKET_BUFFER (4 * 1024 * 1024)

/* Pause before the next attempt to send a message that could not be sent, microseconds. */
#define SEND_PAUSE 2000

WS_SHM_STRUCT(head, {
    apr_uint32_t layout; /* ws_shm_layout_id() */
    apr_uint16_t kind, from;
    apr_uint32_t from_process, to_process, request, none;
});

WS_SHM_NUMBER(WS_IPC_SIZE);
WS_SHM_NUMBER(WS_IPC_KINDS);

const ws_shm_layout *const ws_ipc_layout[] = {&head_layout, &WS_IPC_SIZE_layout,
                                              &WS_IPC_KINDS_layout, NULL};

/* A thread that is waiting in ws_ipc_ask(). */
typedef struct waiter {
    struct waiter *next;
    apr_uint32_t request;
    void *answer;
    apr_size_t size;
    apr_ssize_t got; /* bytes; -1: no answer yet */
} waiter;

/* [0] is the number of descriptors. Two descriptors follow for each slot: the end that its owner
 * reads, and the end that all others write to. */
static int *descriptors;
static void (*receivers[WS_IPC_KINDS])(const ws_ipc_message *m);
static apr_thread_mutex_t *lock; /* protects the three variables below */
static apr_thread_cond_t *answered;
static waiter *waiters;
static apr_uint32_t requests;
static apr_thread_t *thread;
static int stop_fd = -1;

void ws_ipc_on(ws_ipc_kind kind, void (*fn)(const ws_ipc_message *m))
{
    receivers[kind] = fn;
}

/* ---- Parent ---- */

static void ipc_set_buffer(int fd)
{
    int size = SOCKET_BUFFER;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
}

/* Raise the soft limit of descriptors, because each pair needs two descriptors. @return 1: try
 * again */
static int ipc_raise_limit(void)
{
    struct rlimit limit;
    if (errno != EMFILE || getrlimit(RLIMIT_NOFILE, &limit) < 0
        || limit.rlim_cur >= limit.rlim_max) {
        return 0;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static int ipc_make_pair(int fd[2])
{
    while (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0) {
        if (!ipc_raise_limit()) {
            return 0;
        }
    }
    ipc_set_buffer(fd[1]);
    return 1;
}

apr_status_t ws_ipc_init(apr_pool_t *ptemp, server_rec *s)
{
    unsigned most = ws_shm_slots() < PAIRS_MAX ? ws_shm_slots() : PAIRS_MAX;

    (void)ptemp;
    descriptors = ws_shm_private("sockets", (1 + 2 * most) * sizeof(*descriptors));
    ws_shm_keep_descriptors(descriptors);
    if (descriptors[0]) {
        return APR_SUCCESS;
    }
    while (ws_ipc_count() < most && ipc_make_pair(&descriptors[1 + descriptors[0]])) {
        descriptors[0] += 2;
    }
    if (ws_ipc_count() < most) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s,
                     "websocket: the descriptor limit allows only %u child processes to exchange "
                     "channel messages and the status page: increase it (LimitNOFILE, ulimit -Hn)",
                     ws_ipc_count());
    }
    return APR_SUCCESS;
}

/* ---- Sending ---- */

typedef union passed_fd {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
} passed_fd;

static int ipc_send_iov(unsigned slot, const head *h, const struct iovec *data, int n, int fd)
{
    struct iovec iov[1 + WS_IPC_IOVECS] = {{(void *)h, sizeof(*h)}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (apr_size_t)n + 1};
    passed_fd control;

    if (slot >= ws_ipc_count()) {
        errno = ENOTCONN;
        return -1;
    }
    memcpy(iov + 1, data, (apr_size_t)n * sizeof(*data));
    if (fd >= 0) {
        struct cmsghdr *c = &control.align;
        memset(&control, 0, sizeof(control));
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(fd));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    return sendmsg(ws_ipc_socket(slot), &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* Like ws_ipc_send(), but keeps trying until the time `until`. */
static int ipc_send_until(unsigned slot, const head *h, const struct iovec *data, int n, int fd,
                          apr_time_t until)
{
    struct pollfd p = {.fd = -1, .events = POLLOUT};
    ws_shm_owner owner;
    while (ipc_send_iov(slot, h, data, n, fd) < 0) {
        apr_time_t left = until - apr_time_now();
        if ((errno != EAGAIN && errno != ETOOMANYREFS) || left <= 0) {
            return -1;
        }
        /* Other processes also write to the socket, so it may be full again. */
        p.fd = ws_ipc_socket(slot);
        if (errno == ETOOMANYREFS || poll(&p, 1, 1 + (int)apr_time_as_msec(left)) > 0) {
            apr_sleep(SEND_PAUSE);
        }
        if (!ws_shm_owner_of(slot, &owner) || owner.process != h->to_process) {
            errno = ESRCH;
            return -1;
        }
    }
    return 0;
}

static int ipc_send_to(unsigned slot, const head *h, const void *data, apr_size_t len)
{
    struct iovec iov = {(void *)data, len};
    return ipc_send_iov(slot, h, &iov, 1, -1);
}

int ws_ipc_send(unsigned slot, apr_uint32_t process, ws_ipc_kind kind, const struct iovec *iov,
                int n, int fd, apr_uint32_t timeout)
{
    head h = {.layout = ws_shm_layout_id(),
              .kind = (apr_uint16_t)kind,
              .from = (apr_uint16_t)ws_shm_slot(),
              .from_process = ws_shm_process(),
              .to_process = process};
    return timeout
               ? ipc_send_until(slot, &h, iov, n, fd, apr_time_now() + apr_time_from_msec(timeout))
               : ipc_send_iov(slot, &h, iov, n, fd);
}

int ws_ipc_socket(unsigned slot)
{
    return descriptors[2 + 2 * slot];
}

unsigned ws_ipc_count(void)
{
    return descriptors ? (unsigned)descriptors[0] / 2 : 0;
}

int ws_ipc_reachable(void)
{
    return thread != NULL;
}

int ws_ipc_answer(const ws_ipc_message *m, const void *data, apr_size_t len)
{
    head h = {.layout = ws_shm_layout_id(),
              .kind = WS_IPC_ANSWER,
              .from = (apr_uint16_t)ws_shm_slot(),
              .from_process = ws_shm_process(),
              .to_process = m->from_process,
              .request = m->request};
    return ipc_send_to(m->from, &h, data, len);
}

apr_ssize_t ws_ipc_ask(unsigned slot, ws_ipc_kind kind, const void *data, apr_size_t len,
                       void *answer, apr_size_t size, apr_uint32_t timeout)
{
    struct iovec iov = {(void *)data, len};
    return ws_ipc_ask_iov(slot, kind, &iov, 1, -1, answer, size, timeout);
}

apr_ssize_t ws_ipc_ask_iov(unsigned slot, ws_ipc_kind kind, const struct iovec *iov, int n, int fd,
                           void *answer, apr_size_t size, apr_uint32_t timeout)
{
    apr_time_t until = apr_time_now() + apr_time_from_msec(timeout);
    waiter w = {.answer = answer, .size = size, .got = -1}, **link;
    head h = {.layout = ws_shm_layout_id(),
              .kind = (apr_uint16_t)kind,
              .from = (apr_uint16_t)ws_shm_slot(),
              .from_process = ws_shm_process()};
    ws_shm_owner owner;
    int error = ETIMEDOUT;

    if (!thread || !ws_shm_owner_of(slot, &owner)) {
        errno = ESRCH;
        return -1;
    }
    h.to_process = owner.process;
    apr_thread_mutex_lock(lock);
    h.request = w.request = ++requests;
    w.next = waiters;
    waiters = &w;
    apr_thread_mutex_unlock(lock);
    if (ipc_send_until(slot, &h, iov, n, fd, until) < 0) {
        error = errno;
        until = 0;
    }
    apr_thread_mutex_lock(lock);
    while (w.got < 0 && ws_child_wait(answered, lock, until)) {
    }
    for (link = &waiters; *link != &w; link = &(*link)->next) {
    }
    *link = w.next;
    apr_thread_mutex_unlock(lock);
    errno = error;
    return w.got;
}

/* ---- Receiving ---- */

static void ipc_take_answer(const ws_ipc_message *m)
{
    apr_thread_mutex_lock(lock);
    for (waiter *w = waiters; w; w = w->next) {
        if (w->request == m->request && w->got < 0) {
            apr_size_t len = m->len < w->size ? m->len : w->size;
            memcpy(w->answer, m->data, len);
            w->got = (apr_ssize_t)len;
            apr_thread_cond_broadcast(answered);
        }
    }
    apr_thread_mutex_unlock(lock);
}

void ws_ipc_receive(const void *bytes, apr_size_t len, int fd)
{
    const head *h = bytes;
    ws_ipc_message m;
    /* The socket can still contain messages for the previous owner of the slot. */
    if (len < sizeof(*h) || h->layout != ws_shm_layout_id() || h->to_process != ws_shm_process()) {
        return;
    }
    m.from = h->from;
    m.from_process = h->from_process;
    m.request = h->request;
    m.data = h + 1;
    m.len = len - sizeof(*h);
    m.fd = fd;
    if (h->kind == WS_IPC_ANSWER) {
        ipc_take_answer(&m);
    }
    else if (h->kind < WS_IPC_KINDS && receivers[h->kind]) {
        receivers[h->kind](&m);
    }
}

/* Get the received descriptor. If a faulty sender has passed several descriptors, close all except
 * the first.
 * @return the first, or -1 */
static int ipc_take_descriptor(struct msghdr *m)
{
    int first = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        int rights = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS;
        for (apr_size_t at = CMSG_LEN(0); rights && at + sizeof(int) <= c->cmsg_len;
             at += sizeof(int)) {
            int fd;
            memcpy(&fd, (char *)c + at, sizeof(fd));
            if (first < 0) {
                first = fd;
            }
            else {
                close(fd);
            }
        }
    }
    return first;
}

/* Receive and process one message. @return its length, bytes; -1: no message is waiting */
static ssize_t ipc_receive_one(int from, void *buffer)
{
    passed_fd control;
    struct iovec iov = {buffer, sizeof(head) + WS_IPC_SIZE};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(from, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n >= 0) {
        int fd = ipc_take_descriptor(&m);
        if (!(m.msg_flags & MSG_TRUNC)) {
            ws_ipc_receive(buffer, (apr_size_t)n, fd);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    return n;
}

static void *APR_THREAD_FUNC run(apr_thread_t *self, void *buffer)
{
    struct pollfd p[2] = {{.fd = descriptors[1 + 2 * ws_shm_slot()], .events = POLLIN},
                          {.fd = stop_fd, .events = POLLIN}};
    (void)self;
    while (!p[1].revents) {
        if (poll(p, 2, -1) < 0 && errno != EINTR) {
            break;
        }
        while (ipc_receive_one(p[0].fd, buffer) > 0) {
            if (poll(&p[1], 1, 0) > 0) {
                break;
            }
        }
    }
    return NULL;
}

apr_status_t ws_ipc_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    int own = ws_shm_slot();
    apr_status_t rv;
    void *buffer;

    (void)options;
    if (own < 0 || (unsigned)own >= ws_ipc_count()) {
        return APR_SUCCESS; /* already logged by ws_shm_child_init() or ws_ipc_init() */
    }
    for (unsigned i = 0; i < ws_ipc_count(); i++) {
        if (i != (unsigned)own) {
            close(descriptors[1 + 2 * i]);
        }
    }
    buffer = apr_palloc(pchild, sizeof(head) + WS_IPC_SIZE);
    if ((rv = ws_wake_create(&stop_fd)) != APR_SUCCESS
        || (rv = apr_thread_mutex_create(&lock, APR_THREAD_MUTEX_DEFAULT, pchild)) != APR_SUCCESS
        || (rv = apr_thread_cond_create(&answered, pchild)) != APR_SUCCESS
        || (rv = ws_thread_create(&thread, run, buffer, pchild)) != APR_SUCCESS) {
        thread = NULL;
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "websocket: cannot create the thread that answers other child processes: the "
                     "status page does not show this child's connections");
    }
    return APR_SUCCESS;
}

int ws_ipc_child_stop(void)
{
    apr_status_t rv;
    if (thread) {
        ws_wake(stop_fd);
        apr_thread_join(&rv, thread);
        thread = NULL;
    }
    return 1;
}
