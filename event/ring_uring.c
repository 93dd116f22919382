/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */
/** The completion ring: io_uring, or stubs in a build without liburing. */

#include "event/ring.h"

#ifndef WS_WITH_URING

apr_status_t ws_ring_check(void)
{
    return APR_ENOTIMPL;
}

apr_status_t ws_ring_create(ws_ring **ring, ws_poller *poller)
{
    (void)ring, (void)poller;
    return APR_ENOTIMPL;
}

/* ws_ring_create() fails in this build, so the functions below are never called. */

void ws_ring_destroy(ws_ring *r)
{
    (void)r;
}

int ws_ring_wait(ws_ring *r, ws_ready *ready, int max, int timeout)
{
    (void)r, (void)ready, (void)max, (void)timeout;
    return 0;
}

void ws_ring_give_back(ws_ring *r, const ws_ready *ready)
{
    (void)r, (void)ready;
}

void ws_ring_receive(ws_ring *r, int fd, ws_source *source)
{
    (void)r, (void)fd, (void)source;
}

void ws_ring_stop(ws_ring *r, ws_source *source)
{
    (void)r, (void)source;
}

unsigned char *ws_ring_room(ws_ring *r)
{
    (void)r;
    return NULL;
}

void ws_ring_send(ws_ring *r, int fd, ws_source *source, const unsigned char *room, apr_size_t len)
{
    (void)r, (void)fd, (void)source, (void)room, (void)len;
}

int ws_ring_is_last(const ws_ring *r, const ws_source *source)
{
    (void)r, (void)source;
    return 0;
}

void ws_ring_send_pieces(ws_ring *r, int fd, ws_source *source, const struct iovec *iov, int n)
{
    (void)r, (void)fd, (void)source, (void)iov, (void)n;
}

void ws_ring_hurry(ws_ring *r)
{
    (void)r;
}

void ws_ring_submit(ws_ring *r)
{
    (void)r;
}

#else

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Maximum number of requests, and also of sends, in one system call. */
#define ENTRIES 512

/* Size of the completion queue. The kernel stores further completions in its own memory. */
#define COMPLETIONS 4096

/* Number of receive buffers, a power of two. Newer kernels report about 20 sockets at a time. Older
 * kernels report all ready sockets, so some of these have to wait until buffers are returned. */
#define BUFFERS 128
#define BUFFER_SIZE (16 * 1024)
#define GROUP 0

/* Memory for the send buffers ("rooms"), bytes. */
#define ROOMS_SIZE (1024 * 1024)

/* Maximum number of pieces in all sends of one system call. */
#define IOVECS 2048

/* Maximum average length of pieces that are copied into one buffer, bytes. One copy is cheaper than
 * many pieces. */
#define JOIN_MAX 1024

/* Maximum number of retries when the kernel is out of memory. */
#define TRIES 100

/* The type of a completion: the lowest bits of its user_data. 0: ignore the completion. */
enum { TAG_RECEIVE = 1, TAG_SEND = 2, TAG_POLLER = 3, TAGS = 7 };

#define FLAGS                                                                                      \
    (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL             \
     | IORING_SETUP_CQSIZE)

#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL)

typedef struct ring_send {
    ws_source *source;
    const unsigned char *data; /* NULL: sent as pieces */
    apr_size_t len;
    int done;
    struct io_uring_sqe *sqe;
    struct msghdr message;
} ring_send;

typedef struct completion {
    apr_uint64_t about;
    int result;
    unsigned flags;
} completion;

struct ws_ring {
    struct io_uring uring;
    ws_poller *poller;
    int polled; /* the ring polls the poller's descriptor */
    int hurry;
    void *memory; /* the buffers, and the ring that tells the kernel their addresses */
    struct io_uring_buf_ring *shown;
    unsigned char *buffers;
    int given_back; /* returned buffers that the kernel cannot see yet */

    completion *came; /* completions copied from the kernel's queue */
    unsigned first, last, size;

    ring_send sends[ENTRIES];
    unsigned send_count, iovec_count;
    struct iovec iovecs[IOVECS];
    unsigned char *rooms;
    apr_size_t used; /* bytes of the rooms in use */
};

/* ---- Creation and destruction ---- */

