/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Decodes base64 (RFC 4648, section 4) in pieces of any length. APR can decode only whole
 *  texts. */

#ifndef WS_TCP_BASE64_H
#define WS_TCP_BASE64_H

#include <apr.h>

/** The state of a decoder. The caller sets all members to zero before each message. */
typedef struct base64_state {
    apr_uint32_t bits;
    unsigned char digits;  /**< number of characters in the incomplete group of four */
    unsigned char padding; /**< number of padding characters so far */
} base64_state;

/**
 * Decode a piece.
 * @param data  room for len / 4 * 3 + 6 bytes
 * @param last  1: this is the last piece
 * @return number of decoded bytes; -1: invalid base64
 */
apr_ssize_t base64_decode(base64_state *s, unsigned char *data, const char *text, apr_size_t len,
                          int last);

#endif
