/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests the opening handshake (RFC 6455, section 4) and the syntax of its headers. */

#include "protocol/handshake.h"

#include <stdlib.h>

#include "t/unit/tap.h"

#define ALL (WS_V13 | WS_V8 | WS_V7)

/* The example of section 1.2 without headers that are not checked. */
static const ws_handshake example = {.method = "GET",
                                     .http = 1001,
                                     .host = "server.example.com",
                                     .upgrade = "websocket",
                                     .connection = "Upgrade",
                                     .key = "dGhlIHNhbXBsZSBub25jZQ==",
                                     .version = "13"};

static void accepted(ws_handshake h, unsigned versions, int expected, const char *name)
{
    int version = 0;
    const char *problem = NULL;
    is_int(ws_handshake_check(&h, versions, &version, &problem), 0, "right: %s", name);
    is_int(version, expected, "right: %s: the version", name);
    is_str(problem, NULL, "right: %s: no problem is reported", name);
}

static void refused(ws_handshake h, unsigned versions, int status, const char *says,
                    const char *name)
{
    int version = -1;
    const char *problem = "";
    is_int(ws_handshake_check(&h, versions, &version, &problem), status, "wrong: %s", name);
    if (!ok(strstr(problem, says) != NULL, "wrong: %s: the problem contains %s", name, says)) {
        diag("the problem is: %s", problem);
    }
    is_int(version, -1, "wrong: %s: no version is set", name);
}

/* The example with one field that differs. */
#define WITH(FIELD, VALUE)                                                                         \
    ({                                                                                             \
        ws_handshake h_ = example;                                                                 \
        h_.FIELD = (VALUE);                                                                        \
        h_;                                                                                        \
    })

static void what_is_accepted(void)
{
    accepted(example, ALL, 13, "the example of section 1.2");
    accepted(example, WS_V13, 13, "only version 13 is enabled");
    accepted(WITH(version, "8"), ALL, 8, "version 8");
    accepted(WITH(version, "7"), ALL, 7, "version 7");
    accepted(WITH(http, 2000), ALL, 13, "a later HTTP");
    accepted(WITH(upgrade, "WebSocket"), ALL, 13, "Upgrade in another case");
    accepted(WITH(upgrade, "h2c, websocket"), ALL, 13, "Upgrade in a list");
    accepted(WITH(connection, "upgrade"), ALL, 13, "Connection in another case");
    accepted(WITH(connection, "keep-alive, Upgrade"), ALL, 13, "Connection in a list");
    accepted(WITH(connection, ",keep-alive ,\tUPGRADE ,"), ALL, 13,
             "Connection in a list with blanks");
    accepted(WITH(host, "[::1]:8080"), ALL, 13, "an IPv6 address as Host");
    accepted(WITH(key, "AQIDBAUGBwgJCgsMDQ4PEC=="), ALL, 13, "the key of section 4.1");
    accepted(WITH(key, "//////////////////////=="), ALL, 13, "a key of slashes");
    accepted(WITH(key, "++++++++++++++++++++0A=="), ALL, 13, "a key of plus signs");
}

