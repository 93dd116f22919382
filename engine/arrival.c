/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Time limits for incoming messages (WebSocketMessageTimeout). An unfinished message occupies
 *  memory: a buffer, or the state of an extension, even if it has no payload yet. More of the
 *  message must therefore arrive within a time, and at a minimum rate. */

#include <stdlib.h>

#include "engine/conn.h"

/* The maximum time in which the message must arrive completely, milliseconds. */
static apr_uint64_t arrival_allowed(const ws_arrival *a)
{
    const ws_settings *s = a->c->settings;
    return s->message_timeout
           + (s->message_rate
                  ? (ws_conn_sum(a->c, WS_SUM_WIRE_IN) - a->wire_in) * 1000 / s->message_rate
                  : 0);
}

static void arrival_begin_time(ws_arrival *a)
{
    a->begun = a->moved = a->c->loop->event.now;
    a->wire_in = ws_conn_sum(a->c, WS_SUM_WIRE_IN);
}

static void arrival_look(ws_alarm *alarm)
{
    ws_arrival *a = (ws_arrival *)alarm;
    ws_conn *c = a->c;
    apr_uint32_t now = c->loop->event.now, timeout = c->settings->message_timeout;
    void (*late)(ws_conn * c);
    if (c->held & ~WS_HELD_TURN) { /* the peer could not send while reading was stopped */
        arrival_begin_time(a);
    }
    if (now - a->moved < timeout
        && (!c->settings->message_rate || now - a->begun < arrival_allowed(a))) {
        ws_timer_wheel_set(&c->loop->event.wheel, alarm, a->moved + timeout);
        return;
    }
    late = a->late;
    ws_arrival_end(c); /* frees a */
    late(c);
}

int ws_arrival_begin(ws_conn *c, apr_uint64_t received, void (*late)(ws_conn *c))
{
    ws_rare *rare;
    ws_arrival *a;
    if (!c->settings->message_timeout) {
        return 0;
    }
    if (!(rare = ws_conn_rare(c)) || !(a = calloc(1, sizeof(*a)))) {
        return -1;
    }
    rare->arrival = a;
    a->c = c;
    a->late = late;
    arrival_begin_time(a);
    a->wire_in -= received;
    a->alarm.fn = arrival_look;
    ws_timer_wheel_set(&c->loop->event.wheel, &a->alarm,
                       c->loop->event.now + c->settings->message_timeout);
    return 0;
}

void ws_arrival_resume(ws_conn *c)
{
    if (c->rare->arrival) {
        arrival_begin_time(c->rare->arrival);
    }
}

void ws_arrival_end(ws_conn *c)
{
    ws_arrival *a = c->rare->arrival;
    if (a) {
        ws_rare_of(c)->arrival = NULL;
        ws_timer_wheel_clear(&c->loop->event.wheel, &a->alarm);
        free(a);
    }
}
