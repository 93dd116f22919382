/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target parses frames. The events are the same however the stream is cut into pieces, and
 *  respect the limits. The input consists of a byte of settings, four bytes that determine the
 *  cuts, and the stream. */

#include "t/fuzz/events.h"

static ws_parse_result next(void *parser, unsigned char **data, size_t *len, ws_piece *piece,
                            ws_parse_error *error)
{
    const ws_parser *p = parser;
    ws_parse_result result = ws_parser_next(parser, data, len, piece, error);
    if (result == WS_PARSE_DATA) {
        MUST(piece->opcode == WS_OP_TEXT || piece->opcode == WS_OP_BINARY);
        MUST((piece->rsv & ~p->rsv_ok) == 0);
        MUST(piece->len + p->left <= p->max_frame && p->message_len <= p->max_message);
    }
    return result;
}

/* Check that a header which is written parses to the same values. */
static void header(ws_role reader, unsigned opcode, uint64_t len)
{
    static const unsigned char key[4] = {1, 2, 3, 4};
    unsigned char *out = malloc(WS_HEADER_MAX), *at = out;
    size_t size = ws_frame_header(out, WS_FIN | opcode, len, reader == WS_SERVER ? key : NULL);
    ws_parse_error error;
    ws_parser p;
    ws_piece piece;
    MUST(size <= WS_HEADER_MAX);
    ws_parser_init(&p, reader, UINT64_MAX, UINT64_MAX);
    MUST(ws_parser_next(&p, &at, &size, &piece, &error) == (len ? WS_PARSE_MORE : WS_PARSE_DATA));
    MUST(p.left == len && size == 0);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned settings = take_byte(&data, &len);
    ws_role role = settings & 1 ? WS_CLIENT : WS_SERVER;
    uint64_t limit = settings & 2 ? 100 : settings & 4 ? 70000 : UINT64_MAX;
    ws_parser whole, cut;
    uint64_t number = 0;
    uint32_t cuts = 0;

    for (int i = 0; i < 4; i++) {
        cuts = cuts << 8 | take_byte(&data, &len);
    }
    ws_parser_init(&whole, role, limit, settings & 8 ? limit : UINT64_MAX);
    whole.rsv_ok = settings & 0x70;
    cut = whole;
    same_in_pieces(next, &whole, &cut, cuts, data, len);

    memcpy(&number, data, len < 8 ? len : 8);
    header(role, settings & 1 ? WS_OP_TEXT : WS_OP_BINARY, number >> 1 >> (cuts & 63));
    return 0;
}
