/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The drafts from before masking: hixie-75 (2010-02) and hixie-76, which is hybi-00 too. Text from 0x00
 * to 0xFF is all that they can say; the second one has a closing handshake, FF 00, and ends its opening
 * one with eight bytes behind the request, which are answered with an MD5 digest.
 */

#ifndef WS_PROTOCOL_HIXIE_H
#define WS_PROTOCOL_HIXIE_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/frame.h"

/** Bytes of a client's third key, behind the headers of version 76. */
#define WS_HIXIE_KEY3 8

/** Bytes of the answer to it. */
#define WS_HIXIE_ANSWER 16

/** Bytes of the two numbers that Sec-WebSocket-Key1 and -Key2 stand for, as the answer has them. */
#define WS_HIXIE_NUMBERS 8

/**
 * The numbers of two keys: the digits of each, divided by the count of its spaces (hybi-00, section
 * 5.2).
 * @return NULL, or what is wrong: names the header, static
 */
const char *ws_hixie_numbers(const char *key1, const char *key2,
                             unsigned char out[WS_HIXIE_NUMBERS]);

/** What proves to a client of version 76 that its handshake was read: hybi-00, section 5.2. */
void ws_hixie_answer(const unsigned char numbers[WS_HIXIE_NUMBERS],
                     const unsigned char key3[WS_HIXIE_KEY3], unsigned char out[WS_HIXIE_ANSWER]);

/** State between two calls; zero but for max at the beginning. Fields are the parser's own, but for
 *  max and numbers. */
typedef struct ws_hixie {
    uint64_t max;         /**< greatest content of a frame, bytes */
    uint64_t len;         /**< of the current frame's content, as far as it is known */
    uint64_t left;        /**< of content that is skipped, still to come */
    unsigned char state;  /**< what the next byte belongs to */
    unsigned char type;   /**< of the current frame, its first byte */
    unsigned char digits; /**< bytes of its length that have come */
    unsigned char ignore; /**< there are no frames: all input is skipped; the caller's */
    unsigned char first;  /**< nothing of the current text has been given out */
    unsigned char numbers[WS_HIXIE_NUMBERS]; /**< for the caller, until the third key has come */
} ws_hixie;

/**
 * Take the next event from the input at *data, and move *data and *len behind what was consumed: all of
 * it, if there is no event in it. A text is given in as many pieces as the input cuts it into; the end
 * may come alone, as an empty piece. FF 00 is a Close frame without code. Frames of other types, with a
 * length or without, are skipped (hybi-00, section 5.3), as long as they keep within the limit.
 */
ws_parse_result ws_hixie_next(ws_hixie *p, unsigned char **data, size_t *len, ws_piece *piece,
                              ws_parse_error *error);

/** Whether a stream that ends here has no cut frame. */
int ws_hixie_between(const ws_hixie *p);

/** Greatest length of what ws_hixie_frame writes for this text, bytes. */
size_t ws_hixie_frame_max(const void *text, size_t len);

/**
 * Write a text's frame, or a part of it. UTF-8 has no byte 0xFF, which would end the frame: in a text that
 * is none, each becomes U+FFFD, as the client would make of any other mistake.
 * @param first  as for ws_frame_header: a continuation frame goes on with a text; without WS_FIN it is
 *               not ended
 * @return its length, bytes
 */
size_t ws_hixie_frame(unsigned char *out, unsigned first, const void *text, size_t len);

#endif
