/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "httpd/ipc.h"

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <errno.h>
#include <http_log.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/thread.h"
#include "httpd/shm.h"

APLOG_USE_MODULE(websocket);

/* Each costs the parent two descriptors, and each child one. */
#define PAIRS_MAX 512

/* What may lie in a socket, bytes. As much as the system allows where it does not allow that. */
#define SOCKET_BUFFER (4 * 1024 * 1024)

#define MAGIC 0x57536231 /* of this form of head */

typedef struct head {
    apr_uint32_t magic;
    apr_uint16_t kind, from;
    apr_uint32_t from_process, to_process, request, none;
} head;

typedef struct pairs {
    unsigned count;
    int fd[][2]; /* [0] is read by the slot's owner, [1] is written by all */
} pairs;

/* Somebody who waits for an answer. */
typedef struct waiter {
    struct waiter *next;
    apr_uint32_t request;
    void *answer;
    apr_size_t size;
    apr_ssize_t got; /* -1: nothing yet */
} waiter;

static pairs *sockets;
static void (*receivers[WS_IPC_KINDS])(const ws_ipc_message *m);
static apr_thread_mutex_t *lock; /* of the three below */
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

static void set_buffer(int fd)
{
    int size = SOCKET_BUFFER;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
}

static int make_pair(int fd[2])
{
    struct rlimit limit;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == 0) {
        set_buffer(fd[1]);
        return 1;
    }
    if (errno != EMFILE || getrlimit(RLIMIT_NOFILE, &limit) < 0
        || limit.rlim_cur >= limit.rlim_max) {
        return 0;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0
           && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == 0;
}

void ws_ipc_init(server_rec *s)
{
    static const char key[] = "mod_websocket siblings";
    apr_pool_t *process = s->process->pool;
    unsigned most = ws_shm_slots() < PAIRS_MAX ? ws_shm_slots() : PAIRS_MAX;

    apr_pool_userdata_get((void **)&sockets, key, process);
    if (sockets) {
        return;
    }
    sockets = apr_pcalloc(process, sizeof(*sockets) + most * sizeof(*sockets->fd));
    while (sockets->count < most && make_pair(sockets->fd[sockets->count])) {
        sockets->count++;
    }
    if (sockets->count < most) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s,
                     "websocket: only %u child processes can be asked for their connections, more "
                     "descriptors (ulimit -n) mend it",
                     sockets->count);
    }
    apr_pool_userdata_set(sockets, key, NULL, process);
}

/* ---- Sending ---- */

typedef union passed_fd {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
} passed_fd;

