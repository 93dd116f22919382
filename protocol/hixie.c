/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Handshake and framing of the drafts hixie-75 and hixie-76. */

#include "protocol/hixie.h"

#include <apr_md5.h>
#include <string.h>

/* First and last byte of a text frame. */
#define TEXT 0x00
#define END 0xFF

/* Maximum number of length bytes: each contains 7 bits, and a length has at most 63 bits. */
#define DIGITS_MAX 9

/* U+FFFD replaces a byte that is invalid in UTF-8. */
#define REPLACEMENT "\xEF\xBF\xBD"
#define REPLACEMENT_LEN 3

/* ---- Handshake ---- */

/* Decode the number in a key. @return whether the key encodes a 32-bit number */
static int hixie_number_of(const char *key, unsigned char out[4])
{
    uint64_t number = 0;
    unsigned spaces = 0;
    for (; *key; key++) {
        if (*key >= '0' && *key <= '9') {
            number = 10 * number + (unsigned)(*key - '0');
            if (number > UINT32_MAX) {
                return 0;
            }
        }
        spaces += *key == ' ';
    }
    if (spaces == 0 || number % spaces) {
        return 0;
    }
    number /= spaces;
    for (int i = 3; i >= 0; i--) {
        out[i] = (unsigned char)number;
        number >>= 8;
    }
    return 1;
}

const char *ws_hixie_numbers(const char *key1, const char *key2,
                             unsigned char out[WS_HIXIE_NUMBERS])
{
    return !key1 || !hixie_number_of(key1, out) ? "Sec-WebSocket-Key1 does not encode a number"
           : !key2 || !hixie_number_of(key2, out + 4)
               ? "Sec-WebSocket-Key2 does not encode a number"
               : NULL;
}

void ws_hixie_answer(const unsigned char numbers[WS_HIXIE_NUMBERS],
                     const unsigned char key3[WS_HIXIE_KEY3], unsigned char out[WS_HIXIE_ANSWER])
{
    unsigned char challenge[WS_HIXIE_NUMBERS + WS_HIXIE_KEY3];
    memcpy(challenge, numbers, WS_HIXIE_NUMBERS);
    memcpy(challenge + WS_HIXIE_NUMBERS, key3, WS_HIXIE_KEY3);
    apr_md5(out, challenge, sizeof(challenge));
}

/* ---- Frames in ---- */

enum { BETWEEN, LENGTH, SKIP, CONTENT };

static ws_parse_result hixie_fail(ws_parse_error *error, int code, const char *text)
{
    error->code = code;
    error->text = text;
    return WS_PARSE_FAIL;
}

static void hixie_begin(ws_hixie *p, unsigned char type)
{
    p->type = type;
    p->len = 0;
    p->digits = 0;
    p->first = 1;
    p->state = type & 0x80 ? LENGTH : CONTENT;
}

/* Take one length byte. @return WS_PARSE_CONTROL if it completes FF 00, WS_PARSE_FAIL or
 * WS_PARSE_MORE */
static ws_parse_result hixie_take_length(ws_hixie *p, unsigned char byte, ws_parse_error *error)
{
    if (++p->digits > DIGITS_MAX) {
        return hixie_fail(error, 1002, "frame length has too many bytes");
    }
    p->len = p->len << 7 | (byte & 0x7F);
    if (p->len > p->base.max) {
        return hixie_fail(error, 1009, "frame is too big");
    }
    if (!(byte & 0x80)) {
        p->left = p->len;
        p->state = p->left ? SKIP : BETWEEN;
        if (p->left == 0 && p->type == END) {
            return WS_PARSE_CONTROL;
        }
    }
    return WS_PARSE_MORE;
}

