/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests parsing and writing Close frames (RFC 6455, sections 5.5.1 and 7.4). */

#include "protocol/close.h"

#include "t/unit/fence.h"
#include "t/unit/tap.h"

/* @return whether a frame may contain the code, according to the RFC and the IANA registry */
static int registered(int code)
{
    switch (code) {
    case 1000: /* normal closure */
    case 1001: /* going away */
    case 1002: /* protocol error */
    case 1003: /* unsupported data */
    case 1007: /* invalid payload */
    case 1008: /* policy violation */
    case 1009: /* message too big */
    case 1010: /* mandatory extension */
    case 1011: /* internal error */
    case 1012: /* service restart */
    case 1013: /* try again later */
    case 1014: /* bad gateway */
        return 1;
    default: /* section 7.4.2: libraries, frameworks and applications; private use */
        return code >= 3000 && code <= 4999;
    }
}

static void which_codes_may_be_sent(void)
{
    int wrong = 0, last = 0;
    for (int code = -1; code <= 65536; code++) {
        if (!ws_close_code_valid(code) != !registered(code)) {
            wrong++;
            last = code;
        }
    }
    if (!is_int(wrong, 0, "of all codes, those of the registry and 3000 to 4999 are valid")) {
        diag("%d, for example", last);
    }
    ok(!ws_close_code_valid(1004) && !ws_close_code_valid(1005) && !ws_close_code_valid(1006)
           && !ws_close_code_valid(1015),
       "section 7.4.1: 1004 is reserved, and 1005, 1006 and 1015 are not valid in a frame");
}

/* ---- Reading ---- */

static const struct {
    const char *name, *payload;
    size_t len;
    int status, code;
    const char *reason; /* NULL: the frame has no valid reason */
} payloads[] = {
    {"an empty payload has no code", "", 0, 0, 1005, ""},
    {"a code alone", "\x03\xE8", 2, 0, 1000, ""},
    {"a code and a reason",
     "\x03\xE9"
     "bye",
     5, 0, 1001, "bye"},
    {"a reason that is not ASCII", "\x0F\xA0gr\xC3\xBC\xC3\x9F", 8, 0, 4000, "gr\xC3\xBC\xC3\x9F"},
    {"one byte is not a code", "\x03", 1, 1002, 0, NULL},
    {"code 0", "\x00\x00", 2, 1002, 0, NULL},
    {"code 999", "\x03\xE7", 2, 1002, 0, NULL},
    {"code 1005 in a frame", "\x03\xED", 2, 1002, 0, NULL},
    {"code 1006 in a frame", "\x03\xEE", 2, 1002, 0, NULL},
    {"code 2999", "\x0B\xB7", 2, 1002, 0, NULL},
    {"code 5000", "\x13\x88", 2, 1002, 0, NULL},
    {"code 65535", "\xFF\xFF", 2, 1002, 0, NULL},
    {"a reason that is not UTF-8",
     "\x03\xE8"
     "a\xFF",
     4, 1007, 0, NULL},
    {"a reason that is cut inside a character",
     "\x03\xE8"
     "a\xE2\x82",
     5, 1007, 0, NULL},
    {"an invalid code before a bad reason", "\x03\xED\xFF", 3, 1002, 0, NULL},
};

static void reading(void)
{
    for (size_t i = 0; i < sizeof(payloads) / sizeof(*payloads); i++) {
        size_t len = payloads[i].len, reason_len = 99;
        unsigned char *p = fenced_end(len);
        const char *reason = NULL;
        int code = 0, status;
        memcpy(p, payloads[i].payload, len);
        status = ws_close_parse(p, len, &code, &reason, &reason_len);
        is_int(status, payloads[i].status, "read: %s", payloads[i].name);
        if (!status && payloads[i].reason) {
            is_int(code, payloads[i].code, "read: %s: the code", payloads[i].name);
            is_mem(reason, reason_len, payloads[i].reason, strlen(payloads[i].reason),
                   "read: %s: the reason", payloads[i].name);
        }
    }
}

/* ---- Writing ---- */

#define BUILT(CODE, REASON, EXPECTED, NAME)                                                        \
    do {                                                                                           \
        unsigned char out[WS_CONTROL_MAX];                                                         \
        const char *r = (REASON);                                                                  \
        size_t n = ws_close_build(out, (CODE), r, r ? strlen(r) : 0);                              \
        is_mem(out, n, (EXPECTED), sizeof(EXPECTED) - 1, "write: %s", (NAME));                     \
    } while (0)

static void writing(void)
{
    BUILT(1000, NULL, "\x03\xE8", "a code without a reason");
    BUILT(1000, "", "\x03\xE8", "an empty reason");
    BUILT(4999, "bye",
          "\x13\x87"
          "bye",
          "a code and a reason");
    BUILT(1005, NULL, "", "1005 becomes an empty payload");
    BUILT(1005, "why", "", "1005 with a reason becomes an empty payload");
    BUILT(1006, "why",
          "\x03\xF3"
          "why",
          "a code that may not be sent becomes 1011");
    BUILT(1015, NULL, "\x03\xF3", "1015 becomes 1011");
    BUILT(0, NULL, "\x03\xF3", "0 becomes 1011");
    BUILT(70000, NULL, "\x03\xF3", "a code above 65535 becomes 1011");
}

static void a_long_reason_is_cut(void)
{
    static const char *const characters[] = {"a", "\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    unsigned char *out = fenced_end(WS_CONTROL_MAX);
    char text[3 * WS_CONTROL_MAX];
    int wrong = 0;

    memset(text, 'x', sizeof(text));
    is_int(ws_close_build(out, 1000, text, WS_REASON_MAX), WS_CONTROL_MAX,
           "a reason of 123 bytes is sent unchanged");
    is_int(ws_close_build(out, 1000, text, WS_REASON_MAX + 1), WS_CONTROL_MAX,
           "a reason of 124 bytes is truncated by one byte");

    /* Try characters of each length at each distance from the limit. */
    for (size_t i = 0; i < 4; i++) {
        size_t size = strlen(characters[i]);
        for (size_t ahead = 0; ahead < size; ahead++) {
            size_t len = ahead, n, expected = WS_REASON_MAX - (WS_REASON_MAX - ahead) % size;
            int code;
            const char *reason;
            size_t reason_len;
            memset(text, 'x', sizeof(text));
            while (len < 200) {
                memcpy(text + len, characters[i], size);
                len += size;
            }
            n = ws_close_build(out, 1000, text, len);
            wrong += n != 2 + expected || ws_close_parse(out, n, &code, &reason, &reason_len)
                     || memcmp(reason, text, expected);
        }
    }
    is_int(wrong, 0, "a reason is truncated at the last possible end of a character");
}

int main(void)
{
    which_codes_may_be_sent();
    reading();
    writing();
    a_long_reason_is_cut();
    return done_testing();
}