static int send_iov(unsigned slot, const head *h, const struct iovec *data, int n, int fd)
{
    struct iovec iov[1 + WS_IPC_IOVECS] = {{(void *)h, sizeof(*h)}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (apr_size_t)n + 1};
    passed_fd control;

    if (slot >= sockets->count) {
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
    return sendmsg(sockets->fd[slot][1], &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int send_to(unsigned slot, const head *h, const void *data, apr_size_t len)
{
    struct iovec iov = {(void *)data, len};
    return send_iov(slot, h, &iov, 1, -1);
}

int ws_ipc_send(unsigned slot, apr_uint32_t process, ws_ipc_kind kind, const struct iovec *iov,
                int n, int fd)
{
    head h = {.magic = MAGIC,
              .kind = (apr_uint16_t)kind,
              .from = (apr_uint16_t)ws_shm_slot(),
              .from_process = ws_shm_process(),
              .to_process = process};
    return send_iov(slot, &h, iov, n, fd);
}

int ws_ipc_socket(unsigned slot)
{
    return sockets->fd[slot][1];
}

unsigned ws_ipc_count(void)
{
    return sockets ? sockets->count : 0;
}

int ws_ipc_reachable(void)
{
    return thread != NULL;
}

int ws_ipc_answer(const ws_ipc_message *m, const void *data, apr_size_t len)
{
    head h = {.magic = MAGIC,
              .kind = WS_IPC_ANSWER,
              .from = (apr_uint16_t)ws_shm_slot(),
              .from_process = ws_shm_process(),
              .to_process = m->from_process,
              .request = m->request};
    return send_to(m->from, &h, data, len);
}

apr_ssize_t ws_ipc_ask(unsigned slot, ws_ipc_kind kind, const void *data, apr_size_t len,
                       void *answer, apr_size_t size, apr_uint32_t timeout)
{
    apr_time_t until = apr_time_now() + apr_time_from_msec(timeout), left;
    waiter w = {.answer = answer, .size = size, .got = -1}, **link;
    head h = {.magic = MAGIC,
              .kind = (apr_uint16_t)kind,
              .from = (apr_uint16_t)ws_shm_slot(),
              .from_process = ws_shm_process()};
    ws_shm_owner owner;

    if (!thread || !ws_shm_owner_of(slot, &owner)) {
        return -1;
    }
    h.to_process = owner.process;
    apr_thread_mutex_lock(lock);
    h.request = w.request = ++requests;
    w.next = waiters;
    waiters = &w;
    if (send_to(slot, &h, data, len) == 0) {
        while (w.got < 0 && (left = until - apr_time_now()) > 0) {
            apr_thread_cond_timedwait(answered, lock, left);
        }
    }
    for (link = &waiters; *link != &w; link = &(*link)->next) {
    }
    *link = w.next;
    apr_thread_mutex_unlock(lock);
    return w.got;
}

/* ---- Receiving ---- */

static void take_answer(const ws_ipc_message *m)
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

static void receive(const unsigned char *bytes, apr_size_t len, int fd)
{
    const head *h = (const head *)bytes;
    ws_ipc_message m;
    /* What was meant for the slot's last owner can still lie there. */
    if (len < sizeof(*h) || h->magic != MAGIC || h->to_process != ws_shm_process()) {
        return;
    }
    m.from = h->from;
    m.from_process = h->from_process;
    m.request = h->request;
    m.data = bytes + sizeof(*h);
    m.len = len - sizeof(*h);
    m.fd = fd;
    if (h->kind == WS_IPC_ANSWER) {
        take_answer(&m);
    }
    else if (h->kind < WS_IPC_KINDS && receivers[h->kind]) {
        receivers[h->kind](&m);
    }
}

/* @return bytes, or -1 when nothing is there */
static ssize_t receive_one(int from, void *buffer)
{
    passed_fd control;
    struct iovec iov = {buffer, sizeof(head) + WS_IPC_SIZE};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(from, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n >= 0) {
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        int fd = -1;
        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            memcpy(&fd, CMSG_DATA(c), sizeof(fd));
        }
        receive(buffer, (apr_size_t)n, fd);
        if (fd >= 0) {
            close(fd);
        }
    }
    return n;
}

static void *APR_THREAD_FUNC run(apr_thread_t *self, void *buffer)
{
    struct pollfd p[2] = {{.fd = sockets->fd[ws_shm_slot()][0], .events = POLLIN},
                          {.fd = stop_fd, .events = POLLIN}};
    (void)self;
    while (!p[1].revents) {
        if (poll(p, 2, -1) < 0 && errno != EINTR) {
            break;
        }
        while (receive_one(p[0].fd, buffer) > 0) {
            if (poll(&p[1], 1, 0) > 0) {
                break;
            }
        }
    }
    return NULL;
}

void ws_ipc_child_init(apr_pool_t *pchild, server_rec *s)
{
    int own = ws_shm_slot();
    apr_status_t rv;
    void *buffer;

    if (own < 0 || (unsigned)own >= sockets->count) {
        return; /* which has been logged */
    }
    for (unsigned i = 0; i < sockets->count; i++) {
        if (i != (unsigned)own) {
            close(sockets->fd[i][0]);
        }
    }
    buffer = apr_palloc(pchild, sizeof(head) + WS_IPC_SIZE);
    stop_fd = eventfd(0, EFD_CLOEXEC);
    rv = stop_fd < 0 ? errno : APR_SUCCESS;
    if (rv != APR_SUCCESS
        || (rv = apr_thread_mutex_create(&lock, APR_THREAD_MUTEX_DEFAULT, pchild)) != APR_SUCCESS
        || (rv = apr_thread_cond_create(&answered, pchild)) != APR_SUCCESS
        || (rv = ws_thread_create(&thread, run, buffer, pchild)) != APR_SUCCESS) {
        thread = NULL;
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "websocket: no thread for the other child processes: what this one has is "
                     "missing in websocket-status");
    }
}

void ws_ipc_child_exit(void)
{
    apr_uint64_t one = 1;
    apr_status_t rv;
    if (thread) {
        while (write(stop_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
        }
        apr_thread_join(&rv, thread);
        thread = NULL;
    }
}
