/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Reads the body of a response with which a server or proxy refuses the handshake (RFC 9112,
 * section 6), then calls on_response. The option max_body limits the body.
 */

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "client/connector.h"

/* Maximum length of the line with a chunk's size and extensions, bytes. */
#define CHUNK_LINE 256

void ws_connector_tell_response(ws_connector *t)
{
    const ws_client_response *a = &t->answer;
    const char **headers = apr_palloc(t->once, (2 * a->count + 1) * sizeof(char *));
    const ws_response response = {.status = a->status,
                                  .proxy = t->stage == WS_AT_PROXY || t->body.proxy,
                                  .request = t->out,
                                  .reason = a->reason,
                                  .headers = headers,
                                  .body = t->body.len ? t->in : "",
                                  .body_len = t->body.len,
                                  .body_cut = t->body.cut};
    for (size_t i = 0; i < a->count; i++) {
        headers[2 * i] = a->lines[i].name;
        headers[2 * i + 1] = a->lines[i].value;
    }
    headers[2 * a->count] = NULL;
    if (t->o.on_response) {
        t->o.on_response(t->o.data, &response);
    }
}

/* Remove the first n of the bytes that have not been decoded yet. */
static void body_drop(ws_connector *t, apr_size_t n)
{
    char *raw = t->in + t->body.len;
    t->in_len -= n;
    memmove(raw, raw + n, t->in_len - t->body.len);
}

static void body_take_plain(ws_connector *t)
{
    ws_body *b = &t->body;
    apr_size_t n = t->in_len - b->len;
    n = n < b->left ? n : (apr_size_t)b->left;
    b->len += n;
    b->left -= b->left == WS_BODY_TO_END ? 0 : n;
}

static void body_give_up(ws_body *b)
{
    b->cut = b->over = 1;
}

/* Parse a chunk's size, after which an extension may follow. @return whether it is valid */
static int body_parse_size(const char *line, apr_uint64_t *size)
{
    size_t digits = strspn(line, "0123456789abcdefABCDEF");
    const char *end = line + digits + strspn(line + digits, " \t");
    return (*end == ';' || *end == '\r') && ws_parse_hex(line, digits, size)
           && *size <= APR_INT64_MAX;
}

/* Read the line before a chunk. @return whether it is complete */
static int body_take_size(ws_connector *t)
{
    ws_body *b = &t->body;
    char *raw = t->in + b->len;
    char *line_end = memmem(raw, t->in_len - b->len, "\r\n", 2);
    if (!line_end || line_end - raw > CHUNK_LINE || !body_parse_size(raw, &b->left)) {
        if (line_end || t->in_len - b->len > CHUNK_LINE) {
            body_give_up(b);
        }
        return 0;
    }
    b->in_chunk = b->left > 0;
    b->over = b->left == 0;
    body_drop(t, (apr_size_t)(line_end + 2 - raw));
    return 1;
}

static void body_take_chunks(ws_connector *t)
{
    ws_body *b = &t->body;
    while (!b->over) {
        if (!b->in_chunk && !body_take_size(t)) {
            return;
        }
        body_take_plain(t);
        if (b->left > 0 || b->over) {
            return;
        }
        if (b->in_chunk) { /* the CRLF that ends a chunk has to be skipped */
            if (t->in_len - b->len < 2) {
                return;
            }
            if (memcmp(t->in + b->len, "\r\n", 2) != 0) {
                body_give_up(b);
                return;
            }
            body_drop(t, 2);
            b->in_chunk = 0;
        }
    }
}

static void body_decode(ws_connector *t)
{
    ws_body *b = &t->body;
    if (b->chunked) {
        body_take_chunks(t);
    }
    else {
        body_take_plain(t);
        b->over = b->left == 0;
    }
    if (b->len > t->o.max_body) {
        b->len = t->o.max_body;
        body_give_up(b);
    }
}

void ws_connector_body_over(ws_connector *t)
{
    int status = t->body.status, proxy = t->body.proxy;
    ws_connector_tell_response(t);
    if (t->stage == WS_AT_END) { /* on_response has cancelled the attempt */
        return;
    }
    ws_connector_fail(t, status, proxy ? "proxy: it answered %d" : "handshake: server answered %d",
                      status);
}

void ws_connector_body_came(ws_connector *t)
{
    for (;;) {
        apr_ssize_t got;
        body_decode(t);
        if (t->body.over) {
            break;
        }
        if ((got = ws_connector_receive(t)) == 0) {
            return;
        }
        if (got < 0) {
            t->body.cut = got != -1 || t->body.left != WS_BODY_TO_END;
            break;
        }
    }
    ws_connector_body_over(t);
}

/* Get the body's length from Content-Length. If that is invalid, none of the body is used. */
static void body_read_length(ws_connector *t)
{
    ws_body *b = &t->body;
    size_t at = 0;
    const char *length = ws_client_response_header(&t->answer, "Content-Length", &at);
    apr_int64_t n = 0;
    if (length && ws_parse_count(NULL, length, 0, APR_INT64_MAX, &n)) {
        body_give_up(b);
    }
    b->left = length ? (apr_uint64_t)n : WS_BODY_TO_END;
}

void ws_connector_refused(ws_connector *t)
{
    size_t at = 0;
    const char *coding = ws_client_response_header(&t->answer, "Transfer-Encoding", &at);
    ws_body *b = &t->body;
    memset(b, 0, sizeof(*b));
    b->status = t->answer.status;
    b->proxy = t->stage == WS_AT_PROXY;
    b->chunked = coding && !strcasecmp(coding, "chunked");
    if (!b->chunked) {
        body_read_length(t);
    }
    t->in_max = t->o.max_body + t->o.max_answer;
    t->stage = WS_AT_BODY;
    if (!t->o.on_response || !t->o.max_body || b->status == 204 || b->status == 304) {
        ws_connector_body_over(t);
        return;
    }
    ws_connector_body_came(t);
}
