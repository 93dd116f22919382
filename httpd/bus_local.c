/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements the bus that carries channel messages between the children of one httpd. If a child's
 * socket is full, packets wait in a bounded queue. When the queue is full, publishing fails. There
 * are two exceptions. A message that a history has stored is published, and the child misses its
 * packet. If the child has made no progress for PATIENCE, it misses all further packets, and
 * publishing no longer fails.
 */

#include "httpd/bus_local.h"

#include <apr_thread_mutex.h>
#include <errno.h>
#include <fcntl.h>
#include <http_log.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/wake.h"
#include "engine/loop.h"
#include "base/thread.h"
#include "httpd/shm.h"
#include "httpd/ipc.h"
#include "httpd/interest.h"

APLOG_USE_MODULE(websocket);

/* Time without progress after which a child's full queue no longer makes publishing fail,
 * milliseconds. The child gets a notice of the packets that it has missed. */
#define PATIENCE 5000

/* How often to check whether a child with queued packets is still running, milliseconds. */
#define LOOK 200

/* Pause before the next attempt to pass a file descriptor to another child if too many descriptors
 * are in flight, milliseconds. */
#define CROWDED 2

/* Time for sending queued packets when this child exits, milliseconds. */
#define CLOSE_GRACE 500

/* Seals that prevent changes to a file while the receiver reads it. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

/* The length field has 32 bits. */
#define PACKET_MAX APR_INT64_C(0xFFFFFFFF)

/* An encoded packet, shared by several queues. */
typedef struct packet_ref {
    unsigned refs;
    int fd; /* sealed file with a large packet, or -1 */
    apr_size_t len;
    unsigned char data[]; /* empty if the packet is in a file */
} packet_ref;

typedef struct waiting {
    struct waiting *next;
    packet_ref *packet_ref;
} waiting;

/* The queue of packets for one child. */
typedef struct outbox {
    apr_uint32_t process; /* process number of the receiver; 0: none */
    waiting *first, **last;
    apr_size_t bytes;
    apr_uint32_t since;  /* ws_clock() of the last progress */
    apr_uint32_t missed; /* packets dropped since the last progress */
} outbox;

static struct {
    ws_bus bus; /* must be first */
    apr_uint64_t server;
    apr_size_t queue;
    const server_rec *log;
    apr_thread_mutex_t *lock; /* protects the fields below */
    outbox *boxes;            /* array with one queue per slot */
    unsigned *targets;        /* slots of the receivers, used by bus_publish() */
    struct pollfd *polled;
    int ended;
    int wake_fd;
    apr_thread_t *thread;
} local = {.wake_fd = -1};

/* ---- Shared packets ---- */

static void bus_unref(packet_ref *p)
{
    if (--p->refs == 0) {
        if (p->fd >= 0) {
            close(p->fd);
        }
        free(p);
    }
}

