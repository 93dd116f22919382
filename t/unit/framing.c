/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Framings other than RFC 6455: raw bytes, and a line framing defined by this test. */

#include "protocol/framing.h"
#include "t/unit/rig.h"

/* ---- A line framing: each line is a text message; a line that starts with "!" is a close ---- */

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

/* No handler receives the input of a raw connection, so the test calls this with ws_run(). */
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
        bail_out("the engine takes no connection");
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
    ok(!wire_need(w, 1), "%s: nothing more", name);
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
    told_is("a", "version 0", "it is no WebSocket");
    told_is("a", "binary 1", "binary is sent, too");
    told_is("a", "ping -5", "a ping is not");
    comes(&w, "data: x\n\n\x80\xFF", "bytes as they are");
    ok((f = ws_frames_build(WS_FIN | WS_OP_TEXT, "shared", 6)) != NULL, "a frame for many");
    ws_conn_share_later(last_id, f);
    comes(&w, "shared", "its payload as it is");
    ws_run(last_id, close_it, NULL);
    told_is("a", "close 1000 \"done\"", "the close is for the handler only");
    ends(&w, "the end of the stream");
}

static void raw_client_goes(rig *r)
{
    wire w = join_by(r, &ws_framing_raw);
    shutdown(w.fd, SHUT_WR);
    told_is("a", "close 1005 \"\"", "the end of its side is a close");
    ends(&w, "the server's side, too");
}

static void own_messages(rig *r)
{
    wire w = join_by(r, &lines);
    say(&w, "hello\nparts\n");
    told_is("a", "text \"hello\"", "a message in");
    told_is("a", "binary -5", "it carries no binary");
    told_is("a", "ping -5", "nor pings");
    comes(&w, ">hello\n", "a message out");
    told_is("a", "text \"parts\"", "another");
    comes(&w, ">one two three\n", "parts of a message");
    say(&w, "!\n");
    comes(&w, "bye 1005 \n", "the client's close is answered");
    told_is("a", "close 1005 \"\"", "on_close");
    ends(&w, "and the end");
}

static void own_close(rig *r)
{
    wire w = join_by(r, &lines);
    say(&w, r->location.handler->flags & WS_BLOCKING ? "close\n" : "close\nlost\n");
    told_is("a", "text \"close\"", "it is to close");
    comes(&w, "bye 4001 enough\n", "code and reason as the framing writes them");
    told_is("a", "close 4001 \"enough\"", "on_close");
    ends(&w, "without waiting for an answer");
    w = join_by(r, &lines);
    say(&w, "half\n");
    told_is("a", "text \"half\"", "it is to close within a message");
    comes(&w, ">one ", "the message's beginning");
    told_is("a", "close 1000 \"\"", "on_close");
    ends(&w, "and nothing of the close");
}

static void own_limits(rig *r)
{
    wire w = join_by(r, &lines);
    say(&w, "0123456789abcdefg\n");
    comes(&w, "bye 1009 line is too long\n", "the framing knows the greatest message");
    told_is("a", "close 1009 \"line is too long\"", "on_close");
    ends(&w, "the end");
    w = join_by(r, &lines);
    shutdown(w.fd, SHUT_WR);
    told_is("a", "close 1006 \"\"", "an end where the framing allows none");
    ends(&w, "the server's side, too");
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
