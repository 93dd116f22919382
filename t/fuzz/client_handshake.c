/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This target parses a server's answer to a client's handshake. The parser never reads beyond the
 * answer. It accepts the answer, or refuses it with a reason. An accepted answer conforms to
 * RFC 6455, section 4.1, and RFC 7692.
 */

#include "protocol/client_handshake.h"

#include "protocol/deflate.h"
#include "protocol/handshake.h"
#include "protocol/extension_header.h"
#include "t/fuzz/fuzz.h"

static const ws_client_request ask = {.host = "server.example.com",
                                      .target = "/",
                                      .key = "dGhlIHNhbXBsZSBub25jZQ==",
                                      .version = 13,
                                      .protocols = "chat, superchat",
                                      .extensions = "permessage-deflate; client_max_window_bits"};

static void extensions(const char *value)
{
    static const ws_deflate_config config = {.level = 6,
                                             .window = WS_DEFLATE_BITS_MAX,
                                             .client_window = WS_DEFLATE_BITS_MAX,
                                             .takeover = 1};
    char *text = strdup(value), *list = text;
    ws_offer offer;
    for (int left = 100; left && ws_offer_next(&list, &offer) == 1; left--) {
        for (int takeover = 0; takeover < 2; takeover++) {
            apr_uint64_t agreed = 0;
            if (!ws_deflate_agree(&config, takeover, &offer, &agreed)) {
                unsigned ours = agreed & 0xF, theirs = agreed >> 4 & 0xF;
                MUST(ours >= 8 && theirs >= 8 && offer.count <= 4);
                MUST(!(agreed >> 8) || takeover);
            }
        }
    }
    free(text);
}

static void parsed(const ws_client_response *a, const char *head, size_t len)
{
    size_t at = 0, count = 0;
    MUST(a->status >= 100 && a->status <= 999 && a->count <= WS_CLIENT_RESPONSE_LINES);
    for (size_t i = 0; i < a->count; i++) {
        const char *name = a->lines[i].name, *value = a->lines[i].value;
        MUST(name >= head && value > name && value + strlen(value) < head + len);
        MUST(ws_is_token(name, strlen(name)));
        MUST(!value[strcspn(value, "\r\n")] && *value != ' ');
        count += !strcasecmp(name, "Sec-WebSocket-Extensions");
    }
    while ((head = ws_client_response_header(a, "sec-websocket-extensions", &at))) {
        extensions(head);
        count--;
    }
    MUST(count == 0);
}

static void accepted(const ws_client_response *a, const char *protocol)
{
    size_t at = 0;
    const char *value = ws_client_response_header(a, "Sec-WebSocket-Accept", &at);
    MUST(value && !strcmp(value, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); /* section 1.3 */
    MUST(!ws_client_response_header(a, "Sec-WebSocket-Accept", &at));
    at = 0;
    value = ws_client_response_header(a, "Upgrade", &at);
    MUST(value && !strcasecmp(value, "websocket"));
    MUST(!protocol || !strcmp(protocol, "chat") || !strcmp(protocol, "superchat"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = (char *)copy_of(data, len);
    size_t head = ws_client_response_head(text, len);
    const char *wrong = NULL, *protocol = "";
    ws_client_response a;

    if (head) {
        char *exact = (char *)copy_of(text, head);
        MUST(head >= 4 && head <= len && !memcmp(text + head - 4, "\r\n\r\n", 4));
        MUST(!ws_client_response_head(text, head - 1));
        if (ws_client_response_parse(&a, exact, head, &wrong) == 0) {
            parsed(&a, exact, head);
            if (ws_client_response_check(&a, &ask, &protocol, &wrong) == 0) {
                accepted(&a, protocol);
            }
            else {
                MUST(wrong && *wrong && !protocol);
            }
        }
        else {
            MUST(wrong && *wrong);
        }
        free(exact);
    }
    free(text);
    return 0;
}
