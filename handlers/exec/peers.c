/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements the owner's connections to the other child processes (peers). Queues are bounded. If a
 * peer does not read, the owner stops reading from the program, and closes the peer's connection
 * after 10 seconds.
 */

#include "peers.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_time.h>

/* Sanity limit on a line, bytes. WebSocketMaxMessageSize limits messages. */
#define LONGEST (1 << 30)

/* A child process that reads nothing for this long is considered hung. */
#define STALLED_MAX apr_time_from_sec(10)

#define HELLO "*\thello\t"

static void peers_free_peer(exec_peer *p)
{
    close(p->fd);
    outbox_clear(&p->to);
    exec_input_clear(&p->from);
    exec_ids_clear(&p->ids);
    free(p);
}

void exec_peer_add(exec_peer **all, int fd)
{
    exec_peer *p = calloc(1, sizeof(*p));

    if (!p) {
        close(fd);
        return;
    }
    p->fd = fd;
    p->next = *all;
    *all = p;
    exec_peer_put(p, HELLO, sizeof(HELLO) - 1);
}

void exec_peer_put(exec_peer *p, const char *line, apr_size_t len)
{
    if (exec_put(&p->to, EXEC_LENGTH, line, len) < 0) {
        /* No memory is left, so close the connection, because a truncated line must not be sent. */
        shutdown(p->fd, SHUT_RDWR);
    }
    else if (!p->stalled) {
        p->stalled = apr_time_now();
    }
}

int exec_peers_full(const exec_peer *all)
{
    while (all && outbox_left(&all->to) <= EXEC_MARK) {
        all = all->next;
    }
    return all != NULL;
}

int exec_peers_waiting(const exec_peer *all)
{
    while (all && !all->stalled) {
        all = all->next;
    }
    return all != NULL;
}

unsigned exec_peers_count(const exec_peer *all)
{
    unsigned n = 0;

    for (; all; all = all->next) {
        n++;
    }
    return n;
}

int exec_peers_fill(const exec_peer *all, struct pollfd *fds, int hold)
{
    int n = 0;

    for (; all; all = all->next) {
        short events = (short)((hold ? 0 : POLLIN) | (outbox_left(&all->to) ? POLLOUT : 0));
        fds[n++] = (struct pollfd){.fd = all->fd, .events = events};
    }
    return n;
}

static int peers_write_some(exec_peer *p)
{
    apr_size_t before = outbox_left(&p->to);
    int broken = outbox_write(&p->to, p->fd) != 0;

    if (outbox_left(&p->to) < before) {
        p->stalled = outbox_left(&p->to) ? apr_time_now() : 0;
    }
    return broken;
}

typedef struct reading {
    exec_peer *peer;
    exec_peer_says *says;
    void *arg;
} reading;

static void peers_take_line(void *arg, const char *line, apr_size_t len)
{
    const reading *r = arg;

    r->says(r->arg, r->peer, line, len);
}

void exec_peers_act(exec_peer **all, const struct pollfd *fd, exec_peer_says *says,
                    void (*gone)(void *arg, exec_peer *p), void *arg)
{
    exec_peer *p;
    int over;

    while (*all && (*all)->fd != fd->fd) {
        all = &(*all)->next;
    }
    if (!(p = *all) || !fd->revents) {
        return;
    }
    over = (fd->revents & POLLOUT) && peers_write_some(p);
    if (!over && (fd->revents & ~POLLOUT)) {
        reading r = {p, says, arg};
        over = exec_input_take(&p->from, p->fd, EXEC_LENGTH, LONGEST, peers_take_line, &r) < 0;
    }
    if (over || (p->leaving && !outbox_left(&p->to))) {
        *all = p->next;
        gone(arg, p);
        peers_free_peer(p);
    }
}

void exec_peers_sweep(exec_peer **all, void (*gone)(void *arg, exec_peer *p), void *arg)
{
    apr_time_t since = apr_time_now() - STALLED_MAX;

    while (*all) {
        exec_peer *p = *all;
        if (p->stalled && p->stalled < since) {
            *all = p->next;
            gone(arg, p);
            peers_free_peer(p);
        }
        else {
            all = &p->next;
        }
    }
}

void exec_peers_close(exec_peer **all)
{
    while (*all) {
        exec_peer *p = *all;
        *all = p->next;
        peers_free_peer(p);
    }
}
