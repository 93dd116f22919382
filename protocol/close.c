/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Close frames and close codes: RFC 6455, sections 5.5.1 and 7.4. */

#include "protocol/close.h"

#include <string.h>

#include "protocol/utf8.h"

#define NO_STATUS 1005
#define INTERNAL_ERROR 1011

int ws_close_code_valid(int code)
{
    /* RFC 6455, section 7.4.1: 1004 is reserved, and 1005, 1006 and 1015 are for APIs only. The
     * IANA registry has added 1012 to 1014. 3000 to 4999 are for libraries and applications
     * (7.4.2). */
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}

int ws_close_parse(const unsigned char *data, size_t len, int *code, const char **reason,
                   size_t *reason_len)
{
    *code = NO_STATUS;
    *reason = "";
    *reason_len = 0;
    if (len == 0) {
        return 0;
    }
    if (len == 1 || !ws_close_code_valid(data[0] << 8 | data[1])) {
        return 1002;
    }
    if (!ws_utf8_valid(data + 2, len - 2)) {
        return 1007;
    }
    *code = data[0] << 8 | data[1];
    *reason = (const char *)data + 2;
    *reason_len = len - 2;
    return 0;
}

size_t ws_close_build(unsigned char *out, int code, const char *reason, size_t reason_len)
{
    if (code == NO_STATUS) {
        return 0;
    }
    if (!ws_close_code_valid(code)) {
        code = INTERNAL_ERROR;
    }
    out[0] = (unsigned char)(code >> 8);
    out[1] = (unsigned char)code;
    if (!reason) {
        return 2;
    }
    /* A handler may pass on text from elsewhere. If it were not UTF-8, the peer would fail the
     * connection. */
    reason_len = ws_utf8_prefix((const unsigned char *)reason, reason_len, WS_REASON_MAX);
    memcpy(out + 2, reason, reason_len);
    return 2 + reason_len;
}
