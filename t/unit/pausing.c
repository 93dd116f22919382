/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** ws_pause() and ws_resume() must not lose or reorder messages. */

#include "t/unit/rig.h"

/* The message "pause" calls ws_pause(), "both" calls ws_pause() and ws_resume(). */
static void obey(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    rec_message(c, type, data, len);
    if (len == 5 && !memcmp(data, "pause", 5)) {
        ws_pause(c);
        ws_pause(c);
    }
    if (len == 4 && !memcmp(data, "both", 4)) {
        ws_pause(c);
        ws_resume(c);
    }
}

static void pong_pauses(ws_conn *c, const char *data, apr_size_t len)
{
    rec_pong(c, data, len);
    ws_pause(c);
}

static const ws_handler handler = {
    .on_message = obey, .on_open = rec_open, .on_pong = pong_pauses, .on_close = rec_close};

static void open_paused(ws_conn *c)
{
    rec_open(c);
    ws_pause(c);
}

static const ws_handler paused_from_the_start = {
    .on_message = obey, .on_open = open_paused, .on_close = rec_close};

/* Check that no callback is called, although the loop has had time for one. */
static void is_quiet(rig *r, const char *name)
{
    turns(r, 0);
    is_int(untold(), 0, "%s", name);
}

static void messages_of_one_read_wait(rig *r)
{
    unsigned char stream[200];
    size_t n = frame_put(stream, FIN | TEXT, "pause", 5);
    wire w = enter(r, "a");
    n += frame_put(stream + n, FIN | TEXT, "one", 3);
    n += frame_put(stream + n, FIN | PING, "ping", 4);
    n += frame_put(stream + n, FIN | TEXT, "pause", 5);
    n += frame_put(stream + n, FIN | TEXT, "two", 3);
    wire_send(&w, stream, n);
    told_is("a", "text \"pause\"", "a handler pauses in the first of several messages");
    is_quiet(r, "while paused, the other messages are held");
    wire_text(&w, "three");
    is_quiet(r, "while paused, later messages are held");
    as_callback(id_of(r, "a"), do_resume, NULL);
    told_is("a", "text \"one\"", "ws_resume() delivers the held messages");
    told_is("a", "text \"pause\"", "ws_resume() delivers messages until the next pause");
    wire_next_is(&w, "pong \"ping\"", "a Ping among the held messages is answered");
    is_quiet(r, "after the next pause, the rest is held");
    as_callback(id_of(r, "a"), do_resume, NULL);
    told_is("a", "text \"two\"", "another ws_resume() delivers the rest");
    told_is("a", "text \"three\"", "later messages are delivered after the held ones");
    leave(&w, "a");
}

/* Pause while the input arrives in two pieces, for every cut. */
static void any_cut_is_the_same(rig *r)
{
    unsigned char stream[300];
    char text[TEXT_SIZE], letters[130];
    size_t pause = frame_put(stream, FIN | TEXT, "pause", 5), n = pause;
    int right = 0;
    wire w = enter(r, "a");
    memset(letters, 'x', sizeof(letters));
    n += frame_put(stream + n, TEXT, "first, ", 7);
    n += frame_put(stream + n, FIN | CONT, "second", 6);
    n += frame_put(stream + n, FIN | BINARY, letters, 130);
    for (size_t cut = pause; cut <= n; cut++) {
        wire_send(&w, stream, cut);
        right += !strcmp(told("a"), "text \"pause\"");
        turns(r, 0);
        wire_send(&w, stream + cut, n - cut);
        turns(r, 0);
        right += !untold();
        as_callback(id_of(r, "a"), do_resume, NULL);
        right += !strcmp(told("a"), "text \"first, second\"");
        right += !strcmp(told("a"), describe(text, BINARY, letters, 130));
    }
    is_int(right, 4 * (long long)(n - pause + 1),
           "no message is lost when the input is cut after the pause");

    for (size_t cut = pause + 1; cut < n; cut++) {
        wire_send(&w, stream + pause, cut - pause);
        turns(r, 0);
        as_callback(id_of(r, "a"), do_pause, NULL);
        wire_send(&w, stream + cut, n - cut);
        turns(r, 0);
        as_callback(id_of(r, "a"), do_resume, NULL);
        right -= !strcmp(told("a"), "text \"first, second\"");
        right -= !strcmp(told("a"), describe(text, BINARY, letters, 130));
    }
    is_int(right, 4 * (long long)(n - pause + 1) - 2 * (long long)(n - pause - 1),
           "no message is lost when the handler pauses at each byte");
    leave(&w, "a");
}

static void a_long_message_is_paused(rig *r)
{
    enum { LONG = 3 << 20 };
    unsigned char *stream = malloc(LONG + HEAD_MAX);
    char *data = malloc(LONG), text[TEXT_SIZE];
    size_t n;
    wire w = enter(r, "a");
    for (size_t i = 0; i < LONG; i++) {
        data[i] = (char)(i * 7 + (i >> 10));
    }
    n = frame_put(stream, FIN | BINARY, data, LONG);
    describe(text, BINARY, data, LONG);
    for (size_t i = 0, part = 300000; i < n; i += part) {
        part = part < n - i ? part : n - i;
        turns(r, 0); /* the loop has read all input */
        as_callback(id_of(r, "a"), do_pause, NULL);
        /* fits into the socket's buffer while the server does not read */
        wire_send(&w, stream + i, part / 4);
        as_callback(id_of(r, "a"), do_resume, NULL);
        wire_send(&w, stream + i + part / 4, part - part / 4);
    }
    told_is("a", text, "a long message that is paused many times arrives");
    leave(&w, "a");
    free(stream);
    free(data);
}

