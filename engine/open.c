/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Opens a connection for messages, after its handshake. Version 76 (hixie-76, also known as
 * hybi-00) has one more step: the client sends a third key after its headers, and the server
 * answers it after its own headers.
 */

#include <string.h>

#include "engine/callbacks.h"
#include "engine/conn.h"
#include "engine/output.h"
#include "protocol/hixie.h"

/* Set plain_out and plain_in for the fast paths, which most connections can use. */
static void open_note_plain(ws_conn *c)
{
    const ws_handler *h = c->location->handler;
    const ws_settings *s = c->settings;
    c->plain_out = !c->framed && !c->rare->chain && !ws_is_client(c) && !c->rare->meter
                   && !s->fragment && !s->trace;
    c->plain_in = c->plain_out && h->on_message && !h->on_frame && !c->rare->jobs;
}

void ws_conn_open(ws_conn *c)
{
    ws_loop *loop = c->loop;
    ws_cb_set_state(c, WS_OPEN);
    ws_timer_wheel_clear(&loop->event.wheel, &c->alarm);
    if (c->framed) {
        ws_socket_keep_alive(c->source.fd,
                             c->settings); /* a relay does so for the client's socket */
    }
    if (c->settings->ping_interval) {
        ws_conn_alarm_in(c, ws_loop_spread(loop, c->settings->ping_interval));
    }
    if (ws_cb_init(c) < 0 || ws_rate_limit_start(c) < 0) {
        ws_conn_fail(c, WS_CLOSE_INTERNAL, "out of memory");
    }
    else {
        open_note_plain(c);
        ws_cb_open(c);
    }
    if (loop->close_code && !c->freed) {
        ws_conn_close(c, loop->close_code, loop->close_reason, strlen(loop->close_reason));
    }
}

int ws_hixie_shake(ws_conn *c, unsigned char **data, size_t *len)
{
    const ws_hixie *state = (const ws_hixie *)c->rare->framer;
    unsigned char answer[WS_HIXIE_ANSWER];
    if (*len < WS_HIXIE_KEY3) {
        return 0;
    }
    ws_hixie_answer(state->numbers, *data, answer);
    *data += WS_HIXIE_KEY3;
    *len -= WS_HIXIE_KEY3;
    ws_conn_send_bytes(c, answer, sizeof(answer));
    ws_conn_open(c);
    if (c->freed) {
        *len = 0;
        return 0;
    }
    ws_conn_cork(c); /* ws_conn_open() has uncorked c after on_open */
    return 1;
}
