/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests framings other than that of RFC 6455: raw bytes, and a line framing, which this test
 *  defines. */

#include "protocol/framing.h"
#include "t/unit/rig.h"

/* ---- A line framing: each line is a text message, but a line that starts with "!" closes ---- */

static size_t lines_max(const void *payload, size_t len)
{
    (void)payload;
    return len + 2;
}

static size_t lines_write(unsigned char *out, unsigned first, const void *payload, size_t len)
{
    size_t n = 0;
    if ((first & 0xF) != WS_OP_CONTINUATION) {
        out[n++] = '>';
    }
    memcpy(out + n, payload, len);
    n += len;
    if (first & WS_FIN) {
        out[n++] = '\n';
    }
    return n;
}

static size_t lines_close(unsigned char *out, int code, const char *reason, size_t len)
{
    return (size_t)snprintf((char *)out, WS_FRAMING_CLOSE_MAX, "bye %d %.*s\n", code, (int)len,
                            reason);
}

static ws_parse_result lines_next(ws_framer *f, unsigned char **data, size_t *len, ws_piece *piece,
                                  ws_parse_error *error)
{
    unsigned char *eol = memchr(*data, '\n', *len);
    size_t n = eol ? (size_t)(eol - *data) : *len;
    if (n > f->max) {
        *error = (ws_parse_error){1009, "line is too long"};
        return WS_PARSE_FAIL;
    }
    if (!eol) {
        return WS_PARSE_MORE;
    }
    *piece = (ws_piece){.opcode = **data == '!' ? WS_OP_CLOSE : WS_OP_TEXT,
                        .flags = WS_MESSAGE_FIRST | WS_MESSAGE_LAST | WS_FRAME_LAST,
                        .data = *data,
                        .len = **data == '!' ? 0 : n};
    *data += n + 1;
    *len -= n + 1;
    return piece->opcode == WS_OP_CLOSE ? WS_PARSE_CONTROL : WS_PARSE_DATA;
}

static int lines_between(const ws_framer *f)
{
    (void)f;
    return 0;
}

static const ws_framing lines = {.size = sizeof(ws_framer) + 8,
                                 .max = lines_max,
                                 .write = lines_write,
                                 .close = lines_close,
                                 .next = lines_next,
                                 .between = lines_between};

/* ---- A handler ---- */

static void obey(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    rec_message(c, type, data, len);
    if (len == 5 && !memcmp(data, "close", 5)) {
        ws_close(c, 4001, "enough");
    }
    else if (len == 5 && !memcmp(data, "parts", 5)) {
        ws_send_part(c, WS_TEXT, "one ", 4, WS_FIRST);
        ws_send_part(c, WS_TEXT, "two ", 4, 0);
        ws_send_part(c, WS_TEXT, "three", 5, WS_LAST);
    }
    else if (len == 4 && !memcmp(data, "half", 4)) {
        ws_send_part(c, WS_TEXT, "one ", 4, WS_FIRST);
        ws_close(c, 1000, "");
    }
    else {
        note(name_of(c), "binary %d", ws_send(c, WS_BINARY, data, len));
        note(name_of(c), "ping %d", ws_ping(c, "", 0));
        ws_send(c, type, data, len);
    }
}

/* The test calls this function with ws_run(): a raw connection delivers no input to the handler. */
static void send_two(ws_conn *c, void *arg)
{
    (void)arg;
    note(name_of(c), "version %d", ws_version(c));
    ws_send(c, WS_TEXT, "data: x\n\n", 9);
    note(name_of(c), "binary %d", ws_send(c, WS_BINARY, "\x80\xFF", 2) >= 0);
    note(name_of(c), "ping %d", ws_ping(c, "", 0));
}

static void close_it(ws_conn *c, void *arg)
{
    (void)arg;
    ws_close(c, 1000, "done");
}

static const ws_handler handler = {.on_open = rec_open, .on_message = obey, .on_close = rec_close};
static const ws_handler blocking = {
    .flags = WS_BLOCKING, .on_open = rec_open, .on_message = obey, .on_close = rec_close};

static ws_id last_id;

static void find(ws_loop *loop, void *arg)
{
    (void)arg;
    last_id = LIST_FIRST(&loop->heads[0])->id;
}