static void what_is_refused(void)
{
    refused(WITH(method, "POST"), ALL, 400, "method", "another method");
    refused(WITH(method, "get"), ALL, 400, "method", "a method in small letters");
    refused(WITH(http, 1000), ALL, 400, "HTTP", "HTTP/1.0");
    refused(WITH(http, 9), ALL, 400, "HTTP", "HTTP/0.9");
    refused(WITH(host, NULL), ALL, 400, "Host", "no Host");
    refused(WITH(host, ""), ALL, 400, "Host", "an empty Host");
    refused(WITH(upgrade, NULL), ALL, 400, "Upgrade", "no Upgrade");
    refused(WITH(upgrade, ""), ALL, 400, "Upgrade", "an empty Upgrade");
    refused(WITH(upgrade, "websockets"), ALL, 400, "Upgrade", "another Upgrade");
    refused(WITH(upgrade, "web socket"), ALL, 400, "Upgrade", "an Upgrade in two words");
    refused(WITH(connection, NULL), ALL, 400, "Connection", "no Connection");
    refused(WITH(connection, "keep-alive"), ALL, 400, "Connection", "another Connection");
    refused(WITH(connection, "keep-alive Upgrade"), ALL, 400, "Connection",
            "Connection without a comma");
    refused(WITH(key, NULL), ALL, 400, "Sec-WebSocket-Key", "no key");
    refused(WITH(key, ""), ALL, 400, "Sec-WebSocket-Key", "an empty key");
    refused(WITH(key, "dGhlIHNhbXBsZSBub25j"), ALL, 400, "Sec-WebSocket-Key", "a key of 15 bytes");
    refused(WITH(key, "dGhlIHNhbXBsZSBub25jZWE="), ALL, 400, "Sec-WebSocket-Key",
            "a key of 17 bytes");
    refused(WITH(key, "dGhlIHNhbXBsZSBub25jZWFh"), ALL, 400, "Sec-WebSocket-Key",
            "a key of 18 bytes");
    refused(WITH(key, "dGhlIHNhbXBsZSBub25jZQ"), ALL, 400, "Sec-WebSocket-Key",
            "a key without padding");
    refused(WITH(key, "dGhlIHNhbXBsZSBub25jZQ="), ALL, 400, "Sec-WebSocket-Key", "half of a key");
    refused(WITH(key, "dGhlIHNhbXBsZSBub25jZQ==="), ALL, 400, "Sec-WebSocket-Key",
            "a key with more bytes after it");
    refused(WITH(key, "dGhlIHNhbXBsZSBub-5jZQ=="), ALL, 400, "Sec-WebSocket-Key",
            "a key with digits of another base64 alphabet");
    refused(WITH(key, "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="), ALL, 400,
            "Sec-WebSocket-Key", "two keys");
}

static void versions_that_are_not_spoken(void)
{
    static const char *const others[] = {"",    "0",    "6",     "9",   "12", "14",       "013",
                                         "+13", "13.0", "13, 8", "113", "1",  "thirteen", "13 "};
    refused(WITH(version, NULL), ALL, 426, "Sec-WebSocket-Version", "no version");
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        char name[40];
        snprintf(name, sizeof(name), "version \"%s\"", others[i]);
        refused(WITH(version, others[i]), ALL, 426, "Sec-WebSocket-Version", name);
    }
    refused(WITH(version, "8"), WS_V13 | WS_V7, 426, "Sec-WebSocket-Version",
            "version 8 is disabled");
    refused(WITH(version, "13"), WS_V8, 426, "Sec-WebSocket-Version", "version 13 is disabled");
}

/* ---- Versions 76 and 75, in which no header contains the number ---- */

/* The example of hybi-00, section 1.3, without headers that are not checked. */
static const ws_handshake example_76 = {.method = "GET",
                                        .http = 1001,
                                        .host = "example.com",
                                        .upgrade = "WebSocket",
                                        .connection = "Upgrade",
                                        .key1 = "4 @1  46546xW%0l 1 5",
                                        .key2 = "12998 5 Y3 1  .P00"};

/* The example of 76 with one field that differs. */
#define WITH_76(FIELD, VALUE)                                                                      \
    ({                                                                                             \
        ws_handshake h_ = example_76;                                                              \
        h_.FIELD = (VALUE);                                                                        \
        h_;                                                                                        \
    })