#define SHOWN_SIZE (BUFFERS * sizeof(struct io_uring_buf))
#define MEMORY_SIZE (SHOWN_SIZE + (apr_size_t)BUFFERS * BUFFER_SIZE)

static void ring_show(ws_ring *r, unsigned short buffer)
{
    unsigned char *at = r->buffers + (apr_size_t)buffer * BUFFER_SIZE + WS_RECEIVE_HEADROOM;
    io_uring_buf_ring_add(r->shown, at, BUFFER_SIZE - WS_RECEIVE_HEADROOM, buffer,
                          io_uring_buf_ring_mask(BUFFERS), r->given_back++);
}

static void ring_advance(ws_ring *r)
{
    io_uring_buf_ring_advance(r->shown, r->given_back);
    r->given_back = 0;
}

static apr_status_t ring_open_ring(ws_ring *r)
{
    struct io_uring_params params = {.flags = FLAGS, .cq_entries = COMPLETIONS};
    struct io_uring_buf_reg reg = {.ring_entries = BUFFERS, .bgid = GROUP};
    int rv = io_uring_queue_init_params(ENTRIES, &r->uring, &params);
    if (rv < 0) {
        return -rv;
    }
    /* A forked child does not need these buffers. */
    r->memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r->memory == MAP_FAILED) {
        rv = -errno;
        io_uring_queue_exit(&r->uring);
        return -rv;
    }
    madvise(r->memory, MEMORY_SIZE, MADV_DONTFORK);
    r->shown = r->memory;
    r->buffers = (unsigned char *)r->memory + SHOWN_SIZE;
    reg.ring_addr = (unsigned long)r->shown;
    if ((rv = io_uring_register_buf_ring(&r->uring, &reg, 0)) < 0) {
        io_uring_queue_exit(&r->uring);
        munmap(r->memory, MEMORY_SIZE);
        return -rv;
    }
    io_uring_buf_ring_init(r->shown);
    for (unsigned short i = 0; i < BUFFERS; i++) {
        ring_show(r, i);
    }
    ring_advance(r);
    io_uring_register_ring_fd(&r->uring); /* saves a lookup in each call; failure is harmless */
    return APR_SUCCESS;
}

apr_status_t ws_ring_create(ws_ring **ring, ws_poller *poller)
{
    ws_ring *r = calloc(1, sizeof(*r));
    apr_status_t rv;
    if (!r || !(r->rooms = malloc(ROOMS_SIZE))) {
        free(r);
        return APR_ENOMEM;
    }
    if ((rv = ring_open_ring(r)) != APR_SUCCESS) {
        free(r->rooms);
        free(r);
        return rv;
    }
    r->poller = poller;
    *ring = r;
    return APR_SUCCESS;
}

apr_status_t ws_ring_check(void)
{
    ws_ring *r;
    apr_status_t rv = ws_ring_create(&r, NULL);
    if (rv == APR_SUCCESS) {
        ws_ring_destroy(r);
    }
    return rv;
}

void ws_ring_destroy(ws_ring *r)
{
    io_uring_queue_exit(&r->uring);
    munmap(r->memory, MEMORY_SIZE);
    free(r->came);
    free(r->rooms);
    free(r);
}

/* ---- Completions ---- */

/* Make room for n more completions. */
static int ring_reserve(ws_ring *r, unsigned n)
{
    unsigned size = r->size ? r->size : 256, count = r->last - r->first;
    completion *grown;
    if (r->first && r->last + n > r->size) {
        memmove(r->came, r->came + r->first, count * sizeof(*r->came));
        r->first = 0;
        r->last = count;
    }
    while (size - count < n) {
        size *= 2;
    }
    if (size > r->size) {
        if (!(grown = realloc(r->came, size * sizeof(*grown)))) {
            return -1;
        }
        r->came = grown;
        r->size = size;
    }
    return 0;
}

