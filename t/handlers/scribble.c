/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A module that attacks other child processes as a compromised child could: it writes random
 * bytes to all shared memory of mod_websocket, or sends random packets and unexpected descriptors
 * to all children. GET /scribble?memory writes to the memory once, and answers with the number of
 * tables. GET /scribble?LAYOUT sends the packets once, and answers with the number of sockets;
 * LAYOUT is the version of the packets' layout. The module does not write to shared memory of httpd
 * and mod_ssl.
 */

#include <fcntl.h>
#include <httpd.h>

#include <http_config.h>
#include <http_core.h>
#include <http_protocol.h>
#include <scoreboard.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGES 200

/* Number of kinds of messages that are sent: those of ws_ipc_kind in httpd/ipc.h, and some more,
 * which are unknown to the receivers. */
#define KINDS 8

/* Size of the SSLSessionCache in t/lib/Httpd.pm, bytes. apr_shm adds a few bytes. */
#define SSL_CACHE 512000

/* Maximum number of packets with descriptors that each process sends. */
#define ATTACHED_MAX 500

static unsigned long long state = 88172645463325252ull;

static unsigned long long random_number(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* Return a random number. Two of three times, choose it from those that have caused faults before
 * or are close to a limit. */
static unsigned long long number(void)
{
    static const unsigned long long likely[] = {
        0, 1, 0x7fffffff, 0xffffffff, 0x80000000, 0x7fffffffffffffffull, ~0ull, 4096, 0xffff};
    unsigned long long r = random_number();
    return r % 3 ? likely[r / 3 % (sizeof(likely) / sizeof(*likely))] : random_number();
}

/* Test whether a shared mapping is a table of mod_websocket, which is an apr_shm segment: its first
 * bytes hold its size. httpd's scoreboard and mod_ssl's cache are such segments, too, and are
 * excluded. */
static int is_ours(unsigned long from, unsigned long to)
{
    unsigned long scoreboard = (unsigned long)ap_scoreboard_image->global;
    apr_size_t size;
    memcpy(&size, (void *)from, sizeof(size));
    return size > 64 && size <= to - from && size + 4096 > to - from
           && (scoreboard < from || scoreboard >= to)
           && (size < SSL_CACHE || size >= SSL_CACHE + 64);
}

/* Write to the start of each of the first pages, and sometimes to a whole page. Write rarely to
 * later pages, because writing to unused pages would allocate them. */
static void scribble_table(unsigned long from, unsigned long to)
{
    for (unsigned long page = from; page < to; page += 4096) {
        unsigned long long *at = (unsigned long long *)page;
        unsigned n = page == from || random_number() % 4 == 0 ? 512 : 16;
        if (page - from > 64 * 4096 && random_number() % 64) {
            continue;
        }
        for (unsigned i = page == from ? 8 : 0; i < n; i++) {
            at[i] = number();
        }
    }
}

static int scribble_memory(void)
{
    char line[512], perms[8];
    unsigned long from, to;
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx %7s", &from, &to, perms) == 3 && !strcmp(perms, "rw-s")
            && strstr(line, "/dev/zero") && is_ours(from, to)) {
            scribble_table(from, to);
            found++;
        }
    }
    if (maps) {
        fclose(maps);
    }
    return found;
}

/* Open a file of a type that mod_websocket does not send: a file that other processes can still
 * truncate, a device or one end of a pipe. */
static int wrong_descriptor(void)
{
    int fd[2];
    switch (random_number() % 4) {
    case 0:
        return open("/dev/zero", O_RDONLY | O_CLOEXEC);
    case 1:
        return memfd_create("scribble", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    case 2:
        if (pipe2(fd, O_CLOEXEC) == 0) {
            close(fd[1]);
            return fd[0];
        }
    }
    return -1;
}

static void send_message(int to, unsigned layout)
{
    char bytes[512];
    /* Descriptors stay in a socket's buffer if no process reads from the socket. The kernel limits
     * the number of such descriptors per user, and other tests need some of them. */
    static unsigned attached;
    int fds[2] = {-1, -1};
    struct iovec iov = {bytes, random_number() % 2 ? 24 + random_number() % 300 : sizeof(bytes)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {.align = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    unsigned process = 1 + random_number() % 40;

    for (unsigned i = 0; i < sizeof(bytes); i += 8) {
        unsigned long long n = number();
        memcpy(bytes + i, &n, 8);
    }
    memcpy(bytes, &layout, 4);
    bytes[4] = (char)(random_number() % KINDS);
    bytes[5] = 0;
    memcpy(bytes + 12, &process, 4);
    if (__atomic_add_fetch(&attached, 1, __ATOMIC_RELAXED) <= ATTACHED_MAX) {
        fds[0] = wrong_descriptor();
        fds[1] = wrong_descriptor();
    }
    if (fds[0] >= 0 && fds[1] >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
        control.align.cmsg_len = CMSG_LEN(sizeof(fds));
        memcpy(CMSG_DATA(&control.align), fds, sizeof(fds));
    }
    sendmsg(to, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

/* Send packets to each SOCK_SEQPACKET socket of this process; only the sockets between
 * mod_websocket's children have this type. */
static int scribble_messages(unsigned layout)
{
    int found = 0, type;
    socklen_t len;
    for (int fd = 3; fd < 4096; fd++) {
        len = sizeof(type);
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET) {
            found++;
            for (int i = 0; i < MESSAGES; i++) {
                send_message(fd, layout);
            }
        }
    }
    return found;
}

static int handler(request_rec *r)
{
    if (strcmp(r->uri, "/scribble") || !r->args) {
        return DECLINED;
    }
    state ^= (unsigned long long)getpid() << 20;
    ap_set_content_type(r, "text/plain");
    ap_rprintf(r, "%d\n",
               !strcmp(r->args, "memory")
                   ? scribble_memory()
                   : scribble_messages((unsigned)strtoul(r->args, NULL, 10)));
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_FIRST);
}

AP_DECLARE_MODULE(scribble) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL,
                               register_hooks,          0};