static void the_oldest_versions(void)
{
    const ws_handshake example_75 = {.method = "GET",
                                     .http = 1001,
                                     .host = "example.com",
                                     .upgrade = "WebSocket",
                                     .connection = "Upgrade"};
    ws_handshake h;

    accepted(example_76, WS_V76, 76, "the example of hybi-00");
    accepted(example_76, ALL | WS_V76 | WS_V75, 76, "version 76 if all versions are enabled");
    accepted(example_75, WS_V75, 75, "a request without any key");
    accepted(example_75, ALL | WS_V76 | WS_V75, 75, "version 75 if all versions are enabled");
    accepted(example, ALL | WS_V76 | WS_V75, 13, "version 13 if the oldest versions are enabled");
    accepted(WITH(version, "7"), ALL | WS_V76 | WS_V75, 7,
             "version 7 if the oldest versions are enabled");

    refused(example_76, ALL | WS_V75, 426, "version 76", "version 76 is disabled");
    refused(example_75, ALL | WS_V76, 426, "version 75", "version 75 is disabled");
    refused(WITH_76(key2, NULL), ALL | WS_V75, 426, "version 76", "half of 76's keys");
    refused(WITH_76(key2, NULL), WS_V76, 400, "Sec-WebSocket-Key2",
            "version 76 without a second key");
    refused(WITH_76(key1, NULL), WS_V76, 400, "Sec-WebSocket-Key1",
            "version 76 without a first key");
    refused(WITH_76(key1, "1 2 3"), WS_V76, 400, "Sec-WebSocket-Key1",
            "version 76 with a key that has a remainder");
    refused(WITH_76(upgrade, "h2c"), WS_V76, 400, "Upgrade", "76 with another Upgrade");
    refused(WITH_76(method, "POST"), WS_V76, 400, "method", "76 with another method");
    refused(WITH_76(draft, "2"), WS_V76, 426, "Sec-WebSocket-Draft", "hybi-02 is not 76");
    refused(WITH(version, "76"), ALL | WS_V76, 426, "Sec-WebSocket-Version",
            "Sec-WebSocket-Version: 76");
    refused(WITH(version, "75"), ALL | WS_V75, 426, "Sec-WebSocket-Version",
            "Sec-WebSocket-Version: 75");
    refused(WITH(version, NULL), ALL | WS_V75, 426, "Sec-WebSocket-Version",
            "a key of RFC 6455 without a version is not 75");

    h = example_75;
    h.connection = "close";
    refused(h, WS_V75, 400, "Connection", "75 with another Connection");
}

static void versions(void)
{
    char out[32];
    is_str(ws_versions_text(ALL, out), "13, 8, 7", "all versions, newest first");
    is_str(ws_versions_text(WS_V7 | WS_V13, out), "13, 7", "some versions, newest first");
    is_str(ws_versions_text(WS_V8, out), "8", "one");
    is_str(ws_versions_text(0, out), "", "none");
    is_str(ws_versions_text(ALL | WS_V76 | WS_V75, out), "13, 8, 7",
           "versions 76 and 75 are not listed");
    is_str(ws_versions_text(WS_V76 | WS_V75, out), "",
           "if only versions without a number are enabled, the list is empty");
    is_int(ws_version_bit("76", 2), WS_V76, "76");
    is_int(ws_version_bit("75", 2), WS_V75, "75");
    is_int(ws_version_bit("13", 2), WS_V13, "13");
    is_int(ws_version_bit("8", 1), WS_V8, "8");
    is_int(ws_version_bit("7,8", 1), WS_V7, "ws_version_bit() reads only the given characters");
    is_int(ws_version_bit("13", 1), 0, "1 is not a version");
    is_int(ws_version_bit("77", 2), 0, "77 is not a version");
    is_int(ws_version_bit("", 0), 0, "an empty version is not a version");
}

static void wanted(void)
{
    ok(ws_handshake_wanted("websocket"), "Upgrade: websocket requests a WebSocket");
    ok(ws_handshake_wanted("TLS/1.0, WebSocket"),
       "Upgrade: TLS/1.0, WebSocket requests a WebSocket");
    ok(!ws_handshake_wanted("h2c"), "Upgrade: h2c wants no WebSocket");
    ok(!ws_handshake_wanted(""), "an empty Upgrade requests no WebSocket");
    ok(!ws_handshake_wanted(NULL), "a request without Upgrade requests no WebSocket");
}

static void accept_keys(void)
{
    char out[WS_ACCEPT_SIZE];
    ws_accept_key("dGhlIHNhbXBsZSBub25jZQ==", out);
    is_str(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "section 1.3: the accept key of the example");
}

/* ---- Lists ---- */

