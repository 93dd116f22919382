/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses WebSocket URLs. Rejects ambiguous URLs, and characters that could end a header. */

#include "protocol/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static const struct {
    const char *scheme;
    int secure, http, socks;
} schemes[] = {{"ws", 0, 0, 0},    {"wss", 1, 0, 0},    {"http", 0, 1, 0},
               {"https", 1, 1, 0}, {"socks5", 0, 0, 1}, {"socks5h", 0, 0, 1}};

#define SCHEMES (sizeof(schemes) / sizeof(*schemes))

static unsigned url_default_port(const ws_url *url)
{
    return url->socks ? 1080 : url->secure ? 443 : 80;
}

static int url_digit_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Decode %HH in the len characters at s. Write the text to *out, NUL-terminated, and advance *out.
 * @return NULL: a %HH is malformed, or the text has a control character, which could end a
 * header */
static const char *url_decode(char **out, const char *s, size_t len)
{
    char *start = *out;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '%') {
            int high = i + 2 < len ? url_digit_of(s[i + 1]) : -1;
            int low = i + 2 < len ? url_digit_of(s[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return NULL;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        if ((unsigned char)c < ' ' || c == 127) {
            return NULL;
        }
        *(*out)++ = c;
    }
    *(*out)++ = '\0';
    return start;
}

static const char *url_keep(char **out, const char *s, size_t len)
{
    char *start = *out;
    memcpy(start, s, len);
    start[len] = '\0';
    *out += len + 1;
    return start;
}

/* Parse user[:password]. @return NULL, or the error */
static const char *url_read_user(ws_url *url, char **out, const char *s, size_t len)
{
    const char *colon = memchr(s, ':', len);
    size_t user = colon ? (size_t)(colon - s) : len;
    if (!(url->user = url_decode(out, s, user))
        || !(url->password = colon ? url_decode(out, colon + 1, len - user - 1) : "")) {
        return "the user or password in the URL has a malformed %HH or a control character";
    }
    if (strchr(url->user, ':')) {
        return "a user name must not contain a colon";
    }
    return NULL;
}

/* Whether a host may contain a character. Characters beyond ASCII are allowed, because IDNA
 * converts them. */
static int url_is_host_char(char c)
{
    return (unsigned char)c > 127 || (c && strchr(LETTERS DIGITS "-._", c));
}

static int url_is_ipv6(const char *text, size_t len)
{
    char address[INET6_ADDRSTRLEN], out[sizeof(struct in6_addr)];
    if (len >= sizeof(address)) {
        return 0;
    }
    memcpy(address, text, len);
    address[len] = '\0';
    return inet_pton(AF_INET6, address, out) == 1;
}

/* Parse host[:port]. @return NULL, or the error */
static const char *url_read_host(ws_url *url, char **out, const char *s, size_t len)
{
    const char *end = s + len, *host = s, *rest;
    size_t size;
    if (len && *s == '[') {
        size = strspn(s + 1, DIGITS "abcdefABCDEF:.");
        rest = s + 1 + size;
        if (rest >= end || *rest++ != ']' || !url_is_ipv6(s + 1, size)) {
            return "the URL's address in brackets is not an IPv6 address";
        }
        host++;
        url->ipv6 = 1;
    }
    else {
        for (size = 0; size < len && url_is_host_char(s[size]); size++) {
            url->international |= (unsigned char)s[size] > 127;
        }
        rest = s + size;
        if (!size || (size == 1 && *s == '.')) {
            return "the URL has no host, or its host has an invalid character";
        }
    }
    url->host = url_keep(out, host, size);
    url->port = url_default_port(url);
    if (rest < end && *rest == ':') {
        unsigned port = 0;
        rest++;
        if (rest == end) {
            return NULL; /* RFC 3986, section 6.2.3 */
        }
        for (int i = 0; i < 6 && rest < end && *rest >= '0' && *rest <= '9'; i++) {
            port = 10 * port + (unsigned)(*rest++ - '0');
        }
        if (port < 1 || port > 65535) {
            return "the URL's port is not 1 to 65535";
        }
        url->port = port;
    }
    url->port_given = url->port != url_default_port(url);
    return rest == end ? NULL : "the URL's host has an invalid character";
}

/* Parse path and query. @return NULL, or the error */
static const char *url_read_target(ws_url *url, char **out, const char *s)
{
    for (const char *c = s; *c; c++) {
        if (*c == '#') {
            return "the URL has a fragment (#), which RFC 6455, section 3, does not allow";
        }
        if (*c <= ' ' || *c >= 127) {
            return "the URL's path has a character that must be written as %HH";
        }
    }
    url->target = *out;
    if (*s != '/') {
        *(*out)++ = '/';
    }
    url_keep(out, s, strlen(s));
    return NULL;
}

static const char *url_parse(ws_url *url, const char *text, char *out)
{
    const char *colon = strstr(text, "://"), *s, *at = NULL, *wrong;
    size_t len, i;

    memset(url, 0, sizeof(*url));
    if (strlen(text) >= WS_URL_SIZE) {
        return "the URL is too long";
    }
    len = colon ? (size_t)(colon - text) : 0;
    for (i = 0; i < SCHEMES; i++) {
        if (len && strlen(schemes[i].scheme) == len && !strncasecmp(schemes[i].scheme, text, len)) {
            break;
        }
    }
    if (i == SCHEMES) {
        return "the URL does not start with ws:// or wss://";
    }
    url->secure = schemes[i].secure;
    url->http = schemes[i].http;
    url->socks = schemes[i].socks;
    s = colon + 3;
    len = strcspn(s, "/?#");
    for (i = 0; i < len; i++) {
        at = s[i] == '@' ? s + i : at;
    }
    if (at) {
        if ((wrong = url_read_user(url, &out, s, (size_t)(at - s)))) {
            return wrong;
        }
        len -= (size_t)(at + 1 - s);
        s = at + 1;
    }
    if ((wrong = url_read_host(url, &out, s, len))) {
        return wrong;
    }
    return url_read_target(url, &out, s + len);
}

int ws_url_parse(ws_url *url, const char *text, char *room, const char **wrong)
{
    return (*wrong = url_parse(url, text, room)) ? -1 : 0;
}

int ws_url_resolve(const ws_url *from, const char *location, char out[WS_URL_SIZE])
{
    char authority[WS_AUTHORITY_SIZE];
    size_t path = strcspn(from->target, "?");
    const char *fragment = strchr(location, '#'); /* a fragment is not sent to a server */
    int len = fragment ? (int)(fragment - location) : (int)strlen(location), n;

    if (strstr(location, "://") && strcspn(location, "/?#") > 0 && *location != '/'
        && location[strcspn(location, ":/?#")] == ':') {
        n = snprintf(out, WS_URL_SIZE, "%.*s", len, location);
    }
    else if (!strncmp(location, "//", 2)) {
        n = snprintf(out, WS_URL_SIZE, "%s:%.*s", from->secure ? "wss" : "ws", len, location);
    }
    else {
        ws_url_authority(from, 1, authority);
        if (*location == '/') {
            path = 0;
        }
        else if (*location != '?') {
            while (path > 0 && from->target[path - 1] != '/') {
                path--;
            }
        }
        n = snprintf(out, WS_URL_SIZE, "%s://%s%.*s%.*s", from->secure ? "wss" : "ws", authority,
                     (int)path, from->target, len, location);
    }
    return n >= 0 && n < WS_URL_SIZE ? 0 : -1;
}

const char *ws_url_authority(const ws_url *url, int always, char out[WS_AUTHORITY_SIZE])
{
    char port[16] = "";
    if (always || url->port_given) {
        snprintf(port, sizeof(port), ":%u", url->port);
    }
    snprintf(out, WS_AUTHORITY_SIZE, url->ipv6 ? "[%s]%s" : "%s%s", url->host, port);
    return out;
}
