/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Sets the alarm of a connector (an outgoing connection that is being made), and closes its
 *  sockets and lookups. */

#include <stdlib.h>
#include <unistd.h>

#include "client/connector.h"
#include "client/tls.h"

void ws_connector_alarm(ws_connector *t, apr_uint32_t ms)
{
    if (ms == WS_NEVER) {
        ws_timer_wheel_clear(&t->handle.loop->event.wheel, &t->alarm);
    }
    else {
        ws_timer_wheel_set(&t->handle.loop->event.wheel, &t->alarm, ws_clock() + ms);
    }
}

static void end_delay_is_over(ws_alarm *a)
{
    ws_connector *t = (ws_connector *)((char *)a - offsetof(ws_connector, alarm));
    t->begin(t);
}

void ws_connector_begin_in(ws_connector *t, apr_uint32_t ms)
{
    t->alarm.fn = end_delay_is_over;
    ws_connector_alarm(t, ms);
}

void ws_try_end(ws_try *y)
{
    ws_try **link = &y->t->tries;
    while (*link != y) {
        link = &(*link)->next;
    }
    *link = y->next;
    ws_handle_close(&y->handle);
    if (y->fd >= 0) {
        close(y->fd);
    }
}

void ws_connector_end_tries(ws_connector *t)
{
    while (t->tries) {
        ws_try_end(t->tries);
    }
}

void ws_connector_end_lookup(ws_connector *t)
{
    if (t->lookup) {
        ws_lookup_cancel(t->lookup);
        t->lookup = NULL;
    }
}

void ws_connector_hang_up(ws_connector *t)
{
    ws_handle_unwatch(&t->handle);
    ws_timer_wheel_clear(&t->handle.loop->event.wheel, &t->alarm);
    ws_connector_end_lookup(t);
    ws_connector_end_tries(t);
    ws_tls_close(t->ssl);
    t->ssl = NULL;
    if (t->fd >= 0) {
        close(t->fd);
        t->fd = -1;
    }
    free(t->found.addresses);
    t->found.addresses = NULL;
    SSL_CTX_free(t->found.tls);
    t->found.tls = NULL;
    t->in_len = 0;
}

void ws_connector_end(ws_connector *t)
{
    if (t->stage == WS_AT_END) {
        return;
    }
    if (t->outgoing) {
        t->outgoing->owner = NULL; /* the connection stays open */
        t->outgoing = NULL;
    }
    ws_connector_hang_up(t);
    t->stage = WS_AT_END;
    ws_handle_close(&t->handle);
}
