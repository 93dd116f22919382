/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests parsing numbers, sizes, intervals, percent-encoded texts and query strings, valid and
 *  invalid. */

#include "base/parse.h"

#include <apr_general.h>

#include "t/unit/tap.h"

static apr_pool_t *pool;

typedef const char *parser(apr_pool_t *p, const char *text, apr_int64_t least, apr_int64_t most,
                           apr_int64_t *n);

static void accepts(parser *parse, const char *text, apr_int64_t expected)
{
    apr_int64_t n = -1;
    is_str(parse(pool, text, 0, APR_INT64_MAX, &n), NULL, "\"%s\" is accepted", text);
    is_int(n, expected, "the accepted number is right");
}

static void refuses(parser *parse, const char *const *texts, const char *kind)
{
    for (; *texts; texts++) {
        apr_int64_t n = 42;
        ok(parse(pool, *texts, 0, APR_INT64_MAX, &n) != NULL, "\"%.*s\" is no %s",
           (int)strcspn(*texts, "\r\n"), *texts, kind);
        is_int(n, 42, "a refused number changes nothing");
    }
}

/* Texts that are not numbers of any kind. */
static const char *const never[] = {"",
                                    " ",
                                    "-",
                                    "-1",
                                    "+1",
                                    " 1",
                                    "1 ",
                                    "\t1",
                                    "1\n",
                                    "0x10",
                                    "1e3",
                                    "1.5",
                                    "1.",
                                    ".5",
                                    "1,5",
                                    "one",
                                    "nan",
                                    "inf",
                                    "1_0",
                                    "1;",
                                    "1%",
                                    "--1",
                                    "1\r",
                                    "१",
                                    "1/2",
                                    "1+1",
                                    "off",
                                    "on",
                                    "01x",
                                    "1-2",
                                    "*",
                                    "K",
                                    "ms",
                                    "s",
                                    "G1",
                                    "#1",
                                    "1\\0",
                                    "1'",
                                    "\"1\"",
                                    "9223372036854775808",
                                    "99999999999999999999999999",
                                    NULL};

static void counts(void)
{
    static const char *const units[] = {"1K", "1s", "5 5", NULL};
    apr_int64_t n = 7;
    accepts(ws_parse_count, "0", 0);
    accepts(ws_parse_count, "007", 7);
    accepts(ws_parse_count, "9223372036854775807", APR_INT64_MAX);
    refuses(ws_parse_count, never, "count");
    refuses(ws_parse_count, units, "count");
    is_str(ws_parse_count(pool, "0", 1, 64, &n), "takes a whole number from 1 to 64",
           "a number that is too small is refused");
    is_str(ws_parse_count(pool, "65", 1, 64, &n), "takes a whole number from 1 to 64",
           "a number that is too large is refused");
    is_str(ws_parse_count(NULL, "65", 1, 64, &n), "takes a whole number",
           "without a pool, the error is short");
    is_int(n, 7, "a refused number changes nothing");
    is_str(ws_parse_count(pool, "1", 1, 64, &n), NULL, "the smallest number is accepted");
    is_str(ws_parse_count(pool, "64", 1, 64, &n), NULL, "the largest number is accepted");
    is_int(n, 64, "the largest number is returned");
}

