/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The client's opening handshake: writes the request, and parses the response strictly. */

#include "protocol/client_handshake.h"

#include <apr_base64.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "protocol/handshake.h"

void ws_key_text(const unsigned char random[16], char out[WS_KEY_SIZE])
{
    apr_base64_encode_binary(out, random, 16);
}

/* ---- The request ---- */

const char *ws_header_wrong(const char *name, const char *value)
{
    static const char *const own[] = {"Upgrade", "Connection", "Content-Length",
                                      "Transfer-Encoding"};
    if (!ws_is_token(name, strlen(name))) {
        return "the name of an additional header is not a token";
    }
    for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
        if (!strcasecmp(name, own[i])) {
            return "an additional header is reserved for the handshake";
        }
    }
    if (!strncasecmp(name, "Sec-WebSocket-", 14)) {
        return "an additional header is reserved for the handshake";
    }
    for (; *value; value++) {
        if (((unsigned char)*value < ' ' && *value != '\t') || *value == 127) {
            return "the value of an additional header has a control character";
        }
    }
    return NULL;
}

typedef struct writer {
    char *out;
    size_t len, size;
} writer;

__attribute__((format(printf, 2, 3))) static void chs_put(writer *w, const char *format, ...)
{
    va_list args;
    int n;
    va_start(args, format);
    n = vsnprintf(w->len < w->size ? w->out + w->len : NULL,
                  w->len < w->size ? w->size - w->len : 0, format, args);
    va_end(args);
    w->len += n > 0 ? (size_t)n : 0;
}

static void chs_put_header(writer *w, const char *name, const char *value)
{
    if (value && *value) {
        chs_put(w, "%s: %s\r\n", name, value);
    }
}

static int chs_has_header(const ws_client_request *ask, const char *name)
{
    for (const char *const *h = ask->headers; h && *h; h += 2) {
        if (!strcasecmp(*h, name)) {
            return 1;
        }
    }
    return 0;
}

size_t ws_client_request_write(const ws_client_request *ask, char *out, size_t size)
{
    writer w = {out, 0, size};
    chs_put(&w, "GET %s HTTP/1.1\r\n", ask->target);
    if (!chs_has_header(ask, "Host")) { /* the caller may override it */
        chs_put_header(&w, "Host", ask->host);
    }
    chs_put(&w, "Upgrade: websocket\r\nConnection: Upgrade\r\n");
    chs_put(&w, "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: %d\r\n", ask->key, ask->version);
    chs_put_header(&w, "Sec-WebSocket-Protocol", ask->protocols);
    chs_put_header(&w, "Sec-WebSocket-Extensions", ask->extensions);
    chs_put_header(&w, ask->version < 13 ? "Sec-WebSocket-Origin" : "Origin", ask->origin);
    if (!chs_has_header(ask, "Authorization")) {
        chs_put_header(&w, "Authorization", ask->authorization);
    }
    for (const char *const *h = ask->headers; h && *h; h += 2) {
        chs_put(&w, "%s: %s\r\n", h[0], h[1]);
    }
    chs_put(&w, "\r\n");
    return w.len;
}

/* ---- The response: RFC 9112, sections 4 and 5 ---- */

size_t ws_client_response_head(const char *data, size_t len)
{
    const char *end = len < 4 ? NULL : memmem(data, len, "\r\n\r\n", 4);
    return end ? (size_t)(end - data) + 4 : 0;
}

static int chs_fail(const char **wrong, const char *text)
{
    *wrong = text;
    return -1;
}

/* Parse one header line without its CRLF. @return NULL, or the error */
static const char *chs_take_line(ws_client_response *a, char *line, char *end)
{
    char *colon = memchr(line, ':', (size_t)(end - line)), *value;
    if (!colon || !ws_is_token(line, (size_t)(colon - line))) {
        return "a header line of the response has no name or no colon";
    }
    if (a->count == WS_CLIENT_RESPONSE_LINES) {
        return "the response has too many header lines";
    }
    for (char *c = line; c < end; c++) {
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 127) {
            return "a header of the response has control characters";
        }
    }
    value = colon + 1;
    value += strspn(value, " \t");
    while (end > value && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    if (value > end) {
        value = end;
    }
    *colon = *end = '\0';
    a->lines[a->count].name = line;
    a->lines[a->count++].value = value;
    return NULL;
}

