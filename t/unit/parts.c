/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests messages that handlers receive or send in pieces: on_frame, ws_send_part(), and
 *  WebSocketFragmentSize. */

#include "t/unit/rig.h"

static char much[300000];

static const char *place(unsigned where)
{
    static const char *const names[] = {"", " first", " last", " first last"};
    return where < 4 ? names[where] : " nowhere";
}

static void rec_frame(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    char text[TEXT_SIZE];
    note(name_of(c), "%s%s", describe(text, (int)type, data, len), place(where));
}

static void not_a_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    (void)type, (void)data, (void)len;
    note(name_of(c), "on_message is called, although the handler has on_frame");
}

static const ws_handler recorder = {.on_frame = rec_frame, .on_message = not_a_message, RECORDER};

static const ws_handler glutton = {.flags = WS_ANY_SIZE, .on_frame = rec_frame, RECORDER};

static void frame_back(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    if (ws_send_part(c, type, data, len, where) < 0) {
        note(name_of(c), "a part is refused");
    }
}

static const ws_handler mirror = {
    .flags = WS_ANY_SIZE, .on_frame = frame_back, .on_open = rec_open, .on_close = rec_close};

static const ws_handler blocking_mirror = {.flags = WS_ANY_SIZE | WS_BLOCKING,
                                           .on_frame = frame_back,
                                           .on_open = rec_open,
                                           .on_close = rec_close};

/* ---- Receiving ---- */

static void pieces_come_as_they_arrive(rig *r)
{
    unsigned char stream[100];
    size_t n;
    wire w = enter(r, "a");
    wire_text(&w, "whole");
    told_is("a", "text \"whole\" first last", "a whole message is one piece");
    wire_text(&w, "");
    told_is("a", "text first last", "an empty message is one piece");

    wire_frame(&w, TEXT, "one", 3);
    told_is("a", "text \"one\" first", "the first frame of a message is the first piece");
    wire_frame(&w, FIN | PING, "ping", 4);
    wire_next_is(&w, "pong \"ping\"", "a Ping between the frames is answered");
    wire_frame(&w, CONT, "two", 3);
    told_is("a", "text \"two\"", "the second frame is a piece in the middle");
    wire_frame(&w, FIN | CONT, "three", 5);
    told_is("a", "text \"three\" last", "the last frame is the last piece");

    n = frame_put(stream, FIN | BINARY, "half and half", 13);
    wire_send(&w, stream, n - 9);
    told_is("a", "binary \"half\" first", "half a frame is a piece");
    wire_send(&w, stream + n - 9, 9);
    told_is("a", "binary \" and half\" last", "the other half of the frame is a piece");

    wire_frame(&w, TEXT, "\xc3", 1);
    told_is("a", "text \"\\c3\" first", "a piece of text may end inside a character");
    wire_frame(&w, FIN | CONT, "\xa4", 1);
    told_is("a", "text \"\\a4\" last", "the rest of the character comes with the next piece");
    leave(&w, "a");

    w = enter(r, "a");
    wire_frame(&w, TEXT, "good", 4);
    told_is("a", "text \"good\" first", "text");
    wire_frame(&w, CONT, "\xff", 1);
    wire_next_is(&w, "close 1007 \"text is not UTF-8\"",
                 "text that is not UTF-8 closes the connection");
    told_is("a", "close 1007 \"text is not UTF-8\"", "on_close");
    wire_free(&w);

    w = enter(r, "a");
    wire_frame(&w, TEXT, "good\xe2\x82", 6);
    told_is("a", "text \"good\\e2\\82\" first", "text");
    wire_frame(&w, FIN | CONT, "", 0);
    wire_next_is(&w, "close 1007 \"text is not UTF-8\"",
                 "text that ends inside a character closes the connection");
    told_is("a", "close 1007 \"text is not UTF-8\"", "on_close");
    wire_free(&w);
}

static void limits_hold_for_pieces(rig *r)
{
    wire w = enter(r, "a");
    wire_frame(&w, BINARY, much, 1000);
    ok(strstr(told("a"), "binary of 1000 bytes") != NULL,
       "the first frame of a message beyond the limit is delivered");
    wire_frame(&w, FIN | CONT, much, 600);
    ok(!strncmp(wire_next(&w), "close 1009 ", 11), "a message beyond the limit is refused");
    ok(!strncmp(told("a"), "close 1009 ", 11), "on_close");
    wire_free(&w);
}

