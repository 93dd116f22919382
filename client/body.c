/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Reads the body of a response with which a server or proxy refuses the handshake (RFC 9112,
 * section 6), then calls on_response. The option max_body limits the body.
 */

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

/* Read the line before a chunk. @return whether it is complete */
static int body_take_size(ws_connector *t)
{
    ws_body *b = &t->body;
    char *raw = t->in + b->len, *end;
    char *line_end = memmem(raw, t->in_len - b->len, "\r\n", 2);
    if (!line_end || line_end - raw > CHUNK_LINE || !strchr("0123456789abcdefABCDEF", *raw)) {
        if (line_end || t->in_len - b->len > CHUNK_LINE) {
            body_give_up(b);
        }
        return 0;
    }
    b->left = strtoull(raw, &end, 16);
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

void ws_connector_refused(ws_connector *t)
{
    size_t at = 0;
    const char *coding = ws_client_response_header(&t->answer, "Transfer-Encoding", &at), *length;
    ws_body *b = &t->body;
    at = 0;
    length = ws_client_response_header(&t->answer, "Content-Length", &at);
    memset(b, 0, sizeof(*b));
    b->status = t->answer.status;
    b->proxy = t->stage == WS_AT_PROXY;
    b->chunked = coding && !strcasecmp(coding, "chunked");
    b->left = b->chunked ? 0 : length ? strtoull(length, NULL, 10) : WS_BODY_TO_END;
    t->in_max = t->o.max_body + t->o.max_answer;
    t->stage = WS_AT_BODY;
    if (!t->o.on_response || !t->o.max_body || b->status == 204 || b->status == 304) {
        ws_connector_body_over(t);
        return;
    }
    ws_connector_body_came(t);
}
