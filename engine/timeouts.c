/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The time limits for the peer: to answer a Ping, to answer our Close, and to close its side of the
 * socket. Megabytes of queued data may precede the frame that needs an answer. A timeout is
 * therefore extended as long as the peer's kernel acknowledges data.
 */

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/conn.h"
#include "engine/socket.h"

/* Maximum time to end a connection whose peer keeps reading or sending a little, milliseconds.
 * httpd and nginx have the same limit for their lingering close. */
#define ENDING_MAX 30000

/* While a peer's program may still have to read what its kernel has received, the program gets the
 * time to read it at SLOWEST bytes per second, but at most UNREAD_MAX milliseconds. */
#define SLOWEST 10000
#define UNREAD_MAX 120000

/* Maximum delay of a housekeeping alarm, milliseconds, so that many alarms can fire together. */
#define SLACK 256

/* The unit of ws_conn.since is 1 << SINCE_SHIFT milliseconds. */
#define SINCE_SHIFT 8

void ws_conn_alarm_in(ws_conn *c, apr_uint32_t ms)
{
    apr_uint32_t due = c->loop->event.now + ms;
    ws_timer_wheel_set(&c->loop->event.wheel, &c->alarm, (due | (SLACK - 1)) + 1);
}

/* ---- Bytes that the peer has received ---- */

int ws_socket_taken(int fd, apr_uint32_t *taken, int *waiting)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    memset(&info, 0, sizeof(info));
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0
        || len < offsetof(struct tcp_info, tcpi_notsent_bytes) + sizeof(info.tcpi_notsent_bytes)) {
        return -1;
    }
    *waiting |= info.tcpi_unacked || info.tcpi_notsent_bytes;
    /* The send window grows when the peer's program reads data that its kernel has already
     * acknowledged. */
    *taken = 2 * (apr_uint32_t)info.tcpi_bytes_acked + info.tcpi_snd_wnd;
    return 0;
}

/* As ws_socket_taken(), also for a socket pair, which buffers little. */
static apr_uint32_t timeouts_taken(const ws_conn *c, int *waiting)
{
    apr_uint32_t taken;
    *waiting = ws_send_queue_count(&c->out) || c->rare->cipher_out;
    return ws_socket_taken(c->source.fd, &taken, waiting) < 0 ? c->sums[WS_SUM_WIRE_OUT] : taken;
}

int ws_conn_takes(ws_conn *c, int *waiting)
{
    apr_uint32_t now = timeouts_taken(c, waiting);
    int more = now != c->alarm.arg;
    c->alarm.arg = now;
    return more;
}

void ws_conn_count_as_taken(ws_conn *c)
{
    c->alarm.arg = ~c->alarm.arg;
}

/* ---- Timeouts for an answer ---- */

void ws_conn_ask(ws_conn *c)
{
    int waiting;
    ws_conn_takes(c, &waiting);
    c->ask_queued = waiting != 0;
    c->since = (apr_uint16_t)(c->loop->event.now >> SINCE_SHIFT);
}

static apr_uint32_t timeouts_asked_for(const ws_conn *c)
{
    return (apr_uint32_t)(apr_uint16_t)((c->loop->event.now >> SINCE_SHIFT) - c->since)
           << SINCE_SHIFT;
}

/* Note that the peer's program has read everything sent so far. */
static void timeouts_all_read(ws_conn *c)
{
    c->read_up_to = (unsigned char)(c->sums[WS_SUM_WIRE_OUT] >> 16);
}

/* Get the time that the peer's program may need to read what its kernel has received. A kernel does
 * not say how much that is; it is at most what has been sent since the last Pong. */
static apr_uint32_t timeouts_unread(const ws_conn *c)
{
    unsigned parts = (unsigned char)((c->sums[WS_SUM_WIRE_OUT] >> 16) - c->read_up_to);
    apr_uint32_t ms = parts ? (parts - 1) * (65536 * 1000 / SLOWEST) : 0;
    return ms < UNREAD_MAX ? ms : UNREAD_MAX;
}

apr_uint32_t ws_conn_more_time(ws_conn *c, apr_uint32_t time)
{
    int waiting, more = ws_conn_takes(c, &waiting);
    apr_uint32_t passed = timeouts_asked_for(c), unread = timeouts_unread(c);
    if (!waiting && passed < unread) {
        return unread - passed;
    }
    if (!c->ask_queued || !more) {
        return 0;
    }
    if (!waiting) {
        /* The frame has only now reached the peer's kernel. The peer's program may have to read all
         * data before it, which may take the same time again. */
        time = time > passed ? time : passed;
    }
    return time;
}

int ws_conn_extend(ws_conn *c, apr_uint32_t time)
{
    apr_uint32_t passed = timeouts_asked_for(c),
                 left = passed < ENDING_MAX ? ENDING_MAX - passed : 0;
    apr_uint32_t silent = c->loop->event.now - c->last_input, more = ws_conn_more_time(c, time);
    if (c->framed && ws_send_queue_count(&c->out)) {
        left = more; /* the response to a poll may be long: it only has to make progress */
    }
    if (!more && silent < time && silent + (1 << SINCE_SHIFT) < passed) {
        more = time;
    }
    more = more < left ? more : left;
    if (more) {
        ws_conn_alarm_in(c, more);
    }
    return more != 0;
}

void ws_conn_linger(ws_conn *c)
{
    ws_conn_alarm_in(c, WS_LINGER);
}

void ws_conn_answered(ws_conn *c)
{
    c->pinged = 0;
    timeouts_all_read(c);
    if (ws_state_of(c) == WS_OPEN) { /* otherwise the closing handshake uses the alarm */
        ws_conn_alarm_in(c, ws_loop_spread(c->loop, c->settings->ping_interval));
    }
}
