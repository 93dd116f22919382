/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests the client's handshake (RFC 6455, section 4.1): writing the request and reading the
 *  answer. */

#include "protocol/client_handshake.h"

#include <stdlib.h>

#include "protocol/deflate.h"
#include "protocol/extension_header.h"
#include "t/unit/tap.h"

/* Section 1.3 */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define FIRST "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"

static const ws_client_request plain = {
    .host = "server.example.com", .target = "/chat", .key = KEY, .version = 13};

static const char *written(const ws_client_request *ask)
{
    static char text[2048];
    size_t len = ws_client_request_write(ask, NULL, 0);
    memset(text, '!', sizeof(text));
    is_int((int)ws_client_request_write(ask, text, len + 1), (int)len,
           "the length of the request is known before it is written");
    is_int(text[len + 1], '!', "nothing is written after the request");
    return text;
}

static void what_is_written(void)
{
    static const char *const more[] = {"Cookie", "a=b", "X-Empty", "", NULL};
    static const char *const others[] = {"Host", "front", "authorization", "Bearer x", NULL};
    ws_client_request ask = plain;
    is_str(written(&ask),
           "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
           "a request with only the required headers");
    ask.protocols = "chat, superchat";
    ask.extensions = "permessage-deflate";
    ask.origin = "http://example.com";
    ask.authorization = "Basic eA==";
    ask.headers = more;
    is_str(written(&ask),
           "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Protocol: chat, superchat\r\n"
           "Sec-WebSocket-Extensions: permessage-deflate\r\nOrigin: http://example.com\r\n"
           "Authorization: Basic eA==\r\nCookie: a=b\r\nX-Empty: \r\n\r\n",
           "a request with all headers");
    ask.version = 8;
    ask.headers = others;
    is_str(written(&ask),
           "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 8\r\n"
           "Sec-WebSocket-Protocol: chat, superchat\r\n"
           "Sec-WebSocket-Extensions: permessage-deflate\r\n"
           "Sec-WebSocket-Origin: http://example.com\r\nHost: front\r\n"
           "authorization: Bearer x\r\n\r\n",
           "a request of version 8, with headers that replace the standard ones");
}

static void further_headers(void)
{
    is_str(ws_header_wrong("Cookie", "a=b\tc"), NULL, "Cookie is allowed");
    is_str(ws_header_wrong("Host", "front"), NULL, "Host may be replaced");
    ok(ws_header_wrong("Upgrade", "x") != NULL, "Upgrade");
    ok(ws_header_wrong("connection", "x") != NULL, "Connection is refused, in any case");
    ok(ws_header_wrong("Sec-WebSocket-Key", "x") != NULL, "Sec-WebSocket-Key");
    ok(ws_header_wrong("A b", "x") != NULL, "a header name with a space is refused");
    ok(ws_header_wrong("", "x") != NULL, "an empty header name is refused");
    ok(ws_header_wrong("X", "a\r\nY: b") != NULL,
       "a value that contains another header is refused");
}

static void keys(void)
{
    char key[WS_KEY_SIZE];
    ws_key_text((const unsigned char *)"the sample nonce", key);
    is_str(key, KEY, "section 1.3: the key of the example");
}

/* Read an answer. @return the result, formatted as a text */
static const char *becomes(const ws_client_request *ask, const char *text)
{
    static char result[256];
    size_t len = strlen(text), head = ws_client_response_head(text, len);
    char *copy = malloc(head ? head : 1);
    const char *wrong = "no head", *protocol;
    ws_client_response a;
    memcpy(copy, text, head);
    if (head && ws_client_response_parse(&a, copy, head, &wrong) == 0) {
        if (a.status != 101) {
            snprintf(result, sizeof(result), "status %d", a.status);
            free(copy);
            return result;
        }
        if (ws_client_response_check(&a, ask, &protocol, &wrong) == 0) {
            snprintf(result, sizeof(result), "right, %s", protocol ? protocol : "no protocol");
            free(copy);
            return result;
        }
    }
    free(copy);
    return wrong;
}

