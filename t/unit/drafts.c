/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Connections of protocol versions 76 and 75: handshake, messages, closing. */

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
        bail_out("the engine takes no connection");
    }
    return (wire){.fd = fd[0]};
}

static wire join(rig *r, const char *name, int version)
{
    int fd[2];
    unix_pair(fd);
    return join_by(r, name, version, fd, NULL);
}

/* Check the next bytes. */
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
    ok(!wire_need(w, 1), "%s: nothing more", name);
    is_str(w->end, "eof", "%s: the end", name);
    wire_free(w);
}

/* Open a connection and read the handshake's answer. */
static wire come_in(rig *r, const char *name, int version)
{
    wire w = join(r, name, version);
    if (version == 76) {
        SAY(&w, KEY3);
        COMES(&w, ANSWER, "the third key is answered");
    }
    told_is(name, "open", "a connection");
    told_is(name, version == 76 ? "version 76" : "version 75", "its version");
    return w;
}

static void go(wire *w, const char *name)
{
    SAY(w, "\xff\x00");
    COMES(w, "\xff\x00", "its close is answered");
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
        ok(!wire_try_read(&w), "and no answer");
        wire_send(&w, &KEY3[i], 1);
    }
    COMES(&w, ANSWER, "all of it is answered");
    told_is("a", "open", "then comes on_open");
    told_is("a", "version 76", "with its version");
    SAY(&w, "\x00hello\xff");
    told_is("a", "text \"hello\"", "and then messages");
    COMES(&w, "\x00hello\xff", "both ways");
    go(&w, "a");

    unix_pair(fd);
    w = join_by(r, "b", 76, fd, KEY3);
    COMES(&w, ANSWER, "a third key that has come with the headers");
    told_is("b", "open", "on_open");
    told_is("b", "version 76", "its version");
    go(&w, "b");

    w = join(r, "c", 76);
    SAY(&w, KEY3 "\x00one\xff\x00two\xff");
    COMES(&w, ANSWER "\x00one\xff\x00two\xff", "messages right behind it");
    told_is("c", "open", "on_open");
    told_is("c", "version 76", "its version");
    told_is("c", "text \"one\"", "the first");
    told_is("c", "text \"two\"", "the second");
    go(&w, "c");
}

static void clients_that_go_before_they_are_there(rig *r)
{
    wire w = join(r, "a", 76);
    wire_send(&w, KEY3, 7);
    turns(r, 0);
    wire_free(&w);
    nobody_is_left(r);
    is_int(untold(), 0, "a client that goes without its third key: no callback");
}

static void nothing_is_sent_before_on_open(rig *r)
{
    wire w = join(r, "late", 76), other = come_in(r, "there", 75);
    turns(r, 0);
    is_int(ws_broadcast(&r->location, WS_TEXT, "all", 3, 0), WS_QUEUED, "a broadcast");
    COMES(&other,
          "\x00"
          "all\xff",
          "which others get");
    SAY(&w, KEY3);
    COMES(&w, ANSWER, "the answer comes first");
    told_is("late", "open", "on_open");
    told_is("late", "version 76", "its version");
    go(&w, "late");
    shutdown(other.fd, SHUT_WR);
    ends(&other, "the other one");
    told_is("there", "close 1005 \"\"", "on_close");
}

static void a_third_key_in_vain(rig *r)
{
    wire w = join(r, "a", 76);
    wire_send(&w, KEY3, 4);
    ends(&w, "a client that does not send all of it is left");
    is_int(untold(), 0, "there is no callback for it");
}