static int bus_put_in_file(packet_ref *p, const void *head, apr_size_t head_len,
                           const ws_packet *packet)
{
    struct iovec iov[2] = {{(void *)head, head_len}, {(void *)packet->data, packet->len}};
    apr_size_t size = head_len + packet->len;
    p->fd = memfd_create("websocket", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return p->fd >= 0 && writev(p->fd, iov, 2) == (ssize_t)size
                   && fcntl(p->fd, F_ADD_SEALS, SEALS) == 0
               ? 0
               : -1;
}

static packet_ref *bus_pack(const ws_packet *packet)
{
    unsigned char head[WS_PACKET_HEAD_MAX];
    apr_size_t n = ws_packet_head(packet, head), size = n + packet->len;
    int large = size > WS_IPC_SIZE;
    packet_ref *p = malloc(sizeof(*p) + (large ? 0 : size));
    if (!p) {
        return NULL;
    }
    p->refs = 1;
    p->fd = -1;
    p->len = size;
    if (large) {
        if (bus_put_in_file(p, head, n, packet) < 0) {
            bus_unref(p);
            return NULL;
        }
    }
    else {
        memcpy(p->data, head, n);
        if (packet->len) {
            memcpy(p->data + n, packet->data, packet->len);
        }
    }
    return p;
}

/* ---- Outboxes; called with the lock held ---- */

static void bus_throw_away(outbox *b)
{
    while (b->first) {
        waiting *w = b->first;
        b->first = w->next;
        bus_unref(w->packet_ref);
        free(w);
    }
    b->last = &b->first;
    b->bytes = 0;
    b->missed = 0;
}

/* Look up the owner of a slot, and discard packets for a previous owner. @return whether it has an
 * owner */
static int bus_look_up(unsigned slot, ws_shm_owner *owner)
{
    outbox *b = &local.boxes[slot];
    int owned = ws_shm_owner_of(slot, owner);
    if (!owned || owner->process != b->process) {
        bus_throw_away(b);
        b->process = owned ? owner->process : 0;
    }
    return owned;
}

static int bus_wait_in(outbox *b, packet_ref *p)
{
    waiting *w = malloc(sizeof(*w));
    if (!w) {
        return -1;
    }
    w->next = NULL;
    w->packet_ref = p;
    p->refs++;
    if (!b->first) {
        b->since = ws_clock();
        ws_wake(local.wake_fd);
    }
    *b->last = w;
    b->last = &w->next;
    b->bytes += p->len + sizeof(*w) + sizeof(*p);
    return 0;
}

static int bus_is_full(const outbox *b, apr_size_t len)
{
    return b->first && b->bytes + len > local.queue;
}

static int bus_stands_still(const outbox *b)
{
    return b->first && ws_clock() - b->since >= PATIENCE;
}

static int bus_send_now(unsigned slot, const outbox *b, const packet_ref *p)
{
    struct iovec iov = {(void *)p->data, p->fd < 0 ? p->len : 0};
    return ws_ipc_send(slot, b->process, WS_IPC_PACKETS, &iov, 1, p->fd, 0);
}

/* Send a packet to a child, or queue it. @return 0; -1: the child misses the packet */
static int bus_hand_over(unsigned slot, packet_ref *p)
{
    outbox *b = &local.boxes[slot];
    if (!b->first && !b->missed && bus_send_now(slot, b, p) == 0) {
        return 0;
    }
    if (bus_is_full(b, p->len) || bus_wait_in(b, p) < 0) {
        if (!b->missed++ && b->first) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, local.log,
                         "websocket: the child in slot %u has not read channel messages for %u s: "
                         "some are dropped for it",
                         slot, (ws_clock() - b->since) / 1000);
        }
        return -1;
    }
    return 0;
}

/* Send one packet that is in a file, or several small packets together. @return 0, or -1 when the
 * socket is full */
static int bus_send_some(unsigned slot, outbox *b)
{
    struct iovec iov[WS_IPC_IOVECS] = {{NULL, 0}};
    apr_size_t size = 0;
    int n = 0, fd = b->first->packet_ref->fd;

    n += fd >= 0; /* if the packet is in a file, send an empty iov entry */
    for (waiting *w = fd < 0 ? b->first : NULL; w && n < WS_IPC_IOVECS; w = w->next) {
        if (w->packet_ref->fd >= 0 || size + w->packet_ref->len > WS_IPC_SIZE) {
            break;
        }
        iov[n++] = (struct iovec){w->packet_ref->data, w->packet_ref->len};
        size += w->packet_ref->len;
    }
    if (ws_ipc_send(slot, b->process, WS_IPC_PACKETS, iov, n, fd, 0) < 0) {
        return -1;
    }
    b->since = ws_clock();
    while (n--) {
        waiting *w = b->first;
        b->first = w->next;
        b->bytes -= w->packet_ref->len + sizeof(*w) + sizeof(*w->packet_ref);
        bus_unref(w->packet_ref);
        free(w);
    }
    if (!b->first) {
        b->last = &b->first;
    }
    return 0;
}

static void bus_tell_missed(unsigned slot, outbox *b)
{
    char text[16];
    ws_packet packet = {
        .kind = WS_PACKET_MISSED, .from = {local.server, ws_shm_process() & 0xFFFF}, .data = text};
    packet_ref *p;
    packet.len = (apr_size_t)snprintf(text, sizeof(text), "%u", b->missed);
    if ((p = bus_pack(&packet))) {
        if (bus_send_now(slot, b, p) == 0 || bus_wait_in(b, p) == 0) {
            b->missed = 0;
        }
        bus_unref(p);
    }
}

/* Send the queued packets of a child until its socket is full. @return 0, or the errno of the first
 * packet that could not be sent */
static int bus_empty(unsigned slot)
{
    outbox *b = &local.boxes[slot];
    ws_shm_owner owner;
    if (!b->first || !bus_look_up(slot, &owner)) {
        return 0;
    }
    while (b->first && bus_send_some(slot, b) == 0) {
    }
    if (b->first) {
        return errno;
    }
    if (b->missed) {
        bus_tell_missed(slot, b);
    }
    return 0;
}

/* ---- The thread that sends queued packets ---- */

