/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests the handshake, messages and closing of connections in protocol versions 76 and 75. */

#include <netinet/tcp.h>

#include "protocol/hixie.h"
#include "t/unit/rig.h"

/* The example of hybi-00, section 1.3: the two key numbers, the third key, the answer. */
#define KEY1 "4 @1  46546xW%0l 1 5"
#define KEY2 "12998 5 Y3 1  .P00"
#define KEY3 "^n:ds[4U"
#define ANSWER "8jKS'y:G*Co,Wxa-"

static char much[1 << 20];

/* ---- A handler that executes the client's commands ---- */

static const char *status(ws_status s)
{
    static const char *const names[] = {"sent",    "queued",    "full",       "gone",
                                        "too big", "misplaced", "unsupported"};
    return names[s >= 0 ? s : 1 - s];
}

static void tell(ws_conn *c, const char *what, ws_status s)
{
    note(name_of(c), "%s: %s", what, status(s));
}

static void obey(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    char text[32] = "";
    memcpy(text, data, len < sizeof(text) ? len : sizeof(text) - 1);
    rec_message(c, type, data, len);
    if (!strcmp(text, "binary")) {
        tell(c, "binary", ws_send(c, WS_BINARY, "x", 1));
        tell(c, "binary part", ws_send_part(c, WS_BINARY, "x", 1, WS_FIRST));
        tell(c, "ping", ws_ping(c, "x", 1));
        tell(c, "by id", ws_send_to(ws_conn_id(c), WS_BINARY, "x", 1));
    }
    else if (!strcmp(text, "parts")) {
        ws_send_part(c, WS_TEXT, "one ", 4, WS_FIRST);
        ws_send(c, WS_TEXT, "behind", 6);
        ws_send_part(c, WS_TEXT, "two\xff ", 5, 0);
        ws_send_part(c, WS_TEXT, "three", 5, WS_LAST);
    }
    else if (!strcmp(text, "half")) {
        ws_send_part(c, WS_TEXT, "one ", 4, WS_FIRST);
        ws_close(c, 4001, "half");
    }
    else if (!strcmp(text, "wrong")) {
        ws_send(c, WS_TEXT, "a\xff\x00z", 4);
    }
    else if (!strcmp(text, "close")) {
        ws_send(c, WS_TEXT, "before", 6);
        ws_close(c, 4000, "enough");
        ws_send(c, WS_TEXT, "behind", 6);
    }
    else if (!strcmp(text, "close with none")) {
        ws_close(c, WS_CLOSE_NO_STATUS, NULL);
    }
    else if (!strcmp(text, "pause")) {
        ws_pause(c);
    }
    else {
        ws_send(c, type, data, len);
    }
}

static void open_and_tell(ws_conn *c)
{
    rec_open(c);
    note(name_of(c), "version %d", ws_version(c));
}

static const ws_handler handler = {
    .on_message = obey, .on_open = open_and_tell, .on_pong = rec_pong, .on_close = rec_close};

static const ws_handler blocking = {
    .flags = WS_BLOCKING, .on_message = obey, .on_open = open_and_tell, .on_close = rec_close};

static void rec_frame(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    char text[TEXT_SIZE];
    note(name_of(c), "%s%s%s", describe(text, (int)type, data, len),
         where & WS_FIRST ? " first" : "", where & WS_LAST ? " last" : "");
}

static const ws_handler pieces = {
    .on_frame = rec_frame, .on_open = rec_open, .on_close = rec_close};

/* ---- A client of these versions ---- */

