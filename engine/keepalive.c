/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The time limits for the peer: to answer a Ping, to answer our Close, and to close its side of the
 * socket. The kernel may have to send megabytes before the frame that needs an answer. A timeout is
 * therefore extended as long as the peer's kernel acknowledges data.
 */

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/conn.h"

/* Time that the peer has to close its side of the socket once everything has been sent,
 * milliseconds. If the peer has sent more data, an immediate close would reset the connection,
 * and the reset could destroy our Close frame on its way. */
#define LINGER 2000

/* Maximum duration of the end of a connection, for a peer that keeps reading or sending a little,
 * milliseconds. httpd and nginx have the same limit for their lingering close. */
#define ENDING_MAX 30000

/* A housekeeping alarm may fire this much later, milliseconds: many connections share a slot. */
#define SLACK 256

/* The unit of ws_conn.since is 1 << SINCE_SHIFT milliseconds. */
#define SINCE_SHIFT 8

void ws_conn_alarm_in(ws_conn *c, apr_uint32_t ms)
{
    apr_uint32_t due = c->loop->event.now + ms;
    ws_timer_wheel_set(&c->loop->event.wheel, &c->alarm, (due | (SLACK - 1)) + 1);
}

/* ---- Bytes that the peer has received ---- */

/* Get a number that changes when the peer receives data. *waiting: whether some data is not
 * acknowledged yet */
static apr_uint32_t keepalive_taken(const ws_conn *c, int *waiting)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    memset(&info, 0, sizeof(info));
    *waiting = ws_send_queue_count(&c->out) || c->cipher_out;
    if (getsockopt(c->source.fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0
        || len < offsetof(struct tcp_info, tcpi_notsent_bytes) + sizeof(info.tcpi_notsent_bytes)) {
        return c->sums[WS_SUM_WIRE_OUT]; /* a socket pair, which buffers little */
    }
    *waiting |= info.tcpi_unacked || info.tcpi_notsent_bytes;
    /* The send window grows when the peer's program reads data that its kernel has already
     * acknowledged. */
    return 2 * (apr_uint32_t)info.tcpi_bytes_acked + info.tcpi_snd_wnd;
}

/* @return whether the peer has received data since the last call */
static int keepalive_takes(ws_conn *c, int *waiting)
{
    apr_uint32_t now = keepalive_taken(c, waiting);
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
    keepalive_takes(c, &waiting);
    c->ask_queued = waiting != 0;
    c->since = (apr_uint16_t)(c->loop->event.now >> SINCE_SHIFT);
}

static apr_uint32_t keepalive_asked_for(const ws_conn *c)
{
    return (apr_uint32_t)(apr_uint16_t)((c->loop->event.now >> SINCE_SHIFT) - c->since)
           << SINCE_SHIFT;
}

/* A timeout has expired. @return by how many milliseconds to extend it, 0: not at all */
static apr_uint32_t keepalive_more_time(ws_conn *c, apr_uint32_t time)
{
    int waiting;
    if (!c->ask_queued || !keepalive_takes(c, &waiting)) {
        return 0;
    }
    if (!waiting) {
        /* The frame has only now reached the peer's kernel. The peer's program may have to read all
         * data before it, which may take the same time again. */
        time = time > keepalive_asked_for(c) ? time : keepalive_asked_for(c);
    }
    return time;
}

/* Give the peer of an ending connection more time if it has received or sent something since the
 * last check. It may have data to send before its own Close. @return 0: its time is over */
static int keepalive_extend(ws_conn *c, apr_uint32_t time)
{
    apr_uint32_t passed = keepalive_asked_for(c),
                 left = passed < ENDING_MAX ? ENDING_MAX - passed : 0;
    apr_uint32_t silent = c->loop->event.now - c->last_input, more = keepalive_more_time(c, time);
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
    ws_conn_alarm_in(c, LINGER);
}