/* Copy all completions from the kernel's queue, because the last one may report a failed send. */
static int ring_drain(ws_ring *r)
{
    unsigned n;
    while ((n = io_uring_cq_ready(&r->uring)) || io_uring_cq_has_overflow(&r->uring)) {
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        if (ring_reserve(r, n) < 0) {
            return -1;
        }
        io_uring_for_each_cqe(&r->uring, head, cqe)
        {
            if (seen == n) {
                break;
            }
            if ((cqe->user_data & TAGS) == TAG_SEND) {
                r->sends[cqe->user_data / (TAGS + 1)].done = cqe->res;
            }
            else if (cqe->user_data) {
                r->came[r->last++] = (completion){cqe->user_data, cqe->res, cqe->flags};
            }
            seen++;
        }
        io_uring_cq_advance(&r->uring, seen);
        if (io_uring_cq_has_overflow(&r->uring)) {
            io_uring_get_events(&r->uring);
        }
    }
    return 0;
}

static void ring_report(const ring_send *s)
{
    ws_ready r = {.source = s->source,
                  .events = WS_STREAM_SENT,
                  .result = s->done,
                  .data = (unsigned char *)s->data,
                  .len = s->len};
    s->source->sending = 0;
    s->source->ready(s->source, &r);
}

/* Report the results of all sends. If the kernel is out of memory, it may not have accepted some
 * sends. Those fail with ENOMEM. */
static void ring_settle(ws_ring *r)
{
    unsigned n = r->send_count;
    int known;
    for (int i = 0; io_uring_sq_ready(&r->uring) && i < TRIES; i++) {
        ring_drain(r);
        io_uring_submit(&r->uring);
    }
    known = ring_drain(r) == 0 && !io_uring_sq_ready(&r->uring);
    r->send_count = 0;
    r->iovec_count = 0;
    r->used = 0;
    for (unsigned i = 0; i < n; i++) {
        ring_send *s = &r->sends[i];
        if (!known) {
            io_uring_prep_nop(s->sqe); /* the kernel must not send data that may be freed */
            s->sqe->user_data = 0;
            s->done = -ENOMEM;
        }
        ring_report(s);
    }
}

static struct io_uring_sqe *ring_request(ws_ring *r)
{
    struct io_uring_sqe *sqe;
    while (!(sqe = io_uring_get_sqe(&r->uring))) {
        ws_ring_submit(r);
    }
    return sqe;
}

void ws_ring_submit(ws_ring *r)
{
    io_uring_submit(&r->uring);
    ring_settle(r);
}

void ws_ring_hurry(ws_ring *r)
{
    r->hurry = 1;
}

static void ring_enter(ws_ring *r, int timeout)
{
    struct io_uring_cqe *cqe;
    struct __kernel_timespec t = {timeout / 1000, (long long)(timeout % 1000) * 1000000};
    if (timeout == 0) {
        io_uring_submit_and_get_events(&r->uring);
    }
    else {
        io_uring_submit_and_wait_timeout(&r->uring, &cqe, 1, timeout < 0 ? NULL : &t, NULL);
    }
}

int ws_ring_wait(ws_ring *r, ws_ready *ready, int max, int timeout)
{
    int n = 0, look = 0;
    if (!r->polled) {
        struct io_uring_sqe *sqe = ring_request(r);
        io_uring_prep_poll_add(sqe, ws_poller_descriptor(r->poller), POLLIN);
        sqe->user_data = TAG_POLLER;
        r->polled = 1;
    }
    ring_advance(r);
    ring_enter(r, r->hurry || r->first < r->last ? 0 : timeout);
    r->hurry = 0;
    ring_settle(r);
    while (n < max && r->first < r->last) {
        const completion *c = &r->came[r->first++];
        if (c->about == TAG_POLLER) {
            r->polled = 0;
            look = 1;
            max--; /* keep an entry for the poller */
            continue;
        }
        ready[n].source = (ws_source *)(apr_uintptr_t)(c->about & ~(apr_uint64_t)TAGS);
        ready[n].events = WS_STREAM_RECEIVED;
        ready[n].result = c->result;
        ready[n].more = (c->flags & IORING_CQE_F_MORE) != 0;
        ready[n].buffered = (c->flags & IORING_CQE_F_BUFFER) != 0;
        ready[n].buffer = (unsigned short)(c->flags >> IORING_CQE_BUFFER_SHIFT);
        ready[n].data =
            r->buffers + (apr_size_t)ready[n].buffer * BUFFER_SIZE + WS_RECEIVE_HEADROOM;
        n++;
    }
    if (r->first == r->last) {
        r->first = r->last = 0;
    }
    return look ? n + ws_poller_wait(r->poller, ready + n, max + 1 - n, 0) : n;
}

