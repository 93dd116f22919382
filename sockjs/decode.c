/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Converts RFC 6455 frames to SockJS arrays of messages. Messages are not reassembled. Each piece
 * is escaped and appended to the response as it arrives, so the memory used does not depend on the
 * length of a message. All messages from one read form one array.
 */

#include <string.h>

#include "sockjs/session_state.h"

static void decode_text(ws_sockjs_session *s, const char *data, apr_size_t len)
{
    ws_sockjs_response *r = s->response;
    int nested = ws_sockjs_response_nested(r);
    if (!s->array) {
        s->array = 1;
        ws_sockjs_response_begin(r);
        ws_sockjs_puts(&r->frame, nested, "a[\"");
    }
    else if (!s->message) {
        ws_sockjs_puts(&r->frame, nested, ",\"");
    }
    s->message = 1;
    ws_sockjs_escape(&r->frame, &s->cut, nested, data, len);
    if (!s->decoder.left && (s->decoder.first & WS_FIN)) {
        ws_sockjs_puts(&r->frame, nested, "\"");
        s->message = 0;
    }
    ws_sockjs_response_spill(r);
}

static void decode_end_array(ws_sockjs_session *s)
{
    if (s->array && !s->message) {
        ws_sockjs_puts(&s->response->frame, ws_sockjs_response_nested(s->response), "]");
        ws_sockjs_response_end_frame(s->response);
        s->array = 0;
    }
}

static void decode_close(const ws_sockjs_decoder *d, ws_sockjs_control *control)
{
    apr_size_t skip = d->control_len < 2 ? d->control_len : 2;
    control->code = d->control_len < 2 ? WS_CLOSE_NO_STATUS : d->control[0] << 8 | d->control[1];
    control->reason = (const char *)d->control + skip;
    control->reason_len = d->control_len - skip;
}

static void decode_control(ws_sockjs_session *s, const char *data, apr_size_t len,
                           ws_sockjs_control *control)
{
    ws_sockjs_decoder *d = &s->decoder;
    if (d->control_len + len > sizeof(d->control)) {
        control->code = WS_CLOSE_INTERNAL;
        return;
    }
    memcpy(d->control + d->control_len, data, len);
    d->control_len += (unsigned char)len;
    if (d->left) {
        return;
    }
    if ((d->first & 0xF) == WS_OP_CLOSE) {
        decode_end_array(s);
        decode_close(d, control);
    }
    else if ((d->first & 0xF) == WS_OP_PING) {
        ws_sockjs_client_frame(&control->pongs, WS_FIN | WS_OP_PONG, d->control, d->control_len);
    }
}

static void decode_payload(ws_sockjs_session *s, const char *data, apr_size_t len,
                           ws_sockjs_control *control)
{
    if (s->decoder.first & 0x8) {
        decode_control(s, data, len, control);
    }
    else if ((s->decoder.first & 0xF) == WS_OP_BINARY) {
        static const char why[] = "SockJS has no binary messages";
        decode_end_array(s);
        control->code = WS_CLOSE_UNSUPPORTED;
        control->reason = why;
        control->reason_len = sizeof(why) - 1;
    }
    else {
        decode_text(s, data, len);
    }
}

/* Compute the length of a frame header from its first two bytes. */
static unsigned decode_head_size(const unsigned char *head)
{
    return head[1] == 127 ? 10 : head[1] == 126 ? 4 : 2;
}

/* Read a frame header. @return the number of bytes taken */
static apr_size_t decode_head(ws_sockjs_decoder *d, const char *data, apr_size_t len)
{
    apr_size_t n = 0;
    while (n < len && (d->head_len < 2 || d->head_len < decode_head_size(d->head))) {
        d->head[d->head_len++] = (unsigned char)data[n++];
    }
    if (d->head_len >= 2 && d->head_len == decode_head_size(d->head)) {
        d->inside = 1;
        d->first = d->head[0];
        d->left = d->head_len == 2 ? d->head[1] : 0;
        for (unsigned i = 2; i < d->head_len; i++) {
            d->left = d->left << 8 | d->head[i];
        }
    }
    return n;
}

void ws_sockjs_decode(ws_sockjs_session *s, const char *data, apr_size_t len,
                      ws_sockjs_control *control)
{
    ws_sockjs_decoder *d = &s->decoder;
    while (len) {
        apr_size_t n;
        if (!d->inside) {
            n = decode_head(d, data, len);
            data += n;
            len -= n;
            if (!d->inside) {
                break;
            }
        }
        n = d->left < len ? (apr_size_t)d->left : len;
        d->left -= n;
        if (n || !d->left) {
            decode_payload(s, data, n, control);
        }
        if (control->code) {
            return;
        }
        data += n;
        len -= n;
        if (!d->left) {
            d->inside = d->head_len = d->control_len = 0;
        }
    }
    decode_end_array(s);
}
