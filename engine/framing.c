/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Functions for connections whose framing is not that of RFC 6455: see protocol/framing.h. */

#include "engine/conn.h"
#include "engine/output.h"

static const ws_framing *framing_of(const ws_conn *c)
{
    return c->rare->framer->framing;
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

int ws_framing_is_between(const ws_conn *c)
{
    const ws_framing *f = framing_of(c);
    return !f->between || f->between(c->rare->framer);
}

void ws_framing_ended(ws_conn *c)
{
    if (!framing_of(c)->answered && ws_state_of(c) == WS_OPEN && ws_framing_is_between(c)) {
        c->end_code = WS_CLOSE_NO_STATUS;
        c->closed_by = WS_CLOSED_BY_CLIENT;
    }
}