/* ---- Receiving ---- */

void ws_ring_give_back(ws_ring *r, const ws_ready *ready)
{
    if (ready->buffered) {
        ring_show(r, ready->buffer);
    }
}

void ws_ring_receive(ws_ring *r, int fd, ws_source *source)
{
    struct io_uring_sqe *sqe = ring_request(r);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    sqe->user_data = (apr_uintptr_t)source | TAG_RECEIVE;
}

void ws_ring_stop(ws_ring *r, ws_source *source)
{
    struct io_uring_sqe *sqe = ring_request(r);
    io_uring_prep_cancel64(sqe, (apr_uintptr_t)source | TAG_RECEIVE, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = 0;
}

/* ---- Sending ---- */

unsigned char *ws_ring_room(ws_ring *r)
{
    if (ROOMS_SIZE - r->used < WS_SEND_BUFFER) {
        ws_ring_submit(r);
    }
    return r->rooms + r->used;
}

static ring_send *ring_add(ws_ring *r, ws_source *source, const unsigned char *data, apr_size_t len)
{
    struct io_uring_sqe *sqe;
    ring_send *s;
    if (r->send_count == ENTRIES) {
        ws_ring_submit(r);
    }
    sqe = ring_request(r);
    s = &r->sends[r->send_count];
    s->source = source;
    s->data = data;
    s->len = len;
    s->done = (int)len; /* with IOSQE_CQE_SKIP_SUCCESS, only failures are reported */
    s->sqe = sqe;
    return s;
}

static void ring_mark(ws_ring *r, ring_send *s)
{
    s->sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    s->sqe->user_data = (apr_uint64_t)r->send_count++ * (TAGS + 1) + TAG_SEND;
}

int ws_ring_is_last(const ws_ring *r, const ws_source *source)
{
    const ring_send *s = r->sends + r->send_count;
    return r->send_count && s[-1].source == source && s[-1].data;
}

void ws_ring_send(ws_ring *r, int fd, ws_source *source, const unsigned char *room, apr_size_t len)
{
    ring_send *s;
    if (ws_ring_is_last(r, source)) {
        s = &r->sends[r->send_count - 1];
        s->sqe->len += (unsigned)len;
        s->len += len;
        s->done += (int)len;
    }
    else {
        s = ring_add(r, source, room, len);
        io_uring_prep_send(s->sqe, fd, room, len, SEND_FLAGS);
        ring_mark(r, s);
    }
    r->used = (apr_size_t)(room - r->rooms) + len;
}

void ws_ring_send_pieces(ws_ring *r, int fd, ws_source *source, const struct iovec *iov, int n)
{
    ring_send *s;
    apr_size_t len = 0;
    if (r->iovec_count + (unsigned)n > IOVECS) {
        ws_ring_submit(r);
    }
    for (int i = 0; i < n; i++) {
        len += iov[i].iov_len;
    }
    if (n > 2 && len <= (apr_size_t)n * JOIN_MAX && len <= WS_SEND_BUFFER) {
        unsigned char *room = ws_ring_room(r), *end = room;
        for (int i = 0; i < n; i++) {
            end = (unsigned char *)memcpy(end, iov[i].iov_base, iov[i].iov_len) + iov[i].iov_len;
        }
        s = ring_add(r, source, NULL, len);
        r->used = (apr_size_t)(end - r->rooms);
        io_uring_prep_send(s->sqe, fd, room, len, SEND_FLAGS);
    }
    else if (n == 1) {
        s = ring_add(r, source, NULL, len);
        io_uring_prep_send(s->sqe, fd, iov->iov_base, len, SEND_FLAGS);
    }
    else {
        struct iovec *copy;
        s = ring_add(r, source, NULL, len);
        copy = memcpy(r->iovecs + r->iovec_count, iov, (unsigned)n * sizeof(*iov));
        r->iovec_count += (unsigned)n;
        s->message = (struct msghdr){.msg_iov = copy, .msg_iovlen = (apr_size_t)n};
        io_uring_prep_sendmsg(s->sqe, fd, &s->message, SEND_FLAGS);
    }
    ring_mark(r, s);
    r->hurry = 1; /* do not sleep: the owner keeps the pieces until the send ends */
}

#endif