static void sizes(void)
{
    static const char *const others[] = {"1KB", "1Ki",  "1KiB", "1kk", "1 K", "1B",          "1P",
                                         "1s",  "1M1K", "1.5M", "1T",  "1K ", "8589934592G", NULL};
    apr_int64_t n = 7;
    accepts(ws_parse_size, "65536", 65536);
    accepts(ws_parse_size, "64K", 65536);
    accepts(ws_parse_size, "64k", 65536);
    accepts(ws_parse_size, "1M", 1 << 20);
    accepts(ws_parse_size, "1m", 1 << 20);
    accepts(ws_parse_size, "2G", (apr_int64_t)2 << 30);
    accepts(ws_parse_size, "0", 0);
    accepts(ws_parse_size, "0G", 0);
    accepts(ws_parse_size, "8589934591G", (apr_int64_t)8589934591 << 30);
    refuses(ws_parse_size, never, "size");
    refuses(ws_parse_size, others, "size");
    is_str(ws_parse_size(pool, "63K", 64 << 10, (apr_int64_t)2 << 30, &n),
           "takes a size from 64K to 2G, in bytes or with K, M or G",
           "a size that is too small is refused");
    is_str(ws_parse_size(pool, "2147483649", 1, (apr_int64_t)2 << 30, &n),
           "takes a size from 1 to 2G, in bytes or with K, M or G",
           "a size that is too large is refused");
    is_str(ws_parse_size(pool, "2000", 0, 1500, &n),
           "takes a size from 0 to 1500, in bytes or with K, M or G",
           "the error writes bounds without a unit as they are");
    is_int(n, 7, "a refused size changes nothing");
    is_str(ws_parse_size(pool, "64k", 64 << 10, 1 << 30, &n), NULL,
           "the smallest size is accepted");
    is_str(ws_parse_size(pool, "1024M", 64 << 10, 1 << 30, &n), NULL,
           "the largest size is accepted");
}

static void intervals(void)
{
    static const char *const others[] = {"1h30min",
                                         "20sec",
                                         "5sfoo",
                                         "1s500ms",
                                         "5m",
                                         "5mi",
                                         "5mins",
                                         "5minutes",
                                         "1hr",
                                         "1 s",
                                         "s1",
                                         "5s ",
                                         "5 min",
                                         "1w",
                                         "1y",
                                         "1us",
                                         "1.5s",
                                         "5ss",
                                         "5s5",
                                         "1day",
                                         "5msx",
                                         "1h,1min",
                                         "1h 1",
                                         "5\ts",
                                         "106751991168d",
                                         "-5s",
                                         "5000000000000000000h",
                                         "K",
                                         "1K",
                                         "1msms",
                                         NULL};
    apr_int64_t n = 7;
    accepts(ws_parse_interval, "20", 20000);
    accepts(ws_parse_interval, "0", 0);
    accepts(ws_parse_interval, "500ms", 500);
    accepts(ws_parse_interval, "500MS", 500);
    accepts(ws_parse_interval, "20s", 20000);
    accepts(ws_parse_interval, "20S", 20000);
    accepts(ws_parse_interval, "2min", 120000);
    accepts(ws_parse_interval, "2Min", 120000);
    accepts(ws_parse_interval, "24h", 86400000);
    accepts(ws_parse_interval, "1d", 86400000);
    accepts(ws_parse_interval, "365d", APR_INT64_C(31536000000));
    refuses(ws_parse_interval, never, "interval");
    refuses(ws_parse_interval, others, "interval");
    is_str(ws_parse_interval(pool, "99ms", 100, WS_INTERVAL_MAX, &n),
           "takes an interval from 100ms to 24h, in seconds or with ms, s, min, h or d",
           "an interval that is too short is refused");
    is_str(ws_parse_interval(pool, "366d", 1000, APR_INT64_C(31536000000), &n),
           "takes an interval from 1s to 365d, in seconds or with ms, s, min, h or d",
           "an interval that is too long is refused");
    is_str(ws_parse_interval(pool, "2h", 0, 90 * 60000, &n),
           "takes an interval from 0 to 90min, in seconds or with ms, s, min, h or d",
           "the error writes bounds in their largest unit");
    is_str(ws_parse_interval(NULL, "2h", 0, 1, &n), "takes an interval",
           "without a pool, the error is short");
    is_int(n, 7, "a refused interval changes nothing");
    is_str(ws_parse_interval(pool, "86400", 100, WS_INTERVAL_MAX, &n), NULL,
           "the longest interval is accepted");
    is_str(ws_parse_interval(pool, "100ms", 100, WS_INTERVAL_MAX, &n), NULL,
           "the shortest interval is accepted");
    is_int(n, 100, "the shortest interval is returned");
}