static void any_size_is_let_in(rig *r)
{
    wire w = enter(r, "a");
    for (int i = 0; i < 10; i++) {
        wire_frame(&w, i ? CONT : BINARY, much, 1600);
        ok(strstr(told("a"), "binary of 1600 bytes") != NULL,
           "with WS_ANY_SIZE, a frame beyond the limit is delivered");
    }
    /* The first frame of a message has 2^62 bytes. The handler receives its bytes immediately. */
    wire_send(&w, "\x00\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00some of it", 24);
    told_is("a", "binary \"some of it\"",
            "with WS_ANY_SIZE, a frame larger than memory is delivered in pieces");
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "on_close");
}

/* Receive a message in any number of frames. @return its length */
static size_t whole_message(wire *w, unsigned char *out, int *fragments)
{
    size_t n = 0;
    frame f = {0};
    *fragments = 0;
    do {
        if (wire_get(w, &f) || f.opcode != (*fragments ? CONT : BINARY)) {
            return (size_t)-1;
        }
        memcpy(out + n, f.payload, f.len);
        n += f.len;
        ++*fragments;
    } while (!f.fin);
    return n;
}

static void what_comes_in_pieces_goes_out_in_parts(rig *r)
{
    unsigned char *stream = malloc(sizeof(much) + 100), *back = malloc(sizeof(much) + 100);
    wire w = enter(r, "a");
    unsigned seed = 9;
    int fragments, most = 0, right = 0;
    for (int m = 0; m < 50; m++) {
        size_t len = (seed = seed * 1664525u + 1013904223u) >> 8, n = 0, half, i = 0;
        len %= m % 2 ? sizeof(much) : 2000;
        half = len / 3;
        n = frame_put(stream, BINARY, much, half);
        n += frame_put(stream + n, FIN | CONT, much + half, len - half);
        while (i < n) {
            size_t part = 1 + (seed >> 9) % 50000;
            part = part < n - i ? part : n - i;
            wire_send(&w, stream + i, part);
            on_loop_of(r, 0, nothing, NULL);
            i += part;
        }
        n = whole_message(&w, back, &fragments);
        most = fragments > most ? fragments : most;
        right += n == len && !memcmp(back, much, len);
    }
    is_int(right, 50, "long messages are echoed completely");
    ok(most > 2, "long messages are echoed in up to %d frames", most);
    leave(&w, "a");
    free(stream);
    free(back);
}

/* ---- Sending ---- */

static void send_in_parts(ws_conn *c, void *arg)
{
    ws_location *here = arg;
    is_int(ws_send_part(c, WS_TEXT, "x", 1, 0), WS_MISPLACED,
           "a middle part without a first is misplaced");
    is_int(ws_send_part(c, WS_TEXT, "x", 1, WS_LAST), WS_MISPLACED,
           "a last part without a first is misplaced");
    is_int(ws_send_part(c, WS_TEXT, "all", 3, WS_FIRST | WS_LAST), WS_SENT,
           "a message of one part is sent");
    is_int(ws_send_part(c, WS_TEXT, "first", 5, WS_FIRST), WS_SENT, "a first part is sent");
    is_int(ws_send_part(c, WS_TEXT, "x", 1, WS_FIRST), WS_MISPLACED,
           "another first part is misplaced");
    is_int(ws_send_part(c, WS_TEXT, "x", 1, WS_FIRST | WS_LAST), WS_MISPLACED,
           "another whole message in one part is misplaced");
    is_int(ws_send(c, WS_BINARY, "whole", 5), WS_QUEUED, "a whole message waits for the last part");
    is_int(ws_ping(c, "ping", 4), WS_SENT, "a Ping does not wait for the last part");
    ok(ws_queued(c) > 7, "the waiting message is counted as queued");
    is_int(ws_broadcast(here, WS_BINARY, "to all", 6, 0), WS_QUEUED, "a broadcast is queued");
    is_int(ws_send_to(ws_conn_id(c), WS_BINARY, "by id", 5), WS_QUEUED,
           "a message by id is queued");
}

