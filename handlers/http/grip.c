/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Encodes and decodes events of the WebSocket-over-HTTP protocol. Events of an answer take effect
 * only if the whole answer is well-formed. */

#include "grip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "websocket_parse.h"

/* Maximum length of an event's line, which has the name and up to 16 digits. */
#define LINE_MAX_BYTES 32
#define META_MAX 64
#define KEEPALIVE_MAX (24 * 60 * 60)

static const char *const grip_names[] = {"OPEN", "TEXT",  "BINARY",    "PING",
                                         "PONG", "CLOSE", "DISCONNECT"};

void grip_add(form *f, grip_kind kind, const char *data, size_t len)
{
    char line[LINE_MAX_BYTES];
    int n = data ? snprintf(line, sizeof(line), "%s %zX\r\n", grip_names[kind], len)
                 : snprintf(line, sizeof(line), "%s\r\n", grip_names[kind]);
    form_add_bytes(f, line, (size_t)n);
    if (data) {
        form_add_bytes(f, data, len);
        form_add_bytes(f, "\r\n", 2);
    }
}

void grip_add_close(form *f, int code, const char *reason, size_t len)
{
    char content[2 + 123];
    if (code == WS_CLOSE_ABNORMAL) {
        grip_add(f, GRIP_DISCONNECT, NULL, 0);
        return;
    }
    if (code == WS_CLOSE_NO_STATUS || len > sizeof(content) - 2) {
        grip_add(f, GRIP_CLOSE, NULL, 0);
        return;
    }
    content[0] = (char)(code >> 8);
    content[1] = (char)code;
    memcpy(content + 2, reason, len);
    grip_add(f, GRIP_CLOSE, content, len + 2);
}

static int grip_kind_of(const char *name, size_t len, grip_kind *kind)
{
    for (size_t i = 0; i < sizeof(grip_names) / sizeof(*grip_names); i++) {
        if (strlen(grip_names[i]) == len && !memcmp(grip_names[i], name, len)) {
            *kind = (grip_kind)i;
            return 1;
        }
    }
    return 0;
}

static int grip_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Parse the length of an event. @param max  the largest valid length @return 0: the length is
 * invalid */
static int grip_length(const char *digits, const char *end, size_t max, size_t *len)
{
    *len = 0;
    for (const char *d = digits; d < end; d++) {
        int value = grip_digit(*d);
        if (value < 0 || *len > max) {
            return 0;
        }
        *len = *len * 16 + (size_t)value;
    }
    return digits < end && *len <= max;
}

int grip_next(const char **at, const char *end, grip_event *e)
{
    size_t rest = (size_t)(end - *at), name;
    const char *newline, *line = *at, *space;
    if (!rest) {
        return 0;
    }
    newline = memchr(line, '\n', rest < LINE_MAX_BYTES ? rest : LINE_MAX_BYTES);
    if (!newline || newline == line || newline[-1] != '\r') {
        return -1;
    }
    space = memchr(line, ' ', (size_t)(newline - line));
    name = (size_t)((space ? space : newline - 1) - line);
    *at = newline + 1;
    e->data = NULL;
    e->len = 0;
    if (!grip_kind_of(line, name, &e->kind)) {
        return -1;
    }
    if (space) {
        if (!grip_length(space + 1, newline - 1, (size_t)(end - *at), &e->len)
            || (size_t)(end - *at) - e->len < 2 || memcmp(*at + e->len, "\r\n", 2)) {
            return -1;
        }
        e->data = *at;
        *at += e->len + 2;
    }
    return 1;
}

int grip_close_code(const grip_event *e)
{
    const unsigned char *b = (const unsigned char *)e->data;
    int code = e->len >= 2 ? b[0] << 8 | b[1] : 0;
    if (e->len == 1) {
        return -1;
    }
    if (!code) {
        return WS_CLOSE_NORMAL;
    }
    return answer_close_code_valid(code)
                   && (e->len == 2 || ws_text_prefix(e->data + 2, e->len - 2, 123) == e->len - 2)
               ? code
               : -1;
}

static int grip_text_valid(const grip_event *e)
{
    return !e->data || ws_text_prefix(e->data, e->len, e->len) == e->len;
}

/* ---- The answer ---- */

