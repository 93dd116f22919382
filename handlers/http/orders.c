/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Carries out the actions of an answer that has been checked. A failed subscription or publication
 *  is logged, and the connection stays open. */

#include "orders.h"

#include <cjson/cJSON.h>
#include <httpd.h>
#include <http_log.h>
#include <http_main.h>
#include <stdlib.h>
#include <string.h>

#include "grip.h"
#include "websocket_parse.h"

/* ---- style=form ---- */

static void orders_publish(const answer *a, const char *data, size_t len)
{
    ws_status status = ws_publish(a->publish, a->type, data, len, 0, NULL, NULL);
    if (status < 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                     "websocket: http: not published to %s: %d", a->publish, (int)status);
    }
}

/* Send or publish a message. If c is NULL, the connection has ended, so the message can only be
 * published. */
static void orders_say(ws_conn *c, const answer *a, const char *data, size_t len)
{
    if (a->publish) {
        orders_publish(a, data, len);
    }
    else if (c) {
        ws_send(c, a->type, data, len);
    }
}

static void orders_say_lines(ws_conn *c, const answer *a)
{
    for (const char *line = a->body, *end = a->body + a->len; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((newline ? newline : end) - line), text = len;
        if (text && line[text - 1] == '\r') {
            text--;
        }
        if (text) {
            orders_say(c, a, line, text);
        }
        line += len + 1;
    }
}

static void orders_subscribe(ws_conn *c, const answer *a)
{
    for (const struct curl_slist *name = a->unsubscribe; name; name = name->next) {
        ws_unsubscribe(c, name->data);
    }
    for (const struct curl_slist *name = a->subscribe; name; name = name->next) {
        ws_status status = ws_subscribe(c, name->data, NULL);
        if (status < 0) {
            ws_conn_log(c, WS_LOG_WARNING, "http: not subscribed to %s: %d", name->data,
                        (int)status);
        }
    }
}

void orders_obey_form(ws_conn *c, const answer *a)
{
    if (c) {
        orders_subscribe(c, a);
    }
    if (a->lines && a->len) {
        orders_say_lines(c, a);
    }
    else if (a->len) {
        orders_say(c, a, a->body, a->len);
    }
    if (c && a->close) {
        ws_close(c, a->close, a->reason);
    }
}

/* ---- style=grip ---- */

static void orders_control_channel(ws_conn *c, int subscribe, const char *channel)
{
    ws_status status = !channel || !ws_channel_valid(channel) ? WS_UNSUPPORTED
                       : subscribe                            ? ws_subscribe(c, channel, NULL)
                                                              : ws_unsubscribe(c, channel);
    if (status < 0) {
        ws_conn_log(c, WS_LOG_WARNING, "http: cannot follow a control message, channel %s: %d",
                    channel ? channel : "missing", (int)status);
    }
}

static void orders_control(ws_conn *c, orders_grip *how, const char *json, size_t len)
{
    /* refuse a text with a NUL, since cJSON would truncate it */
    cJSON *o = ws_json_has_nul(json, len) ? NULL : cJSON_ParseWithLength(json, len);
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "type"));
    const char *channel = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "channel"));
    if (type && (!strcmp(type, "subscribe") || !strcmp(type, "unsubscribe"))) {
        orders_control_channel(c, *type == 's', channel);
    }
    else if (type && !strcmp(type, "detach")) {
        how->detached = 1;
    }
    else {
        ws_conn_log(c, WS_LOG_WARNING, "http: ignored a control message of unknown type: %s",
                    type ? type : "none");
    }
    cJSON_Delete(o);
}

static void orders_message(ws_conn *c, orders_grip *how, const grip_event *e)
{
    ws_type type = e->kind == GRIP_TEXT ? WS_TEXT : WS_BINARY;
    const char *data = e->data ? e->data : "";
    size_t prefix = how->prefix ? strlen(how->prefix) : 0;
    if (how->control && type == WS_TEXT && e->len >= 2 && !memcmp(data, "c:", 2)) {
        orders_control(c, how, data + 2, e->len - 2);
    }
    else if (!how->control) {
        ws_send(c, type, data, e->len);
    }
    else if (e->len >= prefix && !memcmp(data, how->prefix ? how->prefix : "", prefix)) {
        ws_send(c, type, data + prefix, e->len - prefix);
    }
    else {
        ws_conn_log(c, WS_LOG_WARNING, "http: dropped a message without the prefix \"%s\"",
                    how->prefix);
    }
}

static void orders_close(ws_conn *c, const grip_event *e)
{
    char reason[124];
    size_t len = e->len > 2 ? e->len - 2 : 0;
    memcpy(reason, len ? e->data + 2 : "", len);
    reason[len] = '\0';
    ws_close(c, grip_close_code(e), reason);
}

static void orders_event(ws_conn *c, orders_grip *how, const grip_event *e)
{
    switch (e->kind) {
    case GRIP_TEXT:
    case GRIP_BINARY:
        orders_message(c, how, e);
        break;
    case GRIP_PING:
        ws_ping(c, e->data ? e->data : "", e->len <= 125 ? e->len : 0);
        break;
    case GRIP_CLOSE:
        orders_close(c, e);
        break;
    case GRIP_DISCONNECT:
        ws_abort(c);
        break;
    default: /* OPEN; PONG, since the server has answered the Ping itself */
        break;
    }
}

void orders_obey_grip(ws_conn *c, orders_grip *how, const answer *a)
{
    const char *at = a->body;
    grip_event e;
    while (a->len && ws_conn_state(c) == WS_OPEN && grip_next(&at, a->body + a->len, &e) > 0) {
        orders_event(c, how, &e);
    }
}
