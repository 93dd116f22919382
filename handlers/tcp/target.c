/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Parses and resolves targets, which are addresses of services, and parses token files, which map
 * tokens to targets. Token files are checked at start-up and read for each connection.
 */

#include "target.h"

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <apr_file_io.h>
#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "websocket_parse.h"

#define UNIX_PREFIX "unix:"

/* Longest line of a token file, bytes. */
#define LINE_SIZE 4096

static int target_is_unix(const char *text)
{
    return !strncmp(text, UNIX_PREFIX, sizeof(UNIX_PREFIX) - 1);
}

/* Get the port after a colon. 0: the port is invalid. */
static int target_port_of(const char *colon)
{
    apr_int64_t port = 0;
    return ws_parse_count(NULL, colon + 1, 1, 65535, &port) ? 0 : (int)port;
}

const char *tcp_target_check(const char *text)
{
    const char *colon = strrchr(text, ':');

    if (target_is_unix(text)) {
        return ws_parse_socket(text + sizeof(UNIX_PREFIX) - 1);
    }
    if (!colon || colon == text || !target_port_of(colon)
        || (*text != '[' && memchr(text, ':', (size_t)(colon - text)))) {
        return "takes host:port, [address]:port or unix:/path";
    }
    return ws_parse_host(text, (size_t)(colon - text));
}

static tcp_address *target_address_new(apr_pool_t *pool, const void *at, socklen_t len)
{
    tcp_address *a = apr_pcalloc(pool, sizeof(*a));
    memcpy(&a->at, at, len);
    a->len = len;
    return a;
}

tcp_address *tcp_target_resolve(apr_pool_t *pool, const char *text, const char **error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    tcp_address *first = NULL, **last = &first;
    const char *colon = strrchr(text, ':');
    char *host;
    int rv;

    if (target_is_unix(text)) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        apr_cpystrn(un.sun_path, text + sizeof(UNIX_PREFIX) - 1, sizeof(un.sun_path));
        return target_address_new(pool, &un, sizeof(un));
    }
    host = *text == '[' ? apr_pstrmemdup(pool, text + 1, (size_t)(colon - text) - 2)
                        : apr_pstrmemdup(pool, text, (size_t)(colon - text));
    if ((rv = getaddrinfo(host, colon + 1, &hints, &found)) != 0) {
        *error = rv == EAI_SYSTEM ? strerror(errno) : gai_strerror(rv);
        return NULL;
    }
    for (const struct addrinfo *i = found; i; i = i->ai_next) {
        *last = target_address_new(pool, i->ai_addr, i->ai_addrlen);
        last = &(*last)->next;
    }
    freeaddrinfo(found);
    return first;
}

/* ---- Tokens: one "TOKEN: TARGET" per line; blank lines and lines with # are ignored ---- */

typedef struct {
    apr_file_t *file;
    int number;
    char text[LINE_SIZE];
    char *token, *target; /* point into `text` */
    const char *wrong;    /* error text, or NULL */
} line;

static char *target_trim(char *s)
{
    char *end = s + strlen(s);
    while (end > s && apr_isspace(end[-1])) {
        *--end = '\0';
    }
    while (apr_isspace(*s)) {
        s++;
    }
    return s;
}

/* Find the next line with a token. @return whether there is one */
static int target_line_next(line *l)
{
    while (apr_file_gets(l->text, sizeof(l->text), l->file) == APR_SUCCESS) {
        size_t len = strlen(l->text);
        char *text = target_trim(l->text), *colon = strchr(text, ':');

        l->number++;
        if (*text == '\0' || *text == '#') {
            continue;
        }
        l->token = l->target = text;
        if (len == sizeof(l->text) - 1) {
            l->wrong = "the line is too long";
        }
        else if (!colon || colon == text) {
            l->wrong = "the line is not TOKEN: TARGET";
        }
        else {
            *colon = '\0';
            l->token = target_trim(text);
            l->target = target_trim(colon + 1);
            l->wrong = tcp_target_check(l->target);
        }
        return 1;
    }
    return 0;
}

static const char *target_tokens_open(line *l, apr_pool_t *pool, const char *file)
{
    char text[128];
    apr_status_t rv = apr_file_open(&l->file, file, APR_FOPEN_READ | APR_FOPEN_BUFFERED,
                                    APR_FPROT_OS_DEFAULT, pool);
    l->number = 0;
    return rv == APR_SUCCESS ? NULL
                             : apr_psprintf(pool, "%s cannot be read: %s", file,
                                            apr_strerror(rv, text, sizeof(text)));
}

const char *tcp_tokens_check(apr_pool_t *pool, const char *file)
{
    line l;
    apr_finfo_t info;
    apr_hash_t *seen = apr_hash_make(pool);
    const char *error = target_tokens_open(&l, pool, file);

    if (error) {
        return error;
    }
    if (apr_file_info_get(&info, APR_FINFO_TYPE, l.file) == APR_SUCCESS
        && info.filetype == APR_DIR) {
        error = apr_psprintf(pool, "%s is a directory: name a file", file);
    }
    while (!error && target_line_next(&l)) {
        const int *first = apr_hash_get(seen, l.token, APR_HASH_KEY_STRING);
        if (l.wrong) {
            error = apr_psprintf(pool, "line %d of %s: %s", l.number, file, l.wrong);
        }
        else if (first) {
            error = apr_psprintf(pool,
                                 "line %d of %s: it has the token of line %d, and never applies: "
                                 "remove one",
                                 l.number, file, *first);
        }
        apr_hash_set(seen, apr_pstrdup(pool, l.token), APR_HASH_KEY_STRING,
                     apr_pmemdup(pool, &l.number, sizeof(l.number)));
    }
    apr_file_close(l.file);
    return error;
}

/* Whether two tokens are the same. Compare them in constant time, because a token can be a
 * secret. */
static int target_same(const char *a, const char *b)
{
    size_t len = strlen(a);
    unsigned char differ = 0;

    if (strlen(b) != len) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        differ |= (unsigned char)(a[i] ^ b[i]);
    }
    return differ == 0;
}

const char *tcp_tokens_find(apr_pool_t *pool, const char *file, const char *token,
                            const char **error)
{
    const char *target = NULL;
    line l;

    if ((*error = target_tokens_open(&l, pool, file))) {
        return NULL;
    }
    while (!target && !*error && target_line_next(&l)) {
        if (!target_same(l.token, token)) {
            continue;
        }
        if (l.wrong) {
            *error = apr_psprintf(pool, "line %d of %s: %s", l.number, file, l.wrong);
        }
        else {
            target = apr_pstrdup(pool, l.target);
        }
    }
    apr_file_close(l.file);
    return target;
}
