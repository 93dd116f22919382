/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target parses and writes the payload of a Close frame, and compares the result with
 *  RFC 6455, sections 5.5.1 and 7.4. */

#include "protocol/close.h"
#include "t/fuzz/fuzz.h"

/* Test whether a Close frame may contain the code, according to section 7.4 and the IANA
 * registry. */
static int may_be_sent(int code)
{
    static const int ranges[][2] = {{1000, 1003}, {1007, 1014}, {3000, 3999}, {4000, 4999}};
    for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
        if (code >= ranges[i][0] && code <= ranges[i][1]) {
            return 1;
        }
    }
    return 0;
}

static void read_one(const unsigned char *payload, size_t len)
{
    const char *reason;
    size_t reason_len;
    int code, wrong = ws_close_parse(payload, len, &code, &reason, &reason_len);
    int sent = len >= 2 ? payload[0] << 8 | payload[1] : 0;

    if (len == 0) {
        MUST(!wrong && code == 1005 && reason_len == 0);
    }
    else if (len == 1 || !may_be_sent(sent)) {
        MUST(wrong == 1002);
    }
    else if (utf8_reference(payload + 2, len - 2) != 1) {
        MUST(wrong == 1007);
    }
    else {
        MUST(!wrong && code == sent && reason == (const char *)payload + 2
             && reason_len == len - 2);
    }
}

static void write_one(int code, const unsigned char *reason, size_t len)
{
    unsigned char out[WS_CONTROL_MAX];
    size_t size = ws_close_build(out, code, (const char *)reason, len);
    MUST(size <= WS_CONTROL_MAX);
    if (code == 1005) {
        MUST(size == 0);
        return;
    }
    MUST((out[0] << 8 | out[1]) == (may_be_sent(code) ? code : 1011));
    MUST(size - 2 <= len && !memcmp(out + 2, reason, size - 2));
    MUST(utf8_reference(out + 2, size - 2) == 1);
    if (utf8_reference(reason, len) == 1) {
        MUST(size - 2 == len || (len > WS_REASON_MAX && size - 2 > WS_REASON_MAX - 4));
    }
    read_one(out, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned char *payload = copy_of(data, len);
    read_one(payload, len < WS_CONTROL_MAX ? len : WS_CONTROL_MAX);
    if (len >= 2) {
        unsigned char *reason = copy_of(data + 2, len - 2);
        write_one(data[0] << 8 | data[1], reason, len - 2);
        free(reason);
    }
    free(payload);
    return 0;
}
