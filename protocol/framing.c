/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** ws_framing_raw: sends the bytes of messages unchanged, for HTTP responses whose format the
 *  handler itself builds. */

#include "protocol/framing.h"

#include <string.h>

static size_t raw_max(const void *payload, size_t len)
{
    (void)payload;
    return len;
}

static size_t raw_write(unsigned char *out, unsigned first, const void *payload, size_t len)
{
    (void)first;
    if (len) {
        memcpy(out, payload, len);
    }
    return len;
}

static ws_parse_result raw_next(ws_framer *f, unsigned char **data, size_t *len, ws_piece *piece,
                                ws_parse_error *error)
{
    (void)f, (void)piece, (void)error;
    *data += *len;
    *len = 0;
    return WS_PARSE_MORE;
}

const ws_framing ws_framing_raw = {
    .size = sizeof(ws_framer), .binary = 1, .max = raw_max, .write = raw_write, .next = raw_next};
