/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The closing handshake, in both directions, and the abort of a connection. */

#include <stdlib.h>
#include <string.h>

#include "engine/callbacks.h"
#include "engine/conn.h"
#include "engine/output.h"
#include "protocol/close.h"

/* Set c->rare->end_reason. If memory is exhausted, the reason is empty. */
static void closing_set_reason(ws_conn *c, const void *reason, apr_size_t len)
{
    ws_rare *rare = len || c->rare->end_reason ? ws_conn_rare(c) : NULL;
    if (rare) {
        free(rare->end_reason);
        rare->end_reason = len ? ws_bytes_new(reason, len) : NULL;
    }
}

/* Discard further input, and end the connection once everything has been written. */
static void closing_end_after_writing(ws_conn *c)
{
    c->discard_input = 1;
    c->finish = 1;
}

void ws_conn_close(ws_conn *c, int code, const char *reason, apr_size_t reason_len)
{
    unsigned char payload[WS_CONTROL_MAX];
    size_t len;

    if (ws_state_of(c) != WS_OPEN) {
        return;
    }
    len = ws_close_build(payload, code, reason, reason_len);
    if (!c->end_code) {
        /* Record the code that is sent, which may differ from the requested one. */
        c->end_code = len ? (apr_uint16_t)(payload[0] << 8 | payload[1]) : WS_CLOSE_NO_STATUS;
        closing_set_reason(c, payload + 2, len > 2 ? len - 2 : 0);
        c->closed_by = ws_is_client(c) ? WS_CLOSED_BY_CLIENT : WS_CLOSED_BY_SERVER;
    }
    if (len && c->end_code != code && c->end_code == WS_CLOSE_INTERNAL) {
        ws_engine_log(c->loop->engine, WS_LOG_WARNING, c,
                      "handler %s closes with code %d, which must not be sent: sending 1011",
                      c->location->name, code);
    }
    ws_count(c->loop->counters,
             ws_counter_of_code(WS_COUNT_SENT_1000,
                                len ? payload[0] << 8 | payload[1] : WS_CLOSE_NO_STATUS),
             1);
    ws_conn_ask(c);
    ws_conn_send(c, WS_FIN | WS_OP_CLOSE, payload, len);
    ws_cb_set_state(c, WS_CLOSING);
    if (!ws_conn_accepts_input(c)) {
        ws_conn_release(c, WS_HELD_HANDLER); /* resume reading, to receive the peer's Close */
    }
    if (c->peer_closed) {
        closing_end_after_writing(c);
    }
    ws_conn_alarm_in(c, c->settings->close_timeout);
}

void ws_conn_fail(ws_conn *c, int code, const char *text)
{
    ws_engine_log(c->loop->engine, WS_LOG_INFO, c, "failing the connection with %d: %s", code,
                  text);
    ws_conn_close(c, code, text, strlen(text));
    closing_end_after_writing(c);
}

static void closing_take_reason(ws_conn *c, int code, const char *reason, apr_size_t reason_len)
{
    c->closed_by = ws_is_client(c) ? WS_CLOSED_BY_SERVER : WS_CLOSED_BY_CLIENT;
    c->end_code = (apr_uint16_t)code;
    closing_set_reason(c, reason, reason_len);
}

/* RFC 6455, section 5.5.1, suggests echoing the code. Test suites of browsers also expect the
 * reason. */
void ws_conn_answer_close(ws_conn *c)
{
    const ws_bytes *reason = c->rare->end_reason;
    ws_conn_close(c, c->end_code, reason ? (const char *)reason->data : NULL,
                  reason ? reason->len : 0);
}

void ws_conn_closed_by_peer(ws_conn *c, int code, const char *reason, apr_size_t reason_len)
{
    ws_count(c->loop->counters, ws_counter_of_code(WS_COUNT_RECEIVED_1000, code), 1);
    c->peer_closed = 1;
    c->discard_input = 1;
    if (ws_state_of(c) == WS_OPEN) {
        closing_take_reason(c, code, reason, reason_len);
        c->pinged = 0;
        ws_conn_alarm_in(c, c->settings->close_timeout);
        ws_cb_closing(c);
        return;
    }
    if (c->location->handler->flags & WS_HEAR_OUT && code != c->end_code) {
        closing_take_reason(c, code, reason, reason_len); /* it does not answer our Close frame */
    }
    closing_end_after_writing(c);
}

void ws_conn_abort(ws_conn *c)
{
    if (ws_state_of(c) == WS_CLOSED) {
        return;
    }
    c->aborted = c->broken = c->discard_input = 1; /* c ends after the callback that is running */
    if (ws_conn_gathered(c)) {
        c->loop->cork_len = 0;
    }
    ws_cb_set_state(c, WS_CLOSED);
    ws_conn_mark_dirty(c);
}