static void *APR_THREAD_FUNC run(apr_thread_t *self, void *arg)
{
    unsigned count = ws_ipc_count();
    apr_uint32_t end = 0;
    (void)self, (void)arg;
    for (;;) {
        nfds_t n = 1;
        int done, wait = -1;

        local.polled[0] = (struct pollfd){.fd = local.wake_fd, .events = POLLIN};
        apr_thread_mutex_lock(local.lock);
        for (unsigned i = 0; i < count; i++) {
            /* POLLOUT does not indicate when the kernel accepts descriptors again. */
            int crowded = bus_empty(i) == ETOOMANYREFS;
            if (local.boxes[i].first) {
                wait = crowded ? CROWDED : wait < 0 ? LOOK : wait;
                local.polled[n++] =
                    (struct pollfd){.fd = ws_ipc_socket(i), .events = crowded ? 0 : POLLOUT};
            }
        }
        done = local.ended;
        if (done && !end) {
            end = (ws_clock() + CLOSE_GRACE) | 1;
        }
        apr_thread_mutex_unlock(local.lock);
        if (done && (n == 1 || (apr_int32_t)(ws_clock() - end) >= 0)) {
            return NULL;
        }
        if (poll(local.polled, n, wait) > 0 && local.polled[0].revents) {
            ws_woken(local.wake_fd);
        }
    }
}

/* ---- The bus ---- */

static ws_status bus_want(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash,
                          int change)
{
    (void)b, (void)channel, (void)len;
    ws_interest_change(hash, change);
    return WS_QUEUED;
}

static apr_uint32_t bus_subscribers(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash)
{
    apr_uint32_t n = 0;
    int own = ws_shm_slot();
    (void)b, (void)channel, (void)len;
    for (unsigned i = 0; i < ws_ipc_count(); i++) {
        ws_shm_owner owner;
        if ((int)i != own && ws_interest_count(i, hash) && ws_shm_owner_of(i, &owner)) {
            n += ws_interest_count(i, hash);
        }
    }
    return n;
}

/* Fill local.targets. @return the number of receiving slots */
static unsigned bus_find_targets(const ws_packet *p)
{
    int own = ws_shm_slot(), all = ws_packet_is_for_all(p);
    unsigned n = 0;
    for (unsigned i = 0; i < ws_ipc_count(); i++) {
        ws_shm_owner owner;
        if ((int)i != own && (all || ws_interest_has(i, p->hash)) && bus_look_up(i, &owner)) {
            local.targets[n++] = i;
        }
    }
    return n;
}

static ws_status bus_publish_locked(const ws_packet *p, apr_uint32_t *reached, apr_uint32_t *missed)
{
    unsigned n = local.ended ? 0 : bus_find_targets(p);
    apr_size_t size = ws_packet_size(p);
    packet_ref *packet_ref;

    for (unsigned i = 0; i < n && !(p->flags & WS_PACKET_STORED); i++) {
        const outbox *b = &local.boxes[local.targets[i]];
        if (bus_is_full(b, size) && !bus_stands_still(b)) {
            return WS_FULL;
        }
    }
    if (!n) {
        return WS_QUEUED;
    }
    if (!(packet_ref = bus_pack(p))) {
        return WS_FULL;
    }
    for (unsigned i = 0; i < n; i++) {
        if (bus_hand_over(local.targets[i], packet_ref) < 0) {
            ++*missed;
        }
        else {
            ++*reached;
        }
    }
    bus_unref(packet_ref);
    return WS_QUEUED;
}

static ws_status bus_publish(ws_bus *b, const ws_packet *p, apr_uint32_t *reached,
                             apr_uint32_t *missed)
{
    ws_status s;
    (void)b;
    apr_thread_mutex_lock(local.lock);
    s = bus_publish_locked(p, reached, missed);
    apr_thread_mutex_unlock(local.lock);
    return s;
}

/* Get the slot of a process. @return the slot; -1: the process has ended */
static int bus_slot_of(apr_uint32_t process)
{
    for (unsigned i = 0; i < ws_ipc_count(); i++) {
        ws_shm_owner owner;
        if (ws_shm_owner_of(i, &owner) && (owner.process & 0xFFFF) == process) {
            return (int)i;
        }
    }
    return -1;
}

static ws_status bus_send_locked(unsigned slot, const ws_packet *p)
{
    ws_shm_owner owner;
    outbox *b = &local.boxes[slot];
    packet_ref *packet_ref;
    ws_status s = WS_HANDED;
    if (local.ended || !bus_look_up(slot, &owner)) {
        return WS_GONE;
    }
    if ((bus_is_full(b, ws_packet_size(p))) || !(packet_ref = bus_pack(p))) {
        return WS_FULL;
    }
    if (bus_hand_over(slot, packet_ref) < 0) {
        s = WS_FULL;
    }
    bus_unref(packet_ref);
    return s;
}