/* Take the available content of a frame; the input is not empty. */
static ws_parse_result hixie_take_content(ws_hixie *p, unsigned char **data, size_t *len,
                                          ws_piece *piece, ws_parse_error *error)
{
    unsigned char *end = memchr(*data, END, *len);
    size_t n = end ? (size_t)(end - *data) : *len, all = n + (end != NULL);

    if (n > p->base.max - p->len) {
        return hixie_fail(error, 1009, p->type == TEXT ? "message is too big" : "frame is too big");
    }
    p->len += n;
    *piece = (ws_piece){.opcode = WS_OP_TEXT,
                        .flags = (unsigned char)((p->first ? WS_MESSAGE_FIRST : 0)
                                                 | (end ? WS_MESSAGE_LAST | WS_FRAME_LAST : 0)),
                        .data = *data,
                        .len = n};
    p->first = 0;
    p->state = end ? BETWEEN : CONTENT;
    *data += all;
    *len -= all;
    return p->type == TEXT ? WS_PARSE_DATA : WS_PARSE_MORE;
}

ws_parse_result ws_hixie_next(ws_hixie *p, unsigned char **data, size_t *len, ws_piece *piece,
                              ws_parse_error *error)
{
    ws_parse_result result = WS_PARSE_MORE;
    while (*len > 0 && result == WS_PARSE_MORE) {
        size_t n = 1;
        switch (p->state) {
        case BETWEEN:
            hixie_begin(p, **data);
            break;
        case LENGTH:
            result = hixie_take_length(p, **data, error);
            break;
        case SKIP:
            n = *len < p->left ? *len : (size_t)p->left;
            p->left -= n;
            p->state = p->left ? SKIP : BETWEEN;
            break;
        default:
            result = hixie_take_content(p, data, len, piece, error);
            n = 0;
        }
        *data += n;
        *len -= n;
    }
    if (result == WS_PARSE_CONTROL) {
        *piece = (ws_piece){.opcode = WS_OP_CLOSE,
                            .flags = WS_MESSAGE_FIRST | WS_MESSAGE_LAST | WS_FRAME_LAST,
                            .data = *data};
    }
    return result;
}

int ws_hixie_between(const ws_hixie *p)
{
    return p->state == BETWEEN;
}

/* ---- Frames out ---- */

size_t ws_hixie_frame_max(const void *text, size_t len)
{
    const unsigned char *s = text, *end = s + len;
    size_t more = 2;
    while (s < end && (s = memchr(s, END, (size_t)(end - s)))) {
        more += REPLACEMENT_LEN - 1;
        s++;
    }
    return len + more;
}

size_t ws_hixie_frame(unsigned char *out, unsigned first, const void *text, size_t len)
{
    const unsigned char *s = text, *end = s + len;
    unsigned char *o = out;
    if ((first & 0xF) != WS_OP_CONTINUATION) {
        *o++ = TEXT;
    }
    while (s < end) {
        const unsigned char *wrong = memchr(s, END, (size_t)(end - s));
        size_t n = (size_t)((wrong ? wrong : end) - s);
        memcpy(o, s, n);
        o += n;
        s += n;
        if (wrong) {
            memcpy(o, REPLACEMENT, REPLACEMENT_LEN);
            o += REPLACEMENT_LEN;
            s++;
        }
    }
    if (first & WS_FIN) {
        *o++ = END;
    }
    return (size_t)(o - out);
}

/* ---- As framings ---- */

static size_t hixie_close(unsigned char *out, int code, const char *reason, size_t len)
{
    (void)code, (void)reason, (void)len;
    out[0] = END;
    out[1] = 0;
    return 2;
}

static ws_parse_result hixie_next(ws_framer *f, unsigned char **data, size_t *len, ws_piece *piece,
                                  ws_parse_error *error)
{
    return ws_hixie_next((ws_hixie *)f, data, len, piece, error);
}

static int hixie_between(const ws_framer *f)
{
    return ws_hixie_between((const ws_hixie *)f);
}

const ws_framing *ws_hixie_framing(int version)
{
    static const ws_framing v76 = {.size = sizeof(ws_hixie),
                                   .answered = 1,
                                   .max = ws_hixie_frame_max,
                                   .write = ws_hixie_frame,
                                   .close = hixie_close,
                                   .next = hixie_next,
                                   .between = hixie_between};
    static const ws_framing v75 = {.size = sizeof(ws_hixie),
                                   .max = ws_hixie_frame_max,
                                   .write = ws_hixie_frame,
                                   .next = hixie_next,
                                   .between = hixie_between};
    return version == 76 ? &v76 : version == 75 ? &v75 : NULL;
}
