/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Parsers of numbers, sizes, intervals, hosts, lists, positions and query arguments. A parser
 * refuses a text that is valid only in part. An error text for a number names the accepted range.
 */

#include "base/parse.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include <apr_strings.h>

typedef struct unit {
    const char *name;
    apr_int64_t factor;
} unit;

#define DAY (24 * 3600 * 1000)

/* The largest unit comes first. */
static const unit times[] = {{"d", DAY},  {"h", 3600 * 1000}, {"min", 60 * 1000},
                             {"s", 1000}, {"ms", 1},          {NULL, 0}};
static const unit sizes[] = {{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1}, {NULL, 0}};

/* ---- Numbers ---- */

const char *ws_parse_digits(const char *text, apr_int64_t *n)
{
    apr_int64_t value = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++) {
        int digit = *at - '0';
        if (value > (APR_INT64_MAX - digit) / 10) {
            return NULL;
        }
        value = value * 10 + digit;
    }
    *n = value;
    return at == text ? NULL : at;
}

static int parse_scaled(const char *text, const unit *units, apr_int64_t factor, apr_int64_t least,
                        apr_int64_t most, apr_int64_t *n)
{
    apr_int64_t value;
    const char *end = ws_parse_digits(text, &value);

    if (!end) {
        return 0;
    }
    if (*end) {
        while (units->name && strcasecmp(end, units->name)) {
            units++;
        }
        if (!(factor = units->factor)) {
            return 0;
        }
    }
    if (value > most / factor || value * factor < least) {
        return 0;
    }
    *n = value * factor;
    return 1;
}

/* Print a value in the largest unit that divides it; one day is printed as 24h. */
static const char *parse_show(apr_pool_t *p, apr_int64_t value, const unit *u)
{
    while (value % u->factor || (value == DAY && u->factor == DAY)) {
        u++;
    }
    return value ? apr_psprintf(p, "%" APR_INT64_T_FMT "%s", value / u->factor, u->name) : "0";
}

const char *ws_parse_count(apr_pool_t *p, const char *text, apr_int64_t least, apr_int64_t most,
                           apr_int64_t *n)
{
    apr_int64_t value;
    const char *end = ws_parse_digits(text, &value);

    if (end && !*end && value >= least && value <= most) {
        *n = value;
        return NULL;
    }
    return p ? apr_psprintf(p,
                            "takes a whole number from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT,
                            least, most)
             : "takes a whole number";
}

const char *ws_parse_size(apr_pool_t *p, const char *text, apr_int64_t least, apr_int64_t most,
                          apr_int64_t *bytes)
{
    if (parse_scaled(text, sizes, 1, least, most, bytes)) {
        return NULL;
    }
    return p ? apr_psprintf(p, "takes a size from %s to %s, in bytes or with K, M or G",
                            parse_show(p, least, sizes), parse_show(p, most, sizes))
             : "takes a size";
}

const char *ws_parse_interval(apr_pool_t *p, const char *text, apr_int64_t least, apr_int64_t most,
                              apr_int64_t *ms)
{
    if (parse_scaled(text, times, 1000, least, most, ms)) {
        return NULL;
    }
    return p ? apr_psprintf(p,
                            "takes an interval from %s to %s, in seconds or with ms, s, min, h "
                            "or d",
                            parse_show(p, least, times), parse_show(p, most, times))
             : "takes an interval";
}

/* ---- Addresses ---- */

#define HOST_MAX 253 /* bytes; RFC 1035, section 3.1 */

static int parse_is_name(const char *text)
{
    const char *c = text;
    while ((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z' ? 1 : *c && strchr("0123456789-._", *c)) {
        c++;
    }
    return !*c && strcmp(text, ".");
}

static int parse_is_ipv6(char *text)
{
    char address[sizeof(struct in6_addr)];
    char *end = strchr(text, ']');
    if (*text != '[' || !end || end[1]) {
        return 0;
    }
    text[strcspn(text, "%]")] = '\0';
    return inet_pton(AF_INET6, text + 1, address) == 1;
}

const char *ws_parse_host(const char *text, apr_size_t len)
{
    char host[HOST_MAX + 1];
    if (len && len <= HOST_MAX) {
        memcpy(host, text, len);
        host[len] = '\0';
        if (strlen(host) == len && (parse_is_name(host) || parse_is_ipv6(host))) {
            return NULL;
        }
    }
    return "takes a host name (xn--... for letters beyond ASCII), an IPv4 address, or an IPv6 "
           "address in brackets";
}

const char *ws_parse_socket(const char *path)
{
    return *path == '/' && strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path)
               ? NULL
               : "takes the absolute path of a unix socket, at most 107 bytes";
}

/* ---- Lists ---- */

apr_array_header_t *ws_parse_list(apr_pool_t *p, const char *text)
{
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(char *));

    for (;; text++) {
        apr_size_t len = strcspn(text, ",");
        if (!len) {
            return NULL;
        }
        APR_ARRAY_PUSH(list, char *) = apr_pstrmemdup(p, text, len);
        text += len;
        if (!*text) {
            return list;
        }
    }
}

/* ---- Command-line options ---- */

