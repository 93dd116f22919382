/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Collects an application's answer, with limits on its headers and body. It checks all headers
 *  before the first takes effect, because one invalid header makes the whole answer invalid. */

#include "answer.h"
#include "websocket_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEAD_MAX (64 * 1024)
#define STATE_MAX 4096

void answer_fail(answer *a, answer_kind kind, const char *why)
{
    a->kind = kind;
    snprintf(a->error, sizeof(a->error), "%s", why);
}

static size_t answer_body(char *data, size_t size, size_t n, void *arg)
{
    answer *a = arg;
    (void)size;
    if (n > a->max - a->len) {
        answer_fail(a, ANSWER_BAD, "the body is longer than the limit set by longest=");
        return 0;
    }
    if (a->len + n + 1 > a->size) {
        size_t more = 2 * (a->len + n + 1);
        char *body = realloc(a->body, more);
        if (!body) {
            answer_fail(a, ANSWER_BAD, "out of memory");
            return 0;
        }
        a->body = body;
        a->size = more;
    }
    memcpy(a->body + a->len, data, n);
    a->len += n;
    a->body[a->len] = '\0';
    return n;
}

static size_t answer_head(char *data, size_t size, size_t n, void *arg)
{
    answer *a = arg;
    (void)size;
    a->head += n;
    a->head_ended = n && (*data == '\r' || *data == '\n');
    if (a->head > HEAD_MAX) {
        answer_fail(a, ANSWER_BAD, "the headers have more than 64 KiB");
        return 0;
    }
    return n;
}

void answer_expect(answer *a, CURL *easy, size_t max)
{
    a->max = max;
    a->keepalive = -1;
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, answer_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, answer_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, a);
}