static wire join_by(rig *r, const char *name, int version, const int fd[2], const char *early)
{
    ws_new_conn n = rig_newcomer(r, fd[1], name);
    n.version = version;
    n.connecting = version == 76;
    n.early = early;
    n.early_len = early ? strlen(early) : 0;
    ws_hixie_numbers(KEY1, KEY2, n.numbers);
    if (ws_engine_add(r->engine, &n) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    return (wire){.fd = fd[0]};
}

static wire join(rig *r, const char *name, int version)
{
    int fd[2];
    unix_pair(fd);
    return join_by(r, name, version, fd, NULL);
}

/* Check the next bytes from the server. */
static void comes(wire *w, const char *bytes, size_t len, const char *name)
{
    wire_need(w, len);
    is_mem(w->in + w->pos, w->len - w->pos < len ? w->len - w->pos : len, bytes, len, "%s", name);
    w->pos += w->len - w->pos < len ? w->len - w->pos : len;
}

#define COMES(W, BYTES, NAME) comes(W, BYTES, sizeof(BYTES) - 1, NAME)
#define SAY(W, BYTES) wire_send(W, BYTES, sizeof(BYTES) - 1)

static void ends(wire *w, const char *name)
{
    ok(!wire_need(w, 1), "%s: nothing more is sent", name);
    is_str(w->end, "eof", "%s: the connection ends", name);
    wire_free(w);
}

/* Open a connection, and read the answer to the handshake. */
static wire come_in(rig *r, const char *name, int version)
{
    wire w = join(r, name, version);
    if (version == 76) {
        SAY(&w, KEY3);
        COMES(&w, ANSWER, "the third key is answered");
    }
    told_is(name, "open", "a connection");
    told_is(name, version == 76 ? "version 76" : "version 75", "the handler gets the version");
    return w;
}

static void go(wire *w, const char *name)
{
    SAY(w, "\xff\x00");
    COMES(w, "\xff\x00", "the client's close is answered");
    ends(w, "closed");
    told_is(name, "close 1005 \"\"", "on_close");
}

/* ---- Handshakes ---- */

static void the_third_key(rig *r)
{
    int fd[2];
    wire w = join(r, "a", 76);
    for (size_t i = 0; i < strlen(KEY3); i++) {
        turns(r, 0);
        is_int(untold(), 0, "no callback after %zu bytes of the third key", i);
        ok(!wire_try_read(&w), "no answer before the third key is complete");
        wire_send(&w, &KEY3[i], 1);
    }
    COMES(&w, ANSWER, "the complete third key is answered");
    told_is("a", "open", "after the third key, on_open is called");
    told_is("a", "version 76", "on_open gets the version");
    SAY(&w, "\x00hello\xff");
    told_is("a", "text \"hello\"", "after on_open, messages are delivered");
    COMES(&w, "\x00hello\xff", "messages are sent to the client");
    go(&w, "a");

    unix_pair(fd);
    w = join_by(r, "b", 76, fd, KEY3);
    COMES(&w, ANSWER, "a third key sent together with the headers is answered");
    told_is("b", "open", "on_open");
    told_is("b", "version 76", "the handler gets the version");
    go(&w, "b");

    w = join(r, "c", 76);
    SAY(&w, KEY3 "\x00one\xff\x00two\xff");
    COMES(&w, ANSWER "\x00one\xff\x00two\xff",
          "messages sent together with the third key are echoed");
    told_is("c", "open", "on_open");
    told_is("c", "version 76", "the handler gets the version");
    told_is("c", "text \"one\"", "the first of these messages is delivered");
    told_is("c", "text \"two\"", "the second of these messages is delivered");
    go(&w, "c");
}

static void clients_that_go_before_they_are_there(rig *r)
{
    wire w = join(r, "a", 76);
    wire_send(&w, KEY3, 7);
    turns(r, 0);
    wire_free(&w);
    nobody_is_left(r);
    is_int(untold(), 0, "when a client disconnects before its third key, no callback is called");
}

static void nothing_is_sent_before_on_open(rig *r)
{
    wire w = join(r, "late", 76), other = come_in(r, "there", 75);
    turns(r, 0);
    is_int(ws_broadcast(&r->location, WS_TEXT, "all", 3, 0), WS_QUEUED,
           "a broadcast is sent while a client has not sent its third key");
    COMES(&other,
          "\x00"
          "all\xff",
          "other clients get the broadcast");
    SAY(&w, KEY3);
    COMES(&w, ANSWER, "the client gets the answer to its third key first");
    told_is("late", "open", "on_open");
    told_is("late", "version 76", "the handler gets the version");
    go(&w, "late");
    shutdown(other.fd, SHUT_WR);
    ends(&other, "the other client's connection ends");
    told_is("there", "close 1005 \"\"", "on_close");
}

static void a_third_key_in_vain(rig *r)
{
    wire w = join(r, "a", 76);
    wire_send(&w, KEY3, 4);
    ends(&w, "a client that does not complete its third key is disconnected");
    is_int(untold(), 0, "no callback is called for that client");
}

static void close_everybody(rig *r)
{
    wire w = join(r, "a", 76);
    ws_engine_close_all(r->engine, 1001, "server stops", 0);
    turns(r, 0);
    SAY(&w, KEY3);
    COMES(
        &w, ANSWER "\xff\x00",
        "a client that completes its third key after ws_engine_close_all() is closed immediately");
    told_is("a", "open", "on_open");
    told_is("a", "version 76", "the handler gets the version");
    SAY(&w, "\xff\x00");
    ends(&w, "the client answers");
    told_is("a", "close 1001 \"server stops\"", "on_close gets the reason");
    join(r, "b", 76);
    turns(r, 0);      /* b stays open until rig_stop() ... */
    r->descriptors++; /* ... and its client's end even longer */
}

/* ---- Messages ---- */

static void texts(rig *r, int version)
{
    static unsigned char stream[sizeof(much) + 2];
    static const char slow[] = "\x00"
                               "bit by bit\xff";
    wire w = come_in(r, "a", version);
    SAY(&w, "\x00\xff\x00\xc3\xa4\xff\x80\x03...\x00x\xff");
    COMES(&w, "\x00\xff\x00\xc3\xa4\xff\x00x\xff", "texts are echoed");
    told_is("a", "text", "an empty text is delivered");
    told_is("a", "text \"\\c3\\a4\"", "a text of two bytes is delivered");
    told_is("a", "text \"x\"", "a text after a frame of another type is delivered");

    memset(much, 'x', sizeof(much));
    memset(stream, 'x', sizeof(stream));
    stream[0] = 0;
    stream[sizeof(stream) - 1] = 0xFF;
    wire_send(&w, stream, sizeof(stream));
    comes(&w, (char *)stream, sizeof(stream), "a text of 1 MiB is echoed");
    told("a");

    for (size_t i = 0; i < sizeof(slow) - 1; i++) {
        wire_send(&w, slow + i, 1);
        turns(r, 0);
    }
    COMES(&w,
          "\x00"
          "bit by bit\xff",
          "a text that arrives byte by byte is echoed");
    told_is("a", "text \"bit by bit\"", "a text that arrives byte by byte is one message");
    shutdown(w.fd, SHUT_WR);
    ends(&w, "a client that ends its side of the stream");
    told_is("a", version == 75 ? "close 1005 \"\"" : "close 1006 \"\"", "on_close");
}

static void texts_76(rig *r)
{
    texts(r, 76);
}

static void texts_75(rig *r)
{
    texts(r, 75);
}

static void what_there_is_not(rig *r)
{
    wire w = come_in(r, "a", 76);
    SAY(&w, "\x00"
            "binary\xff\x00next\xff");
    told_is("a", "text \"binary\"", "the handler is told to send all kinds of messages");
    told_is("a", "binary: unsupported", "ws_send() of a binary message returns WS_UNSUPPORTED");
    told_is("a", "binary part: unsupported",
            "ws_send_part() of a binary part returns WS_UNSUPPORTED");
    told_is("a", "ping: unsupported", "ws_ping(): unsupported");
    told_is("a", "by id: queued", "ws_send_to() of a binary message returns WS_QUEUED");
    told_is("a", "text \"next\"", "the next text is delivered");
    COMES(&w, "\x00next\xff", "of these, only the text is sent");
    go(&w, "a");
}

static void parts(rig *r)
{
    wire w = come_in(r, "a", 76);
    SAY(&w, "\x00parts\xff");
    told_is("a", "text \"parts\"", "the handler sends a text in parts, and another text meanwhile");
    COMES(&w,
          "\x00one two\xef\xbf\xbd three\xff\x00"
          "behind\xff",
          "the texts are sent one after the other");
    SAY(&w, "\x00wrong\xff");
    told_is("a", "text \"wrong\"", "the handler sends a text with a byte 0xFF");
    COMES(&w,
          "\x00"
          "a\xef\xbf\xbd\x00z\xff",
          "the text is one frame, with the byte replaced");
    SAY(&w, "\x00half\xff");
    told_is("a", "text \"half\"", "the handler closes inside a text");
    COMES(&w, "\x00one ", "the beginning of the text is sent");
    ends(&w, "after half a text, the stream ends without the bytes FF 00");
    told_is("a", "close 4001 \"half\"", "on_close");
}

static void a_broadcast_for_all_versions(rig *r)
{
    wire w13 = enter(r, "13"), w76 = come_in(r, "76", 76), w75 = come_in(r, "75", 75);
    ws_broadcast(&r->location, WS_TEXT, "for \xff all", 9, 0);
    ws_broadcast(&r->location, WS_BINARY, "for 13", 6, 0);
    ws_broadcast(&r->location, WS_TEXT, "again", 5, id_of(r, "76"));
    told_is("13", "version 13", "a connection of version 13");
    wire_next_is(&w13, "text \"for \\ff all\"", "version 13 gets a broadcast text");
    wire_next_is(&w13, "binary \"for 13\"", "version 13 gets a broadcast binary message");
    wire_next_is(&w13, "text \"again\"", "version 13 gets the next broadcast");
    COMES(&w76,
          "\x00"
          "for \xef\xbf\xbd all\xff",
          "version 76 gets the broadcast text");
    COMES(&w75,
          "\x00"
          "for \xef\xbf\xbd all\xff\x00"
          "again\xff",
          "version 75 gets the broadcast texts");
    is_int(ws_send_to(id_of(r, "76"), WS_TEXT, "by id", 5), WS_QUEUED, "a text is sent by id");
    COMES(&w76,
          "\x00"
          "by id\xff",
          "version 76 gets the text by id, and not the binary message");
    is_int(ws_close_id(id_of(r, "75"), 4000, "by id"), WS_QUEUED, "version 75 is closed by id");
    ends(&w75, "version 75: closing ends the stream");
    told_is("75", "close 4000 \"by id\"", "on_close");
    go(&w76, "76");
    leave(&w13, "13");
}

static void a_text_while_nothing_is_read(rig *r)
{
    wire w = come_in(r, "a", 76);
    SAY(&w, "\x00pause\xff\x00one\xff\x00two\xff\x00three\xff");
    told_is("a", "text \"pause\"", "the handler pauses");
    turns(r, 0);
    is_int(untold(), 0, "while paused, nothing is delivered");
    as_callback(id_of(r, "a"), do_resume, NULL);
    COMES(&w, "\x00one\xff\x00two\xff\x00three\xff",
          "when the handler resumes, all texts are echoed");
    forget("a");
    go(&w, "a");
}

static void pieces_of_texts(rig *r)
{
    wire w = join(r, "a", 75);
    told_is("a", "open", "a handler for pieces");
    SAY(&w, "\x00whole\xff\x00");
    told_is("a", "text \"whole\" first last", "a whole text is one piece");
    SAY(&w, "begin");
    told_is("a", "text \"begin\" first", "the beginning of a text is a piece");
    SAY(&w, "end");
    told_is("a", "text \"end\"", "the middle of a text is a piece");
    SAY(&w, "\xff");
    told_is("a", "text last", "the end of a text is the last piece");
    shutdown(w.fd, SHUT_WR);
    ends(&w, "the client ends the stream");
    told_is("a", "close 1005 \"\"", "on_close");
}

/* ---- Closing ---- */

static void the_server_closes(rig *r)
{
    wire w = come_in(r, "a", 76);
    SAY(&w, "\x00"
            "close\xff");
    COMES(&w,
          "\x00"
          "before\xff\xff\x00",
          "version 76: the handler closes after its messages");
    told_is("a", "text \"close\"", "version 76: the handler was told to close");
    SAY(&w, "\x00still\xff\xff\x00");
    ends(&w, "version 76: the client answers the close");
    told_is("a", "close 4000 \"enough\"", "version 76: on_close gets the handler's code");

    w = come_in(r, "b", 76);
    SAY(&w, "\x00"
            "close with none\xff");
    COMES(&w, "\xff\x00", "version 76: the handler closes without a code");
    told_is("b", "text \"close with none\"", "version 76: the handler was told to close");
    shutdown(w.fd, SHUT_WR);
    ends(&w, "version 76: the client ends the stream without an answer");
    told_is("b", "close 1005 \"\"", "on_close");

    w = come_in(r, "c", 75);
    SAY(&w, "\x00"
            "close\xff");
    COMES(&w,
          "\x00"
          "before\xff",
          "version 75: the handler's messages are sent before it closes");
    ends(&w, "version 75: the stream ends");
    told_is("c", "text \"close\"", "version 75: the handler was told to close");
    told_is("c", "close 4000 \"enough\"", "on_close");

    w = come_in(r, "d", 75);
    SAY(&w, "\xff\x00");
    ends(&w, "version 75: a client that closes like version 76");
    told_is("d", "close 1005 \"\"", "on_close");
}

static void the_client_breaks_off(rig *r)
{
    for (int version = 75; version <= 76; version++) {
        wire w = come_in(r, "a", version);
        SAY(&w, "\x00half a te");
        turns(r, 0);
        shutdown(w.fd, SHUT_WR);
        ends(&w, "version 75: a client that ends the stream inside a text");
        told_is("a", "close 1006 \"\"", "on_close");
    }
}

static void what_is_wrong(rig *r)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *told, *name;
    } rows[] = {
#define ROW(BYTES, TOLD, NAME) {BYTES, sizeof(BYTES) - 1, TOLD, NAME}
        ROW("\x00\x80\xff", "close 1007 \"text is not UTF-8\"", "bytes that are not UTF-8"),
        ROW("\x00\xc3\xff", "close 1007 \"text is not UTF-8\"", "a cut character"),
        ROW("\x00"
            "0123456789abcdefg",
            "close 1009 \"message is too big\"", "a text beyond the limit"),
        ROW("\x80\x11", "close 1009 \"frame is too big\"", "a frame beyond the limit"),
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        for (int version = 75; version <= 76; version++) {
            wire w = come_in(r, "a", version);
            wire_send(&w, rows[i].bytes, rows[i].len);
            if (version == 76) {
                COMES(&w, "\xff\x00", "version 76: invalid data closes the connection");
            }
            ends(&w, rows[i].name);
            told_is("a", rows[i].told, "on_close");
        }
    }
}

