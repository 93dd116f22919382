/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The descriptions of all counters, generated from WS_COUNTERS. */

#include "engine/counters.h"

enum { COUNTER, GAUGE };

#define RECEIVED_HELP "Close frames received, by code. 1005: frames without a code"
#define SENT_HELP "Close frames sent, by code. 1005: frames without a code"

const ws_counter_info ws_counter_table[WS_COUNTER_COUNT] = {
#define INFO(id, type, metric, label, value, help) {metric, label, value, help, type == GAUGE},
#define INFO_RECEIVED(code) {"close_received_total", "code", #code, RECEIVED_HELP, 0},
#define INFO_SENT(code) {"close_sent_total", "code", #code, SENT_HELP, 0},
    WS_COUNTERS(INFO, INFO_RECEIVED, INFO_SENT)};

ws_counter ws_counter_of_code(ws_counter first, int code)
{
    static const int codes[] = {
#define CODE(code) code,
        WS_COUNTED_CODES(CODE)};
    unsigned i, n = sizeof(codes) / sizeof(*codes);
    for (i = 0; i < n && codes[i] != code; i++) {
    }
    return (ws_counter)(first + i); /* if no code matches, i is the index of "other" */
}