static void close_everybody(rig *r)
{
    wire w = join(r, "a", 76);
    ws_engine_close_all(r->engine, 1001, "server stops", 0);
    turns(r, 0);
    SAY(&w, KEY3);
    COMES(&w, ANSWER "\xff\x00", "one that gets in while all are closed is closed at once");
    told_is("a", "open", "on_open");
    told_is("a", "version 76", "its version");
    SAY(&w, "\xff\x00");
    ends(&w, "and answers");
    told_is("a", "close 1001 \"server stops\"", "on_close is told why");
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
    COMES(&w, "\x00\xff\x00\xc3\xa4\xff\x00x\xff", "texts come back");
    told_is("a", "text", "an empty one");
    told_is("a", "text \"\\c3\\a4\"", "one of two bytes");
    told_is("a", "text \"x\"", "one behind something else");

    memset(much, 'x', sizeof(much));
    memset(stream, 'x', sizeof(stream));
    stream[0] = 0;
    stream[sizeof(stream) - 1] = 0xFF;
    wire_send(&w, stream, sizeof(stream));
    comes(&w, (char *)stream, sizeof(stream), "a text of 1 MiB");
    told("a");

    for (size_t i = 0; i < sizeof(slow) - 1; i++) {
        wire_send(&w, slow + i, 1);
        turns(r, 0);
    }
    COMES(&w,
          "\x00"
          "bit by bit\xff",
          "a text that comes byte by byte");
    told_is("a", "text \"bit by bit\"", "is one");
    shutdown(w.fd, SHUT_WR);
    ends(&w, "a client that ends its side");
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
    told_is("a", "text \"binary\"", "a handler sends");
    told_is("a", "binary: unsupported", "a binary message");
    told_is("a", "binary part: unsupported", "part of one");
    told_is("a", "ping: unsupported", "a ping");
    told_is("a", "by id: queued", "a binary message by id");
    told_is("a", "text \"next\"", "and text");
    COMES(&w, "\x00next\xff", "of which the text comes");
    go(&w, "a");
}

static void parts(rig *r)
{
    wire w = come_in(r, "a", 76);
    SAY(&w, "\x00parts\xff");
    told_is("a", "text \"parts\"", "a handler sends a text in parts, and another one meanwhile");
    COMES(&w,
          "\x00one two\xef\xbf\xbd three\xff\x00"
          "behind\xff",
          "they come one behind the other");
    SAY(&w, "\x00wrong\xff");
    told_is("a", "text \"wrong\"", "a handler sends what is no text");
    COMES(&w,
          "\x00"
          "a\xef\xbf\xbd\x00z\xff",
          "it is one frame");
    SAY(&w, "\x00half\xff");
    told_is("a", "text \"half\"", "a handler closes in the middle of a text");
    COMES(&w, "\x00one ", "whose beginning comes");
    ends(&w, "and then the end, for FF would make it whole");
    told_is("a", "close 4001 \"half\"", "on_close");
}

static void a_broadcast_for_all_versions(rig *r)
{
    wire w13 = enter(r, "13"), w76 = come_in(r, "76", 76), w75 = come_in(r, "75", 75);
    ws_broadcast(&r->location, WS_TEXT, "for \xff all", 9, 0);
    ws_broadcast(&r->location, WS_BINARY, "for 13", 6, 0);
    ws_broadcast(&r->location, WS_TEXT, "again", 5, id_of(r, "76"));
    told_is("13", "version 13", "a connection of version 13");
    wire_next_is(&w13, "text \"for \\ff all\"", "a broadcast to 13");
    wire_next_is(&w13, "binary \"for 13\"", "a binary one");
    wire_next_is(&w13, "text \"again\"", "and another");
    COMES(&w76,
          "\x00"
          "for \xef\xbf\xbd all\xff",
          "the same to 76");
    COMES(&w75,
          "\x00"
          "for \xef\xbf\xbd all\xff\x00"
          "again\xff",
          "and to 75");
    is_int(ws_send_to(id_of(r, "76"), WS_TEXT, "by id", 5), WS_QUEUED, "a text by id");
    COMES(&w76,
          "\x00"
          "by id\xff",
          "comes, and what 76 was left out of does not");
    is_int(ws_close_id(id_of(r, "75"), 4000, "by id"), WS_QUEUED, "a close by id");
    ends(&w75, "for 75 is the end");
    told_is("75", "close 4000 \"by id\"", "on_close");
    go(&w76, "76");
    leave(&w13, "13");
}