/* ---- Idle connections ---- */

typedef struct options {
    int alive, idle, between, probes, unacknowledged;
} options;

static void get_options(ws_loop *loop, void *arg)
{
    options *o = arg;
    int fd = LIST_FIRST(&loop->heads[0])->source.fd;
    socklen_t len = sizeof(int);
    getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &o->alive, &len);
    getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &o->idle, &len);
    getsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &o->between, &len);
    getsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &o->probes, &len);
    getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &o->unacknowledged, &len);
}

static void the_kernel_asks(rig *r)
{
    options o = {0};
    int fd[2];
    wire w;
    tcp_pair(fd);
    w = join_by(r, "a", 75, fd, NULL);
    told_is("a", "open", "a connection over TCP");
    told_is("a", "version 75", "the handler gets the version");
    on_loop_of(r, 0, get_options, &o);
    ok(o.alive, "TCP keepalive is on");
    is_int(o.idle, 1, "TCP keepalive starts after the interval of WebSocketPing");
    is_int(o.between * o.probes, 12,
           "TCP keepalive gives up after about the grace of WebSocketPing");
    is_int(o.unacknowledged, (int)(r->settings.ping_interval + r->settings.ping_grace),
           "TCP_USER_TIMEOUT is the grace of WebSocketPing");
    shutdown(w.fd, SHUT_WR);
    ends(&w, "the client ends the stream");
    told_is("a", "close 1005 \"\"", "on_close");
}

