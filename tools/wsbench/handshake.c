/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "tools/wsbench/handshake.h"

#include <apr_base64.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/handshake.h"

/* One key for the whole run: it is no secret, it only shows that the answer is not an old one. */
static char key[32];

static void make_key(void)
{
    unsigned char bytes[16];
    for (int i = 0; i < 16; i += 4) {
        payload_mask(bytes + i);
    }
    apr_base64_encode_binary(key, bytes, sizeof(bytes));
}

static int make_request(target *t)
{
    const char *offer = opt.deflate == DEFLATE_ON
                            ? "Sec-WebSocket-Extensions: permessage-deflate; "
                              "client_no_context_takeover; server_no_context_takeover\r\n"
                        : opt.deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                                      : "";
    const char *colon = strchr(t->host, ':');
    int n = asprintf(&t->request,
                     "GET %s HTTP/1.1\r\nHost: %s%s%s:%s\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
                     "%s%s\r\n",
                     t->path, colon ? "[" : "", t->host, colon ? "]" : "", t->port, key, offer,
                     opt.headers ? opt.headers : "");
    t->request_len = n < 0 ? 0 : (size_t)n;
    return n;
}

/* host [":" port], an IPv6 address in brackets. @return 0 if it is none */
static int read_authority(target *t, const char *text, size_t len)
{
    const char *host = text, *port;
    size_t host_len;
    if (len > 0 && *text == '[') {
        const char *end = memchr(text, ']', len);
        host = text + 1;
        host_len = end ? (size_t)(end - host) : 0;
        port = end ? end + 1 : text;
    }
    else {
        port = memchr(text, ':', len);
        port = port ? port : text + len;
        host_len = (size_t)(port - text);
    }
    len -= (size_t)(port - text);
    if (host_len == 0 || host_len >= sizeof(t->host)) {
        return 0;
    }
    memcpy(t->host, host, host_len);
    t->host[host_len] = '\0';
    strcpy(t->port, t->tls ? "443" : "80");
    if (len > 0) {
        if (*port != ':' || len < 2 || len > 6 || strspn(port + 1, "0123456789") < len - 1) {
            return 0;
        }
        memcpy(t->port, port + 1, len - 1);
        t->port[len - 1] = '\0';
    }
    return 1;
}

const char *greeting_target(target *t, const char *url)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    const char *rest;
    int error;

    memset(t, 0, sizeof(*t));
    t->url = url;
    t->tls = !strncmp(url, "wss://", 6);
    if (!t->tls && strncmp(url, "ws://", 5)) {
        return "a URL begins with ws:// or wss://";
    }
    rest = url + (t->tls ? 6 : 5);
    t->path = rest + strcspn(rest, "/?#");
    if (!read_authority(t, rest, (size_t)(t->path - rest))) {
        return "a URL names a host, and perhaps a port";
    }
    if (*t->path != '/') {
        t->path = *t->path ? NULL : "/";
    }
    if (!t->path || strpbrk(t->path, "# \r\n")) {
        return "what stands behind a URL's host is a path";
    }
    if ((error = getaddrinfo(t->host, t->port, &hints, &found))) {
        return gai_strerror(error);
    }
    memcpy(&t->address, found->ai_addr, found->ai_addrlen);
    t->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    if (!*key) {
        make_key();
    }
    return make_request(t) < 0 ? "out of memory" : NULL;
}

/* The value of a header, in place; NULL if there is none. */
static const char *header(const char *head, const char *name, size_t *len)
{
    size_t name_len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (!strncasecmp(line, name, name_len) && line[name_len] == ':') {
            const char *value = line + name_len + 1;
            value += strspn(value, " \t");
            *len = strcspn(value, "\r\n");
            while (*len && (value[*len - 1] == ' ' || value[*len - 1] == '\t')) {
                --*len;
            }
            return value;
        }
    }
    return NULL;
}

static const char *check_extensions(peer *p, const char *head)
{
    size_t len;
    const char *value = header(head, "Sec-WebSocket-Extensions", &len);
    if (!opt.deflate) {
        return value && len ? "the server names an extension that was not offered" : NULL;
    }
    if (!value || len < 18 || strncasecmp(value, "permessage-deflate", 18)) {
        return "the server does not compress";
    }
    if (opt.deflate == DEFLATE_ON && !memmem(value, len, "server_no_context_takeover", 26)) {
        return "the server does not agree to compress each message by itself";
    }
    p->deflate = (unsigned char)opt.deflate;
    p->forget = memmem(value, len, "client_no_context_takeover", 26) != NULL;
    return NULL;
}

size_t greeting_check(peer *p, char *data, size_t len, const char **wrong)
{
    static char refused[64];
    char accept[WS_ACCEPT_SIZE], head[GREETING_MAX + 1];
    const char *end = memmem(data, len, "\r\n\r\n", 4), *value;
    size_t head_len = end ? (size_t)(end - data) + 4 : 0, value_len;

    if (!end || head_len > GREETING_MAX) {
        *wrong = end || len > GREETING_MAX ? "the server's answer is endless" : NULL;
        return 0;
    }
    memcpy(head, data, head_len);
    head[head_len] = '\0';
    if (strncmp(head, "HTTP/1.1 101", 12)) {
        snprintf(refused, sizeof(refused), "the server answered %.*s",
                 (int)strcspn(head + (head_len > 9 ? 9 : 0), "\r\n"), head + 9);
        *wrong = refused;
        return 0;
    }
    ws_accept_key(key, accept);
    value = header(head, "Sec-WebSocket-Accept", &value_len);
    if (!value || value_len != strlen(accept) || memcmp(value, accept, value_len)) {
        *wrong = "the server's Sec-WebSocket-Accept is not the right one";
        return 0;
    }
    *wrong = check_extensions(p, head);
    return *wrong ? 0 : head_len;
}