static void in_one_callback(rig *r)
{
    unsigned char stream[100];
    size_t n = frame_put(stream, FIN | TEXT, "both", 4);
    wire w = enter(r, "a");
    n += frame_put(stream + n, FIN | TEXT, "next", 4);
    wire_send(&w, stream, n);
    told_is("a", "text \"both\"", "paused and resumed in one callback");
    told_is("a", "text \"next\"", "the next message is delivered");
    wire_frame(&w, FIN | PONG, "p", 1);
    wire_text(&w, "behind");
    told_is("a", "pong \"p\"", "on_pong pauses");
    is_quiet(r, "a message after the pong is held");
    as_callback(id_of(r, "a"), do_resume, NULL);
    as_callback(id_of(r, "a"), do_resume, NULL);
    told_is("a", "text \"behind\"", "ws_resume() delivers the message");
    leave(&w, "a");
}

static void close_while_paused(rig *r)
{
    unsigned char stream[100];
    size_t n = frame_put(stream, FIN | TEXT, "pause", 5);
    wire w = enter(r, "a");
    n += frame_put(stream + n, FIN | TEXT, "never delivered", 15);
    wire_send(&w, stream, n);
    told_is("a", "text \"pause\"", "a handler pauses");
    is_int(ws_close_id(id_of(r, "a"), 3000, "closed"), WS_QUEUED,
           "the paused connection is closed by id");
    wire_next_is(&w, "close 3000 \"closed\"", "the server sends its Close frame");
    wire_close(&w, 3000, "");
    wire_next_is(&w, "eof", "the server reads the peer's Close frame");
    told_is("a", "close 3000 \"closed\"", "on_close is called, and the held message is dropped");
    wire_free(&w);

    w = enter(r, "a");
    wire_text(&w, "pause");
    told_is("a", "text \"pause\"", "a handler pauses");
    wire_text(&w, "last words");
    wire_close(&w, 1000, "");
    is_quiet(r, "the peer sends a message and closes");
    as_callback(id_of(r, "a"), do_resume, NULL);
    told_is("a", "text \"last words\"", "ws_resume() delivers the message before the Close frame");
    told_is("a", "close 1000 \"\"", "after the message, on_close is called");
    wire_free(&w);
}

typedef struct kept {
    const ws_bytes *rest;
    apr_size_t pos;
} kept;

static void look(ws_loop *loop, void *arg)
{
    *(kept *)arg = (kept){LIST_FIRST(&loop->heads[0])->rare->rest,
                          LIST_FIRST(&loop->heads[0])->rare->rest->pos};
}

static void what_waits_is_not_copied_each_time(rig *r)
{
    unsigned char stream[5 * 11];
    kept before, after;
    size_t n = 0;
    wire w = enter(r, "a");
    for (int i = 0; i < 5; i++) {
        n += frame_put(stream + n, FIN | TEXT, "pause", 5);
    }
    wire_send(&w, stream, n);
    told_is("a", "text \"pause\"", "a handler pauses after each message");
    as_callback(id_of(r, "a"), do_resume, NULL);
    told_is("a", "text \"pause\"", "the handler pauses after the second message");
    on_loop_of(r, 0, look, &before);
    as_callback(id_of(r, "a"), do_resume, NULL);
    told_is("a", "text \"pause\"", "the handler pauses after the third message");
    on_loop_of(r, 0, look, &after);
    ok(before.rest == after.rest, "held messages are not moved in memory");
    is_int((long long)after.pos - (long long)before.pos, 11,
           "the held messages begin one message later");
    for (int i = 0; i < 2; i++) {
        as_callback(id_of(r, "a"), do_resume, NULL);
        told_is("a", "text \"pause\"", "another");
    }
    as_callback(id_of(r, "a"), do_resume, NULL);
    leave(&w, "a");
}

static void paused_in_on_open(rig *r)
{
    unsigned char stream[100];
    size_t n = frame_put(stream, FIN | TEXT, "early", 5);
    int fd[2];
    ws_new_conn newcomer;
    wire w;
    n += frame_put(stream + n, FIN | TEXT, "pause", 5);
    unix_pair(fd);
    newcomer = rig_newcomer(r, fd[1], "a");
    newcomer.early = stream;
    newcomer.early_len = n - 2;
    ws_engine_add(r->engine, &newcomer);
    w = (wire){.fd = fd[0]};
    wire_send(&w, stream + n - 2, 2);
    told_is("a", "open", "on_open pauses");
    is_quiet(r, "while paused in on_open, messages sent with the handshake are held");
    as_callback(id_of(r, "a"), do_resume, NULL);
    told_is("a", "text \"early\"", "ws_resume() delivers the early message");
    told_is("a", "text \"pause\"", "ws_resume() delivers the message after it");
    as_callback(id_of(r, "a"), do_resume, NULL);
    leave(&w, "a");
}

int main(void)
{
    static test *const tests[] = {messages_of_one_read_wait,
                                  any_cut_is_the_same,
                                  a_long_message_is_paused,
                                  in_one_callback,
                                  close_while_paused,
                                  what_waits_is_not_copied_each_time,
                                  NULL};
    static test *const at_open[] = {paused_in_on_open, NULL};
    rig_run((rig){0}, &handler, 1, tests);
    rig_run((rig){0}, &paused_from_the_start, 1, at_open);
    return done_testing();
}
