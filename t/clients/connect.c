/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This program opens and uses connections as the test of libwsclient commands. Each line of input
 * is a command. For each event the program prints a line that starts with the connection's name.
 * "all" closes all connections.
 *
 *   connect NAME URL [OPTION=VALUE]...   send NAME TEXT   bytes NAME COUNT   parts NAME COUNT TEXT
 *   ping NAME   close NAME CODE REASON   cancel NAME   all CODE REASON
 */

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "websocket_client.h"

#define LINE 65536
#define WORDS 64

/* A connection, or an attempt to connect. It is freed only when the program ends, so that its name
 * stays valid. */
typedef struct named {
    struct named *next;
    char name[32];
    ws_id id;
    ws_attempt attempt;
    int retry; /* number of times that on_failure still connects again */
    ws_connect_options again;
    char url[1024];
    const char *headers[9], *connect_to[2];
    char strings[4096];
} named;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static named *all;

__attribute__((format(printf, 2, 3))) static void say(const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    flockfile(stdout);
    printf("%s ", name);
    vprintf(format, args);
    putchar('\n');
    fflush(stdout);
    funlockfile(stdout);
    va_end(args);
}

static char pattern(apr_size_t i)
{
    return (char)(i * 31 + (i >> 8));
}

/* ---- Callbacks ---- */

static const char *name_of(ws_conn *c)
{
    return ((named *)ws_data(c))->name;
}

static const char *or_dash(const char *s)
{
    return s ? s : "-";
}

static void on_open(ws_conn *c)
{
    named *n = ws_data(c);
    say(n->name, "open version=%d secure=%d protocol=%s peer=%s uri=%s args=%s host=%s server=%s",
        ws_version(c), ws_secure(c), or_dash(ws_protocol(c)), or_dash(ws_peer(c)), ws_uri(c),
        or_dash(ws_args(c)), or_dash(ws_vhost(c)), or_dash(ws_header(c, "X-Kept")));
    pthread_mutex_lock(&lock);
    n->id = ws_conn_id(c);
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&lock);
}

static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    apr_size_t wrong = 0;
    if (type == WS_TEXT) {
        say(name_of(c), "text %.*s", (int)len, data);
        return;
    }
    for (apr_size_t i = 0; i < len; i++) {
        wrong += data[i] != pattern(i);
    }
    say(name_of(c), "binary %lu, %lu wrong", (unsigned long)len, (unsigned long)wrong);
}

static void on_pong(ws_conn *c, const char *data, apr_size_t len)
{
    if (len) { /* an empty Pong answers a Ping that the engine has sent */
        say(name_of(c), "pong %.*s", (int)len, data);
    }
}

static void on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    say(name_of(c), "close %d %.*s", code, (int)len, reason);
}

static const ws_handler handler = {.on_open = on_open,
                                   .on_message = on_message,
                                   .on_pong = on_pong,
                                   .on_close = on_close,
                                   .keep_headers = "X-Kept"};
static const ws_handler blocking = {.flags = WS_BLOCKING,
                                    .on_open = on_open,
                                    .on_message = on_message,
                                    .on_pong = on_pong,
                                    .on_close = on_close,
                                    .keep_headers = "X-Kept"};

static void on_failure(void *data, const char *reason, int status)
{
    named *n = data;
    say(n->name, "failed %d %s", status, reason);
    if (n->retry) {
        n->retry--;
        n->attempt = ws_connect(NULL, &n->again);
    }
}

static void on_response(void *data, const ws_response *r)
{
    named *n = data;
    const char *kept = "-";
    for (const char *const *h = r->headers; *h; h += 2) {
        kept = strcmp(h[0], "X-Kept") ? kept : h[1];
    }
    say(n->name, "answered %d %s%s kept=%s body=%.*s%s", r->status, r->proxy ? "proxy " : "",
        r->reason, kept, (int)r->body_len, r->body, r->body_cut ? "..." : "");
}

/* ---- Commands ---- */

