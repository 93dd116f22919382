/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * RFC 3629 as a state machine, with strides for ASCII and for whole characters. A state says what the
 * next byte may be:
 *
 *   START  a character begins         E0, F0  80..BF without overlong forms
 *   T1-T3  1 to 3 continuation bytes  ED, F4  80..BF without surrogates, without what is above 10FFFF
 */

#include "protocol/utf8.h"

#include <stdint.h>
#include <string.h>

enum { START = WS_UTF8_START, REJECT = WS_UTF8_REJECT, T1, T2, T3, E0, ED, F0, F4 };

static ws_utf8_state step(ws_utf8_state state, unsigned char b)
{
    switch (state) {
    case START:
        return b < 0x80    ? START
               : b < 0xC2  ? REJECT
               : b < 0xE0  ? T1
               : b == 0xE0 ? E0
               : b == 0xED ? ED
               : b < 0xF0  ? T2
               : b == 0xF0 ? F0
               : b < 0xF4  ? T3
               : b == 0xF4 ? F4
                           : REJECT;
    case T1:
        return (b & 0xC0) == 0x80 ? START : REJECT;
    case T2:
        return (b & 0xC0) == 0x80 ? T1 : REJECT;
    case T3:
        return (b & 0xC0) == 0x80 ? T2 : REJECT;
    case E0:
        return b >= 0xA0 && b <= 0xBF ? T1 : REJECT;
    case ED:
        return b >= 0x80 && b <= 0x9F ? T1 : REJECT;
    case F0:
        return b >= 0x90 && b <= 0xBF ? T2 : REJECT;
    case F4:
        return b >= 0x80 && b <= 0x8F ? T2 : REJECT;
    default:
        return REJECT;
    }
}

/* How many bytes of ASCII there are, in strides of 32; at most 31 fewer than there really are. */
static size_t ascii(const unsigned char *data, size_t len)
{
    size_t n = 0;
    for (; len - n >= 32; n += 32) {
        uint64_t w[4];
        memcpy(w, data + n, 32);
        if ((w[0] | w[1] | w[2] | w[3]) & 0x8080808080808080u) {
            break;
        }
    }
    return n;
}

ws_utf8_state ws_utf8_check(ws_utf8_state state, const unsigned char *data, size_t len)
{
    size_t i = 0;
    while (i < len && state != REJECT) {
        if (state == START) {
            i += ascii(data + i, len - i);
            /* Two- and three-byte characters whole, most of all text that is not ASCII. */
            while (len - i >= 3 && data[i] >= 0xC2 && data[i] < 0xF0 && (data[i + 1] & 0xC0) == 0x80) {
                if (data[i] < 0xE0) {
                    i += 2;
                }
                else if ((data[i + 2] & 0xC0) == 0x80 && data[i] != 0xED
                         && (data[i] != 0xE0 || data[i + 1] >= 0xA0)) {
                    i += 3;
                }
                else {
                    break;
                }
            }
            if (i == len) {
                break;
            }
        }
        state = step(state, data[i++]);
    }
    return state;
}