static void grip_check_events(answer *a, int opening)
{
    const char *at = a->body ? a->body : "", *end = at + a->len;
    grip_event e;
    int found, first = 1;
    while ((found = a->len ? grip_next(&at, end, &e) : 0) > 0) {
        if (opening && first && e.kind != GRIP_OPEN) {
            break;
        }
        first = 0;
        if (e.kind == GRIP_TEXT && !grip_text_valid(&e)) {
            answer_fail(a, ANSWER_BAD, "its text is not UTF-8");
        }
        if (e.kind == GRIP_CLOSE && grip_close_code(&e) < 0) {
            answer_fail(a, ANSWER_BAD, "its CLOSE has a code or a reason that cannot be sent");
        }
    }
    if (found < 0) {
        answer_fail(a, ANSWER_BAD, "its events are malformed or truncated");
    }
    else if (opening && first) {
        answer_fail(a, ANSWER_BAD, "it does not begin with the event OPEN");
    }
}

/* Find "grip; message-prefix=X" in a list of extensions. X may be quoted. */
static void grip_extension(answer *a, const char *value)
{
    const char *prefix;
    size_t len;
    if (strncasecmp(value, "grip", 4) || (value[4] && !strchr("; ,", value[4]))) {
        return;
    }
    a->control = 1;
    prefix = strstr(value, "message-prefix=");
    if (!prefix) {
        a->prefix = strdup("m:");
        return;
    }
    prefix += strlen("message-prefix=");
    prefix += *prefix == '"';
    len = strcspn(prefix, "\";, ");
    a->prefix = strndup(prefix, len);
}

static int grip_is_name(const char *name)
{
    size_t len = strlen(name);
    for (const char *c = name; *c; c++) {
        if (!(*c >= '0' && *c <= '9') && !(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z')
            && *c != '-') {
            return 0;
        }
    }
    return len > 0 && len < 100;
}

/* Whether a header of the answer is copied to the handshake's response. Headers that describe the
 * application's server, its connection or the body are not copied. */
static int grip_relays(const char *name)
{
    static const char *const names[] = {
        "Connection", "Upgrade", "Keep-Alive", "Transfer-Encoding",   "Trailer",
        "TE",         "Date",    "Server",     "Keep-Alive-Interval", NULL};
    static const char *const beginnings[] = {"Content-", "Proxy-",    "Sec-WebSocket-",
                                             "Grip-",    "Set-Meta-", NULL};
    for (const char *const *n = names; *n; n++) {
        if (!strcasecmp(name, *n)) {
            return 0;
        }
    }
    for (const char *const *b = beginnings; *b; b++) {
        if (!strncasecmp(name, *b, strlen(*b))) {
            return 0;
        }
    }
    return 1;
}

static void grip_meta(answer *a, const char *name, const char *value)
{
    char line[1024];
    int n = snprintf(line, sizeof(line), "Meta-%s: %s", name, value);
    if (n >= (int)sizeof(line) || !grip_is_name(name) || ++a->metas > META_MAX) {
        answer_fail(a, ANSWER_BAD,
                    "it has too many Set-Meta- fields, or one that is invalid or too long");
        return;
    }
    answer_append(a, &a->meta, line);
}

static void grip_keepalive(answer *a, const char *value)
{
    apr_int64_t seconds;
    if (ws_parse_count(NULL, value, 0, APR_INT64_MAX, &seconds)) {
        answer_fail(a, ANSWER_BAD, "Keep-Alive-Interval must be a number of seconds");
        return;
    }
    a->keepalive = (long)(seconds > KEEPALIVE_MAX ? KEEPALIVE_MAX : seconds);
}

static void grip_header(answer *a, const struct curl_header *h, int opening)
{
    char line[8192];
    if (!strncasecmp(h->name, "Set-Meta-", 9)) {
        grip_meta(a, h->name + 9, h->value);
    }
    else if (!strcasecmp(h->name, "Keep-Alive-Interval")) {
        grip_keepalive(a, h->value);
    }
    else if (opening && !strcasecmp(h->name, "Sec-WebSocket-Extensions") && !a->control) {
        grip_extension(a, h->value);
    }
    else if (opening && !strcasecmp(h->name, "Sec-WebSocket-Protocol") && !a->protocol) {
        a->protocol = strdup(h->value);
    }
    else if (opening && grip_relays(h->name)) {
        int n = snprintf(line, sizeof(line), "%s: %s", h->name, h->value);
        if (n < (int)sizeof(line)) {
            answer_append(a, &a->headers, line);
        }
    }
}

void grip_read(answer *a, CURL *easy, int opening)
{
    struct curl_header *h = NULL;
    const char *type = answer_header(easy, "Content-Type", 0);
    if ((a->len || opening) && !(type && answer_is(type, GRIP_TYPE))) {
        answer_fail(a, ANSWER_BAD, "its type is not " GRIP_TYPE);
        return;
    }
    grip_check_events(a, opening);
    while (a->kind == ANSWER_GOOD && (h = curl_easy_nextheader(easy, CURLH_HEADER, -1, h))) {
        grip_header(a, h, opening);
    }
}
