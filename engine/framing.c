/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Sends and closes on connections whose framing is not that of RFC 6455: protocol/framing.h. If the
 * framing has no closing handshake, the connection ends after all queued bytes have been sent.
 */

#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"

static const ws_framing *framing_of(const ws_conn *c)
{
    return c->rare->framer->framing;
}

/* Close. payload: that of a Close frame. The framing's close frame cannot be sent between the parts
 * of a message. */
static ws_status framing_close(ws_conn *c, const unsigned char *payload, apr_size_t len)
{
    const ws_framing *f = framing_of(c);
    unsigned char bytes[WS_FRAMING_CLOSE_MAX];
    ws_status s = WS_QUEUED;
    int closes = f->close && !c->parting;
    if (closes) {
        int code = len ? payload[0] << 8 | payload[1] : WS_CLOSE_NO_STATUS;
        size_t n = f->close(bytes, code, len ? (const char *)payload + 2 : NULL, len ? len - 2 : 0);
        s = ws_conn_send_bytes(c, bytes, n);
    }
    if (!closes || !f->answered) {
        c->discard_input = 1;
        c->finish = 1;
        ws_conn_mark_dirty(c);
    }
    return s;
}

ws_status ws_framing_send(ws_conn *c, unsigned first, const void *payload, apr_size_t len)
{
    unsigned char *bytes;
    ws_status s;
    if ((first & 0xF) == WS_OP_CLOSE) {
        return framing_close(c, payload, len);
    }
    if (framing_of(c) == &ws_framing_raw) { /* saves a copy */
        return ws_conn_send_bytes(c, payload, len);
    }
    if (len > APR_SIZE_MAX / 4 || !(bytes = malloc(framing_of(c)->max(payload, len)))) {
        return WS_FULL;
    }
    s = ws_conn_send_bytes(c, bytes, framing_of(c)->write(bytes, first, payload, len));
    free(bytes);
    return s;
}

ws_frames *ws_framing_build(const ws_conn *c, unsigned first, const void *payload, apr_size_t len)
{
    ws_frames *f = len > APR_SIZE_MAX / 4 ? NULL : ws_frames_new(framing_of(c)->max(payload, len));
    if (f) {
        f->size = f->len = framing_of(c)->write(f->data, first, payload, len);
        f->whole = 1;
    }
    return f;
}

int ws_framing_sends(const ws_conn *c, unsigned opcode)
{
    return opcode != WS_OP_PING && (opcode != WS_OP_BINARY || framing_of(c)->binary);
}

void ws_framing_ended(ws_conn *c)
{
    const ws_framing *f = framing_of(c);
    if (!f->answered && ws_state_of(c) == WS_OPEN && (!f->between || f->between(c->rare->framer))) {
        c->end_code = WS_CLOSE_NO_STATUS;
        c->closed_by = WS_CLOSED_BY_CLIENT;
    }
}