/* Find the CRLF at the end of a line. There always is one, because the head ends with a CRLF. */
static char *chs_end_of_line(char *line, const char *end_of_head)
{
    return memmem(line, (size_t)(end_of_head - line), "\r\n", 2);
}

int ws_client_response_parse(ws_client_response *a, char *head, size_t len, const char **wrong)
{
    char *line, *last = head + len - 2, *end;
    const char *problem;
    int digits;

    a->count = 0;
    a->status = 0;
    if (memchr(head, '\0', len)) {
        return chs_fail(wrong, "a header of the response has control characters");
    }
    if (strncmp(head, "HTTP/1.", 7)) {
        return chs_fail(wrong, "the response is not HTTP/1.1");
    }
    if (head[7] != '0' && head[7] != '1') {
        return chs_fail(wrong, "the response is not HTTP/1.1");
    }
    line = head + 8 + strspn(head + 8, " ");
    for (digits = 0; digits < 3 && line[digits] >= '0' && line[digits] <= '9'; digits++) {
        a->status = 10 * a->status + line[digits] - '0';
    }
    if (head[8] != ' ' || digits < 3 || (line[3] != ' ' && line[3] != '\r') || a->status < 100) {
        return chs_fail(wrong, "the response has no valid status line");
    }
    end = chs_end_of_line(line, head + len);
    a->reason = line[3] == ' ' ? line + 4 : end;
    *end = '\0';
    line = end + 2;
    for (; line < last; line = end + 2) {
        end = chs_end_of_line(line, head + len);
        if ((problem = chs_take_line(a, line, end))) {
            return chs_fail(wrong, problem);
        }
    }
    return 0;
}

const char *ws_client_response_header(const ws_client_response *a, const char *name, size_t *at)
{
    for (; *at < a->count; ++*at) {
        if (!strcasecmp(a->lines[*at].name, name)) {
            return a->lines[(*at)++].value;
        }
    }
    return NULL;
}

/* Get the value of a header that must not be repeated. *twice: set to 1 if the header is
 * repeated */
static const char *chs_only(const ws_client_response *a, const char *name, int *twice)
{
    size_t at = 0;
    const char *value = ws_client_response_header(a, name, &at);
    *twice = value && ws_client_response_header(a, name, &at);
    return value;
}

/* Whether any header of this name contains an element, ignoring case. */
static int chs_names(const ws_client_response *a, const char *name, const char *element)
{
    size_t at = 0;
    const char *value;
    while ((value = ws_client_response_header(a, name, &at))) {
        if (ws_header_list_has(value, element, strlen(element), 1)) {
            return 1;
        }
    }
    return 0;
}

int ws_client_response_check(const ws_client_response *a, const ws_client_request *ask,
                             const char **protocol, const char **wrong)
{
    char accept[WS_ACCEPT_SIZE];
    const char *value;
    int twice;
    size_t at = 0;

    *protocol = NULL;
    value = chs_only(a, "Upgrade", &twice);
    if (!value || twice || strcasecmp(value, "websocket")) {
        return chs_fail(wrong, "the response's Upgrade is not \"websocket\"");
    }
    if (!chs_names(a, "Connection", "upgrade")) {
        return chs_fail(wrong, "the response's Connection does not contain \"upgrade\"");
    }
    value = chs_only(a, "Sec-WebSocket-Accept", &twice);
    if (!value || twice) {
        return chs_fail(wrong, "the response does not have exactly one Sec-WebSocket-Accept");
    }
    ws_accept_key(ask->key, accept);
    if (strcmp(value, accept)) {
        return chs_fail(wrong, "Sec-WebSocket-Accept does not match the key");
    }
    value = chs_only(a, "Sec-WebSocket-Protocol", &twice);
    if (twice
        || (value
            && (!ask->protocols || !ws_header_list_has(ask->protocols, value, strlen(value), 0)))) {
        return chs_fail(wrong, "the server chose a subprotocol that was not offered");
    }
    *protocol = value;
    if (!ask->extensions && ws_client_response_header(a, "Sec-WebSocket-Extensions", &at)) {
        return chs_fail(wrong, "the server chose an extension that was not offered");
    }
    return 0;
}
