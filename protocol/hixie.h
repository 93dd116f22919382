/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The drafts that predate masking: hixie-75 (2010-02) and hixie-76, also known as hybi-00. Both can
 * send only text, as frames that begin with 0x00 and end with 0xFF. hixie-76 adds a closing
 * handshake, the bytes FF 00. It also adds a challenge of eight bytes after the client's opening
 * request. The server answers it with an MD5 digest.
 */

#ifndef WS_PROTOCOL_HIXIE_H
#define WS_PROTOCOL_HIXIE_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/framing.h"

/** Length of the third key, which version 76 sends after the headers, bytes. */
#define WS_HIXIE_KEY3 8

/** Length of the server's answer, bytes. */
#define WS_HIXIE_ANSWER 16

/** Length of the two numbers encoded in Sec-WebSocket-Key1 and -Key2, bytes. */
#define WS_HIXIE_NUMBERS 8

/**
 * Decode the numbers of two keys: the digits of each, divided by its number of spaces (hybi-00,
 * section 5.2).
 * @return NULL, or the error, a static string that names the header
 */
const char *ws_hixie_numbers(const char *key1, const char *key2,
                             unsigned char out[WS_HIXIE_NUMBERS]);

/** Compute the answer that proves to a client that its handshake was read: hybi-00, section 5.2. */
void ws_hixie_answer(const unsigned char numbers[WS_HIXIE_NUMBERS],
                     const unsigned char key3[WS_HIXIE_KEY3], unsigned char out[WS_HIXIE_ANSWER]);

/** State between calls; initially zero except base.max. Private, except base and numbers. */
typedef struct ws_hixie {
    ws_framer base;                          /**< its max also limits the content of a frame */
    uint64_t len;                            /**< content of the current frame so far, bytes */
    uint64_t left;                           /**< bytes still to skip */
    unsigned char state;                     /**< the part of the frame that the next byte is in */
    unsigned char type;                      /**< type byte of the current frame */
    unsigned char digits;                    /**< length bytes read */
    unsigned char first;                     /**< no piece of the current text has been returned */
    unsigned char numbers[WS_HIXIE_NUMBERS]; /**< set by the caller for ws_hixie_answer() */
} ws_hixie;

/**
 * Parse the next event from the input at *data, and advance *data and *len past the consumed bytes.
 * If the input has no complete event, all of it is consumed. A text is returned in pieces as its
 * bytes arrive; the last piece may be empty. FF 00 is returned as a Close frame without a code.
 * Frames of other types are skipped (hybi-00, section 5.3) up to the size limit.
 */
ws_parse_result ws_hixie_next(ws_hixie *p, unsigned char **data, size_t *len, ws_piece *piece,
                              ws_parse_error *error);

/** Whether the parser is between frames, so that the stream may end here. */
int ws_hixie_between(const ws_hixie *p);

/** Maximum output of ws_hixie_frame() for this text, bytes. */
size_t ws_hixie_frame_max(const void *text, size_t len);

/**
 * Write a text frame, or a part of it. A byte 0xFF would end the frame, but it cannot occur in
 * UTF-8. In text that is not UTF-8, the byte is replaced with U+FFFD.
 * @param first  as for ws_frame_header(). The start of the frame is written unless the opcode is
 *               WS_OP_CONTINUATION, and its end if WS_FIN is set
 * @return the length written, bytes
 */
size_t ws_hixie_frame(unsigned char *out, unsigned first, const void *text, size_t len);

/** The framing of version 76 or 75; NULL for other versions. Its state is a ws_hixie. */
const ws_framing *ws_hixie_framing(int version);

#endif
