/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This handler receives and sends messages that are larger than memory. When a binary message
 * ends, it answers with the length in bytes, and "right" if each byte was the low byte of its
 * offset, otherwise "wrong". A text message is a number of KiB; it answers with a binary message
 * of that length, in parts.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mod_websocket.h"

#define PART (64 * 1024)
#define TURN 16

typedef struct {
    apr_uint64_t came; /* number of received bytes of the current message */
    int wrong;
    apr_uint64_t due, sent; /* outgoing message: its length, and the number of sent bytes */
} stream;

static char pattern[PART + 256];

static apr_status_t start(apr_pool_t *pchild, void *config, ws_location *here)
{
    (void)pchild, (void)config, (void)here;
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (char)i;
    }
    return APR_SUCCESS;
}

static void on_open(ws_conn *c)
{
    ws_set_data(c, calloc(1, sizeof(stream)));
}

static void go_on(ws_conn *c, void *arg);

/* Send parts until the queue is full, but at most TURN parts: then the loop serves its other
 * connections before go_on() sends more. */
static void pour(ws_conn *c)
{
    stream *s = ws_data(c);
    ws_status status = WS_SENT;
    for (int i = 0; i < TURN && s->sent < s->due && status == WS_SENT; i++) {
        apr_size_t n = s->due - s->sent < PART ? (apr_size_t)(s->due - s->sent) : PART;
        unsigned where = (s->sent ? 0 : WS_FIRST) | (s->sent + n == s->due ? WS_LAST : 0);
        status = ws_send_part(c, WS_BINARY, pattern, n, where);
        s->sent += n;
    }
    if (status < 0) {
        ws_close(c, WS_CLOSE_INTERNAL, "the server could not send a part");
    }
    else if (status == WS_SENT && s->sent < s->due) {
        ws_run(ws_conn_id(c), go_on, NULL);
    }
}

static void go_on(ws_conn *c, void *arg)
{
    (void)arg;
    if (c) {
        pour(c);
    }
}

static void on_frame(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    stream *s = ws_data(c);
    if (type == WS_TEXT) {
        char number[32];
        snprintf(number, sizeof(number), "%.*s", (int)len, data);
        s->sent = 0;
        s->due = strtoull(number, NULL, 10) * 1024;
        pour(c);
        return;
    }
    if (where & WS_FIRST) {
        s->came = 0;
        s->wrong = 0;
    }
    while (len > 0) {
        apr_size_t n = len < PART ? len : PART;
        s->wrong |= memcmp(data, pattern + (s->came & 0xFF), n) != 0;
        s->came += n;
        data += n;
        len -= n;
    }
    if (where & WS_LAST) {
        char text[64];
        int n = snprintf(text, sizeof(text), "%llu bytes, %s", (unsigned long long)s->came,
                         s->wrong ? "wrong" : "right");
        ws_send(c, WS_TEXT, text, (apr_size_t)n);
    }
}

static void on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    (void)code, (void)reason, (void)len;
    free(ws_data(c));
}

WS_HANDLER(stream) = {.flags = WS_ANY_SIZE,
                      .start = start,
                      .on_open = on_open,
                      .on_drain = pour,
                      .on_close = on_close,
                      .on_frame = on_frame};
