/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Connects to one of a name's addresses (RFC 8305, section 5). Tries the next address when an
 * address has failed, or after 250 ms. Keeps the first connection that is established, and closes
 * the others. Also tries addresses that the lookup finds later (section 3).
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/connector.h"

/* The Connection Attempt Delay (RFC 8305, section 8), milliseconds. */
#define ATTEMPT_DELAY 250

static void addresses_try_release(ws_handle *h)
{
    free(h);
}

static void addresses_try_stop(ws_handle *h)
{
    ws_try_end((ws_try *)h);
}

static void addresses_won(ws_connector *t, const ws_address *to, int fd)
{
    t->peer = *to;
    ws_connector_end_tries(t);
    ws_connector_end_lookup(t);
    t->fd = fd;
    ws_connector_connected(t);
}

static void addresses_try_ready(ws_source *s, const ws_ready *r)
{
    ws_try *y = (ws_try *)s;
    ws_connector *t = y->t;
    int error = 0, fd = y->fd;
    socklen_t len = sizeof(error);
    (void)r;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
        snprintf(t->error, sizeof(t->error), "connect: %s", strerror(error ? error : errno));
        ws_try_end(y);
        t->next_try = ws_clock();
        ws_connector_try_tick(t);
        return;
    }
    ws_handle_unwatch(&y->handle);
    y->fd = -1;
    addresses_won(t, &y->to, fd);
}

/* Get the local address to connect from, if it has this family. @return its length, or 0 */
static socklen_t addresses_source_of(const ws_connector *t, int family,
                                     struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof(*out));
    out->ss_family = (sa_family_t)family;
    if (family == AF_INET && inet_pton(AF_INET, t->o.source, &v4->sin_addr) == 1) {
        return sizeof(*v4);
    }
    return family == AF_INET6 && inet_pton(AF_INET6, t->o.source, &v6->sin6_addr) == 1 ? sizeof(*v6)
                                                                                       : 0;
}

/* Bind the socket to the local address, if the options set one. @return 0, or -1 with errno set */
static int addresses_bind_source(const ws_connector *t, int fd, int family)
{
    struct sockaddr_storage source;
    socklen_t len;
    int late = 1;
    if (!t->o.source || family == AF_UNIX) {
        return 0;
    }
    if (!(len = addresses_source_of(t, family, &source))) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    /* Let connect() choose the local port, since connect() can choose a port that is in use for
     * other destinations. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof(late));
    return bind(fd, (struct sockaddr *)&source, len);
}

/* Wait until the socket is connected. @return 0, or -1 with errno set */
static int addresses_watch(ws_connector *t, const ws_address *to, int fd)
{
    ws_try *y = calloc(1, sizeof(*y));
    if (!y) {
        return -1;
    }
    *y = (ws_try){.handle = {.source.ready = addresses_try_ready,
                             .stop = addresses_try_stop,
                             .release = addresses_try_release},
                  .t = t,
                  .next = t->tries,
                  .to = *to,
                  .fd = fd,
                  .until = ws_clock() + t->o.connect_timeout};
    t->tries = y;
    ws_handle_open(t->handle.loop, &y->handle);
    if (ws_handle_watch(&y->handle, fd, WS_WRITABLE) != APR_SUCCESS) {
        y->fd = -1;
        ws_try_end(y);
        errno = ENOMEM;
        return -1;
    }
    return 0;
}

/* Start to connect to an address. @return 0: the attempt is in progress and *fd is -1, or *fd is
 * connected; -1: failed, with errno set */
static int addresses_try_one(ws_connector *t, const ws_address *to, int *fd)
{
    int family = to->address.ss_family, s, error;
    *fd = -1;
    if ((s = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0) {
        return -1;
    }
    if (addresses_bind_source(t, s, family) == 0) {
        if (connect(s, (const struct sockaddr *)&to->address, to->len) == 0) {
            *fd = s;
            return 0;
        }
        if (errno == EINPROGRESS && addresses_watch(t, to, s) == 0) {
            return 0;
        }
    }
    error = errno;
    close(s);
    errno = error;
    return -1;
}

/* Try addresses until one is in progress or connected. @return whether t->stage has changed */
static int addresses_try_next(ws_connector *t)
{
    const ws_addresses *all = t->found.addresses;
    while (t->next_address < all->count) {
        const ws_address *to = &all->list[t->next_address++];
        int fd;
        if (addresses_try_one(t, to, &fd) == 0) {
            t->next_try = ws_clock() + ATTEMPT_DELAY;
            if (fd >= 0) {
                addresses_won(t, to, fd);
            }
            return fd >= 0;
        }
        snprintf(t->error, sizeof(t->error), "connect: %s", strerror(errno));
    }
    return 0;
}

static void addresses_expire(ws_connector *t, apr_uint32_t now)
{
    ws_try *y, *next;
    for (y = t->tries; y && t->o.connect_timeout != WS_NEVER; y = next) {
        next = y->next;
        if ((apr_int32_t)(now - y->until) >= 0) {
            snprintf(t->error, sizeof(t->error), "connect: no answer in %u ms",
                     t->o.connect_timeout);
            ws_try_end(y);
        }
    }
}

/* Get the time until the next deadline, milliseconds. */
static apr_uint32_t addresses_rest(const ws_connector *t, apr_uint32_t now)
{
    apr_int32_t least = APR_INT32_MAX;
    for (const ws_try *y = t->tries; y && t->o.connect_timeout != WS_NEVER; y = y->next) {
        apr_int32_t left = (apr_int32_t)(y->until - now);
        least = left < least ? left : least;
    }
    if (t->next_address < t->found.addresses->count && (apr_int32_t)(t->next_try - now) < least) {
        least = (apr_int32_t)(t->next_try - now);
    }
    return least > 0 ? (apr_uint32_t)least : 0;
}

void ws_connector_try_tick(ws_connector *t)
{
    apr_uint32_t now = ws_clock();
    addresses_expire(t, now);
    if ((!t->tries || (apr_int32_t)(now - t->next_try) >= 0) && addresses_try_next(t)) {
        return;
    }
    if (t->tries) {
        ws_connector_alarm(t, addresses_rest(t, now));
    }
    else if (t->lookup && t->o.lookup_timeout == WS_NEVER) {
        ws_connector_alarm(t, WS_NEVER); /* wait, because the lookup may find further addresses */
    }
    else if (t->lookup && (apr_int32_t)(t->lookup_until - now) > 0) {
        ws_connector_alarm(t, t->lookup_until - now);
    }
    else {
        ws_connector_fail(t, 0, "%s", t->error);
    }
}

void ws_connector_try_more(ws_connector *t, const ws_addresses *more)
{
    ws_addresses_merge(&t->found.addresses, more, t->next_address);
    ws_connector_try_tick(t);
}

void ws_connector_try(ws_connector *t)
{
    t->stage = WS_AT_CONNECT;
    t->next_address = 0;
    t->next_try = ws_clock();
    ws_connector_try_tick(t);
}
