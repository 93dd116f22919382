/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Performs the opening handshake with the functions of protocol/. */

#include "tools/wsbench/handshake.h"

#include <apr_base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocol/client_handshake.h"
#include "protocol/deflate.h"
#include "protocol/extension_header.h"

/* The Sec-WebSocket-Key of all handshakes. It is not secret, and only serves to detect cached
 * responses. */
static char key[32];

static void handshake_make_key(void)
{
    unsigned char bytes[16];
    for (int i = 0; i < 16; i += 4) {
        payload_mask(bytes + i);
    }
    apr_base64_encode_binary(key, bytes, sizeof(bytes));
}

/* The offer does not contain client_max_window_bits, since messages are compressed in advance with
 * the largest window. */
static const char *handshake_offer(void)
{
    return opt.deflate == DEFLATE_ON ? WS_DEFLATE_NAME
               "; client_no_context_takeover; server_no_context_takeover"
           : opt.deflate ? WS_DEFLATE_NAME
                         : NULL;
}

static const char *handshake_named_header(const char *name)
{
    for (const char *const *h = opt.headers; h && *h; h += 2) {
        if (!strcasecmp(h[0], name)) {
            return h[1];
        }
    }
    return NULL;
}

static ws_client_request handshake_request_of(const target *t, char host[WS_AUTHORITY_SIZE])
{
    return (ws_client_request){.host = ws_url_authority(&t->url, 0, host),
                               .target = t->url.target,
                               .key = key,
                               .version = 13,
                               .extensions = handshake_offer(),
                               .authorization = t->authorization,
                               .headers = opt.headers};
}

static void handshake_write_request(target *t)
{
    char host[WS_AUTHORITY_SIZE];
    ws_client_request ask = handshake_request_of(t, host);
    t->request_len = ws_client_request_write(&ask, NULL, 0);
    t->request = memory_must(malloc(t->request_len + 1));
    ws_client_request_write(&ask, t->request, t->request_len + 1);
}

void handshake_prepare(void)
{
    handshake_make_key();
    for (unsigned i = 0; i < opt.target_count; i++) {
        handshake_write_request(&opt.targets[i]);
    }
    if (opt.mode == MODE_FAN) {
        handshake_write_request(&opt.publisher);
    }
}

/* Check one extension of the response against the offer. @return NULL, or an error text */
static const char *handshake_check_offer(peer *p, ws_offer *o)
{
    static const ws_deflate_config config = {.level = 1,
                                             .window = WS_DEFLATE_BITS_MAX,
                                             .client_window = WS_DEFLATE_BITS_MAX,
                                             .takeover = 1};
    apr_uint64_t agreed;
    if (strcmp(o->name, WS_DEFLATE_NAME)) {
        return "the server names an extension that was not offered";
    }
    for (apr_size_t i = 0; i < o->count && i < WS_PARAMETERS_MAX; i++) {
        if (!strcmp(o->parameters[i].name, "client_max_window_bits")) {
            return "the server names client_max_window_bits, which was not offered";
        }
        p->forget |= !strcmp(o->parameters[i].name, "client_no_context_takeover");
    }
    return ws_deflate_agree(&config, opt.deflate == DEFLATE_TAKEOVER, o, &agreed);
}

static const char *handshake_check_extensions(peer *p, const ws_client_response *a)
{
    size_t at = 0;
    char *list = (char *)ws_client_response_header(a, "Sec-WebSocket-Extensions", &at);
    const char *wrong;
    ws_offer o;
    p->forget = 0;
    if (!opt.deflate) {
        return NULL; /* this cannot happen after ws_client_response_check() */
    }
    if (!list || ws_offer_next(&list, &o) != 1) {
        return "the server does not compress";
    }
    if ((wrong = handshake_check_offer(p, &o))) {
        return wrong;
    }
    if (ws_offer_next(&list, &o) != 0
        || ws_client_response_header(a, "Sec-WebSocket-Extensions", &at)) {
        return "the server names an extension twice, or one that was not offered";
    }
    p->deflate = (unsigned char)opt.deflate;
    return NULL;
}

static const char *handshake_check_answer(peer *p, const ws_client_response *a)
{
    static char refused[128];
    char host[WS_AUTHORITY_SIZE];
    ws_client_request ask = handshake_request_of(p->to, host);
    const char *protocol, *wrong;
    ask.protocols = handshake_named_header("Sec-WebSocket-Protocol");
    if (a->status != 101) {
        snprintf(refused, sizeof(refused), "the server answered %d %s", a->status, a->reason);
        return refused;
    }
    return ws_client_response_check(a, &ask, &protocol, &wrong) < 0
               ? wrong
               : handshake_check_extensions(p, a);
}

size_t handshake_check(peer *p, char *data, size_t len, const char **wrong)
{
    static char text[128];
    char head[HANDSHAKE_MAX];
    size_t at = 0, head_len;
    int interim = 0;
    ws_client_response answer;

    *wrong = NULL;
    while ((head_len = ws_client_response_head(data + at, len - at))) {
        if (head_len > sizeof(head)) {
            break;
        }
        memcpy(head, data + at, head_len);
        at += head_len;
        if (ws_client_response_parse(&answer, head, head_len, wrong) < 0) {
            return 0;
        }
        if (answer.status >= 200 || answer.status == 101) {
            *wrong = handshake_check_answer(p, &answer);
            return *wrong ? 0 : at;
        }
        if (++interim > WS_INTERIM_MAX) {
            snprintf(text, sizeof(text),
                     "the server sent more than %d interim (1xx) answers, the last with status %d, "
                     "and no final answer",
                     WS_INTERIM_MAX, answer.status);
            *wrong = text;
            return 0;
        }
    }
    if (len - at > HANDSHAKE_MAX || head_len > HANDSHAKE_MAX) {
        snprintf(text, sizeof(text), "the head of the server's answer is longer than %u bytes",
                 HANDSHAKE_MAX);
        *wrong = text;
    }
    return 0;
}
