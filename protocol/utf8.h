/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Checks whether text is UTF-8. The text may arrive in pieces. */

#ifndef WS_PROTOCOL_UTF8_H
#define WS_PROTOCOL_UTF8_H

#include <stddef.h>

/** The state of the validator between two pieces of a text. It is WS_UTF8_START at each character
 * boundary. */
typedef unsigned char ws_utf8_state;

#define WS_UTF8_START 0
#define WS_UTF8_REJECT 1

/**
 * Check the next len bytes of a text: RFC 3629 (no overlong forms, no surrogates, nothing above
 * U+10FFFF).
 * @return the next state; WS_UTF8_REJECT from the first invalid byte on (RFC 6455, section 8.1). A
 *         complete text ends in WS_UTF8_START.
 */
ws_utf8_state ws_utf8_check(ws_utf8_state state, const unsigned char *data, size_t len);

/** Check a complete text. @return whether it is UTF-8; "" is */
static inline int ws_utf8_valid(const void *text, size_t len)
{
    return ws_utf8_check(WS_UTF8_START, (const unsigned char *)text, len) == WS_UTF8_START;
}

/** Find the longest prefix of a text that has at most max bytes, is valid UTF-8 and ends with a
 *  character. @return its length, bytes */
size_t ws_utf8_prefix(const unsigned char *data, size_t len, size_t max);

#endif
