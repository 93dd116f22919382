/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target parses the header Sec-WebSocket-Extensions. A parsed offer consists of tokens, and
 *  gives the same result if it is written and parsed again. permessage-deflate answers an offer as
 *  RFC 7692, section 7.1, allows. */

#include "protocol/extension_header.h"

#include "protocol/deflate.h"
#include "protocol/handshake.h"

#include "t/fuzz/fuzz.h"

static apr_size_t kept(const ws_offer *o)
{
    return o->count < WS_PARAMETERS_MAX ? o->count : WS_PARAMETERS_MAX;
}

static const char *value_of(const ws_offer *o, const char *name)
{
    for (apr_size_t i = 0; i < kept(o); i++) {
        if (!strcmp(o->parameters[i].name, name)) {
            return o->parameters[i].value ? o->parameters[i].value : "";
        }
    }
    return NULL;
}

static int has_twice(const ws_offer *o)
{
    for (apr_size_t i = 0; i < kept(o); i++) {
        for (apr_size_t j = 0; j < i; j++) {
            if (!strcmp(o->parameters[i].name, o->parameters[j].name)) {
                return 1;
            }
        }
    }
    return 0;
}

/* ---- Reading ---- */

static void write_offer(char *out, size_t size, const ws_offer *o)
{
    int n = snprintf(out, size, "%s", o->name);
    for (apr_size_t i = 0; i < kept(o); i++) {
        const ws_parameter *p = &o->parameters[i];
        n += snprintf(out + n, size - (size_t)n, p->value ? "; %s=\"%s\"" : ";%s%s", p->name,
                      p->value ? p->value : "");
    }
    MUST((size_t)n < size);
}

static void read_again(const ws_offer *o, size_t len)
{
    size_t size = 5 * len + 64;
    char *text = malloc(size), *list = text;
    ws_offer again;
    MUST(text);
    write_offer(text, size, o);
    MUST(ws_offer_next(&list, &again) == 1 && !strcmp(again.name, o->name));
    MUST(again.count == kept(o));
    for (apr_size_t i = 0; i < kept(o); i++) {
        const ws_parameter *p = &o->parameters[i], *q = &again.parameters[i];
        MUST(!strcmp(p->name, q->name) && !p->value == !q->value);
        MUST(!p->value || !strcmp(p->value, q->value));
    }
    MUST(ws_offer_next(&list, &again) == 0);
    free(text);
}

/* ---- permessage-deflate ---- */

static int bits(const char *value)
{
    int n = value && *value ? atoi(value) : 0;
    MUST(n >= WS_DEFLATE_BITS_MIN && n <= WS_DEFLATE_BITS_MAX);
    return n;
}

static void negotiated(const ws_offer *o, const ws_deflate_config *conf, int may_drop)
{
    static const char *const known[] = {"server_no_context_takeover", "client_no_context_takeover",
                                        "server_max_window_bits", "client_max_window_bits"};
    ws_negotiation n = {.count = o->count, .parameters = o->parameters, .may_drop = may_drop};
    char text[sizeof(n.answer) + 32], *list = text;
    const char *value;
    ws_offer answer;

    if (!ws_deflate.negotiate(&n, (void *)conf)) {
        return;
    }
    MUST(!has_twice(o)); /* such offers are declined (section 7.1) */
    for (apr_size_t i = 0; i < o->count; i++) {
        int is_known = 0;
        for (int k = 0; k < 4; k++) {
            is_known |= !strcmp(o->parameters[i].name, known[k]);
        }
        MUST(is_known);
    }
    MUST(strlen(n.answer) < sizeof(n.answer));
    snprintf(text, sizeof(text), "%s%s%s", WS_DEFLATE_NAME, *n.answer ? "; " : "", n.answer);
    MUST(ws_offer_next(&list, &answer) == 1 && answer.count <= 4 && !has_twice(&answer));
    if (value_of(o, known[0]) || may_drop) { /* section 7.1.1.1 */
        MUST(value_of(&answer, known[0]));
    }
    if (value_of(o, known[1]) || !conf->takeover) { /* section 7.1.1.2 */
        MUST(value_of(&answer, known[1]));
    }
    if ((value = value_of(o, known[2]))) { /* section 7.1.2.1 */
        MUST(bits(value_of(&answer, known[2])) <= bits(value));
    }
    if ((value = value_of(&answer, known[3]))) { /* section 7.1.2.2 */
        MUST(value_of(o, known[3]));
        MUST(bits(value) <= conf->client_window);
        MUST(!*value_of(o, known[3]) || bits(value) <= bits(value_of(o, known[3])));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned how = take_byte(&data, &len);
    ws_deflate_config conf = {.level = 6,
                              .window = 8 + (int)(how & 7),
                              .client_window = 15 - (int)(how >> 3 & 7),
                              .takeover = how >> 6 & 1};
    char *text = malloc(len + 1), *list = text;
    ws_offer o;
    int result;

    MUST(text);
    memcpy(text, data, len);
    text[len] = '\0';
    while ((result = ws_offer_next(&list, &o)) > 0) {
        MUST(list >= text && list <= text + len);
        MUST(ws_is_token(o.name, strlen(o.name)));
        for (apr_size_t i = 0; i < kept(&o); i++) {
            const ws_parameter *p = &o.parameters[i];
            MUST(ws_is_token(p->name, strlen(p->name)));
            MUST(!p->value || ws_is_token(p->value, strlen(p->value)));
        }
        read_again(&o, len);
        if (o.count <= WS_PARAMETERS_MAX) {
            negotiated(&o, &conf, how >> 7);
        }
    }
    MUST(result == -1 || *list == '\0');
    free(text);
    return 0;
}
