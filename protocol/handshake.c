/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The server's opening handshake: the checks of RFC 6455, section 4.2.1, and origins (RFC 6454).
 */

#include "protocol/handshake.h"

#include <apr_base64.h>
#include <apr_sha1.h>
#include <string.h>
#include <strings.h>

#include "protocol/hixie.h"

/* RFC 6455, section 1.3 */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static const struct {
    const char *number;
    int value;
    unsigned bit;
} known_versions[] = {
    {"13", 13, WS_V13}, {"8", 8, WS_V8}, {"7", 7, WS_V7}, {"76", 76, WS_V76}, {"75", 75, WS_V75}};

#define VERSIONS (sizeof(known_versions) / sizeof(*known_versions))

/* Versions that use Sec-WebSocket-Version. */
#define NUMBERED (WS_V13 | WS_V8 | WS_V7)

const char *ws_header_list_next(const char **list, size_t *len)
{
    const char *s = *list, *end;
    s += strspn(s, " \t,");
    end = s + strcspn(s, ",");
    *list = end;
    while (end > s && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    *len = (size_t)(end - s);
    return *len ? s : NULL;
}

int ws_header_list_has(const char *list, const char *element, size_t len, int nocase)
{
    const char *e;
    size_t n;
    while ((e = ws_header_list_next(&list, &n))) {
        if (n == len && !(nocase ? strncasecmp(e, element, n) : strncmp(e, element, n))) {
            return 1;
        }
    }
    return 0;
}

int ws_is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c <= ' ' || c >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", c)) {
            return 0;
        }
    }
    return len > 0;
}

int ws_protocols_valid(const char *list)
{
    const char *rest = list, *e;
    size_t len;
    int count = 0;
    while ((e = ws_header_list_next(&rest, &len))) {
        /* The limit bounds the quadratic search for duplicates. */
        if (++count > WS_PROTOCOLS_MAX || !ws_is_token(e, len)
            || ws_header_list_has(rest, e, len, 0)) {
            return 0;
        }
    }
    return count > 0;
}

int ws_handshake_wanted(const char *upgrade)
{
    return upgrade && ws_header_list_has(upgrade, "websocket", 9, 1);
}

unsigned ws_version_bit(const char *number, size_t len)
{
    for (size_t i = 0; i < VERSIONS; i++) {
        if (strlen(known_versions[i].number) == len
            && !memcmp(known_versions[i].number, number, len)) {
            return known_versions[i].bit;
        }
    }
    return 0;
}

const char *ws_versions_text(unsigned versions, char *out)
{
    *out = '\0';
    for (size_t i = 0; i < VERSIONS; i++) {
        if (versions & NUMBERED & known_versions[i].bit) {
            strcat(out, *out ? ", " : "");
            strcat(out, known_versions[i].number);
        }
    }
    return out;
}

/* Whether a key is the base64 form of 16 bytes: 22 characters and "==". The last character has four
 * unused bits, which may have any value, as in the example of RFC 6455, section 4.1:
 * "AQIDBAUGBwgJCgsMDQ4PEC==". */
static int hs_key_valid(const char *key)
{
    return strspn(key, LETTERS DIGITS "+/") == 22 && !strcmp(key + 22, "==");
}

/* Get the bit of a request's version. *problem: set to the error for a version that is not enabled.
 * @return 0: the version is missing or unknown */
static unsigned hs_version_of(const ws_handshake *h, const char **problem)
{
    if (h->version) {
        *problem = "the version in Sec-WebSocket-Version is not enabled";
        return ws_version_bit(h->version, strlen(h->version)) & NUMBERED;
    }
    if (h->draft) {
        *problem = "the draft in Sec-WebSocket-Draft is not supported";
        return 0;
    }
    if (h->key1 || h->key2) {
        *problem = "version 76 is not enabled (WebSocketVersions)";
        return WS_V76;
    }
    if (!h->key) {
        *problem = "no Sec-WebSocket-Version and no key: version 75 is not enabled "
                   "(WebSocketVersions)";
        return WS_V75;
    }
    *problem = "the Sec-WebSocket-Version header is missing";
    return 0;
}

/* Check the keys of a request. @return NULL, or the error */
static const char *hs_check_keys(const ws_handshake *h, unsigned bit)
{
    unsigned char numbers[WS_HIXIE_NUMBERS];
    return bit == WS_V75           ? NULL
           : bit == WS_V76         ? ws_hixie_numbers(h->key1, h->key2, numbers)
           : !h->key               ? "the Sec-WebSocket-Key header is missing"
           : !hs_key_valid(h->key) ? "Sec-WebSocket-Key is not the base64 form of 16 bytes"
                                   : NULL;
}

int ws_handshake_check(const ws_handshake *h, unsigned versions, int *version, const char **problem)
{
    const char *unspoken, *wrong;
    unsigned bit = hs_version_of(h, &unspoken);

    /* The order is that of section 4.2.1. */
    if (strcmp(h->method, "GET")) {
        *problem = "the method is not GET";
    }
    else if (h->http < 1001) {
        *problem = "HTTP is older than 1.1";
    }
    else if (!h->host || !*h->host) {
        *problem = "the Host header is missing";
    }
    else if (!ws_handshake_wanted(h->upgrade)) {
        *problem = "Upgrade does not contain \"websocket\"";
    }
    else if (!h->connection || !ws_header_list_has(h->connection, "upgrade", 7, 1)) {
        *problem = "Connection does not contain \"upgrade\"";
    }
    else if (!(bit & versions)) {
        *problem = unspoken;
        return 426;
    }
    else if ((wrong = hs_check_keys(h, bit))) {
        *problem = wrong;
    }
    else {
        for (size_t i = 0; i < VERSIONS; i++) {
            if (known_versions[i].bit == bit) {
                *version = known_versions[i].value;
            }
        }
        return 0;
    }
    return 400;
}

