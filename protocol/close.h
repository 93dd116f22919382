/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Close codes, and the payload of Close frames. */

#ifndef WS_PROTOCOL_CLOSE_H
#define WS_PROTOCOL_CLOSE_H

#include <stddef.h>

/** Maximum payload of a control frame, bytes: RFC 6455, section 5.5. */
#define WS_CONTROL_MAX 125

/** Maximum length of a Close frame's reason, bytes. */
#define WS_REASON_MAX (WS_CONTROL_MAX - 2)

/** Whether a Close frame may carry this code: RFC 6455, section 7.4, and the IANA registry. */
int ws_close_code_valid(int code);

/**
 * Parse a Close frame's payload.
 * @param code    set to its code, or to 1005 if the payload is empty
 * @param reason  set to the reason, a pointer into data; *reason_len is its length
 * @return 0, or the code to fail the connection with: 1002 (one byte, invalid code),
 *         1007 (reason is not UTF-8)
 */
int ws_close_parse(const unsigned char *data, size_t len, int *code, const char **reason,
                   size_t *reason_len);

/**
 * Write a Close frame's payload into out (WS_CONTROL_MAX bytes): nothing for code 1005. A code that
 * must not be sent becomes 1011. A long reason is truncated to WS_REASON_MAX bytes at a character
 * boundary; NULL means no reason.
 * @return its length, bytes
 */
size_t ws_close_build(unsigned char *out, int code, const char *reason, size_t reason_len);

#endif
