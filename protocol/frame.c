/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The frame parser. It does no I/O and allocates nothing. It checks limits as soon as a length is
 * known, before it waits for more input. */

#include "protocol/frame.h"

#include <string.h>

#include "protocol/close.h"
#include "protocol/frame_whole.h"
#include "protocol/mask.h"

/* A frame's header. */
typedef struct header {
    unsigned opcode, rsv, fin;
    uint64_t len;
} header;

void ws_parser_init(ws_parser *p, ws_role role, uint64_t max_frame, uint64_t max_message)
{
    memset(p, 0, sizeof(*p));
    p->role = (unsigned char)role;
    p->max_frame = max_frame;
    p->max_message = max_message;
}

static ws_parse_result frame_fail(ws_parse_error *error, int code, const char *text)
{
    error->code = code;
    error->text = text;
    return WS_PARSE_FAIL;
}

static uint64_t frame_big_endian(const unsigned char *data, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value = value << 8 | data[i];
    }
    return value;
}

/* Check a header's first byte: RFC 6455, sections 5.2, 5.4 and 5.5. @return NULL, or the error */
static inline const char *frame_check_first(const ws_parser *p, const header *h)
{
    switch (h->opcode) {
    case WS_OP_CONTINUATION:
        return !p->opcode ? "continuation frame without a message"
               : h->rsv   ? "reserved bit in a continuation frame"
                          : NULL;
    case WS_OP_TEXT:
    case WS_OP_BINARY:
        return p->opcode             ? "new message inside a fragmented one"
               : h->rsv & ~p->rsv_ok ? "reserved bit without an extension"
                                     : NULL;
    case WS_OP_CLOSE:
    case WS_OP_PING:
    case WS_OP_PONG:
        return h->rsv    ? "reserved bit in a control frame"
               : !h->fin ? "control frame is fragmented"
                         : NULL;
    default:
        return "opcode is reserved";
    }
}

/* Return a complete control frame. */
static ws_parse_result frame_take_control(const ws_parser *p, const header *h,
                                          unsigned char *payload, const unsigned char *key,
                                          ws_piece *piece)
{
    piece->opcode = (unsigned char)h->opcode;
    piece->rsv = 0;
    piece->flags = WS_MESSAGE_FIRST | WS_MESSAGE_LAST | WS_FRAME_LAST;
    piece->data = payload;
    piece->len = (size_t)h->len;
    if (p->role == WS_SERVER) {
        unsigned char mask[4];
        memcpy(mask, key, 4);
        ws_mask(payload, piece->len, mask);
    }
    return WS_PARSE_CONTROL;
}

/* Start a data frame. */
static void frame_begin_frame(ws_parser *p, const header *h, const unsigned char *key)
{
    if (h->opcode != WS_OP_CONTINUATION) {
        p->opcode = (unsigned char)h->opcode;
        p->rsv = (unsigned char)h->rsv;
        p->message_len = 0;
        p->first = 1;
    }
    p->message_len += h->len;
    p->left = h->len;
    p->fin = (unsigned char)h->fin;
    p->in_frame = 1;
    if (p->role == WS_SERVER) {
        memcpy(p->mask, key, 4);
    }
}

/* Return the available payload of the current frame. */
static ws_parse_result frame_take_payload(ws_parser *p, unsigned char **data, size_t *len,
                                          ws_piece *piece)
{
    size_t n = *len < p->left ? *len : (size_t)p->left;
    if (n == 0 && p->left > 0) {
        return WS_PARSE_MORE;
    }
    piece->opcode = p->opcode;
    piece->rsv = p->rsv;
    piece->flags = p->first ? WS_MESSAGE_FIRST : 0;
    piece->data = *data;
    piece->len = n;
    if (p->role == WS_SERVER) {
        ws_mask(*data, n, p->mask);
    }
    p->first = 0;
    p->left -= n;
    if (p->left == 0) {
        p->in_frame = 0;
        piece->flags |= WS_FRAME_LAST;
        if (p->fin) {
            p->opcode = 0;
            piece->flags |= WS_MESSAGE_LAST;
        }
    }
    *data += n;
    *len -= n;
    return WS_PARSE_DATA;
}

/* Check whether a frame is masked as it must be: RFC 6455, section 5.1. @return NULL, or an error
 * text */
static inline const char *frame_check_mask(const unsigned char *in, int masked)
{
    if ((in[1] & 0x80) != (masked ? 0x80 : 0)) {
        return masked ? "frame is not masked" : "frame is masked";
    }
    return NULL;
}