static named *find(const char *name)
{
    named *n;
    for (n = all; n && strcmp(n->name, name); n = n->next) {
    }
    if (!n) {
        say(name, "is unknown");
    }
    return n;
}

static void set_option(named *n, char **strings, const char *option)
{
    static const struct {
        const char *name;
        size_t offset;
        enum { STRING, INT, UINT, UINT64, SIZE } type;
    } fields[] = {
#define F(name, type) {#name, offsetof(ws_connect_options, name), type}
        F(version, INT),         F(protocols, STRING),     F(origin, STRING),
        F(deflate, INT),         F(ca_file, STRING),       F(certificate, STRING),
        F(key, STRING),          F(server_name, STRING),   F(insecure, INT),
        F(proxy, STRING),        F(source, STRING),        F(redirects, UINT),
        F(lookup_timeout, UINT), F(connect_timeout, UINT), F(handshake_timeout, UINT),
        F(close_timeout, UINT),  F(ping_interval, UINT),   F(ping_grace, UINT),
        F(max_answer, SIZE),     F(max_message, UINT64),   F(max_frame, UINT64),
        F(send_queue, SIZE),     F(fragment, SIZE),        F(proxy_environment, INT),
        F(unix_socket, STRING),  F(key_log, STRING),       F(max_body, SIZE)};
    const char *equals = strchr(option, '='), *value = equals ? equals + 1 : "";
    size_t len = equals ? (size_t)(equals - option) : strlen(option);
    char *o = (char *)&n->again;

    if (!strncmp(option, "retry=", 6)) {
        n->retry = atoi(value);
        return;
    }
    if (!strncmp(option, "blocking=", 9)) {
        n->again.handler = &blocking;
        return;
    }
    if (!strncmp(option, "answers=", 8)) {
        n->again.on_response = on_response;
        return;
    }
    if (!strncmp(option, "connect_to=", 11)) {
        n->connect_to[0] = strcpy(*strings, value);
        *strings += strlen(value) + 1;
        n->again.connect_to = n->connect_to;
        return;
    }
    if (!strncmp(option, "header=", 7)) { /* format: header=Name:value */
        int i = 0;
        while (n->headers[i]) {
            i += 2;
        }
        n->headers[i] = strcpy(*strings, value);
        *strings += strlen(value) + 1;
        *strchr(n->headers[i], ':') = '\0';
        n->headers[i + 1] = n->headers[i] + strlen(n->headers[i]) + 1;
        n->again.headers = n->headers;
        return;
    }
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        if (strlen(fields[i].name) == len && !strncmp(option, fields[i].name, len)) {
            switch (fields[i].type) {
            case STRING:
                *(const char **)(o + fields[i].offset) = strcpy(*strings, value);
                *strings += strlen(value) + 1;
                return;
            case INT:
                *(int *)(o + fields[i].offset) = atoi(value);
                return;
            case UINT:
                *(unsigned *)(o + fields[i].offset) = (unsigned)strtoul(value, NULL, 10);
                return;
            case UINT64:
                *(apr_uint64_t *)(o + fields[i].offset) = strtoull(value, NULL, 10);
                return;
            case SIZE:
                *(apr_size_t *)(o + fields[i].offset) = strtoull(value, NULL, 10);
                return;
            }
        }
    }
    say(n->name, "has no option %s", option);
}

static void do_connect(char **words, int count)
{
    named *n = calloc(1, sizeof(*n));
    char *strings = n->strings;
    snprintf(n->name, sizeof(n->name), "%s", words[1]);
    snprintf(n->url, sizeof(n->url), "%s", words[2]);
    n->again = (ws_connect_options){.size = sizeof(n->again),
                                    .url = n->url,
                                    .handler = &handler,
                                    .data = n,
                                    .on_failure = on_failure};
    for (int i = 3; i < count; i++) {
        set_option(n, &strings, words[i]);
    }
    n->next = all;
    all = n;
    if (!(n->attempt = ws_connect(NULL, &n->again))) {
        say(n->name, "cannot start an attempt");
    }
}