#define IS_HTTP "the response is not HTTP/1.1"
#define UPGRADES "the response's Upgrade is not \"websocket\""
#define CONNECTS "the response's Connection does not contain \"upgrade\""
#define ONE_ACCEPT "the response does not have exactly one Sec-WebSocket-Accept"
#define FITS "Sec-WebSocket-Accept does not match the key"
#define CHOSE "the server chose a subprotocol that was not offered"
#define LINE "a header line of the response has no name or no colon"
#define CONTROL "a header of the response has control characters"

static void what_answers_become(void)
{
    static const char *const cases[][2] = {
        {FIRST UPGRADE ACCEPT "\r\n", "right, no protocol"},
        {FIRST UPGRADE ACCEPT "\r\n\x81\x01x", "right, no protocol"},
        {"HTTP/1.1 101\r\nupgrade:WebSocket\r\nconnection:\tkeep-alive, upgrade \r\n" ACCEPT "\r\n",
         "right, no protocol"},
        {"HTTP/1.0 101 x\r\n" UPGRADE ACCEPT "\r\n", "right, no protocol"},
        {FIRST UPGRADE "Connection: close\r\n" ACCEPT "\r\n", "right, no protocol"},
        {FIRST UPGRADE ACCEPT "Sec-WebSocket-Protocol: chat\r\n\r\n", "right, chat"},
        {FIRST UPGRADE ACCEPT "Sec-WebSocket-Protocol: Chat\r\n\r\n", CHOSE},
        {FIRST UPGRADE ACCEPT "Sec-WebSocket-Protocol: chat, superchat\r\n\r\n", CHOSE},
        {FIRST UPGRADE ACCEPT "Sec-WebSocket-Protocol: \r\n\r\n", CHOSE},
        {FIRST UPGRADE ACCEPT
         "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
         CHOSE},
        {FIRST UPGRADE "\r\n", ONE_ACCEPT},
        {FIRST UPGRADE ACCEPT ACCEPT "\r\n", ONE_ACCEPT},
        {FIRST UPGRADE "Sec-WebSocket-Accept: x3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", FITS},
        {FIRST UPGRADE "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo\r\n\r\n", FITS},
        {FIRST "Connection: Upgrade\r\n" ACCEPT "\r\n", UPGRADES},
        {FIRST "Upgrade: h2c\r\nConnection: Upgrade\r\n" ACCEPT "\r\n", UPGRADES},
        {FIRST "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n" ACCEPT "\r\n", UPGRADES},
        {FIRST "Upgrade: websocket\r\n" ACCEPT "\r\n", CONNECTS},
        {FIRST "Upgrade: websocket\r\nConnection: close\r\n" ACCEPT "\r\n", CONNECTS},
        {FIRST UPGRADE ACCEPT "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
         "the server chose an extension that was not offered"},
        {"HTTP/1.1 200 OK\r\n\r\n", "status 200"},
        {"HTTP/1.1 426\r\nSec-WebSocket-Version: 13\r\n\r\n", "status 426"},
        {"HTTP/2 101\r\n\r\n", IS_HTTP},
        {"HTTP/1.2 101\r\n\r\n", IS_HTTP},
        {"hTTP/1.1 101\r\n\r\n", IS_HTTP},
        {"\r\n\r\n", IS_HTTP},
        {"HTTP/1.1\r\n\r\n", "the response has no valid status line"},
        {"HTTP/1.1 10\r\n\r\n", "the response has no valid status line"},
        {"HTTP/1.1 1010\r\n\r\n", "the response has no valid status line"},
        {"HTTP/1.1 099 x\r\n\r\n", "the response has no valid status line"},
        {FIRST "Upgrade\r\n\r\n", LINE},
        {FIRST "Upgrade : websocket\r\n\r\n", LINE},
        {FIRST ": websocket\r\n\r\n", LINE},
        {FIRST "X: a\r\n b\r\n\r\n", LINE},
        {FIRST "X: a\rb\r\n\r\n", CONTROL},
        {FIRST "X: a\nb\r\n\r\n", CONTROL},
        {FIRST UPGRADE ACCEPT "\n\n", "no head"},
        {FIRST UPGRADE ACCEPT, "no head"}};
    ws_client_request ask = plain;
    ask.protocols = "superchat, chat";
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        is_str(becomes(&ask, cases[i][0]), cases[i][1], "answer %d", (int)i);
    }
    is_str(becomes(&plain, FIRST UPGRADE ACCEPT "Sec-WebSocket-Protocol: chat\r\n\r\n"), CHOSE,
           "a subprotocol is refused if none was offered");
    ask.extensions = "permessage-deflate";
    is_str(becomes(&ask, FIRST UPGRADE ACCEPT "Sec-WebSocket-Extensions: any\r\n\r\n"),
           "right, no protocol", "extensions are not checked here if some were offered");
}