static ws_status bus_send_packet(ws_bus *b, const ws_node *to, const ws_packet *p)
{
    int slot = to->server == local.server ? bus_slot_of(to->process) : -1;
    ws_status s = WS_GONE;
    (void)b;
    if (slot >= 0) {
        apr_thread_mutex_lock(local.lock);
        s = bus_send_locked((unsigned)slot, p);
        apr_thread_mutex_unlock(local.lock);
    }
    return s;
}

static int bus_alive(ws_bus *b, const ws_node *node)
{
    (void)b;
    return node->server == local.server ? bus_slot_of(node->process) >= 0 : -1;
}

static int bus_nodes(ws_bus *b, ws_node *all, unsigned size, unsigned *count)
{
    (void)b;
    *count = 0;
    for (unsigned i = 0; i < ws_ipc_count(); i++) {
        ws_shm_owner owner;
        if (ws_shm_owner_of(i, &owner) && *count < size) {
            all[(*count)++] = (ws_node){local.server, owner.process & 0xFFFF};
        }
    }
    return *count < size;
}

/* ---- Receiving, on ipc.c's thread ---- */

static void bus_take_packets(const unsigned char *at, apr_size_t len)
{
    ws_channels *h = ws_channels_current();
    ws_packet p;
    apr_size_t n;
    while (h && (n = ws_packet_decode(&p, at, len))) {
        if (p.kind) {
            ws_channels_receive(h, &p);
        }
        at += n;
        len -= n;
    }
}

static void bus_take_file(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;
    void *bytes;
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 || st.st_size <= 0
        || st.st_size > PACKET_MAX) {
        return;
    }
    bytes = mmap(NULL, (apr_size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        ws_channels_missed(ws_channels_current(), 1);
        return;
    }
    bus_take_packets(bytes, (apr_size_t)st.st_size);
    munmap(bytes, (apr_size_t)st.st_size);
}

static void bus_on_packets(const ws_ipc_message *m)
{
    if (!ws_channels_current()) {
        return; /* this child has no subscriptions yet */
    }
    if (m->fd >= 0) {
        bus_take_file(m->fd);
    }
    else if (m->len == 0) {
        /* A packet in a file has arrived without the file, because no descriptor was free. */
        ws_channels_missed(ws_channels_current(), 1);
    }
    else {
        bus_take_packets(m->data, m->len);
    }
}

/* ---- Initialization and end ---- */

void ws_bus_local_register(apr_pool_t *p)
{
    (void)p;
    ws_ipc_on(WS_IPC_PACKETS, bus_on_packets);
}

ws_bus *ws_bus_local_child_init(apr_pool_t *pchild, server_rec *s, apr_uint64_t server,
                                apr_size_t queue)
{
    unsigned count = ws_ipc_count();
    apr_status_t rv = APR_SUCCESS;

    if (!ws_ipc_reachable() || ws_interest_child_init(pchild) < 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "websocket: channel messages are not exchanged between this child and the "
                     "others. Increase ServerLimit (needs a stop and start) or the descriptor "
                     "limit (ulimit -n)");
        return NULL;
    }
    local.bus = (ws_bus){"local",         bus_want,  bus_publish, bus_send_packet,
                         bus_subscribers, bus_alive, bus_nodes};
    local.server = server;
    local.queue = queue;
    local.log = s;
    local.boxes = apr_pcalloc(pchild, count * sizeof(*local.boxes));
    local.targets = apr_palloc(pchild, count * sizeof(*local.targets));
    local.polled = apr_palloc(pchild, (count + 1) * sizeof(*local.polled));
    for (unsigned i = 0; i < count; i++) {
        local.boxes[i].last = &local.boxes[i].first;
    }
    if ((rv = ws_wake_create(&local.wake_fd)) != APR_SUCCESS
        || (rv = apr_thread_mutex_create(&local.lock, APR_THREAD_MUTEX_DEFAULT, pchild))
               != APR_SUCCESS
        || (rv = ws_thread_create(&local.thread, run, NULL, pchild)) != APR_SUCCESS) {
        local.thread = NULL;
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "websocket: cannot create the thread that sends channel messages to other "
                     "child processes");
        return NULL;
    }
    return &local.bus;
}

void ws_bus_local_child_stop(void)
{
    apr_status_t rv;
    if (local.thread) {
        apr_thread_mutex_lock(local.lock);
        local.ended = 1;
        ws_wake(local.wake_fd);
        apr_thread_mutex_unlock(local.lock);
        apr_thread_join(&rv, local.thread);
        local.thread = NULL;
    }
}