static wire join_by(rig *r, const ws_framing *framing)
{
    int fd[2];
    ws_new_conn n;
    unix_pair(fd);
    n = rig_newcomer(r, fd[1], "a");
    n.version = 0;
    n.framing = framing;
    if (ws_engine_add(r->engine, &n) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    told_is("a", "open", "a connection");
    on_loop_of(r, 0, find, NULL);
    return (wire){.fd = fd[0]};
}

static void comes(wire *w, const char *bytes, const char *name)
{
    size_t len = strlen(bytes);
    wire_need(w, len);
    is_mem(w->in + w->pos, w->len - w->pos < len ? w->len - w->pos : len, bytes, len, "%s", name);
    w->pos += w->len - w->pos < len ? w->len - w->pos : len;
}

static void ends(wire *w, const char *name)
{
    ok(!wire_need(w, 1), "%s: nothing more is sent", name);
    wire_free(w);
}

static void say(wire *w, const char *bytes)
{
    wire_send(w, bytes, strlen(bytes));
}

/* ---- Tests ---- */

static void raw_bytes(rig *r)
{
    wire w = join_by(r, &ws_framing_raw);
    ws_frames *f;
    say(&w, "GET /next HTTP/1.1\r\n\r\n\x81\x00\xff");
    ws_run(last_id, send_two, NULL);
    told_is("a", "version 0", "the version of a raw connection is 0");
    told_is("a", "binary 1", "a raw connection sends binary messages");
    told_is("a", "ping -5", "a raw connection sends no pings");
    comes(&w, "data: x\n\n\x80\xFF", "a raw connection sends bytes without a header");
    ok((f = ws_frames_build(WS_FIN | WS_OP_TEXT, "shared", 6)) != NULL,
       "a frame for several connections is built");
    ws_conn_share_later(last_id, f);
    comes(&w, "shared", "a raw connection sends only its payload");
    ws_run(last_id, close_it, NULL);
    told_is("a", "close 1000 \"done\"", "on_close gets the handler's code");
    ends(&w, "the stream ends without bytes of the close");
}

static void raw_client_goes(rig *r)
{
    wire w = join_by(r, &ws_framing_raw);
    shutdown(w.fd, SHUT_WR);
    told_is("a", "close 1005 \"\"",
            "the end of the client's stream counts as a close without a code");
    ends(&w, "the server ends its stream, too");
}

static void own_messages(rig *r)
{
    wire w = join_by(r, &lines);
    say(&w, "hello\nparts\n");
    told_is("a", "text \"hello\"", "a line is delivered as a message");
    told_is("a", "binary -5", "the line framing has no binary messages");
    told_is("a", "ping -5", "the line framing has no pings");
    comes(&w, ">hello\n", "a message is sent as a line");
    told_is("a", "text \"parts\"", "another");
    comes(&w, ">one two three\n", "a message in parts is sent as a line");
    say(&w, "!\n");
    comes(&w, "bye 1005 \n", "the client's close is answered");
    told_is("a", "close 1005 \"\"", "on_close");
    ends(&w, "after the answer, the stream ends");
}

static void own_close(rig *r)
{
    wire w = join_by(r, &lines);
    say(&w, r->location.handler->flags & WS_BLOCKING ? "close\n" : "close\nlost\n");
    told_is("a", "text \"close\"", "the handler is told to close");
    comes(&w, "bye 4001 enough\n", "the close is written by the line framing");
    told_is("a", "close 4001 \"enough\"", "on_close");
    ends(&w, "the stream ends without an answer of the client");
    w = join_by(r, &lines);
    say(&w, "half\n");
    told_is("a", "text \"half\"", "the handler is told to close inside a message");
    comes(&w, ">one ", "the beginning of the message is sent");
    told_is("a", "close 1000 \"\"", "on_close");
    ends(&w, "the stream ends without a close inside the message");
}

static void own_limits(rig *r)
{
    wire w = join_by(r, &lines);
    say(&w, "0123456789abcdefg\n");
    comes(&w, "bye 1009 line is too long\n", "a line longer than the limit closes the connection");
    told_is("a", "close 1009 \"line is too long\"", "on_close");
    ends(&w, "after the close, the stream ends");
    w = join_by(r, &lines);
    shutdown(w.fd, SHUT_WR);
    told_is("a", "close 1006 \"\"", "when the stream ends without a close, on_close gets 1006");
    ends(&w, "the server ends its stream, too");
}

int main(void)
{
    static test *const all[] = {raw_bytes, raw_client_goes, own_messages, own_close, NULL};
    static test *const by_others[] = {own_messages, own_close, NULL};
    static test *const limited[] = {own_limits, NULL};
    rig plain = {.settings = RIG_SETTINGS}, small = plain, dropping = plain;
    small.settings.max_message = 16;
    dropping.settings.slow = WS_SLOW_DROP_OLDEST;
    rig_run(plain, &handler, 1, all);
    rig_run(dropping, &handler, 1, all);
    rig_run(plain, &blocking, 1, by_others);
    rig_run(small, &handler, 1, limited);
    return done_testing();
}