static void send_the_rest(ws_conn *c, void *arg)
{
    (void)arg;
    is_int(ws_send_part(c, WS_TEXT, "middle", 6, 0), WS_SENT, "a middle part is sent");
    is_int(ws_send_part(c, WS_TEXT, "", 0, WS_LAST), WS_SENT, "a last part is sent");
    is_int(ws_send_part(c, WS_BINARY, "again", 5, WS_FIRST), WS_QUEUED,
           "the first part of another message is queued");
    ws_close(c, 1000, "mid");
    is_int(ws_send_part(c, WS_BINARY, "x", 1, WS_LAST), WS_GONE,
           "no part can be sent after ws_close()");
}

static void nothing_comes_between_parts(rig *r)
{
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), send_in_parts, &r->location);
    wire_next_is(&w, "text \"all\"", "the message of one part arrives");
    wire_next_is(&w, "text \"first\" +", "the first part arrives");
    wire_next_is(&w, "ping \"ping\"", "the Ping arrives between the parts");
    as_callback(id_of(r, "a"), send_the_rest, NULL);
    wire_next_is(&w, "continuation \"middle\" +",
                 "the middle part arrives before the whole message");
    wire_next_is(&w, "continuation", "the last part arrives");
    wire_next_is(&w, "binary \"whole\"", "then the whole message arrives");
    wire_next_is(&w, "binary \"to all\"", "then the broadcast arrives");
    wire_next_is(&w, "binary \"by id\"", "then the message by id arrives");
    wire_next_is(&w, "binary \"again\" +", "then the first part of another message arrives");
    wire_next_is(&w, "close 1000 \"mid\"", "the Close frame ends the message in parts");
    wire_close(&w, 1000, "");
    told_is("a", "close 1000 \"mid\"", "on_close");
    wire_free(&w);
}

static void begin(ws_conn *c, void *arg)
{
    (void)arg;
    is_int(ws_send_part(c, WS_TEXT, "first", 5, WS_FIRST), WS_SENT, "a first part is sent");
    while (ws_send(c, WS_BINARY, much, 10000) == WS_QUEUED) {
    }
}

static void what_waits_for_parts_is_bounded(rig *r)
{
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), begin, NULL);
    wire_next_is(&w, "text \"first\" +", "the first part arrives before much data");
    wire_next_is(&w, "close 1008 \"too slow\"",
                 "a full queue inside a message closes the connection");
    wire_close(&w, 1008, "");
    told_is("a", "close 1008 \"too slow\"", "on_close");
    wire_free(&w);
}

/* ---- WebSocketFragmentSize ---- */

static void send_long(ws_conn *c, void *arg)
{
    ws_location *here = arg;
    ok(ws_send(c, WS_TEXT, "0123456789", 10) >= 0, "a message as long as a fragment is sent");
    ok(ws_send(c, WS_TEXT, "0123456789abcdefghijABC", 23) >= 0,
       "a message longer than a fragment is sent");
    ok(ws_send_part(c, WS_BINARY, "0123456789ab", 12, WS_FIRST) >= 0,
       "a part longer than a fragment is sent");
    ok(ws_send_part(c, WS_BINARY, "0123456789cd", 12, WS_LAST) >= 0,
       "a last part longer than a fragment is sent");
    ok(ws_ping(c, "0123456789ab", 12) >= 0, "a Ping longer than a fragment is sent");
    ws_broadcast(here, WS_TEXT, "broadcast to all", 16, 0);
    ws_send_to(ws_conn_id(c), WS_TEXT, "a message by id", 15);
    ws_broadcast(here, WS_TEXT, "short", 5, 0);
}