static void many_lines(void)
{
    char text[8192] = FIRST;
    for (int i = 0; i < WS_CLIENT_RESPONSE_LINES; i++) {
        strcat(text, "X: y\r\n");
    }
    strcat(text, "\r\n");
    is_str(becomes(&plain, text), UPGRADES, "the maximum number of header lines is accepted");
    strcpy(text + strlen(text) - 2, "X: y\r\n\r\n");
    is_str(becomes(&plain, text), "the response has too many header lines",
           "one header line more is refused");
}

static void a_head_that_comes_in_bytes(void)
{
    static const char text[] = FIRST UPGRADE ACCEPT "\r\nmore";
    size_t head = sizeof(text) - 1 - 4;
    int early = 0;
    for (size_t len = 0; len < head; len++) {
        early += ws_client_response_head(text, len) != 0;
    }
    is_int(early, 0, "the head is not complete before its last byte");
    is_int((int)ws_client_response_head(text, head), (int)head,
           "the head is complete with its last byte");
    is_int((int)ws_client_response_head(text, sizeof(text) - 1), (int)head,
           "later bytes are not part of the head");
}

/* Read an answer to an offer of compression. @return the agreed windows and context takeover */
static const char *agreed(const char *answer, int takeover)
{
    static const ws_deflate_config config = {.level = 6,
                                             .window = WS_DEFLATE_BITS_MAX,
                                             .client_window = WS_DEFLATE_BITS_MAX,
                                             .takeover = 1};
    static char result[64];
    char text[256], *list = text;
    const char *wrong;
    apr_uint64_t a;
    ws_offer o;
    strcpy(text, answer);
    if (ws_offer_next(&list, &o) != 1) {
        return "malformed";
    }
    if ((wrong = ws_deflate_agree(&config, takeover, &o, &a))) {
        return wrong;
    }
    snprintf(result, sizeof(result), "%d %d%s%s", (int)(a & 15), (int)(a >> 4 & 15),
             a & 0x100 ? " ours" : "", a & 0x200 ? " theirs" : "");
    return result;
}

#define UNKNOWN "the server chose unknown parameters of permessage-deflate"
#define D "permessage-deflate"

static void compression(void)
{
    is_str(agreed(D, 1), "15 15 ours theirs", "compression with context takeover on both sides");
    is_str(agreed(D "; client_no_context_takeover", 1), "15 15 theirs",
           "compression without the client's context takeover");
    is_str(agreed(D "; server_no_context_takeover", 1), "15 15 ours",
           "compression without the server's context takeover");
    is_str(agreed(D "; server_max_window_bits=9; client_max_window_bits=10", 1), "10 9 ours theirs",
           "compression with smaller windows on both sides");
    is_str(agreed(D "; server_no_context_takeover; client_no_context_takeover", 0), "15 15",
           "compression without context takeover, as offered");
    is_str(agreed(D "; server_no_context_takeover", 0), "15 15",
           "the client may drop its own context takeover");
    is_str(agreed(D, 0), "the server did not accept server_no_context_takeover",
           "section 7.1.1.1: the server must accept server_no_context_takeover");
    is_str(agreed(D "; server_max_window_bits=7", 1), UNKNOWN, "an invalid window size is refused");
    is_str(agreed(D "; server_max_window_bits", 1), UNKNOWN, "none");
    is_str(agreed(D "; client_max_window_bits", 1),
           "client_max_window_bits has no value in the answer",
           "section 7.1.2.2: client_max_window_bits must have a value in the answer");
    is_str(agreed(D "; mine", 1), UNKNOWN, "an unknown parameter is refused");
    is_str(agreed(D "; server_no_context_takeover; server_no_context_takeover", 1), UNKNOWN,
           "a parameter that occurs twice is refused");
}

int main(void)
{
    what_is_written();
    further_headers();
    keys();
    what_answers_become();
    many_lines();
    a_head_that_comes_in_bytes();
    compression();
    return done_testing();
}
