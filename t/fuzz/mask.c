/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target compares each implementation of masking with RFC 6455, section 5.3, for a whole
 *  payload and for a payload in pieces. The input consists of a byte for the alignment, a byte that
 *  determines the cuts, the masking key and the payload. */

#include "protocol/mask.h"
#include "protocol/simd.h"
#include "t/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t offset = take_byte(&data, &len) % 64;
    uint32_t cuts = take_byte(&data, &len);
    unsigned char key[4], *memory, *payload;

    for (int i = 0; i < 4; i++) {
        key[i] = (unsigned char)take_byte(&data, &len);
    }
    memory = malloc(offset + len + 1);
    payload = memory + offset;
    memset(memory, 0xA5, offset);
    payload[len] = 0xA5;
    for (int n = 0; ws_mask_use(n); n++) {
        for (int pieces = 0; pieces < 2; pieces++) {
            unsigned char k[4];
            uint32_t c = cuts;
            memcpy(k, key, 4);
            memcpy(payload, data, len);
            for (size_t at = 0; at < len;) {
                size_t cut = pieces ? next_cut(&c) : len;
                cut = cut < len - at ? cut : len - at;
                ws_mask(payload + at, cut, k);
                at += cut;
                MUST(k[0] == key[at % 4] && k[3] == key[(at + 3) % 4]);
            }
            for (size_t i = 0; i < len; i++) {
                MUST(payload[i] == (data[i] ^ key[i % 4]));
            }
            MUST(payload[len] == 0xA5 && (offset == 0 || payload[-1] == 0xA5));
        }
    }
    free(memory);
    return 0;
}
