/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The poller for Linux: epoll, level-triggered. */

#include "event/poller.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BATCH 256

struct ws_poller {
    int fd;
    struct epoll_event events[BATCH];
};

apr_status_t ws_poller_create(ws_poller **p)
{
    ws_poller *poller = calloc(1, sizeof(*poller));
    if (!poller) {
        return APR_ENOMEM;
    }
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->fd < 0) {
        apr_status_t rv = errno;
        free(poller);
        return rv;
    }
    *p = poller;
    return APR_SUCCESS;
}

void ws_poller_destroy(ws_poller *p)
{
    close(p->fd);
    free(p);
}

apr_status_t ws_poller_set(ws_poller *p, int fd, ws_source *source, int old, unsigned events)
{
    struct epoll_event e = {.data.ptr = source};
    if (events & WS_READABLE) {
        e.events |= EPOLLIN;
    }
    if (events & WS_WRITABLE) {
        e.events |= EPOLLOUT;
    }
    return epoll_ctl(p->fd, old < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e) < 0 ? errno
                                                                                 : APR_SUCCESS;
}

void ws_poller_remove(ws_poller *p, int fd)
{
    epoll_ctl(p->fd, EPOLL_CTL_DEL, fd, NULL);
}

int ws_poller_descriptor(const ws_poller *p)
{
    return p->fd;
}

int ws_poller_wait(ws_poller *p, ws_ready *ready, int max, int timeout)
{
    int n = epoll_wait(p->fd, p->events, max < BATCH ? max : BATCH, timeout);
    for (int i = 0; i < n; i++) {
        unsigned e = p->events[i].events;
        ready[i].source = p->events[i].data.ptr;
        ready[i].events = (e & EPOLLIN ? WS_READABLE : 0) | (e & EPOLLOUT ? WS_WRITABLE : 0)
                          | (e & (EPOLLERR | EPOLLHUP) ? WS_BROKEN : 0);
    }
    return n < 0 ? 0 : n;
}
