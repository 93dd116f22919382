/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#ifndef WS_PROTOCOL_UTF8_H
#define WS_PROTOCOL_UTF8_H

#include <stddef.h>

/** Where a text that comes in pieces stands; WS_UTF8_START at its beginning and at each character's. */
typedef unsigned char ws_utf8_state;

#define WS_UTF8_START 0
#define WS_UTF8_REJECT 1

/**
 * Check the next len bytes of a text: RFC 3629 (no overlong forms, no surrogates, nothing above
 * U+10FFFF).
 * @return the state to go on with; WS_UTF8_REJECT at the first byte that no valid text can have here
 *         (RFC 6455, section 8.1), and for ever after. At the end of the text it must be WS_UTF8_START.
 */
ws_utf8_state ws_utf8_check(ws_utf8_state state, const unsigned char *data, size_t len);

#endif