static void decimals(void)
{
    static const char *const others[] = {"1.2345", "1.5s", "1..5",  "1.5.5", "1.-5",
                                         "1. 5",   "1.x",  "1.5ms", NULL};
    double x = 7;
    apr_int64_t n;
    is_str(ws_parse_decimal(pool, "0.001", 0.001, 10, &x), NULL, "a decimal number is accepted");
    ok(x == 0.001, "the decimal number is returned");
    is_str(ws_parse_decimal(pool, "2.5", 0, 10, &x), NULL, "another");
    ok(x == 2.5, "another decimal number is returned");
    is_str(ws_parse_decimal(pool, "10.001", 0, 10, &x), "takes a number from 0 to 10",
           "a decimal number that is too large is refused");
    ok(ws_parse_decimal(pool, "1e3", 0, 1e9, &x) != NULL,
       "a decimal number with an exponent is refused");
    ok(ws_parse_decimal(pool, "nan", 0, 1e9, &x) != NULL, "nan is refused");
    ok(x == 2.5, "a refused decimal number changes nothing");
    is_str(ws_parse_seconds(pool, "2.05", 0, 10000, &n), NULL,
           "seconds with a fraction are accepted");
    is_int(n, 2050, "seconds are returned in milliseconds");
    is_str(ws_parse_seconds(pool, "500ms", 0, 10000, &n), NULL, "seconds with a unit are accepted");
    is_int(n, 500, "seconds with a unit are returned in milliseconds");
    accepts(ws_parse_seconds, "3", 3000);
    for (const char *const *t = others; *t; t++) {
        ok(ws_parse_seconds(pool, *t, 0, APR_INT64_MAX, &n) != NULL, "\"%s\" is refused", *t);
    }
}

static void hexadecimal(void)
{
    apr_uint64_t n = 7;
    ok(ws_parse_hex("00fFa9", 6, &n) && n == 0xFFA9, "hexadecimal digits are accepted");
    ok(ws_parse_hex("ffffffffffffffff", 16, &n) && n == ~(apr_uint64_t)0,
       "16 hexadecimal digits are accepted");
    n = 7;
    ok(!ws_parse_hex("0x10", 4, &n), "no 0x");
    ok(!ws_parse_hex("", 0, &n), "no hexadecimal digits are refused");
    ok(!ws_parse_hex("00000000000000000", 17, &n), "17 hexadecimal digits are refused");
    ok(!ws_parse_hex(" 1", 2, &n) && !ws_parse_hex("-1", 2, &n),
       "hexadecimal digits with a space or a sign are refused");
    ok(n == 7, "refused hexadecimal digits change nothing");
}

static void decodes(const char *in, int form, const char *expected)
{
    char out[16];
    int n = ws_percent_decode(in, strlen(in), form, out, sizeof(out));
    is_int(n, expected ? (int)strlen(expected) : -1, "\"%s\" %s", in,
           expected ? "is decoded" : "is refused");
    if (n >= 0 && expected) {
        is_str(out, expected, "the decoded text is right");
    }
}

static void percent(void)
{
    char out[4];
    decodes("", 0, "");
    decodes("a%20b+c", 0, "a b+c");
    decodes("a%20b+c", 1, "a b c");
    decodes("%2B%2b%25", 1, "++%");
    decodes("%c3%A4", 1, "ä");
    decodes("%", 0, NULL);
    decodes("%4", 0, NULL);
    decodes("%4g", 0, NULL);
    decodes("%g4", 0, NULL);
    decodes("%%41", 0, NULL);
    decodes("% 1", 0, NULL);
    decodes("%+1", 0, NULL);
    decodes("%-1", 0, NULL);
    decodes("%0x", 0, NULL);
    decodes("a%00b", 0, NULL);
    decodes("%u0041", 0, NULL);
    decodes("123456789012345", 0, "123456789012345");
    decodes("1234567890123456", 0, NULL);
    is_int(ws_percent_decode("%414", 3, 0, out, sizeof(out)), 1,
           "only the given length is decoded");
    is_int(ws_percent_decode("%41", 2, 0, out, sizeof(out)), -1,
           "an escape beyond the given length is refused");
    is_int(ws_percent_decode("a\0b", 3, 0, out, sizeof(out)), -1, "a NUL is refused");
    is_int(ws_percent_decode("%41%42%43", 9, 0, out, sizeof(out)), 3,
           "text that just fits is decoded");
    is_int(ws_percent_decode("%41%42%43%44", 12, 0, out, sizeof(out)), -1,
           "text that does not fit with its NUL is refused");
}