typedef struct alarms {
    int count;
    apr_uint32_t due;
} alarms;

/* Run the loop's housekeeping now, and count the runs. */
static void hurry(ws_loop *loop, void *arg)
{
    ws_conn *c = LIST_FIRST(&loop->heads[0]);
    alarms *a = arg;
    a->count += c->alarm.due != a->due;
    ws_timer_wheel_set(&loop->event.wheel, &c->alarm, loop->event.now);
    a->due = c->alarm.due;
    a->count *= c->alarm.due == loop->event.now;
}

static void nobody_is_pinged(rig *r)
{
    wire w = come_in(r, "a", 76);
    alarms a = {0, 0};
    while (a.count < 5) {
        on_loop_of(r, 0, hurry, &a);
    }
    SAY(&w, "\x00still there\xff");
    COMES(&w, "\x00still there\xff", "a silent connection gets no ping, and stays open");
    told_is("a", "text \"still there\"", "the silent connection still works");
    go(&w, "a");
}

static test *const all[] = {the_third_key,
                            clients_that_go_before_they_are_there,
                            nothing_is_sent_before_on_open,
                            texts_76,
                            texts_75,
                            what_there_is_not,
                            parts,
                            a_broadcast_for_all_versions,
                            a_text_while_nothing_is_read,
                            the_server_closes,
                            the_client_breaks_off,
                            NULL};
