/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The parser's fast path for messages of one short frame each. It is inlined into the code that
 *  delivers messages. */

#ifndef WS_PROTOCOL_FRAME_WHOLE_H
#define WS_PROTOCOL_FRAME_WHOLE_H

#include <string.h>

#include "protocol/frame.h"
#include "protocol/mask.h"

/** An unfragmented message in one frame, complete in the input. */
typedef struct ws_whole {
    unsigned opcode;     /**< WS_OP_TEXT, WS_OP_BINARY */
    unsigned char *data; /**< unmasked, in the input */
    size_t len;
} ws_whole;

/**
 * Take a message of one frame from the input. For servers, and only if the parser is between
 * messages. The payload must be at most limit bytes and less than 64 KiB, and the frame must have
 * none of the errors that ws_parser_next() checks for.
 * @return 1: taken; *data and *len are advanced past the message; 0: use ws_parser_next()
 */
static inline int ws_frame_take_whole(uint64_t limit, unsigned char **data, size_t *len,
                                      ws_whole *whole)
{
    unsigned char *in = *data;
    size_t left = *len, size = 6, n;
    uint32_t key;
    if (left < 8 || !(in[1] & 0x80)
        || (in[0] != (WS_FIN | WS_OP_TEXT) && in[0] != (WS_FIN | WS_OP_BINARY))) {
        return 0;
    }
    n = in[1] & 0x7F;
    if (n >= 126) {
        if (n == 127) {
            return 0;
        }
        n = (size_t)in[2] << 8 | in[3];
        size = 8;
        if (n < 126) {
            return 0;
        }
    }
    if (left - size < n || n > limit) {
        return 0;
    }
    memcpy(&key, in + size - 4, 4);
    *whole = (ws_whole){.opcode = in[0] & 0x0F, .data = in + size, .len = n};
    *data = in + size + n;
    *len = left - size - n;
    ws_mask_whole(in + size, n, key);
    return 1;
}

#endif