const char *answer_header(CURL *easy, const char *name, size_t index)
{
    struct curl_header *h;
    return curl_easy_header(easy, name, index, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : NULL;
}

static char *answer_copy(CURL *easy, const char *name)
{
    const char *value = answer_header(easy, name, 0);
    return value ? strdup(value) : NULL;
}

void answer_append(answer *a, struct curl_slist **list, const char *value)
{
    struct curl_slist *longer = curl_slist_append(*list, value);
    if (!longer) {
        answer_fail(a, ANSWER_BAD, "out of memory");
        return;
    }
    *list = longer;
}

/* Collect the channel names in all headers of this name. Names are separated by commas and
 * blanks. */
static void answer_names(answer *a, CURL *easy, const char *header, struct curl_slist **list)
{
    const char *value;
    for (size_t i = 0; (value = answer_header(easy, header, i)); i++) {
        char *copy = strdup(value), *rest = copy, *name;
        while (copy && (name = strsep(&rest, ", "))) {
            if (*name && !ws_channel_valid(name)) {
                answer_fail(a, ANSWER_BAD, "it names an invalid channel");
            }
            else if (*name) {
                answer_append(a, list, name);
            }
        }
        free(copy);
    }
}

int answer_close_code_valid(long code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}

static void answer_close(answer *a, const char *value)
{
    size_t digits = strcspn(value, " ");
    const char *end = value + digits;
    char code[8] = "";
    apr_int64_t n = 0;
    if (digits < sizeof(code)) {
        memcpy(code, value, digits);
    }
    if (ws_parse_count(NULL, code, 0, 4999, &n) || !answer_close_code_valid((int)n)) {
        answer_fail(a, ANSWER_BAD,
                    "WebSocket-Close must be a valid close code, or a code, a space and a reason");
        return;
    }
    a->close = (int)n;
    a->reason = strdup(*end ? end + 1 : end);
    if (a->reason && ws_text_prefix(a->reason, strlen(a->reason), 123) < strlen(a->reason)) {
        answer_fail(a, ANSWER_BAD,
                    "the reason of WebSocket-Close must be UTF-8 and have at most 123 bytes");
    }
}

int answer_is(const char *type, const char *name)
{
    size_t len = strlen(name);
    return !strncasecmp(type, name, len) && (!type[len] || strchr("; ", type[len]));
}

static void answer_type(answer *a, const char *type)
{
    a->type = answer_is(type, "application/octet-stream") ? WS_BINARY : WS_TEXT;
    a->html = answer_is(type, "text/html");
}

static void answer_check_type(answer *a, const char *type)
{
    if (!a->len) {
        return;
    }
    if (a->type == WS_TEXT && strncasecmp(type, "text/", 5)
        && !answer_is(type, "application/json")) {
        answer_fail(a, ANSWER_BAD,
                    "its Content-Type must be text, application/json or application/octet-stream");
    }
    else if (a->type == WS_TEXT && ws_text_prefix(a->body, a->len, a->len) < a->len) {
        answer_fail(a, ANSWER_BAD, "its text is not UTF-8");
    }
}

static void answer_orders(answer *a, CURL *easy)
{
    const char *value;
    answer_names(a, easy, "WebSocket-Subscribe", &a->subscribe);
    answer_names(a, easy, "WebSocket-Unsubscribe", &a->unsubscribe);
    if ((value = answer_header(easy, "WebSocket-Close", 0))) {
        answer_close(a, value);
    }
    a->publish = answer_copy(easy, "WebSocket-Publish");
    if (a->publish && !ws_channel_valid(a->publish)) {
        answer_fail(a, ANSWER_BAD, "it names an invalid channel");
    }
    value = answer_header(easy, "WebSocket-Framing", 0);
    a->lines = value && !strcasecmp(value, "line");
    if (value && !a->lines) {
        answer_fail(a, ANSWER_BAD, "WebSocket-Framing must be \"line\"");
    }
    a->protocol = answer_copy(easy, "WebSocket-Protocol");
    a->state = answer_copy(easy, "WebSocket-State");
    if (a->state && strlen(a->state) > STATE_MAX) {
        answer_fail(a, ANSWER_BAD, "WebSocket-State has more than 4096 bytes");
    }
    for (size_t i = 0; (value = answer_header(easy, "Set-Cookie", i)); i++) {
        char *line = NULL;
        if (asprintf(&line, "Set-Cookie: %s", value) >= 0) {
            answer_append(a, &a->headers, line);
            free(line);
        }
    }
}

void answer_read_form(answer *a, CURL *easy)
{
    const char *type = answer_header(easy, "Content-Type", 0);
    answer_check_type(a, type ? type : "text/plain");
    if (a->kind == ANSWER_GOOD) {
        answer_orders(a, easy);
    }
}

/* Change the type of a refusal's body to binary if the body is not text in UTF-8. The client gets
 * the body only if its type is text. */
static void answer_read_page(answer *a, CURL *easy)
{
    const char *type = answer_header(easy, "Content-Type", 0);
    if (a->type == WS_TEXT
        && ((type && strncasecmp(type, "text/", 5))
            || ws_text_prefix(a->body ? a->body : "", a->len, a->len) < a->len)) {
        a->type = WS_BINARY;
    }
}

int answer_read(answer *a, CURL *easy, CURLcode code)
{
    const char *type = answer_header(easy, "Content-Type", 0);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &a->status);
    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &a->asked);
    if (a->kind == ANSWER_BAD) { /* the callbacks in this file have refused the answer */
        return 0;
    }
    if (code != CURLE_OK) {
        answer_fail(a, ANSWER_DOWN, curl_easy_strerror(code));
        return 0;
    }
    if (!a->head_ended) { /* libcurl does not report this as an error */
        answer_fail(a, ANSWER_DOWN, "its headers are truncated");
        return 0;
    }
    answer_type(a, type ? type : "text/plain");
    if (a->status >= 200 && a->status < 300) {
        return 1;
    }
    answer_read_page(a, easy);
    snprintf(a->error, sizeof(a->error), "status %ld", a->status);
    a->kind = a->status >= 502 && a->status <= 504  ? ANSWER_DOWN
              : a->status >= 400 && a->status < 500 ? ANSWER_REFUSAL
                                                    : ANSWER_BAD;
    return 0;
}

void answer_free(answer *a)
{
    free(a->body);
    free(a->reason);
    free(a->publish);
    free(a->protocol);
    free(a->state);
    free(a->prefix);
    curl_slist_free_all(a->headers);
    curl_slist_free_all(a->meta);
    curl_slist_free_all(a->subscribe);
    curl_slist_free_all(a->unsubscribe);
    memset(a, 0, sizeof(*a));
}
