/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Sends pings, and ends connections whose peer does not answer in time. */

#include <stddef.h>

#include "engine/conn.h"
#include "engine/output.h"
#include "engine/socket.h"

/* Handle the alarm of a connection that is not open yet, or is closing. @return 0: it is open */
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
        if (!ws_conn_extend(c, WS_LINGER)) {
            ws_conn_end(c, "closed, but the peer did not close its side");
        }
    }
    else if (!ws_conn_extend(c, c->settings->close_timeout)) {
        ws_conn_end(c, "the closing handshake took too long (WebSocketCloseTimeout)");
    }
    return 1;
}

/* ---- Pings ---- */

/* Check the peer without a ping, because reading is stopped and a Pong would not be read. */
static void keepalive_look_at_held(ws_conn *c)
{
    int waiting;
    /* If the send queue is full, the peer must have read something since the last check. */
    if ((c->held & WS_HELD_QUEUE) && !ws_conn_takes(c, &waiting)) {
        ws_count(c->loop->counters, WS_COUNT_SLOW_STALLED, 1);
        ws_conn_end(c, ws_is_client(c) ? "the server reads nothing (WebSocketPing)"
                                       : "the client reads nothing (WebSocketPing)");
        return;
    }
    /* If the peer has closed its side and nothing has been read for an interval, do not wait for
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

/* Handle that a ping was not answered in time. @return whether to send another ping */
static int keepalive_misses_pong(ws_conn *c)
{
    apr_uint32_t more = ws_conn_more_time(c, c->settings->ping_grace);
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
    return 1; /* "WebSocketPing INTERVAL off" does not close the connection */
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