static void finds(const char *query, const char *name, int result, const char *expected)
{
    char value[16] = "before";
    const char *at = query;
    is_int(ws_query_next(&at, name, value, sizeof(value)), result, "%s in %s", name,
           query ? query : "nothing");
    if (expected) {
        is_str(value, expected, "the argument has its value");
    }
}

static void queries(void)
{
    const char *at = "channel=a&x=1&channel=b%26c&channel&channel=%zz&chan%6Eel=d";
    char value[16];
    finds(NULL, "a", 0, "");
    finds("", "a", 0, "");
    finds("a=1&b=2", "a", 1, "1");
    finds("a=1&b=2", "b", 1, "2");
    finds("a=1&b=2", "c", 0, "");
    finds("aa=1&a=2", "a", 1, "2");
    finds("ba=1&a", "a", 1, "");
    finds("a=", "a", 1, "");
    finds("a=b=c&d", "a", 1, "b=c");
    finds("&&a=1", "a", 1, "1");
    finds("%61=x+y", "a", 1, "x y");
    finds("%6=1&a=2", "a", 1, "2");
    finds("b=a=1", "a", 0, "");
    finds("a=%4", "a", -1, NULL);
    finds("a=%4&41", "a", -1, NULL);
    finds("b=%zz&a=1", "a", 1, "1");
    finds("a=1234567890123456", "a", -1, NULL);
    finds("=1&a=2", "", 1, "1");
    is_int(ws_query_next(&at, "channel", value, sizeof(value)), 1,
           "the first of several arguments is found");
    is_str(value, "a", "the first argument has its value");
    is_int(ws_query_next(&at, "channel", value, sizeof(value)), 1, "the second argument is found");
    is_str(value, "b&c", "the second argument has its value");
    is_int(ws_query_next(&at, "channel", value, sizeof(value)), 1,
           "an argument without a value is found");
    is_str(value, "", "an argument without a value is empty");
    is_int(ws_query_next(&at, "channel", value, sizeof(value)), -1,
           "an invalid argument is reported");
    is_int(ws_query_next(&at, "channel", value, sizeof(value)), 1,
           "the argument after the invalid one is found");
    is_str(value, "d", "the argument after the invalid one has its value");
    is_int(ws_query_next(&at, "channel", value, sizeof(value)), 0,
           "after the last argument, there is none");
    is_int(ws_query_next(&at, "channel", value, sizeof(value)), 0,
           "a further call finds none either");
}

static void ids(void)
{
    ws_id id = 7;
    ok(ws_parse_id("00000000ffff0001", 16, &id) && id == 0xFFFF0001, "an id");
    ok(ws_parse_id("FFFFFFFFFFFFFFFFx", 16, &id) && id == ~(ws_id)0,
       "only the given length of an id is read");
    ok(!ws_parse_id("0000ffff0001", 12, &id), "a shorter id is refused");
    ok(!ws_parse_id("0x000000ffff0001", 16, &id), "0x");
    ok(!ws_parse_id(" 0000000ffff0001", 16, &id), "an id with a space is refused");
    ok(id == ~(ws_id)0, "a refused id changes nothing");
}