/* @return the elements of the list, each in brackets */
static const char *elements(const char *list)
{
    static char out[200];
    const char *e;
    size_t len;
    *out = '\0';
    while ((e = ws_header_list_next(&list, &len))) {
        sprintf(out + strlen(out), "[%.*s]", (int)len, e);
    }
    return out;
}

static void lists(void)
{
    is_str(elements("a"), "[a]", "a list with one element");
    is_str(elements("chat, superchat"), "[chat][superchat]", "a list with two elements");
    is_str(elements("a,b,c"), "[a][b][c]", "a list without blanks");
    is_str(elements(" \ta \t,\t b\t "), "[a][b]", "a list with all kinds of blanks");
    is_str(elements(",, a,, ,b ,"), "[a][b]",
           "RFC 9110, section 5.6.1.2: empty elements are skipped");
    is_str(elements("two words, x"), "[two words][x]", "blanks within an element are kept");
    is_str(elements(""), "", "an empty list");
    is_str(elements(" ,\t, "), "", "a list of commas and blanks is empty");

    ok(ws_header_list_has("a, b, c", "b", 1, 0), "a list contains its element");
    ok(!ws_header_list_has("a, b, c", "d", 1, 0), "a list does not contain another element");
    ok(!ws_header_list_has("abc", "ab", 2, 0), "a list does not contain a part of an element");
    ok(!ws_header_list_has("ab", "abc", 3, 0), "a list does not contain a longer element");
    ok(!ws_header_list_has("Chat", "chat", 4, 0), "elements are compared with regard to case");
    ok(ws_header_list_has("Chat", "cHAT", 4, 1), "elements can be compared without regard to case");
    ok(!ws_header_list_has("", "a", 1, 0), "an empty list contains nothing");
}

static void tokens(void)
{
    static const char separators[] = "\"(),/:;<=>?@[\\]{} \t";
    int wrong = 0;
    for (int c = 0; c < 256; c++) {
        char text[3] = {'a', (char)c, 'b'};
        int is = c > ' ' && c < 127 && !strchr(separators, c);
        wrong += ws_is_token(text, 3) != is;
    }
    is_int(wrong, 0, "RFC 9110, section 5.6.2: the characters of a token");
    ok(ws_is_token("a", 1), "one character is a token");
    ok(!ws_is_token("", 0), "an empty string is not a token");
    ok(ws_is_token("chat, x", 4), "only the given length is checked");
}

static void protocols(void)
{
    /* Each name has 3 characters and a comma. */
    char many[4 * (WS_PROTOCOLS_MAX + 1) + 1] = "";
    for (int i = 0; i < WS_PROTOCOLS_MAX; i++) {
        sprintf(many + strlen(many), "%s%03d", i ? "," : "", i);
    }
    ok(ws_protocols_valid("chat"), "one subprotocol is valid");
    ok(ws_protocols_valid("chat, superchat"), "two subprotocols are valid");
    ok(ws_protocols_valid("v1.example.org,v2.example.org"),
       "a list of subprotocols without blanks is valid");
    ok(ws_protocols_valid("chat, Chat"), "subprotocols that differ only by case are valid");
    ok(!ws_protocols_valid(""), "an empty list of subprotocols is invalid");
    ok(!ws_protocols_valid(" , "), "a list of empty subprotocols is invalid");
    ok(!ws_protocols_valid("chat, chat"), "the same subprotocol twice is invalid");
    ok(!ws_protocols_valid("a, b, c, a"), "the same subprotocol twice, far apart, is invalid");
    ok(!ws_protocols_valid("chat, super chat"), "a subprotocol with a blank is invalid");
    ok(!ws_protocols_valid("http://example.org/chat"), "a subprotocol with separators is invalid");
    ok(!ws_protocols_valid("ch\xC3\xA4t"), "a subprotocol that is not ASCII is invalid");
    ok(ws_protocols_valid(many), "the maximum number of subprotocols is valid");
    strcat(many, ",abc");
    ok(!ws_protocols_valid(many), "one subprotocol more is invalid");
}

/* ---- Origins ---- */

