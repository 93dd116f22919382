/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Encodes a frame for output.c: unmasked as a server, masked as a client, or in a framing other
 * than that of RFC 6455. If a framing has no closing handshake, the connection ends after all
 * queued bytes have been sent.
 */

#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"
#include "engine/output.h"
#include "protocol/mask.h"

/* Maximum payload that is copied to the stack to be masked, bytes. A larger payload is copied to a
 * buffer of the send queue. */
#define MASKED_MAX (16 * 1024)

/* Send a frame as a client: RFC 6455, section 5.3. Masks a copy, because the payload belongs to the
 * handler. */
static ws_status send_masked(ws_conn *c, unsigned first, const void *payload, apr_size_t len)
{
    unsigned char head[WS_HEADER_MAX], masked[MASKED_MAX], *key;
    ws_frames *f;
    size_t n;

    if (len <= sizeof(masked)) {
        key = ws_mask_keys_next(&c->loop->masks);
        n = ws_frame_header(head, first, len, key);
        if (len) {
            memcpy(masked, payload, len);
            ws_mask(masked, len, key);
        }
        return ws_output_gather(c, first, head, n, masked, len);
    }
    if (!(f = ws_frames_build_cut(first, payload, len, 0, &c->loop->masks))) {
        return WS_FULL;
    }
    ws_output_pull(c);
    if (c->broken || ws_send_queue_push(&c->out, f, c->loop->event.now) < 0) {
        return c->broken ? ws_frames_unref(f), WS_GONE : WS_FULL;
    }
    ws_conn_mark_dirty(c);
    if (!c->write_blocked) {
        ws_conn_write(c);
    }
    if (ws_send_queue_count(&c->out)) {
        c->want_drain = 1;
    }
    return c->broken ? WS_GONE : ws_send_queue_count(&c->out) ? WS_QUEUED : WS_SENT;
}

/* Send the framing's close frame. payload: that of a Close frame (RFC 6455). The close frame cannot
 * be sent between the parts of a message. */
static ws_status send_close(ws_conn *c, const unsigned char *payload, apr_size_t len)
{
    const ws_framing *f = c->rare->framer->framing;
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

static ws_status send_framed(ws_conn *c, unsigned first, const void *payload, apr_size_t len)
{
    const ws_framing *f = c->rare->framer->framing;
    unsigned char *bytes;
    ws_status s;
    if ((first & 0xF) == WS_OP_CLOSE) {
        return send_close(c, payload, len);
    }
    /* ws_framing_raw does not change the payload, so it needs no buffer. */
    if (f == &ws_framing_raw) {
        return ws_conn_send_bytes(c, payload, len);
    }
    if (len > APR_SIZE_MAX / 4 || !(bytes = malloc(f->max(payload, len)))) {
        return WS_FULL;
    }
    s = ws_conn_send_bytes(c, bytes, f->write(bytes, first, payload, len));
    free(bytes);
    return s;
}

ws_status ws_conn_send(ws_conn *c, unsigned first, const void *payload, apr_size_t len)
{
    unsigned char head[WS_HEADER_MAX];
    if (c->settings->trace) {
        ws_trace_out(c, first, payload, len);
    }
    if (ws_is_client(c)) {
        return send_masked(c, first, payload, len);
    }
    if (c->framed) {
        return send_framed(c, first, payload, len);
    }
    if (ws_output_corks(c, len)) {
        ws_loop *loop = c->loop;
        return ws_output_cork(loop, ws_frame_header(loop->cork + loop->cork_len, first, len, NULL),
                              payload, len);
    }
    return ws_output_gather(c, first, head, ws_frame_header(head, first, len, NULL), payload, len);
}
