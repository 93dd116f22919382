/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The end of version 76's opening handshake, which the client completes after the response's headers. */

#include "engine/conn.h"
#include "protocol/hixie.h"

int ws_hixie_shake(ws_conn *c, unsigned char **data, size_t *len)
{
    const ws_hixie *state = (const ws_hixie *)c->framer;
    unsigned char answer[WS_HIXIE_ANSWER];
    if (*len < WS_HIXIE_KEY3) {
        return 0;
    }
    ws_hixie_answer(state->numbers, *data, answer);
    *data += WS_HIXIE_KEY3;
    *len -= WS_HIXIE_KEY3;
    ws_conn_send_bytes(c, answer, sizeof(answer));
    ws_conn_open(c);
    if (c->freed) {
        *len = 0;
        return 0;
    }
    ws_conn_cork(c); /* on_open had it */
    return 1;
}
