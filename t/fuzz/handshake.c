/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target checks handshake requests. A request is accepted, or refused with a reason. An
 *  accepted request conforms to RFC 6455, section 4.1. The results for lists and tokens are
 *  compared with a simple reference, those for origins with each other. */

#include "protocol/handshake.h"

#include <apr_base64.h>

#include "t/fuzz/fuzz.h"

/* Each member is a line of the input, in this order. If a line is missing, the request does not
 * contain that header. */
typedef struct request {
    char *upgrade, *connection, *key, *version, *protocol, *host, *origin, *other_origin, *method;
    char *draft, *key1, *key2;
} request;

/* Split the input into the lines of a request.
 * @return the text that contains the lines; the caller frees it */
static char *read_request(request *r, const uint8_t *data, size_t len)
{
    char **fields = (char **)r, *text = malloc(len + 1), *line = text;
    MUST(text);
    memcpy(text, data, len);
    text[len] = '\0';
    for (size_t i = 0; i < sizeof(*r) / sizeof(*fields) && line; i++) {
        char *end = strchr(line, '\n');
        fields[i] = line;
        if (end) {
            *end++ = '\0';
        }
        line = end;
    }
    return text;
}

/* ---- Properties ---- */

/* Test whether a key of version 76 contains a valid number (hybi-00, section 5.2). */
static int number_right(const char *key)
{
    unsigned long long number = 0, spaces = 0;
    for (; *key; key++) {
        if (*key >= '0' && *key <= '9') {
            number = number * 10 + (unsigned)(*key - '0');
            if (number > 4294967295u) {
                return 0;
            }
        }
        spaces += *key == ' ';
    }
    return spaces && number % spaces == 0;
}

static void accepted(const ws_handshake *h, unsigned versions, int version)
{
    MUST(!strcmp(h->method, "GET") && h->http >= 1001);
    MUST(h->host && *h->host && ws_handshake_wanted(h->upgrade));
    MUST(ws_header_list_has(h->connection, "Upgrade", 7, 1));
    if (version == 76) {
        MUST(versions & WS_V76 && !h->version && !h->draft);
        MUST(number_right(h->key1) && number_right(h->key2));
    }
    else if (version == 75) {
        MUST(versions & WS_V75 && !h->version && !h->draft && !h->key && !h->key1 && !h->key2);
    }
    else {
        char accept[WS_ACCEPT_SIZE + 1], bytes[32];
        MUST(version == 13 || version == 8 || version == 7);
        MUST(atoi(h->version) == version);
        MUST(ws_version_bit(h->version, strlen(h->version)) & versions);
        MUST(strlen(h->key) == 24 && apr_base64_decode_len(h->key) <= (int)sizeof(bytes));
        MUST(apr_base64_decode(bytes, h->key) == 16);
        accept[WS_ACCEPT_SIZE] = '!';
        ws_accept_key(h->key, accept);
        MUST(accept[WS_ACCEPT_SIZE] == '!' && strlen(accept) == WS_ACCEPT_SIZE - 1);
        MUST(apr_base64_decode(bytes, accept) == 20);
    }
}

static void checked(const ws_handshake *h, unsigned versions)
{
    const char *problem = NULL;
    int version = -1, status = ws_handshake_check(h, versions, &version, &problem);
    MUST(status == 0 || status == 400 || status == 426);
    MUST((status == 0) == (version != -1) && (status == 0) == !problem);
    if (status == 0) {
        accepted(h, versions, version);
    }
    else {
        MUST(*problem);
    }
}

/* Compare the elements of a list that the code under test finds with the parts between commas. */
static void listed(const char *list)
{
    const char *rest = list, *from = list, *e;
    size_t len;
    int count = 0, tokens = 1, twice = 0;
    do {
        const char *end = from + strcspn(from, ",");
        const char *first = from + strspn(from, " \t"), *last = end;
        while (last > first && (last[-1] == ' ' || last[-1] == '\t')) {
            last--;
        }
        if (first < last) {
            e = ws_header_list_next(&rest, &len);
            MUST(e == first && len == (size_t)(last - first));
            MUST(ws_header_list_has(list, e, len, 0) && ws_header_list_has(list, e, len, 1));
            count++;
            tokens &= ws_is_token(e, len);
            twice |= ws_header_list_has(rest, e, len, 0);
        }
        from = end + 1;
    } while (from[-1]);
    MUST(!ws_header_list_next(&rest, &len));
    if (count <= WS_PROTOCOLS_MAX) {
        MUST(ws_protocols_valid(list) == (count > 0 && tokens && !twice));
    }
    else {
        MUST(!ws_protocols_valid(list));
    }
}

static void tokened(const char *s)
{
    /* RFC 9110, section 5.6.2 */
    static const char others[] = "!#$%&'*+-.^_`|~";
    int token = *s != '\0';
    for (const char *c = s; *c; c++) {
        token &= (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z')
                 || strchr(others, *c) != NULL;
    }
    MUST(ws_is_token(s, strlen(s)) == token);
}

static void of_origins(const char *origin, const char *host)
{
    char with_scheme[4096];
    int n = snprintf(with_scheme, sizeof(with_scheme), "http://%s", host);
    if (ws_origin_valid(origin)) {
        MUST(ws_origin_equal(origin, origin));
    }
    MUST(ws_origin_equal(origin, with_scheme) == ws_origin_equal(with_scheme, origin));
    if (n < (int)sizeof(with_scheme) && ws_origin_valid(with_scheme)) {
        MUST(ws_origin_same(with_scheme, host));
        if (ws_origin_equal(origin, with_scheme)) {
            MUST(ws_origin_same(origin, host));
        }
    }
    if (ws_origin_same(origin, host)) {
        MUST(ws_origin_valid(origin) && strcmp(origin, "null"));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned how = take_byte(&data, &len), versions = how & 0x1F;
    char text[32], *lines;
    request r = {0};
    ws_handshake h;

    lines = read_request(&r, data, len);
    h = (ws_handshake){.method = r.method ? r.method : "GET",
                       .http = how & 0x20 ? 1000 : 1001,
                       .host = r.host,
                       .upgrade = r.upgrade,
                       .connection = r.connection,
                       .key = r.key,
                       .version = r.version,
                       .draft = r.draft,
                       .key1 = r.key1,
                       .key2 = r.key2};
    if (how & 0x80) { /* requests of versions 76 and 75 do not have these headers */
        h.version = h.draft = h.key = NULL;
    }
    if (how & 0x40) {
        h.key1 = h.key2 = NULL;
    }
    checked(&h, versions);
    MUST(strlen(ws_versions_text(versions, text)) < sizeof(text));
    if (r.protocol) {
        listed(r.protocol);
        tokened(r.protocol);
    }
    if (r.connection) {
        listed(r.connection);
    }
    if (r.origin && r.host) {
        of_origins(r.origin, r.host);
    }
    if (r.other_origin) {
        of_origins(r.origin, r.other_origin);
        MUST(ws_origin_equal(r.origin, r.other_origin)
             == ws_origin_equal(r.other_origin, r.origin));
    }
    free(lines);
    return 0;
}
