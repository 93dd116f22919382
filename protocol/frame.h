/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The frame parser of RFC 6455, section 5, for versions 13, 8 and 7. It gets bytes and returns
 * pieces of messages.
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

/** Reserved bits of a frame's first byte. */
#define WS_RSV1 0x40
#define WS_RSV2 0x20
#define WS_RSV3 0x10

/** Maximum length of a frame header, bytes: 2, an 8-byte length, a 4-byte masking key. */
#define WS_HEADER_MAX 14

/** The role of this side: a server accepts only masked frames, a client only unmasked ones. */
typedef enum { WS_SERVER, WS_CLIENT } ws_role;

/** ws_piece.flags */
enum {
    WS_MESSAGE_FIRST = 0x1, /**< the message begins with this piece */
    WS_MESSAGE_LAST = 0x2,  /**< the message ends with this piece */
    WS_FRAME_LAST = 0x4     /**< the frame ends with this piece */
};

/** Part of a data frame's payload, or a whole control frame. */
typedef struct ws_piece {
    unsigned char opcode; /**< the message's opcode, also in pieces of continuation frames */
    unsigned char rsv;    /**< reserved bits of the message's first frame, WS_RSV1... */
    unsigned char flags;  /**< WS_MESSAGE_FIRST...; all of them for a control frame */
    unsigned char *data;  /**< unmasked, a pointer into the input; len may be 0 */
    size_t len;
} ws_piece;

typedef enum {
    /** The input ends inside a header or control frame. Call again with more input. */
    WS_PARSE_MORE,
    WS_PARSE_DATA,    /**< *piece is part of a data message */
    WS_PARSE_CONTROL, /**< *piece is a control frame; may arrive between the pieces of a message */
    WS_PARSE_FAIL     /**< *error is set; do not call the parser again */
} ws_parse_result;

typedef struct ws_parse_error {
    int code;         /**< 1002, or 1009 for a frame or message that exceeds its limit */
    const char *text; /**< error text for the log and the Close frame's reason; static */
} ws_parse_error;

/** State between calls, initialized by ws_parser_init(). Callers may read the fields left,
 *  message_len, opcode and first. */
typedef struct ws_parser {
    uint64_t left;          /**< payload bytes missing from the current data frame */
    uint64_t message_len;   /**< payload bytes of the current message announced so far */
    uint64_t max_frame;     /**< maximum payload of a data frame, bytes */
    uint64_t max_message;   /**< maximum payload of a message on the wire, bytes */
    unsigned char mask[4];  /**< rotated so that mask[0] applies to the next byte */
    unsigned char role;     /**< ws_role */
    unsigned char rsv_ok;   /**< reserved bits claimed by extensions */
    unsigned char opcode;   /**< the current message's opcode, 0 between messages */
    unsigned char rsv;      /**< the current message's WS_RSV bits */
    unsigned char fin;      /**< the current frame is the message's last */
    unsigned char in_frame; /**< a data frame's header has been read, but not its whole payload */
    unsigned char first;    /**< no piece of the current message has been returned yet */
} ws_parser;

void ws_parser_init(ws_parser *p, ws_role role, uint64_t max_frame, uint64_t max_message);

/**
 * Parse the next event from the input at *data, and advance *data and *len past the consumed bytes.
 * The payload is unmasked in place. A data frame is returned in pieces as its bytes arrive. If the
 * input contains the whole frame, the frame is returned as one piece, which is empty if the frame
 * is empty. A control frame is consumed only when it is complete, so the caller keeps at most
 * WS_HEADER_MAX + WS_CONTROL_MAX bytes between calls. Allocates no memory. Fails as soon as a
 * header is invalid or an announced length exceeds a limit.
 */
ws_parse_result ws_parser_next(ws_parser *p, unsigned char **data, size_t *len, ws_piece *piece,
                               ws_parse_error *error);

/**
 * Write the header of a frame with a payload of len bytes.
 * @param out    WS_HEADER_MAX bytes
 * @param first  opcode with WS_RSV bits, plus WS_FIN for the last frame of a message
 * @param mask   the masking key; NULL for an unmasked frame, as servers send
 * @return the header's length, bytes
 */
size_t ws_frame_header(unsigned char *out, unsigned first, uint64_t len,
                       const unsigned char mask[4]);

#define WS_FIN 0x80u

#endif
