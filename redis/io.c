/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Waits for sockets, which do not block, and sends. While the process stops, a wait is short, so
 *  that a server that does not answer cannot delay the end of the process. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "redis/private.h"

#define TIMEOUT 5 /* timeout of connects and replies, seconds */

/* Time after the stop when all waits end, even if replies still trickle in, seconds. */
#define STOP_TIMEOUT 4

void ws_redis_blame(redisContext *c, const char *format, const char *detail)
{
    c->err = REDIS_ERR_OTHER;
    snprintf(c->errstr, sizeof(c->errstr), format, detail);
}

/* Get the remaining time of a wait that began at `since`, milliseconds; at least 0. */
static int io_patience(const ws_redis *r, apr_time_t since)
{
    apr_time_t stopped = __atomic_load_n(&r->stopped, __ATOMIC_RELAXED);
    apr_time_t until = since + apr_time_from_sec(TIMEOUT), now = apr_time_now();
    if (stopped) {
        apr_time_t last = (since > stopped ? since : stopped) + apr_time_from_msec(WS_REDIS_LAST);
        apr_time_t end = stopped + apr_time_from_sec(STOP_TIMEOUT);
        until = last < until ? last : until;
        until = end < until ? end : until;
    }
    return until > now ? (int)((until - now + 999) / 1000) : 0;
}

int ws_redis_wait(const ws_redis *r, redisContext *c, short events)
{
    struct pollfd p[] = {{.fd = c->fd, .events = events}, {.fd = r->ended, .events = POLLIN}};
    apr_time_t since = apr_time_now();
    int ready = 0, ms = 1;
    while (ready <= 0 && ms > 0) {
        ms = io_patience(r, since);
        ready = poll(p, 2, ms);
        if (ready > 0 && !p[0].revents) {
            p[1].fd = -1; /* the process ends, so ms is shorter now */
            ready = 0;
        }
    }
    if (ready <= 0) {
        ws_redis_blame(c, "%s", strerror(ETIMEDOUT));
        return -1;
    }
    return 0;
}

int ws_redis_flush(const ws_redis *r, redisContext *c)
{
    int done = 0;
    while (ws_redis_write(c, &done) == REDIS_OK) {
        if (done) {
            return 0;
        }
        if (ws_redis_wait(r, c, POLLOUT) < 0) {
            break;
        }
    }
    return -1;
}