static void same_origin(void)
{
    static const struct {
        const char *origin, *host;
        int same;
    } rows[] = {
        {"https://example.org", "example.org", 1},
        {"http://example.org", "example.org", 1},
        {"https://Example.ORG", "eXample.org", 1},
        {"HTTPS://example.org", "example.org:443", 1},
        {"https://example.org:443", "example.org", 1},
        {"http://example.org:80", "example.org", 1},
        {"http://example.org", "example.org:80", 1},
        {"https://example.org:8443", "example.org:8443", 1},
        {"http://example.org", "example.org:443", 0},
        {"https://example.org", "example.org:80", 0},
        {"https://example.org:8443", "example.org", 0},
        {"https://example.org", "example.org:8443", 0},
        {"https://example.org:8443", "example.org:8444", 0},
        {"https://example.org", "www.example.org", 0},
        {"https://www.example.org", "example.org", 0},
        {"https://example.org.evil.test", "example.org", 0},
        {"https://evil.test", "example.org", 0},
        {"https://example.org@evil.test", "example.org", 0},
        {"https://evil.test/example.org", "example.org", 0},
        {"https://example.org/", "example.org", 0},
        {"https://127.0.0.1:8443", "127.0.0.1:8443", 1},
        {"https://[::1]", "[::1]", 1},
        {"https://[::1]:8443", "[::1]:8443", 1},
        {"https://[2001:db8::A]:443", "[2001:DB8::a]", 1},
        {"http://[::1]", "[::1]:80", 1},
        {"https://[::1]", "[::2]", 0},
        {"https://[::1]:8443", "[::1]", 0},
        {"https://[::1]evil.test", "[::1]", 0},
        {"https://[::1", "[::1", 0},
        {"https://[]", "[]", 0},
        {"null", "example.org", 0},
        {"null", "null", 0},
        {"", "", 0},
        {"example.org", "example.org", 0},
        {"https://", "", 0},
        {"https://example.org", "", 0},
        {"https://example.org:", "example.org", 0},
        {"https://example.org", "example.org, example.org", 0},
        {"https://example.org https://evil.test", "example.org", 0},
        {"app://example.org", "example.org", 1},
        {"app://example.org", "example.org:443", 0},
        {"other://example.org", "example.org:443", 0},
        {"file://example.org", "example.org:80", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        is_int(!!ws_origin_same(rows[i].origin, rows[i].host), rows[i].same, "\"%s\" %s \"%s\"",
               rows[i].origin, rows[i].same ? "names the host" : "does not name the host",
               rows[i].host);
    }
}

static void equal_origins(void)
{
    static const struct {
        const char *a, *b;
        int equal;
    } rows[] = {
        {"https://example.org", "https://example.org", 1},
        {"https://example.org", "HTTPS://EXAMPLE.ORG", 1},
        {"https://example.org", "https://example.org:443", 1},
        {"http://example.org:80", "http://example.org", 1},
        {"http://[::1]:80", "http://[::1]", 1},
        {"http://example.org", "https://example.org", 0},
        {"http://example.org:443", "https://example.org", 0},
        {"https://example.org", "https://example.org:8443", 0},
        {"https://example.org", "https://example.com", 0},
        {"https://example.org", "https://example.orga", 0},
        {"null", "null", 1},
        {"null", "https://example.org", 0},
        {"https://example.org", "null", 0},
        {"", "", 0},
        {"example.org", "example.org", 0},
        {"https://example.org/", "https://example.org/", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        is_int(!!ws_origin_equal(rows[i].a, rows[i].b), rows[i].equal, "\"%s\" %s \"%s\"",
               rows[i].a, rows[i].equal ? "is" : "is not", rows[i].b);
    }
}

static void valid_origins(void)
{
    static const char *const valid[] = {"https://example.org",
                                        "http://localhost:8080",
                                        "HTTP://EXAMPLE.ORG",
                                        "https://xn--bcher-kva.example",
                                        "https://a_b.example",
                                        "http://127.0.0.1:1",
                                        "http://[::1]",
                                        "http://[::ffff:127.0.0.1]:65535",
                                        "chrome-extension://aaaabbbbccccddddeeeeffffgggghhhh",
                                        "web+x.y-z://host",
                                        "null"};
    static const char *const invalid[] = {"",
                                          "*",
                                          "any",
                                          "NULL",
                                          "example.org",
                                          "example.org:443",
                                          "//example.org",
                                          "://example.org",
                                          "https:example.org",
                                          "https:/example.org",
                                          "https://",
                                          "https://:443",
                                          "https://example.org/",
                                          "https://example.org/x",
                                          "https://example.org?x",
                                          "https://example.org#x",
                                          "https://user@example.org",
                                          "https://user:1@example.org",
                                          "https://*.example.org",
                                          "https://example.org:",
                                          "https://example.org:0",
                                          "https://example.org:65536",
                                          "https://example.org:123456",
                                          "https://example.org:x",
                                          "https://example.org:80:80",
                                          "https://m\xC3\xBCnchen.example",
                                          "https://a b",
                                          " https://example.org",
                                          "https://example.org ",
                                          "1https://example.org",
                                          "ht_tp://example.org",
                                          "https://::1",
                                          "https://[::1",
                                          "https://[::1]x",
                                          "https://[x]",
                                          "https://[]",
                                          "https://a,https://b"};
    for (size_t i = 0; i < sizeof(valid) / sizeof(*valid); i++) {
        ok(ws_origin_valid(valid[i]), "\"%s\" is an origin", valid[i]);
    }
    for (size_t i = 0; i < sizeof(invalid) / sizeof(*invalid); i++) {
        ok(!ws_origin_valid(invalid[i]), "\"%s\" is no origin", invalid[i]);
    }
}

static void origin_patterns(void)
{
    static const struct {
        const char *origin, *pattern;
        int matches;
    } rows[] = {
        {"https://a.example.org", "https://*.example.org", 1},
        {"https://a.b.example.org", "https://*.example.org", 1},
        {"HTTPS://A.EXAMPLE.ORG", "https://*.example.org", 1},
        {"https://a.example.org:443", "https://*.example.org", 1},
        {"https://a.example.org:8443", "https://*.example.org:8443", 1},
        {"https://example.org", "https://example.org", 1},
        {"https://example.org", "https://*.example.org", 0},
        {"https://.example.org", "https://*.example.org", 0},
        {"https://evilexample.org", "https://*.example.org", 0},
        {"https://a.example.org.evil.example", "https://*.example.org", 0},
        {"https://a.example.org:8443", "https://*.example.org", 0},
        {"https://a.example.org", "https://*.example.org:8443", 0},
        {"http://a.example.org", "https://*.example.org", 0},
        {"null", "https://*.example.org", 0},
        {"a.example.org", "https://*.example.org", 0},
        {"https://a.example.org/", "https://*.example.org", 0},
        {"https://*.example.org", "https://*.example.org", 0},
    };
    static const char *const invalid[] = {"https://*",       "https://*.",
                                          "https://*..org",  "https://*example.org",
                                          "https://a.*.org", "*://a.example.org",
                                          "https://*.[::1]", "*.example.org",
                                          "https://*.*.org", "https://*.example.org/x"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        is_int(!!ws_origin_matches(rows[i].origin, rows[i].pattern), rows[i].matches,
               "\"%s\" %s \"%s\"", rows[i].origin, rows[i].matches ? "matches" : "does not match",
               rows[i].pattern);
        ok(ws_origin_pattern_valid(rows[i].pattern), "\"%s\" is a pattern", rows[i].pattern);
    }
    for (size_t i = 0; i < sizeof(invalid) / sizeof(*invalid); i++) {
        ok(!ws_origin_pattern_valid(invalid[i]), "\"%s\" is no pattern", invalid[i]);
    }
}

int main(void)
{
    what_is_accepted();
    what_is_refused();
    versions_that_are_not_spoken();
    the_oldest_versions();
    versions();
    wanted();
    accept_keys();
    lists();
    tokens();
    protocols();
    same_origin();
    equal_origins();
    valid_origins();
    origin_patterns();
    return done_testing();
}