static void positions(void)
{
    static const char *const wrong[] = {"",
                                        "-",
                                        "1",
                                        "1-",
                                        "-1",
                                        "0-1",
                                        "1--1",
                                        "1-+1",
                                        "1- 1",
                                        " 1-1",
                                        "0x1-1",
                                        "1-1 ",
                                        "1-0x1",
                                        "g-1",
                                        "All",
                                        "all ",
                                        "1-1-1",
                                        "1-a",
                                        "+1-1",
                                        "12345678123456781-1",
                                        "1-99999999999999999999",
                                        NULL};
    ws_position at = {7, 7};
    char text[WS_POSITION_SIZE];
    for (const char *const *w = wrong; *w; w++) {
        ok(!ws_parse_position(*w, &at), "\"%s\" is no position", *w);
    }
    ok(at.epoch == 7 && at.offset == 7, "a refused position changes nothing");
    ok(ws_parse_position("fF-10", &at) && at.epoch == 255 && at.offset == 10,
       "a position is accepted");
    is_str(ws_print_position(at, text), "ff-10", "a position is printed");
    at = (ws_position){~(apr_uint64_t)0, ~(apr_uint64_t)0};
    is_str(ws_print_position(at, text), "ffffffffffffffff-18446744073709551615",
           "the longest position fits");
    ok(ws_parse_position("1-0", &at) && at.epoch == 1 && !at.offset,
       "the position before the first message is accepted");
    ok(ws_parse_position("all", &at) && !at.epoch, "all");
}

static void nuls_in_json(void)
{
    static const char raw[] = "[\"a\\u0001\0b\"]";
    ok(ws_json_has_nul("\"a\\u0000b\"", 10), "an escaped NUL is found");
    ok(ws_json_has_nul("\\\\\\u0000", 8), "an escaped NUL after a backslash is found");
    ok(ws_json_has_nul(raw, sizeof(raw) - 1), "a NUL byte is found");
    ok(!ws_json_has_nul("\"a\\\\u0000b\"", 11), "an escaped backslash before u0000 is not a NUL");
    ok(!ws_json_has_nul("\"\\u0001\\u000", 11), "similar escapes are not a NUL");
    ok(!ws_json_has_nul("\\", 1), "a backslash at the end is not a NUL");
    ok(!ws_json_has_nul("", 0), "nothing");
}

static void addresses(void)
{
    static const char *const valid[] = {"a", "A-b_c.example.org", "127.0.0.1", "[::1]",
                                        "[fe80::1%eth0]"};
    static const char *const invalid[] = {"",     ".",   "a b",  "a/b",      "a?b",         "a#b",
                                          "a:1",  "a@b", "\xff", "\xc3\xbc", "[",           "[]",
                                          "[::1", "::1", "[zz]", "[::1]x",   "[127.0.0.1]", "`"};
    char path[109];
    for (unsigned i = 0; i < sizeof(valid) / sizeof(*valid); i++) {
        ok(!ws_parse_host(valid[i], strlen(valid[i])), "the host %s is valid", valid[i]);
    }
    for (unsigned i = 0; i < sizeof(invalid) / sizeof(*invalid); i++) {
        ok(ws_parse_host(invalid[i], strlen(invalid[i])) != NULL, "invalid host %u is refused", i);
    }
    ok(ws_parse_host("a\0b", 3) != NULL, "a host with a NUL is refused");
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[108] = '\0';
    ok(ws_parse_socket(path) != NULL, "a path of 108 bytes is refused for a unix socket");
    path[107] = '\0';
    ok(!ws_parse_socket(path), "a path of 107 bytes is valid for a unix socket");
    ok(ws_parse_socket("x") && ws_parse_socket(""), "a unix socket needs an absolute path");
}

static void lists(void)
{
    static const char *const invalid[] = {"", ",", "a,", ",a", "a,,b"};
    const apr_array_header_t *list = ws_parse_list(pool, "a, b,a");
    is_int(list->nelts, 3, "a list of three elements");
    is_str(APR_ARRAY_IDX(list, 0, char *), "a", "the first element of a list");
    is_str(APR_ARRAY_IDX(list, 1, char *), " b", "spaces belong to the element");
    is_str(APR_ARRAY_IDX(list, 2, char *), "a", "the last element of a list");
    is_int(ws_parse_list(pool, "a")->nelts, 1, "a list of one element");
    for (unsigned i = 0; i < sizeof(invalid) / sizeof(*invalid); i++) {
        ok(!ws_parse_list(pool, invalid[i]), "the list \"%s\" is refused", invalid[i]);
    }
}

int main(void)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    counts();
    sizes();
    intervals();
    decimals();
    hexadecimal();
    addresses();
    lists();
    ids();
    positions();
    nuls_in_json();
    percent();
    queries();
    apr_terminate();
    return done_testing();
}
