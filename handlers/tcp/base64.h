/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Base64 (RFC 4648, section 4), decoded in pieces of any cut, which APR cannot. */

#ifndef WS_TCP_BASE64_H
#define WS_TCP_BASE64_H

#include <apr.h>

/** Where a decoder stands; zeroed before each message. */
typedef struct base64_state {
    apr_uint32_t bits;
    unsigned char digits;  /**< of the group that has begun */
    unsigned char padding; /**< signs of padding that have come */
} base64_state;

/**
 * Decode a piece.
 * @param data  room for len / 4 * 3 + 6 bytes
 * @param last  it is the last of its text
 * @return how many bytes, -1 if it is not base64
 */
apr_ssize_t base64_decode(base64_state *s, unsigned char *data, const char *text, apr_size_t len,
                          int last);

#endif