/* @return whether the alarm was for a connection that is not open, or is closing */
static int keepalive_is_ending(ws_conn *c)
{
    if (ws_state_of(c) == WS_OPEN) {
        if (c->peer_closed) {
            ws_conn_answer_close(c); /* the handler has not answered in time */
            ws_conn_mark_dirty(c);
        }
        return c->peer_closed;
    }
    if (ws_state_of(c) == WS_CONNECTING) {
        ws_conn_end(c, "the client did not complete the handshake of version 76 "
                       "(WebSocketCloseTimeout)");
    }
    else if (c->write_shut) {
        if (!keepalive_extend(c, LINGER)) {
            ws_conn_end(c, "closed; the peer did not close its side");
        }
    }
    else if (!keepalive_extend(c, c->settings->close_timeout)) {
        ws_conn_end(c, "the closing handshake took too long (WebSocketCloseTimeout)");
    }
    return 1;
}

/* ---- Pings ---- */

void ws_conn_answered(ws_conn *c)
{
    c->pinged = 0;
    if (ws_state_of(c) == WS_OPEN) { /* otherwise the closing handshake uses the alarm */
        ws_conn_alarm_in(c, ws_loop_spread(c->loop, c->settings->ping_interval));
    }
}

/* Reading is held, so a Pong could not be received: check the peer without a ping. */
static void keepalive_look_at_held(ws_conn *c)
{
    int waiting;
    /* The send queue is full and the peer has read nothing since the last check. */
    if ((c->held & WS_HELD_QUEUE) && !keepalive_takes(c, &waiting)) {
        ws_count(c->loop->counters, WS_COUNT_SLOW_STALLED, 1);
        ws_conn_end(c, ws_is_client(c) ? "the server reads nothing (WebSocketPing)"
                                       : "the client reads nothing (WebSocketPing)");
        return;
    }
    /* The peer has closed its side, and nothing has been read for an interval. Do not wait for
     * reading to resume: that may never happen. */
    if (c->loop->event.now - c->last_input > c->settings->ping_interval
        && ws_socket_half_closed(c)) {
        ws_conn_end(c, ws_is_client(c) ? "the server closed its side while reading was paused "
                                         "(WebSocketPing)"
                                       : "the client closed its side while reading was paused "
                                         "(WebSocketPing)");
        return;
    }
    c->pinged = 0;
    ws_conn_alarm_in(c, c->settings->ping_interval + c->settings->ping_grace);
}

/* A ping was not answered in time. @return whether to send another ping */
static int keepalive_misses_pong(ws_conn *c)
{
    apr_uint32_t more = keepalive_more_time(c, c->settings->ping_grace);
    if (more) {
        ws_conn_alarm_in(c, more);
        return 0;
    }
    c->missed = 1;
    ws_count(c->loop->counters, WS_COUNT_PINGS_MISSED, 1);
    if (c->settings->ping_grace) {
        ws_conn_end(c, "no answer to a ping (WebSocketPing)");
        return 0;
    }
    return 1; /* WebSocketPing ... off */
}

static void keepalive_ping(ws_conn *c)
{
    c->pinged = 1;
    ws_count(c->loop->counters, WS_COUNT_PINGS_SENT, 1);
    ws_conn_ask(c);
    ws_conn_send(c, WS_FIN | WS_OP_PING, NULL, 0);
    ws_conn_alarm_in(c, c->settings->ping_grace ? c->settings->ping_grace
                                                : c->settings->ping_interval);
}

void ws_conn_housekeeping(ws_alarm *a)
{
    ws_conn *c = (ws_conn *)((char *)a - offsetof(ws_conn, alarm));
    apr_uint32_t interval = c->settings->ping_interval, silent;

    if (keepalive_is_ending(c)) {
        return;
    }
    if (c->pinged) {
        /* If the loop was blocked, it may not have read an answer that has arrived. */
        ws_conn_read(c);
        ws_loop_catch_up(c->loop);
        if (c->freed || ws_state_of(c) != WS_OPEN || c->peer_closed) {
            return;
        }
    }
    if (c->held & ~WS_HELD_TURN) {
        keepalive_look_at_held(c);
        return;
    }
    if (c->framed) { /* this framing has no pings: TCP keepalive probes the peer */
        ws_conn_alarm_in(c, interval + c->settings->ping_grace);
        return;
    }
    if (c->pinged && !keepalive_misses_pong(c)) {
        return;
    }
    silent = c->loop->event.now - c->last_input;
    if (silent < interval / 2) {
        ws_conn_alarm_in(c, ws_loop_spread(c->loop, interval) - silent);
        return;
    }
    keepalive_ping(c);
}