/* Parse a number with up to three decimals. *n: set to thousandths. @return 0: not a number */
static int parse_thousandths(const char *text, apr_int64_t *n)
{
    apr_int64_t whole, part = 0;
    const char *end = ws_parse_digits(text, &whole), *point = end;

    if (!end || whole > APR_INT64_MAX / 1000 - 1) {
        return 0;
    }
    if (*end == '.' && (!(end = ws_parse_digits(point + 1, &part)) || end - point > 4)) {
        return 0;
    }
    for (apr_size_t digits = (apr_size_t)(end - point); digits && digits < 4; digits++) {
        part *= 10;
    }
    *n = whole * 1000 + part;
    return !*end;
}

const char *ws_parse_decimal(apr_pool_t *p, const char *text, double least, double most, double *n)
{
    apr_int64_t thousandths;
    char expected[80];
    double value;

    if (parse_thousandths(text, &thousandths)) {
        value = (double)thousandths / 1000;
        if (value >= least && value <= most) {
            *n = value;
            return NULL;
        }
    }
    snprintf(expected, sizeof(expected), "takes a number from %.15g to %.15g", least, most);
    return p ? apr_pstrdup(p, expected) : "takes a number"; /* APR's %g would print 0.5 as .5 */
}

const char *ws_parse_seconds(apr_pool_t *p, const char *text, apr_int64_t least, apr_int64_t most,
                             apr_int64_t *ms)
{
    apr_int64_t value;

    if (parse_thousandths(text, &value) && value >= least && value <= most) {
        *ms = value;
        return NULL;
    }
    return ws_parse_interval(p, text, least, most, ms);
}

const char *ws_parse_expected(const char *error)
{
    return error + sizeof("takes ") - 1;
}

/* ---- Hexadecimal digits ---- */

int ws_hex_digit(int c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int ws_parse_hex(const char *text, apr_size_t len, apr_uint64_t *n)
{
    apr_uint64_t value = 0;

    if (len < 1 || len > 16) {
        return 0;
    }
    for (apr_size_t i = 0; i < len; i++) {
        int digit = ws_hex_digit(text[i]);
        if (digit < 0) {
            return 0;
        }
        value = value << 4 | (unsigned)digit;
    }
    *n = value;
    return 1;
}

int ws_parse_id(const char *text, apr_size_t len, ws_id *id)
{
    return len == 16 && ws_parse_hex(text, len, id);
}

/* ---- Positions ---- */

int ws_parse_position(const char *text, ws_position *position)
{
    const char *dash = strchr(text, '-'), *end;
    apr_uint64_t epoch;
    apr_int64_t offset;

    if (!strcmp(text, "all")) {
        *position = (ws_position){0, 0};
        return 1;
    }
    if (!dash || !ws_parse_hex(text, (apr_size_t)(dash - text), &epoch) || !epoch
        || !(end = ws_parse_digits(dash + 1, &offset)) || *end) {
        return 0;
    }
    *position = (ws_position){epoch, (apr_uint64_t)offset};
    return 1;
}

const char *ws_print_position(ws_position position, char text[WS_POSITION_SIZE])
{
    apr_snprintf(text, WS_POSITION_SIZE, "%" APR_UINT64_T_HEX_FMT "-%" APR_UINT64_T_FMT,
                 position.epoch, position.offset);
    return text;
}

/* ---- Percent-encoding ---- */

/* Decode the next byte. @return the byte; 0: the text is invalid */
static int parse_byte(const char **at, const char *end, int form)
{
    const char *s = *at;
    int high, low;

    if (*s != '%') {
        *at = s + 1;
        return form && *s == '+' ? ' ' : (unsigned char)*s;
    }
    if (end - s < 3 || (high = ws_hex_digit(s[1])) < 0 || (low = ws_hex_digit(s[2])) < 0) {
        return 0;
    }
    *at = s + 3;
    return high * 16 + low;
}

int ws_percent_decode(const char *in, apr_size_t len, int form, char *out, apr_size_t size)
{
    const char *end = in + len;
    apr_size_t n = 0;

    while (in < end) {
        int c = parse_byte(&in, end, form);
        if (!c || n + 1 >= size || n == APR_INT32_MAX) {
            return -1;
        }
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return (int)n;
}

static int parse_names(const char *in, apr_size_t len, const char *name)
{
    const char *end = in + len;

    while (in < end) {
        int c = parse_byte(&in, end, 1);
        if (!c || c != (unsigned char)*name++) {
            return 0;
        }
    }
    return !*name;
}

int ws_query_next(const char **query, const char *name, char *value, apr_size_t size)
{
    const char *at = *query;

    *value = '\0';
    while (at && *at) {
        apr_size_t len = strcspn(at, "&"), key = strcspn(at, "=&");
        const char *argument = at;

        at += len + (at[len] == '&');
        if (parse_names(argument, key, name)) {
            *query = at;
            key += key < len;
            return ws_percent_decode(argument + key, len - key, 1, value, size) < 0 ? -1 : 1;
        }
    }
    *query = at;
    return 0;
}

int ws_json_has_nul(const char *json, apr_size_t len)
{
    const char *end = json + len, *at = json;

    if (memchr(json, '\0', len)) {
        return 1;
    }
    while ((at = memchr(at, '\\', (apr_size_t)(end - at)))) {
        if (end - at >= 6 && !memcmp(at, "\\u0000", 6)) {
            return 1;
        }
        at += end - at > 1 ? 2 : 1; /* also skip the escaped character */
    }
    return 0;
}