static void messages_are_cut_to_size(rig *r)
{
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), send_long, &r->location);
    wire_next_is(&w, "text \"0123456789\"", "a message as long as a fragment is one frame");
    wire_next_is(&w, "text \"0123456789\" +",
                 "a longer message is cut, and its first frame arrives");
    wire_next_is(&w, "continuation \"abcdefghij\" +",
                 "a longer message is cut, and its second frame arrives");
    wire_next_is(&w, "continuation \"ABC\"", "a longer message is cut, and its last frame arrives");
    wire_next_is(&w, "binary \"0123456789\" +",
                 "a longer part is cut, and its first frame arrives");
    wire_next_is(&w, "continuation \"ab\" +",
                 "a longer part is cut, and its last frame does not end the message");
    wire_next_is(&w, "continuation \"0123456789\" +",
                 "another part is cut, and its first frame arrives");
    wire_next_is(&w, "continuation \"cd\"",
                 "another part is cut, and its last frame ends the message");
    wire_next_is(&w, "ping \"0123456789ab\"", "a Ping is not cut");
    wire_next_is(&w, "text \"broadcast \" +", "a broadcast is cut, and its first frame arrives");
    wire_next_is(&w, "continuation \"to all\"", "a broadcast is cut, and its last frame arrives");
    wire_next_is(&w, "text \"a message \" +",
                 "a message by id is cut, and its first frame arrives");
    wire_next_is(&w, "continuation \"by id\"",
                 "a message by id is cut, and its last frame arrives");
    wire_next_is(&w, "text \"short\"", "a short broadcast is not cut");
    leave(&w, "a");
}

static void rec_frame_end(ws_conn *c, ws_type type, const char *data, apr_size_t len,
                          unsigned where)
{
    char text[TEXT_SIZE];
    note(name_of(c), "%s%s%s", describe(text, (int)type, data, len),
         place(where & (WS_FIRST | WS_LAST)), where & WS_FRAME_END ? ", frame ends" : "");
}

static const ws_handler bordered = {
    .flags = WS_FRAME_ENDS, .on_frame = rec_frame_end, .on_open = rec_open, .on_close = rec_close};

static void frames_have_ends(rig *r)
{
    unsigned char stream[64];
    size_t n = frame_put(stream, TEXT, "ab", 2), half = n + 8;
    wire w = enter(r, "a");
    n += frame_put(stream + n, CONT, "cdef", 4);
    n += frame_put(stream + n, FIN | CONT, "g", 1);
    n += frame_put(stream + n, FIN | TEXT, "whole", 5);
    wire_send(&w, stream, half);
    told_is("a", "text \"ab\" first, frame ends", "the first frame of three ends with its piece");
    told_is("a", "text \"cd\"",
            "the first piece of a frame that arrives in two parts does not end it");
    wire_send(&w, stream + half, n - half);
    told_is("a", "text \"ef\", frame ends", "the last piece of that frame ends it");
    told_is("a", "text \"g\" last, frame ends", "the last frame ends with its piece");
    told_is("a", "text \"whole\" first last, frame ends",
            "a message of one frame ends with its piece");
    leave(&w, "a");
}

int main(void)
{
    static test *const borders[] = {frames_have_ends, NULL};
    static test *const pieces[] = {pieces_come_as_they_arrive, nothing_comes_between_parts,
                                   what_waits_for_parts_is_bounded, NULL};
    static test *const limited[] = {limits_hold_for_pieces, NULL};
    static test *const unlimited[] = {any_size_is_let_in, NULL};
    static test *const mirrored[] = {what_comes_in_pieces_goes_out_in_parts, NULL};
    static test *const cut[] = {messages_are_cut_to_size, NULL};
    ws_settings wide = RIG_SETTINGS, tight = RIG_SETTINGS, fragments = RIG_SETTINGS;
    for (size_t i = 0; i < sizeof(much); i++) {
        much[i] = (char)(i * 7 + (i >> 10));
    }
    tight.max_frame = 1000;
    tight.max_message = 1500;
    fragments.fragment = 10;
    rig_run((rig){.settings = wide}, &recorder, 1, pieces);
    rig_run((rig){.settings = wide}, &bordered, 1, borders);
    rig_run((rig){.settings = tight}, &recorder, 1, limited);
    rig_run((rig){.settings = tight}, &glutton, 1, unlimited);
    rig_run((rig){.settings = wide}, &mirror, 1, mirrored);
    rig_run((rig){.settings = tight}, &mirror, 1, mirrored);
    rig_run((rig){.settings = wide}, &blocking_mirror, 1, mirrored);
    rig_run((rig){.settings = fragments}, &mirror, 1, cut);
    return done_testing();
}
