/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target parses frames and keys of versions 76 and 75. The events are the same however the
 *  stream is cut into pieces. Frames that are written parse to the same text. The input consists of
 *  a byte of settings, four bytes that determine the cuts, and the stream. */

#include "protocol/hixie.h"
#include "t/fuzz/events.h"

static ws_parse_result next(void *parser, unsigned char **data, size_t *len, ws_piece *piece,
                            ws_parse_error *error)
{
    ws_parse_result result = ws_hixie_next(parser, data, len, piece, error);
    if (result == WS_PARSE_DATA) {
        MUST(piece->opcode == WS_OP_TEXT && piece->rsv == 0);
        MUST(!memchr(piece->data, 0xFF, piece->len));
    }
    else if (result == WS_PARSE_CONTROL) {
        MUST(piece->opcode == WS_OP_CLOSE && piece->len == 0);
    }
    else if (result == WS_PARSE_MORE) {
        MUST(*len == 0);
    }
    return result;
}

/* Check the numbers in two keys. The first line of the input is the first key, the rest is the
 * second. */
static void keys(const uint8_t *data, size_t len)
{
    const uint8_t *line = len ? memchr(data, '\n', len) : NULL;
    unsigned char numbers[WS_HIXIE_NUMBERS], answer[WS_HIXIE_ANSWER];
    char *first, *second;
    if (!line) {
        return;
    }
    first = strndup((const char *)data, (size_t)(line - data));
    second = strndup((const char *)line + 1, (size_t)(data + len - line - 1));
    if (!ws_hixie_numbers(first, second, numbers)) {
        MUST(strpbrk(first, "0123456789") || !memcmp(numbers, "\0\0\0\0", 4));
        MUST(strchr(first, ' ') && strchr(second, ' '));
        ws_hixie_answer(numbers, numbers, answer);
    }
    else {
        MUST(ws_hixie_numbers(NULL, second, numbers) && ws_hixie_numbers(first, NULL, numbers));
    }
    free(first);
    free(second);
}

/* Write a text as a frame, and parse it again. Bytes 0xFF must be replaced, all others must stay
 * unchanged. */
static void there_and_back(const uint8_t *data, size_t len)
{
    size_t max = ws_hixie_frame_max(data, len), wire, at = 0;
    unsigned char *out = malloc(max), *in = out;
    ws_hixie p = {.base.max = UINT64_MAX};
    ws_parse_error error;
    ws_piece piece;
    wire = ws_hixie_frame(out, WS_FIN | WS_OP_TEXT, data, len);
    MUST(wire <= max);
    MUST(ws_hixie_next(&p, &in, &wire, &piece, &error) == WS_PARSE_DATA);
    MUST(piece.flags == (WS_MESSAGE_FIRST | WS_MESSAGE_LAST | WS_FRAME_LAST) && wire == 0);
    MUST(ws_hixie_between(&p));
    for (size_t i = 0; i < len; i++) {
        if (data[i] == 0xFF) {
            MUST(piece.len - at >= 3 && !memcmp(piece.data + at, "\xef\xbf\xbd", 3));
            at += 3;
        }
        else {
            MUST(at < piece.len && piece.data[at] == data[i]);
            at++;
        }
    }
    MUST(at == piece.len);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned settings = take_byte(&data, &len);
    ws_hixie whole = {.base.max = settings & 1   ? 20
                                  : settings & 2 ? 20000
                                                 : UINT64_MAX},
             cut = whole;
    uint32_t cuts = 0;
    for (int i = 0; i < 4; i++) {
        cuts = cuts << 8 | take_byte(&data, &len);
    }
    if (same_in_pieces(next, &whole, &cut, cuts, data, len)) {
        MUST(whole.state == cut.state && whole.left == cut.left);
    }
    keys(data, len);
    there_and_back(data, len);
    return 0;
}