static test *const in_fragments[] = {texts_76, parts, NULL};
static test *const by_others[] = {texts_76, texts_75, parts, the_server_closes, NULL};
static test *const in_pieces[] = {pieces_of_texts, NULL};
static test *const limited[] = {what_is_wrong, NULL};
static test *const impatient[] = {a_third_key_in_vain, NULL};
static test *const idle[] = {the_kernel_asks, nobody_is_pinged, NULL};
static test *const stopping[] = {close_everybody, NULL};

int main(void)
{
    rig plain = {.settings = RIG_SETTINGS}, fragments = plain, small = plain, hasty = plain,
        pings = plain;
    fragments.settings.fragment = 2;
    small.settings.max_message = 16;
    hasty.settings.close_timeout = 100;
    pings.settings.ping_interval = 900;
    pings.settings.ping_grace = 10500;
    rig_run(plain, &handler, 1, all);
    rig_run(fragments, &handler, 1, in_fragments);
    rig_run(plain, &blocking, 1, by_others);
    rig_run(plain, &pieces, 1, in_pieces);
    rig_run(small, &handler, 1, limited);
    rig_run(hasty, &handler, 1, impatient);
    rig_run(pings, &handler, 1, idle);
    rig_run(plain, &handler, 1, stopping);
    return done_testing();
}
