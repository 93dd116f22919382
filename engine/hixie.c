/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The last step of the opening handshake of version 76 (hixie-76, also known as hybi-00): the
 * client sends a third key after its headers, and the server answers it after its own headers.
 */

#include "engine/conn.h"
#include "protocol/hixie.h"

int ws_hixie_shake(ws_conn *c, unsigned char **data, size_t *len)
{
    const ws_hixie *state = (const ws_hixie *)c->rare->framer;
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
    ws_conn_cork(c); /* ws_conn_open() has uncorked c after on_open */
    return 1;
}
