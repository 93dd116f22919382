/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Elects the owner of a program that all child processes share. The owner is the process that holds
 * a record lock. The other processes connect to the owner over a unix socket.
 */

#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <apr_strings.h>

/* Backlog of the socket. It is larger than the number of child processes, because the socket keeps
 * their connections for the next owner. */
#define BACKLOG 1024

/* The server of a shared program. It is allocated from the parent's process pool, because a reload
 * unloads this shared object with its data. */
struct exec_server {
    int lock;     /* memfd that the owner locks, and that contains the time of the last start */
    int listener; /* unix socket, whose name the kernel has chosen */
};

static int server_listener_new(void)
{
    const struct sockaddr_un any = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0
        && (bind(fd, (const struct sockaddr *)&any, sizeof(any.sun_family)) < 0
            || listen(fd, BACKLOG) < 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Add a number to the name, since two directives may be identical. */
static const char *server_numbered(apr_pool_t *pconf, const char *name)
{
    const char *key = apr_pstrcat(pconf, "ws_exec count ", name, NULL);
    void *data;
    int *count;

    apr_pool_userdata_get(&data, key, pconf);
    if (!(count = data)) {
        count = apr_pcalloc(pconf, sizeof(*count));
        apr_pool_userdata_set(count, key, NULL, pconf);
    }
    return apr_psprintf(pconf, "ws_exec server %d %s", (*count)++, name);
}

exec_server *exec_server_new(apr_pool_t *pconf, const char *name)
{
    apr_pool_t *process = apr_pool_parent_get(pconf);
    const char *key = server_numbered(pconf, name);
    void *data;
    exec_server *s;

    process = process ? process : pconf;
    apr_pool_userdata_get(&data, key, process);
    if (data) {
        return data;
    }
    s = apr_pcalloc(process, sizeof(*s));
    s->lock = memfd_create("ws_exec", MFD_CLOEXEC);
    s->listener = server_listener_new();
    if (s->lock < 0 || s->listener < 0 || ftruncate(s->lock, sizeof(apr_time_t)) < 0) {
        close(s->lock);
        close(s->listener);
        return NULL;
    }
    apr_pool_userdata_set(s, key, NULL, process);
    return s;
}

/* Set or release a record lock. It belongs to the process, not to the descriptor that the processes
 * have inherited. */
static int server_set_lock(exec_server *s, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET};

    return fcntl(s->lock, F_SETLK, &lock) == 0;
}

int exec_server_own(exec_server *s)
{
    return server_set_lock(s, F_WRLCK);
}

void exec_server_disown(exec_server *s)
{
    server_set_lock(s, F_UNLCK);
}

int exec_server_connect(const exec_server *s)
{
    struct sockaddr_un name;
    socklen_t len = sizeof(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0
        && (getsockname(s->listener, (struct sockaddr *)&name, &len) < 0
            || connect(fd, (struct sockaddr *)&name, len) < 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int exec_server_listener(const exec_server *s)
{
    return s->listener;
}

int exec_server_accept(const exec_server *s)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    /* Accept only connections from httpd's own user, because other users can find the socket's name
     * in /proc. */
    if (fd >= 0
        && (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.uid != geteuid())) {
        close(fd);
        fd = -1;
    }
    return fd;
}

apr_time_t exec_server_started(const exec_server *s)
{
    apr_time_t when = 0;

    return pread(s->lock, &when, sizeof(when), 0) == sizeof(when) && when <= apr_time_now() ? when
                                                                                            : 0;
}

void exec_server_set_started(exec_server *s, apr_time_t when)
{
    if (pwrite(s->lock, &when, sizeof(when), 0) < 0) {
        return; /* without a stored time, the next start follows without a pause */
    }
}
