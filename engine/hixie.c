/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What connections of versions 76 and 75 do otherwise: the end of the handshake, frames out, the end. */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/conn.h"

/* A relay's end is no TCP socket: ws_relay() sees to the client's. */
void ws_hixie_keep_alive(ws_conn *c)
{
    ws_socket_keep_alive(c->fd, c->settings);
}

int ws_hixie_shake(ws_conn *c, unsigned char **data, size_t *len)
{
    unsigned char answer[WS_HIXIE_ANSWER];
    if (*len < WS_HIXIE_KEY3) {
        return 0;
    }
    ws_hixie_answer(c->hixie->numbers, *data, answer);
    *data += WS_HIXIE_KEY3;
    *len -= WS_HIXIE_KEY3;
    ws_conn_send_bytes(c, answer, sizeof(answer));
    ws_conn_open(c);
    if (c->freed) {
        *len = 0;
        return 0;
    }
    ws_conn_cork(c); /* on_open had it */
    return 1;
}

/* In the middle of a text FF 00 would end that, and begin another. */
static ws_status send_close(ws_conn *c)
{
    static const unsigned char closing[] = {0xFF, 0x00};
    if (c->version == 76 && !c->parting) {
        return ws_conn_send_bytes(c, closing, sizeof(closing));
    }
    c->discard_input = 1;
    c->finish = 1;
    ws_conn_mark_dirty(c);
    return WS_QUEUED;
}

ws_status ws_hixie_send(ws_conn *c, unsigned first, const void *payload, apr_size_t len)
{
    unsigned char *bytes;
    ws_status s;
    if ((first & 0xF) == WS_OP_CLOSE) {
        return send_close(c);
    }
    if (c->version == WS_VERSION_STREAM) {
        return ws_conn_send_bytes(c, payload, len);
    }
    if (len > APR_SIZE_MAX / 4 || !(bytes = malloc(ws_hixie_frame_max(payload, len)))) {
        return WS_FULL;
    }
    s = ws_conn_send_bytes(c, bytes, ws_hixie_frame(bytes, first, payload, len));
    free(bytes);
    return s;
}

ws_frames *ws_hixie_build(const ws_conn *c, const void *payload, apr_size_t len)
{
    if (c->version == WS_VERSION_STREAM) {
        ws_frames *raw = ws_frames_new(len);
        if (raw) {
            memcpy(raw->data, payload, len);
            raw->size = raw->len = len;
            raw->whole = 1;
        }
        return raw;
    }
    ws_frames *f = len > APR_SIZE_MAX / 4 ? NULL : ws_frames_new(ws_hixie_frame_max(payload, len));
    if (f) {
        f->size = f->len = ws_hixie_frame(f->data, WS_FIN | WS_OP_TEXT, payload, len);
        f->whole = 1;
    }
    return f;
}

void ws_hixie_ended(ws_conn *c)
{
    if (c->version != 76 && ws_state_of(c) == WS_OPEN && ws_hixie_between(c->hixie)) {
        c->end_code = WS_CLOSE_NO_STATUS;
        c->closed_by = WS_CLOSED_BY_CLIENT;
    }
}
