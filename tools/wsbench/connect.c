/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Connects to a target, which is a server on the command line. Tries the addresses of the target
 *  in turn, starting with the address that accepted the last connection. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/wsbench/connection.h"

static const ws_address *connect_address_of(const peer *p)
{
    return &p->to->addresses->list[p->address];
}

/* Bind to one of the source addresses. Each source address has a separate range of ports. */
static int connect_bind_source(const peer *p)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    int one = 1;
    if (!opt.sources || connect_address_of(p)->address.ss_family != AF_INET) {
        return 0;
    }
    /* let connect() choose the port, since bind() would reserve one for all destinations */
    setsockopt(p->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    from.sin_addr.s_addr = htonl(opt.source + p->number % opt.sources);
    return bind(p->fd, (struct sockaddr *)&from, sizeof(from));
}

/* Start to connect to the current address. @return NULL; or the name of the failed operation, with
 * errno set */
static const char *connect_once(const worker *w, peer *p)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = p};
    const ws_address *to = connect_address_of(p);
    int one = 1;
    p->tried_at = nanoseconds();
    p->fd = socket(to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0) {
        return "socket";
    }
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect_bind_source(p) < 0) {
        return "bind";
    }
    return (connect(p->fd, (const struct sockaddr *)&to->address, to->len) < 0
            && errno != EINPROGRESS)
                   || epoll_ctl(w->epoll, EPOLL_CTL_ADD, p->fd, &e) < 0
               ? "connect"
               : NULL;
}

int connect_has_others(const peer *p)
{
    return p->tries + 1 < p->to->addresses->count;
}

const char *connect_others(const worker *w, peer *p, const char *failed)
{
    while (failed && connect_has_others(p)) {
        p->tries++;
        p->address = (p->address + 1) % p->to->addresses->count;
        if (p->fd >= 0) {
            close(p->fd);
        }
        failed = connect_once(w, p);
    }
    return failed;
}

const char *connect_start(const worker *w, peer *p)
{
    p->address = p->to->best;
    p->tries = 0;
    return connect_others(w, p, connect_once(w, p));
}