void ws_accept_key(const char *key, char out[WS_ACCEPT_SIZE])
{
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    apr_sha1_ctx_t sha;
    apr_sha1_init(&sha);
    apr_sha1_update(&sha, key, (unsigned)strlen(key));
    apr_sha1_update(&sha, GUID, sizeof(GUID) - 1);
    apr_sha1_final(digest, &sha);
    apr_base64_encode_binary(out, digest, sizeof(digest));
}

/* ---- Origins: RFC 6454 ---- */

typedef struct authority {
    const char *host;
    size_t len;
    unsigned port; /* 0: not given */
} authority;

/* Parse host [":" port]; the host may be an IPv6 address in brackets. @return 0 if malformed */
static int hs_parse_authority(const char *text, authority *a)
{
    size_t digits;
    a->host = text;
    a->port = 0;
    if (*text == '[') {
        a->len = 1 + strspn(text + 1, DIGITS "abcdefABCDEF:.");
        if (a->len < 3 || text[a->len++] != ']') {
            return 0;
        }
    }
    else {
        a->len = strspn(text, LETTERS DIGITS "-._");
    }
    text += a->len;
    if (*text == ':') {
        text++;
        digits = strspn(text, DIGITS);
        if (digits > 5) {
            return 0;
        }
        for (; digits > 0; digits--) {
            a->port = 10 * a->port + (unsigned)(*text++ - '0');
        }
        if (a->port < 1 || a->port > 65535) {
            return 0;
        }
    }
    return a->len > 0 && !*text;
}

/* Parse the scheme. @return the text after the scheme and "://", or NULL */
static const char *hs_parse_scheme(const char *origin, size_t *len)
{
    *len = strspn(origin, LETTERS DIGITS "+-.");
    if (*len < 1 || !strchr(LETTERS, *origin) || strncmp(origin + *len, "://", 3)) {
        return NULL;
    }
    return origin + *len + 3;
}

static unsigned hs_default_port(const char *scheme, size_t len)
{
    return len == 5 && !strncasecmp(scheme, "https", 5)  ? 443
           : len == 4 && !strncasecmp(scheme, "http", 4) ? 80
                                                         : 0;
}

static int hs_authority_equal(const authority *a, const authority *b, unsigned port)
{
    return a->len == b->len && !strncasecmp(a->host, b->host, a->len)
           && (a->port ? a->port : port) == (b->port ? b->port : port);
}

int ws_origin_same(const char *origin, const char *host)
{
    authority o, h;
    size_t len;
    const char *rest = hs_parse_scheme(origin, &len);
    if (!rest || !hs_parse_authority(rest, &o) || !hs_parse_authority(host, &h)) {
        return 0;
    }
    return hs_authority_equal(&o, &h, hs_default_port(origin, len));
}

int ws_origin_equal(const char *a, const char *b)
{
    authority aa, ba;
    size_t a_len, b_len;
    const char *a_rest = hs_parse_scheme(a, &a_len), *b_rest = hs_parse_scheme(b, &b_len);
    if (!a_rest || !b_rest) {
        return !strcmp(a, b) && !strcmp(a, "null");
    }
    if (a_len != b_len || strncasecmp(a, b, a_len) || !hs_parse_authority(a_rest, &aa)
        || !hs_parse_authority(b_rest, &ba)) {
        return 0;
    }
    return hs_authority_equal(&aa, &ba, hs_default_port(a, a_len));
}

int ws_origin_valid(const char *origin)
{
    authority a;
    size_t len;
    const char *rest = hs_parse_scheme(origin, &len);
    return !strcmp(origin, "null") || (rest && hs_parse_authority(rest, &a));
}

/* Parse a pattern for origins. @return the domain after its "*."; NULL: text is not a pattern */
static const char *hs_wildcard(const char *pattern, size_t *len)
{
    const char *rest = hs_parse_scheme(pattern, len);
    return rest && !strncmp(rest, "*.", 2) && rest[2] != '.' && rest[2] != '[' ? rest + 2 : NULL;
}

int ws_origin_pattern_valid(const char *pattern)
{
    authority a;
    size_t len;
    const char *domain = hs_wildcard(pattern, &len);
    return domain ? hs_parse_authority(domain, &a) : ws_origin_valid(pattern);
}

int ws_origin_matches(const char *origin, const char *pattern)
{
    authority o, d;
    size_t o_len, p_len;
    const char *domain = hs_wildcard(pattern, &p_len), *rest = hs_parse_scheme(origin, &o_len);
    if (!domain) {
        return ws_origin_equal(origin, pattern);
    }
    if (!rest || o_len != p_len || strncasecmp(origin, pattern, o_len)
        || !hs_parse_authority(rest, &o) || !hs_parse_authority(domain, &d) || o.len < d.len + 2
        || o.host[o.len - d.len - 1] != '.') {
        return 0;
    }
    o.host += o.len - d.len;
    o.len = d.len;
    return hs_authority_equal(&o, &d, hs_default_port(origin, o_len));
}
