/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Stores the strings of a connection in one block, which saves eight pointers in each idle
 * connection. For each string, the block has a tag and a text that ends with NUL. A tag 0 ends the
 * block. The value of a header follows its name.
 */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/conn.h"
#include "include/websocket_parse.h"

enum { END, URI, ARGS, USER, PEER, PROTOCOL, HEADER, VALUE };

static char *strings_put(char *out, char tag, const char *text)
{
    size_t len = strlen(text) + 1;
    *out++ = tag;
    memcpy(out, text, len);
    return out + len;
}

apr_size_t ws_strings_size(const ws_strings *s)
{
    const char *const texts[] = {s->uri, s->args, s->user, s->peer, s->protocol};
    apr_size_t size = 1;
    for (int i = 0; i < 5; i++) {
        size += texts[i] ? strlen(texts[i]) + 2 : 0;
    }
    for (const char *const *h = s->headers; h && *h; h++) {
        size += strlen(*h) + 2;
    }
    return size;
}

void ws_strings_pack(char *out, const ws_strings *s)
{
    const char *const texts[] = {s->uri, s->args, s->user, s->peer, s->protocol};
    for (int i = 0; i < 5; i++) {
        if (texts[i]) {
            out = strings_put(out, (char)(URI + i), texts[i]);
        }
    }
    for (const char *const *h = s->headers; h && *h; h += 2) {
        out = strings_put(out, HEADER, h[0]);
        out = strings_put(out, VALUE, h[1]);
    }
    *out = END;
}

/* ws_conn_set_user() may replace the block of strings while another thread reads it. The old block
 * stays valid. */
static const char *strings_of(const ws_conn *c)
{
    return __atomic_load_n(&c->strings, __ATOMIC_ACQUIRE);
}

static apr_size_t strings_length(const char *block)
{
    const char *s = block;
    while (*s != END) {
        s += strlen(s) + 1;
    }
    return (apr_size_t)(s - block) + 1;
}

int ws_conn_set_user(ws_conn *c, const char *user, char **old)
{
    apr_size_t size = strings_length(c->strings);
    char *block = malloc(size + strlen(user) + 2);
    if (!block) {
        return 0;
    }
    memcpy(strings_put(block, USER, user), c->strings, size);
    *old = c->strings;
    __atomic_store_n(&c->strings, block, __ATOMIC_RELEASE);
    return 1;
}

static const char *strings_find(const ws_conn *c, char tag)
{
    for (const char *s = strings_of(c); *s != END; s += strlen(s) + 1) {
        if (*s == tag) {
            return s + 1;
        }
    }
    return NULL;
}

const char *ws_uri(const ws_conn *c)
{
    return strings_find(c, URI);
}

const char *ws_args(const ws_conn *c)
{
    return strings_find(c, ARGS);
}

int ws_arg(const ws_conn *c, const char *name, char *value, apr_size_t size)
{
    const char *args = ws_args(c);
    return ws_query_next(&args, name, value, size);
}

const char *ws_user(const ws_conn *c)
{
    return strings_find(c, USER);
}

const char *ws_peer(const ws_conn *c)
{
    return strings_find(c, PEER);
}

const char *ws_protocol(const ws_conn *c)
{
    return strings_find(c, PROTOCOL);
}

const char *ws_header(const ws_conn *c, const char *name)
{
    for (const char *s = strings_of(c); *s != END; s += strlen(s) + 1) {
        if (*s == HEADER && !strcasecmp(s + 1, name)) {
            return s + strlen(s) + 2; /* the next text, without its tag */
        }
    }
    return NULL;
}