/* @return the rest of a line after this number of words */
static char *behind(char *line, int words)
{
    for (; words > 0 && line; words--) {
        if ((line = strchr(line, ' '))) {
            line++;
        }
    }
    return line ? line : "";
}

static ws_id id_of(named *n)
{
    pthread_mutex_lock(&lock);
    while (!n->id) {
        pthread_cond_wait(&opened, &lock);
    }
    pthread_mutex_unlock(&lock);
    return n->id;
}

typedef struct parts {
    int count;
    char text[];
} parts;

static void send_parts(ws_conn *c, void *arg)
{
    parts *p = arg;
    for (int i = 0; c && i < p->count; i++) {
        ws_send_part(c, WS_TEXT, p->text, strlen(p->text),
                     (i == 0 ? WS_FIRST : 0) | (i == p->count - 1 ? WS_LAST : 0));
    }
    free(p);
}

static void send_ping(ws_conn *c, void *arg)
{
    (void)arg;
    if (c) {
        ws_ping(c, "ping", 4);
    }
}

static void command(ws_client *client, char *line)
{
    static char copy[LINE];
    char *words[WORDS], *save = NULL;
    int count = 0;
    named *n;
    strcpy(copy, line);
    for (char *w = strtok_r(copy, " ", &save); w && count < WORDS; w = strtok_r(NULL, " ", &save)) {
        words[count++] = w;
    }
    if (count < 2) {
        return;
    }
    if (!strcmp(words[0], "connect")) {
        do_connect(words, count);
        return;
    }
    if (!strcmp(words[0], "all")) {
        ws_client_close_all(client, atoi(words[1]), behind(line, 2));
        return;
    }
    if (!(n = find(words[1]))) {
        return;
    }
    if (!strcmp(words[0], "send")) {
        ws_send_to(id_of(n), WS_TEXT, behind(line, 2), strlen(behind(line, 2)));
    }
    else if (!strcmp(words[0], "bytes")) {
        apr_size_t len = strtoull(words[2], NULL, 10);
        char *data = malloc(len + 1);
        for (apr_size_t i = 0; i < len; i++) {
            data[i] = pattern(i);
        }
        ws_send_to(id_of(n), WS_BINARY, data, len);
        free(data);
    }
    else if (!strcmp(words[0], "parts")) {
        parts *p = malloc(sizeof(*p) + strlen(line));
        p->count = atoi(words[2]);
        strcpy(p->text, behind(line, 3));
        ws_run(id_of(n), send_parts, p);
    }
    else if (!strcmp(words[0], "ping")) {
        ws_run(id_of(n), send_ping, NULL);
    }
    else if (!strcmp(words[0], "close")) {
        ws_close_id(id_of(n), atoi(words[2]), behind(line, 3));
    }
    else if (!strcmp(words[0], "cancel")) {
        ws_connect_cancel(n->attempt);
        say(n->name, "cancelled");
    }
}

static void show(ws_log_level level, const ws_conn *c, const char *text)
{
    (void)level, (void)c;
    fprintf(stderr, "# %s\n", text);
}

int main(void)
{
    static char line[LINE];
    const ws_client_options options = {
        .size = sizeof(options), .loops = 2, .log = show, .log_level = WS_LOG_DEBUG};
    const ws_client_options wrong = {.size = sizeof(wrong), .loops = 65};
    ws_client *client, *second;
    if (ws_client_create(&client, &wrong) != APR_EINVAL
        || ws_client_create(&client, NULL) != APR_SUCCESS) {
        return 1;
    }
    if (ws_client_create(&second, NULL) != APR_EEXIST || !ws_client_wait(client, WS_NEVER)) {
        return 1;
    }
    ws_client_free(client);
    if (ws_client_create(&client, &options) != APR_SUCCESS) {
        return 1;
    }
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        command(client, line);
    }
    ws_client_free(client);
    while (all) {
        named *n = all;
        all = n->next;
        free(n);
    }
    printf("- end\n");
    return 0;
}