/* Read an extended payload length, which has n bytes (2 or 8): RFC 6455, section 5.2. @return NULL,
 * or an error text */
static inline const char *frame_long_length(const unsigned char *in, size_t n, uint64_t *len)
{
    *len = frame_big_endian(in, n);
    if (*len >> 63) {
        return "frame length has its highest bit set";
    }
    return *len < (n == 2 ? 126u : 65536u) ? "frame length is not in its shortest form" : NULL;
}

/* Parse a header, and the payload of a control frame. @return WS_PARSE_DATA if a data frame
 * starts */
static inline ws_parse_result frame_take_header(ws_parser *p, unsigned char **data, size_t *len,
                                                ws_piece *piece, ws_parse_error *error)
{
    unsigned char *in = *data;
    size_t key_len = p->role == WS_SERVER ? 4 : 0, size = 2;
    const char *wrong;
    header h;

    if (*len < 1) {
        return WS_PARSE_MORE;
    }
    h = (header){.opcode = in[0] & 0x0F,
                 .rsv = in[0] & (WS_RSV1 | WS_RSV2 | WS_RSV3),
                 .fin = in[0] & WS_FIN};
    if ((wrong = frame_check_first(p, &h))) {
        return frame_fail(error, 1002, wrong);
    }
    if (*len < 2) {
        return WS_PARSE_MORE;
    }
    if ((wrong = frame_check_mask(in, key_len != 0))) {
        return frame_fail(error, 1002, wrong);
    }
    h.len = in[1] & 0x7F;
    if (h.opcode & 0x8) {
        if (h.len > WS_CONTROL_MAX) {
            return frame_fail(error, 1002, "control frame is longer than 125 bytes");
        }
        size += key_len;
        if (*len < size + h.len) {
            return WS_PARSE_MORE;
        }
        *data += size + h.len;
        *len -= size + h.len;
        return frame_take_control(p, &h, in + size, in + 2, piece);
    }
    if (h.len > 125) {
        size_t n = h.len == 126 ? 2 : 8;
        size += n;
        if (*len < size) {
            return WS_PARSE_MORE;
        }
        if ((wrong = frame_long_length(in + 2, n, &h.len))) {
            return frame_fail(error, 1002, wrong);
        }
    }
    /* Check the limits before the masking key arrives, to fail at once if the announced length is
     * too big. */
    if (h.len > p->max_frame) {
        return frame_fail(error, 1009, "frame is too big");
    }
    if (h.len > p->max_message - (h.opcode ? 0 : p->message_len)) {
        return frame_fail(error, 1009, "message is too big");
    }
    if (*len < size + key_len) {
        return WS_PARSE_MORE;
    }
    frame_begin_frame(p, &h, in + size);
    *data += size + key_len;
    *len -= size + key_len;
    return WS_PARSE_DATA;
}

ws_parse_result ws_parser_next(ws_parser *p, unsigned char **data, size_t *len, ws_piece *piece,
                               ws_parse_error *error)
{
    if (!p->in_frame) {
        ws_parse_result result;
        ws_whole whole;
        if (p->role == WS_SERVER && !p->opcode
            && ws_frame_take_whole(p->max_frame < p->max_message ? p->max_frame : p->max_message,
                                   data, len, &whole)) {
            p->message_len = whole.len;
            *piece = (ws_piece){.opcode = (unsigned char)whole.opcode,
                                .flags = WS_MESSAGE_FIRST | WS_MESSAGE_LAST | WS_FRAME_LAST,
                                .data = whole.data,
                                .len = whole.len};
            return WS_PARSE_DATA;
        }
        result = frame_take_header(p, data, len, piece, error);
        if (result != WS_PARSE_DATA) {
            return result;
        }
    }
    return frame_take_payload(p, data, len, piece);
}

size_t ws_frame_header(unsigned char *out, unsigned first, uint64_t len,
                       const unsigned char mask[4])
{
    int n = len < 126 ? 0 : len < 65536 ? 2 : 8;
    size_t size = 2 + (size_t)n;
    out[0] = (unsigned char)first;
    out[1] = (unsigned char)((mask ? 0x80 : 0) | (n == 0 ? len : n == 2 ? 126 : 127));
    for (int i = n - 1; i >= 0; i--) {
        out[2 + i] = (unsigned char)len;
        len >>= 8;
    }
    if (mask) {
        memcpy(out + size, mask, 4);
        size += 4;
    }
    return size;
}
