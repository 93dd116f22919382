/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This header records the output of a frame parser as a list that is the same however the input is
 *  cut into pieces. The list contains the payload's bytes, and numbers above 255 that mark where
 *  frames and messages begin and end. */

#ifndef WS_T_FUZZ_EVENTS_H
#define WS_T_FUZZ_EVENTS_H

#include "protocol/close.h"
#include "protocol/frame.h"
#include "t/fuzz/fuzz.h"

enum { FIRST = 0x100, FRAME_END = 0x200, MESSAGE_END = 0x300, CONTROL = 0x400 };

typedef struct events {
    uint16_t *at;
    size_t count, size;
    int failed; /* the close code of the failure, or 0 */
} events;

typedef ws_parse_result next_fn(void *parser, unsigned char **data, size_t *len, ws_piece *piece,
                                ws_parse_error *error);

static inline void note(events *e, unsigned what)
{
    if (e->count == e->size) {
        e->size = 2 * e->size + 64;
        e->at = realloc(e->at, e->size * sizeof(*e->at));
    }
    e->at[e->count++] = (uint16_t)what;
}

static inline void note_piece(events *e, ws_parse_result result, const ws_piece *piece)
{
    if (result == WS_PARSE_CONTROL) {
        MUST(piece->len <= WS_CONTROL_MAX);
        MUST(piece->flags == (WS_MESSAGE_FIRST | WS_MESSAGE_LAST | WS_FRAME_LAST));
        note(e, CONTROL | piece->opcode);
    }
    else if (piece->flags & WS_MESSAGE_FIRST) {
        note(e, FIRST | piece->opcode | piece->rsv);
    }
    for (size_t i = 0; i < piece->len; i++) {
        note(e, piece->data[i]);
    }
    if (piece->flags & WS_FRAME_LAST) {
        note(e, FRAME_END);
    }
    if (piece->flags & WS_MESSAGE_LAST) {
        note(e, MESSAGE_END);
    }
}

/** Parse the first len bytes, except those that earlier calls have consumed. The parser sees bytes
 *  that it does not consume again in the next call. */
static inline void parse(events *e, next_fn *next, void *parser, const unsigned char *bytes,
                         size_t len, size_t *consumed)
{
    /* The parser writes into its input, so it gets a copy of the unconsumed bytes. */
    unsigned char *copy = copy_of(bytes + *consumed, len - *consumed), *at = copy;
    size_t left = len - *consumed;
    ws_parse_error error;
    ws_piece piece;
    ws_parse_result result;

    while ((result = next(parser, &at, &left, &piece, &error)) == WS_PARSE_DATA
           || result == WS_PARSE_CONTROL) {
        MUST(at >= copy && at + left == copy + (len - *consumed));
        MUST(piece.len == 0 || (piece.data >= copy && piece.data + piece.len <= at));
        note_piece(e, result, &piece);
    }
    if (result == WS_PARSE_FAIL) {
        MUST(error.code == 1002 || error.code == 1009);
        e->failed = error.code;
    }
    else {
        MUST(left < WS_HEADER_MAX + WS_CONTROL_MAX);
    }
    *consumed = len - left;
    free(copy);
}

/** Check that the input gives the same events in one piece and cut into pieces. Both parsers must
 *  start in the same state.
 *  @return whether the parsers accepted the input */
static inline int same_in_pieces(next_fn *next, void *whole_parser, void *cut_parser, uint32_t cuts,
                                 const unsigned char *data, size_t len)
{
    events whole = {.count = 0}, cut = {.count = 0};
    size_t consumed = 0;
    parse(&whole, next, whole_parser, data, len, &consumed);
    consumed = 0;
    for (size_t end = 0; end < len && !cut.failed;) {
        size_t n = next_cut(&cuts);
        end = len - end < n ? len : end + n;
        parse(&cut, next, cut_parser, data, end, &consumed);
    }
    MUST(cut.failed == whole.failed);
    /* If a frame has no announced length, the parser may deliver pieces before it finds that the
     * message is too long. */
    MUST(cut.failed == 1009 ? cut.count >= whole.count : cut.count == whole.count);
    MUST(whole.count == 0 || !memcmp(cut.at, whole.at, whole.count * sizeof(*whole.at)));
    free(whole.at);
    free(cut.at);
    return !whole.failed;
}

#endif