static void a_text_while_nothing_is_read(rig *r)
{
    wire w = come_in(r, "a", 76);
    SAY(&w, "\x00pause\xff\x00one\xff\x00two\xff\x00three\xff");
    told_is("a", "text \"pause\"", "a handler that does not read");
    turns(r, 0);
    is_int(untold(), 0, "gets nothing");
    as_callback(id_of(r, "a"), do_resume, NULL);
    COMES(&w, "\x00one\xff\x00two\xff\x00three\xff", "until it reads again");
    forget("a");
    go(&w, "a");
}

static void pieces_of_texts(rig *r)
{
    wire w = join(r, "a", 75);
    told_is("a", "open", "a handler for pieces");
    SAY(&w, "\x00whole\xff\x00");
    told_is("a", "text \"whole\" first last", "a whole text");
    SAY(&w, "begin");
    told_is("a", "text \"begin\" first", "its beginning");
    SAY(&w, "end");
    told_is("a", "text \"end\"", "more of it");
    SAY(&w, "\xff");
    told_is("a", "text last", "its end");
    shutdown(w.fd, SHUT_WR);
    ends(&w, "the client ends");
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
          "a close by 76's handler, behind what it has sent");
    told_is("a", "text \"close\"", "it was asked to");
    SAY(&w, "\x00still\xff\xff\x00");
    ends(&w, "the client answers");
    told_is("a", "close 4000 \"enough\"", "on_close is told what the handler said");

    w = come_in(r, "b", 76);
    SAY(&w, "\x00"
            "close with none\xff");
    COMES(&w, "\xff\x00", "a close without code");
    told_is("b", "text \"close with none\"", "it was asked to");
    shutdown(w.fd, SHUT_WR);
    ends(&w, "the client just goes");
    told_is("b", "close 1005 \"\"", "on_close");

    w = come_in(r, "c", 75);
    SAY(&w, "\x00"
            "close\xff");
    COMES(&w,
          "\x00"
          "before\xff",
          "a close by 75's handler: what it has sent");
    ends(&w, "and the end");
    told_is("c", "text \"close\"", "it was asked to");
    told_is("c", "close 4000 \"enough\"", "on_close");

    w = come_in(r, "d", 75);
    SAY(&w, "\xff\x00");
    ends(&w, "a client of 75 that closes as one of 76");
    told_is("d", "close 1005 \"\"", "on_close");
}

static void the_client_breaks_off(rig *r)
{
    for (int version = 75; version <= 76; version++) {
        wire w = come_in(r, "a", version);
        SAY(&w, "\x00half a te");
        turns(r, 0);
        shutdown(w.fd, SHUT_WR);
        ends(&w, "a client that ends inside a text");
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
                COMES(&w, "\xff\x00", "the connection is closed");
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
    told_is("a", "version 75", "its version");
    on_loop_of(r, 0, get_options, &o);
    ok(o.alive, "the kernel asks whether the peer is there");
    is_int(o.idle, 1, "after WebSocketPing's interval, in seconds");
    is_int(o.between * o.probes, 12, "and gives up after about its grace");
    is_int(o.unacknowledged, (int)(r->settings.ping_interval + r->settings.ping_grace),
           "or when nothing that was sent is acknowledged for as long");
    shutdown(w.fd, SHUT_WR);
    ends(&w, "the client ends");
    told_is("a", "close 1005 \"\"", "on_close");
}

typedef struct alarms {
    int count;
    apr_uint32_t due;
} alarms;

/* Run housekeeping now, and count its runs. */
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
    COMES(&w, "\x00still there\xff", "a silent connection gets no ping, and is not ended");
    told_is("a", "text \"still there\"", "it is as it was");
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
