/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Frames of RFC 6455, section 5, as versions 13, 8 and 7 have them: bytes in, pieces of messages out.
 */

#ifndef WS_PROTOCOL_FRAME_H
#define WS_PROTOCOL_FRAME_H

#include <stddef.h>
#include <stdint.h>

/** Opcodes: RFC 6455, section 5.2. */
enum {
    WS_OP_CONTINUATION = 0x0,
    WS_OP_TEXT = 0x1,
    WS_OP_BINARY = 0x2,
    WS_OP_CLOSE = 0x8,
    WS_OP_PING = 0x9,
    WS_OP_PONG = 0xA
};

/** Reserved bits as they stand in a frame's first byte. */
#define WS_RSV1 0x40
#define WS_RSV2 0x20
#define WS_RSV3 0x10

/** Longest frame header, bytes: 2, an 8-byte length, a 4-byte masking key. */
#define WS_HEADER_MAX 14

/** Which end of the connection we are: a server takes masked frames only, a client unmasked ones. */
typedef enum { WS_SERVER, WS_CLIENT } ws_role;

/** ws_piece.flags */
enum {
    WS_MESSAGE_FIRST = 0x1, /**< the message begins with this piece */
    WS_MESSAGE_LAST = 0x2,  /**< the message ends with this piece */
    WS_FRAME_LAST = 0x4     /**< the frame ends with this piece */
};

/** Part of a data frame's payload, or a whole control frame. */
typedef struct ws_piece {
    unsigned char opcode; /**< of the message: a continuation frame has the opcode of its first */
    unsigned char rsv;    /**< reserved bits of the message's first frame, WS_RSV1... */
    unsigned char flags;  /**< WS_MESSAGE_FIRST...; a control frame has all of them */
    unsigned char *data;  /**< unmasked, in the input; len may be 0 */
    size_t len;
} ws_piece;

typedef enum {
    WS_PARSE_MORE,    /**< the input ends in a header or control frame: give it again with more */
    WS_PARSE_DATA,    /**< *piece is part of a data message */
    WS_PARSE_CONTROL, /**< *piece is a control frame; may come between the pieces of a message */
    WS_PARSE_FAIL     /**< *error tells; the parser must not be called again */
} ws_parse_result;

typedef struct ws_parse_error {
    int code;         /**< 1002, or 1009 for a frame or message beyond its limit */
    const char *text; /**< for the log and the Close frame's reason, static */
} ws_parse_error;

/** State between two calls; set up by ws_parser_init. Fields are the parser's own, but for left. */
typedef struct ws_parser {
    uint64_t left;          /**< payload bytes of the current data frame that are still to come */
    uint64_t message_len;   /**< payload bytes of the current message, announced so far */
    uint64_t max_frame;     /**< greatest payload of a data frame, bytes */
    uint64_t max_message;   /**< greatest payload of a message, bytes, as it stands on the wire */
    unsigned char mask[4];  /**< rotated: mask[0] belongs to the next byte */
    unsigned char role;     /**< ws_role */
    unsigned char rsv_ok;   /**< reserved bits that extensions have claimed */
    unsigned char opcode;   /**< of the current message, 0 between messages */
    unsigned char rsv;      /**< of the current message */
    unsigned char fin;      /**< the current frame is the message's last */
    unsigned char in_frame; /**< a data frame's header has been read, not yet all its payload */
    unsigned char first;    /**< no piece of the current message has been given out */
} ws_parser;

void ws_parser_init(ws_parser *p, ws_role role, uint64_t max_frame, uint64_t max_message);

/**
 * Take the next event from the input at *data, which is unmasked in place, and move *data and *len
 * behind what was consumed. A data frame is given in as many pieces as the input cuts it into, each
 * as soon as it is there; an empty frame gives one empty piece. A frame that lies whole in the input
 * is one piece. Control frames are given whole: until then nothing of them is consumed, so the caller
 * keeps at most WS_HEADER_MAX + WS_CONTROL_MAX bytes between two calls. No memory is allocated.
 * A frame is refused as soon as its header is wrong, a limit as soon as a length announces more.
 */
ws_parse_result ws_parser_next(ws_parser *p, unsigned char **data, size_t *len, ws_piece *piece,
                               ws_parse_error *error);

/**
 * Write the header of a frame with a payload of len bytes.
 * @param out    WS_HEADER_MAX bytes
 * @param first  opcode, with WS_RSV bits, and 0x80 (FIN) for a message's last frame
 * @param mask   the masking key, NULL for none (a server's frames)
 * @return the header's length, bytes
 */
size_t ws_frame_header(unsigned char *out, unsigned first, uint64_t len,
                       const unsigned char mask[4]);

#define WS_FIN 0x80u

#endif
