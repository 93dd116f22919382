/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests that messages of all sizes pass a real engine, and arrive in pieces that are cut at
 *  every byte. */

#include "t/unit/rig.h"

static const ws_handler echo = {ECHO_RECORDER};

/* Echo a message without adding a line to the record. For tests with many or long messages. */
static void only_echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_send(c, type, data, len);
}

static const ws_handler quiet = {
    .on_open = rec_open, .on_message = only_echo, .on_close = rec_close};

static const ws_handler deaf = {.on_open = rec_open, .on_close = rec_close};

static void echoes(rig *r)
{
    wire w = enter(r, "a");
    wire_text(&w, "hello");
    told_is("a", "text \"hello\"", "the handler gets the message");
    wire_next_is(&w, "text \"hello\"", "the client gets the handler's answer");
    wire_frame(&w, FIN | BINARY, "\x00\xff", 2);
    told_is("a", "binary \"\\00\\ff\"", "a binary message");
    wire_next_is(&w, "binary \"\\00\\ff\"", "the binary message is echoed");
    wire_text(&w, "");
    told_is("a", "text", "an empty message");
    wire_next_is(&w, "text", "the empty message is echoed");
    wire_frame(&w, FIN | PONG, "unasked", 7);
    told_is("a", "pong \"unasked\"", "on_pong gets an unsolicited Pong");
    wire_frame(&w, FIN | PING, "are you there", 13);
    wire_next_is(&w, "pong \"are you there\"", "a Ping is answered with its payload");
    wire_frame(&w, FIN | PING, "", 0);
    wire_next_is(&w, "pong", "an empty Ping is answered");
    leave(&w, "a");
}

/* Write a stream with every kind of frame. @return its length, about 700 bytes */
static size_t all_kinds(unsigned char *out)
{
    static const char letters[200] = {[0 ... 199] = 'x'};
    size_t n = frame_put(out, FIN | TEXT, "one", 3);
    n += frame_put(out + n, FIN | BINARY, letters, 126); /* has a length field of 16 bits */
    n += frame_put(out + n, TEXT, "\xc3", 1); /* the first byte of a character of two bytes */
    n += frame_put(out + n, FIN | PING, "p", 1);
    n += frame_put(out + n, CONT, "", 0);
    n += frame_put(out + n, FIN | PONG, letters, 125);
    n += frame_put(out + n, FIN | CONT, "\xa4.", 2);
    n += frame_put(out + n, FIN | TEXT, "", 0);
    n += frame_put(out + n, BINARY, letters, 125);
    n += frame_put(out + n, FIN | CONT, "", 0);
    return n;
}

static int all_kinds_told(void)
{
    char sums[2][TEXT_SIZE], letters[126];
    memset(letters, 'x', sizeof(letters));
    describe(sums[0], BINARY, letters, 126);
    describe(sums[1], BINARY, letters, 125);
    return !strcmp(told("a"), "text \"one\"") && !strcmp(told("a"), sums[0])
           && !strncmp(told("a"), "pong \"xxx", 9) && !strcmp(told("a"), "text \"\\c3\\a4.\"")
           && !strcmp(told("a"), "text") && !strcmp(told("a"), sums[1]);
}

static int all_kinds_echoed(wire *w)
{
    char sums[2][TEXT_SIZE], letters[126];
    memset(letters, 'x', sizeof(letters));
    describe(sums[0], BINARY, letters, 126);
    describe(sums[1], BINARY, letters, 125);
    return !strcmp(wire_next(w), "text \"one\"") && !strcmp(wire_next(w), sums[0])
           && !strcmp(wire_next(w), "pong \"p\"") && !strcmp(wire_next(w), "text \"\\c3\\a4.\"")
           && !strcmp(wire_next(w), "text") && !strcmp(wire_next(w), sums[1]);
}

static void any_cut_is_the_same(rig *r)
{
    unsigned char stream[1024];
    size_t n = all_kinds(stream);
    wire w = enter(r, "a");
    int right = 0;

    for (size_t cut = 0; cut < n; cut++) {
        wire_send(&w, stream, cut);
        on_loop_of(r, 0, nothing, NULL);
        wire_send(&w, stream + cut, n - cut);
        right += all_kinds_told() && all_kinds_echoed(&w);
    }
    is_int(right, (long long)n,
           "a stream of all kinds of frames is parsed when it is cut at any byte");

    for (size_t i = 0; i < n; i++) {
        wire_send(&w, stream + i, 1);
        turns(r, 0);
    }
    ok(all_kinds_told() && all_kinds_echoed(&w), "the same stream is parsed byte by byte");
    leave(&w, "a");
}

/* Count the connections of a loop that have allocated buffers. */
static void count_buffers(ws_loop *loop, void *arg)
{
    for (ws_conn *c = LIST_FIRST(&loop->heads[0]); c; c = LIST_NEXT(c, of_location)) {
        *(int *)arg += c->rare->message || c->rare->arrival || c->rare->rest || c->out.ring
                       || c->rare->cipher_out;
    }
}

static void an_idle_connection_owns_no_buffer(rig *r)
{
    unsigned char stream[1024];
    size_t n = all_kinds(stream);
    wire w = enter(r, "a");
    int buffers = 0;
    wire_send(&w, stream, n - 3);
    turns(r, 0);
    on_loop_of(r, 0, count_buffers, &buffers);
    ok(buffers, "half a frame is kept in a buffer");
    wire_send(&w, stream + n - 3, 3);
    ok(all_kinds_told() && all_kinds_echoed(&w), "the other half of the frame arrives");
    turns(r, 0);
    buffers = 0;
    on_loop_of(r, 0, count_buffers, &buffers);
    is_int(buffers, 0, "an idle connection owns no buffer");
    leave(&w, "a");
}

static void long_messages(rig *r)
{
    static const size_t sizes[] = {
        65535, 65536, 100000, WS_INPUT_SIZE - 14, WS_INPUT_SIZE, WS_INPUT_SIZE + 1, 9 << 20};
    char *data = malloc(9 << 20), text[TEXT_SIZE];
    for (size_t i = 0; i < 9 << 20; i++) {
        data[i] = (char)(i * 7 + (i >> 10));
    }
    for (int tcp = 0; tcp < 2; tcp++) {
        int fd[2];
        wire w;
        (tcp ? tcp_pair : unix_pair)(fd);
        w = rig_join_pair(r, "a", fd);
        told_is("a", "open", "a connection over %s", tcp ? "TCP" : "a socket pair");
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            describe(text, BINARY, data, sizes[i]);
            wire_frame(&w, FIN | BINARY, data, sizes[i]);
            wire_next_is(&w, text, "%zu bytes are echoed", sizes[i]);
        }
        leave(&w, "a");
    }
    free(data);
}

typedef struct large {
    apr_size_t size;        /* size of the buffer of an incomplete message, bytes */
    apr_size_t spare_bytes; /* size of the loop's spare buffers together, bytes */
    int spares, none;
} large;

static void look_at_large(ws_loop *loop, void *arg)
{
    large *l = arg;
    const ws_conn *c = LIST_FIRST(&loop->heads[0]);
    *l = (large){.size = c && c->rare->message ? c->rare->message->size : 0,
                 .spare_bytes = loop->spare_bytes};
    for (const ws_partial *m = loop->spares; m; m = m->next) {
        l->spares++;
    }
    l->none = !l->spares;
}

/* Send a header that announces 60 MiB, and the first len bytes. @return the buffer's size */
static apr_size_t announce(rig *r, const char *data, size_t len)
{
    static const unsigned char head[] = {0x82, 0xFF, 0, 0, 0, 0, 0x03, 0xC0, 0, 0, 0, 0, 0, 0};
    large l;
    wire w = enter(r, "a");
    wire_frame(&w, FIN | BINARY, data, 1 << 20);
    wire_next(&w);
    wire_send(&w, head, sizeof(head));
    wire_send(&w, data, len);
    turns(r, 0);
    on_loop_of(r, 0, look_at_large, &l);
    wire_reset(&w);
    told("a");
    return l.size;
}

static void an_announcement_costs_little(rig *r)
{
    char *data = calloc(1, 1 << 20);
    apr_size_t size = announce(r, data, 20000);
    ok(size >= 20000 && size <= 2 << 20,
       "when 60 MiB are announced, the buffer is only as large as earlier messages: %zu",
       (size_t)size);
    is_int((long long)announce(r, data, 0), 0, "a header without payload reserves no buffer");
    free(data);
}

/* The loop reuses buffers of large messages, keeps only a few of them, and none for long. */
static void large_buffers_are_used_again(rig *r)
{
    enum { MANY = 12, SIZE = 1 << 20 };
    char *data = calloc(1, SIZE), text[TEXT_SIZE];
    unsigned char *stream = malloc(SIZE + 14);
    size_t n = frame_put(stream, FIN | BINARY, data, SIZE);
    wire w[MANY];
    large l;
    int right = 0;
    describe(text, BINARY, data, SIZE);
    for (int i = 0; i < MANY; i++) {
        w[i] = enter(r, "a");
        wire_send(&w[i], stream, n / 2);
    }
    turns(r, 0);
    for (int i = 0; i < MANY; i++) {
        wire_send(&w[i], stream + n / 2, n - n / 2);
    }
    for (int i = 0; i < MANY; i++) {
        right += !strcmp(wire_next(&w[i]), text);
    }
    is_int(right, MANY, "simultaneous large messages are echoed");
    for (int i = 0; i < 3; i++) {
        wire_send(&w[i], stream, n);
        right += !strcmp(wire_next(&w[i]), text);
    }
    is_int(right, MANY + 3, "more large messages are echoed, and reuse the buffers");
    on_loop_of(r, 0, look_at_large, &l);
    ok(l.spare_bytes <= 4 << 20, "the loop keeps %zu bytes", (size_t)l.spare_bytes);
    until(r, 0, look_at_large, &l, &l.none);
    is_int((long long)l.spare_bytes, 0, "after a second, the loop keeps no buffers");
    for (int i = 0; i < MANY; i++) {
        leave(&w[i], "a");
    }
    free(stream);
    free(data);
}

static unsigned dice(void)
{
    static unsigned seed = 11;
    return (seed = seed * 1664525u + 1013904223u) >> 8;
}

/* Write a message in random fragments with Pings between them. @return the length of the frames */
static size_t fragments(unsigned char *out, int opcode, const char *data, size_t len, int *pings)
{
    size_t n = 0, done = 0;
    for (int first = 1;; first = 0) {
        size_t part = dice() % (dice() % 3 ? 30000 : 50);
        int last = part >= len - done;
        part = last ? len - done : part;
        n += frame_put(out + n, (last ? FIN : 0) | (first ? opcode : CONT), data + done, part);
        done += part;
        if (last) {
            return n;
        }
        if (dice() % 5 == 0) {
            n += frame_put(out + n, FIN | PING, "ping", 4);
            ++*pings;
        }
    }
}

/* Send random messages in random fragments, with control frames between them and random cuts. */
static void a_storm(rig *r)
{
    enum { MESSAGES = 300, SIZE = 1 << 18 };
    unsigned char *stream = malloc((size_t)2 * SIZE);
    char *data = malloc(SIZE), text[TEXT_SIZE];
    int right = 0;
    wire w = enter(r, "a");

    for (size_t i = 0; i < SIZE; i++) {
        data[i] = (char)(' ' + i % 95);
    }
    for (int m = 0; m < MESSAGES; m++) {
        int opcode = m % 2 ? TEXT : BINARY, pings = 0;
        size_t len = dice() % (m % 10 == 0 ? SIZE - 1000 : m % 4 ? 300 : 40000), n;
        const char *payload = data + dice() % 1000;
        n = fragments(stream, opcode, payload, len, &pings);
        for (size_t i = 0, part; i < n; i += part) {
            part = 1 + dice() % (dice() % 4 ? 70000 : 20);
            part = part < n - i ? part : n - i;
            wire_send(&w, stream + i, part);
            if (dice() % 3) {
                on_loop_of(r, 0, nothing, NULL);
            }
        }
        while (pings > 0 && !strcmp(wire_next(&w), "pong \"ping\"")) {
            pings--;
        }
        describe(text, opcode, payload, len);
        right += !pings && !strcmp(wire_next(&w), text);
    }
    is_int(right, MESSAGES, "random messages in random fragments and cuts are echoed");
    leave(&w, "a");
    free(stream);
    free(data);
}

static void many_in_one_read(rig *r)
{
    enum { MANY = 20000 };
    unsigned char *stream = malloc((size_t)MANY * 32);
    char text[32];
    size_t n = 0;
    int right = 0;
    wire w = enter(r, "a");
    for (int i = 0; i < MANY; i++) {
        n += frame_put(stream + n, FIN | TEXT, text, (size_t)sprintf(text, "%d", i));
    }
    wire_send(&w, stream, n);
    for (int i = 0; i < MANY; i++) {
        sprintf(text, "text \"%d\"", i);
        right += !strcmp(wire_next(&w), text);
    }
    is_int(right, MANY, "pipelined messages are echoed in order");
    leave(&w, "a");
    free(stream);
}

typedef struct sums {
    ws_loop *loop;
    ws_tally tally; /* sums of the loop's connections */
} sums;

static void sum_up(ws_loop *loop, void *arg)
{
    sums *s = arg;
    s->loop = loop;
    for (ws_conn *c = LIST_FIRST(&loop->heads[0]); c; c = LIST_NEXT(c, of_location)) {
        s->tally.messages_in += ws_conn_sum(c, WS_SUM_MESSAGES_IN);
        s->tally.messages_out += ws_conn_sum(c, WS_SUM_MESSAGES_OUT);
        s->tally.bytes_in += ws_conn_sum(c, WS_SUM_BYTES_IN);
        s->tally.bytes_out += ws_conn_sum(c, WS_SUM_BYTES_OUT);
    }
}

/* The loop's counters must equal the sums of its connections: for several short messages in one
 * read, for fragments, and for long messages. */
static void each_message_is_counted(rig *r)
{
    static char data[70000];
    unsigned char *stream = malloc(200000);
    apr_uint64_t before[WS_COUNTER_COUNT], *now;
    sums s = {0};
    size_t n = 0;
    wire w = enter(r, "a");
    on_loop_of(r, 0, sum_up, &s);
    now = s.loop->counters->value;
    memcpy(before, now, sizeof(before));
    for (int i = 0; i < 10; i++) {
        n += frame_put(stream + n, FIN | BINARY, data, (size_t)i);
    }
    n += frame_put(stream + n, BINARY, data, 200);
    n += frame_put(stream + n, FIN | CONT, data, 100);
    n += frame_put(stream + n, FIN | BINARY, data, 9000);
    n += frame_put(stream + n, FIN | BINARY, data, 70000);
    wire_send(&w, stream, n);
    for (int i = 0; i < 13; i++) {
        wire_next(&w);
    }
    memset(&s, 0, sizeof(s));
    on_loop_of(r, 0, sum_up, &s);
    is_int((long long)s.tally.messages_in, 13, "the connection counts its incoming messages");
    is_int((long long)s.tally.messages_out, 13, "the connection counts its outgoing messages");
    is_int((long long)s.tally.bytes_in, 79345, "the connection counts its incoming bytes");
    is_int((long long)s.tally.bytes_out, 79345, "the connection counts its outgoing bytes");
#define IS_COUNTED(ID, n)                                                                          \
    is_int((long long)(now[WS_COUNT_##ID] - before[WS_COUNT_##ID]), n, "the loop's " #ID)
    IS_COUNTED(MESSAGES_IN, 13);
    IS_COUNTED(MESSAGES_OUT, 13);
    IS_COUNTED(BYTES_IN, 79345);
    IS_COUNTED(BYTES_OUT, 79345);
    leave(&w, "a");
    free(stream);
}

static void send_to_another(ws_conn *c, void *arg)
{
    ws_send(ws_conn_find(c->loop, *(ws_id *)arg), WS_BINARY, "for b", 5);
}

static void send_to_both(ws_conn *c, void *arg)
{
    ws_send(c, WS_BINARY, "for a", 5);
    send_to_another(c, arg);
}

/* The same if a callback of one connection sends to another, as in a proxy. */
static void messages_to_others_are_counted(rig *r)
{
    apr_uint64_t before[WS_COUNTER_COUNT], *now;
    sums s = {0};
    wire a = enter(r, "a"), b = enter(r, "b");
    ws_id other = id_of(r, "b");
    on_loop_of(r, 0, sum_up, &s);
    now = s.loop->counters->value;
    memcpy(before, now, sizeof(before));
    as_callback(id_of(r, "a"), send_to_another, &other);
    turns(r, 0);
    IS_COUNTED(MESSAGES_OUT, 1);
    IS_COUNTED(BYTES_OUT, 5);
    as_callback(id_of(r, "a"), send_to_both, &other);
    turns(r, 0);
    IS_COUNTED(MESSAGES_OUT, 3);
    IS_COUNTED(BYTES_OUT, 15);
    wire_next_is(&b, "binary \"for b\"", "the other client gets the first message");
    wire_next_is(&b, "binary \"for b\"", "the other client gets the second message");
    wire_next_is(&a, "binary \"for a\"", "the client gets its own message");
    leave(&a, "a");
    leave(&b, "b");
}

static void almost_wrap(ws_loop *loop, void *arg)
{
    (void)arg;
    LIST_FIRST(&loop->heads[0])->sums[WS_SUM_BYTES_IN] = 0xFFFFFFF0u;
}

static void look_at_sums(ws_loop *loop, void *arg)
{
    const ws_conn *c = LIST_FIRST(&loop->heads[0]);
    apr_uint64_t *sums = arg;
    sums[0] = ws_conn_sum(c, WS_SUM_BYTES_IN);
    sums[1] = ws_conn_sum(c, WS_SUM_BYTES_OUT);
    sums[2] = c->rare == &ws_rare_none;
}

/* A connection stores the low 32 bits of each total. It allocates memory for the high bits only if
 * they are not zero. */
static void totals_exceed_32_bits(rig *r)
{
    apr_uint64_t sums[3];
    wire w = enter(r, "a");
    on_loop_of(r, 0, almost_wrap, NULL);
    on_loop_of(r, 0, look_at_sums, sums);
    is_int((long long)sums[2], 1, "a new connection stores only the low bits of its totals");
    wire_text(&w, "a message of twenty b");
    wire_next_is(&w, "text \"a message of twenty b\"", "the message is echoed");
    on_loop_of(r, 0, look_at_sums, sums);
    is_int((long long)sums[0], 0x100000005, "more than 4 GiB are counted as incoming");
    is_int((long long)sums[1], 21, "21 bytes are counted as outgoing");
    leave(&w, "a");
}

static void early_bytes(rig *r)
{
    unsigned char stream[64];
    size_t n = frame_put(stream, FIN | TEXT, "early", 5);
    n += frame_put(stream + n, FIN | TEXT, "late", 4);
    for (size_t cut = 1; cut <= n; cut += 3) {
        int fd[2];
        ws_new_conn newcomer;
        wire w;
        unix_pair(fd);
        newcomer = rig_newcomer(r, fd[1], "a");
        newcomer.early = stream;
        newcomer.early_len = cut;
        is_int(ws_engine_add(r->engine, &newcomer), APR_SUCCESS,
               "a connection with %zu bytes after the handshake is added", cut);
        w = (wire){.fd = fd[0]};
        told_is("a", "open", "on_open is called first");
        wire_send(&w, stream + cut, n - cut);
        told_is("a", "text \"early\"", "the early message is delivered");
        told_is("a", "text \"late\"", "the late message is delivered");
        wire_next_is(&w, "text \"early\"", "the early message is echoed");
        wire_next_is(&w, "text \"late\"", "the late message is echoed");
        leave(&w, "a");
    }
}

/* Check that the server answers a stream that violates the protocol with a Close frame with this
 * code, and then ends the connection. */
static void is_refused(rig *r, const unsigned char *stream, size_t n, int code, const char *name)
{
    char expected[TEXT_SIZE];
    const char *text;
    wire w = enter(r, "a");
    wire_send(&w, stream, n);
    sprintf(expected, "close %d \"", code);
    text = wire_next(&w);
    ok(!strncmp(text, expected, strlen(expected)), "%s: %s", name, text);
    sprintf(expected, "%s", text);
    wire_next_is(&w, "eof", "%s: the server ends the connection", name);
    text = told("a");
    ok(!strcmp(text, expected), "%s: on_close gets the same code and reason: %s", name, text);
    wire_free(&w);
}

static void limits(rig *r)
{
    unsigned char stream[4096];
    static const char data[2000] = {[0 ... 1999] = 'x'};
    char text[TEXT_SIZE];
    size_t n;
    wire w = enter(r, "a");
    wire_frame(&w, FIN | TEXT, data, 1000);
    told_is("a", describe(text, TEXT, data, 1000), "a frame of the maximum size is delivered");
    wire_next_is(&w, text, "a frame of the maximum size is echoed");
    wire_frame(&w, TEXT, data, 1000);
    wire_frame(&w, FIN | CONT, data, 500);
    told_is("a", describe(text, TEXT, data, 1500), "a message of the maximum size is delivered");
    wire_next_is(&w, text, "a message of the maximum size is echoed");
    leave(&w, "a");

    n = frame_put(stream, FIN | TEXT, data, 1001);
    is_refused(r, stream, n, 1009, "a frame that is too long");
    is_refused(r, stream, 8, 1009, "the header of a frame that is too long");
    n = frame_put(stream, TEXT, data, 1000);
    n += frame_put(stream + n, FIN | CONT, data, 501);
    is_refused(r, stream, n, 1009, "a message that is too long");
    n = frame_put(stream, BINARY, data, 1000);
    memcpy(stream + n, "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 14);
    is_refused(r, stream, n + 14, 1002, "a length with its highest bit set");
    memcpy(stream + n, "\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 14);
    is_refused(r, stream, n + 14, 1009, "the largest length");
}

static void what_is_not_utf8(rig *r)
{
    unsigned char stream[256];
    size_t n = frame_put(stream, FIN | TEXT, "abc\xff", 4);
    is_refused(r, stream, n, 1007, "a byte that no text has");
    n = frame_put(stream, FIN | TEXT, "abc\xc3", 4);
    is_refused(r, stream, n, 1007, "text that ends inside a character");
    n = frame_put(stream, TEXT, "abc\xed\xa0", 5);
    is_refused(r, stream, n, 1007, "a surrogate in a message that has not ended");
    n = frame_put(stream, FIN | TEXT, "\xed\xa0 and much more that is still to come", 30);
    is_refused(r, stream, 8, 1007, "a surrogate in an incomplete frame");
    n = frame_put(stream, TEXT, "\xe2\x82", 2);
    n += frame_put(stream + n, FIN | CONT, "", 0);
    is_refused(r, stream, n, 1007, "text that ends inside a character, with an empty last frame");
}

static void broken_frames(rig *r)
{
    static const struct {
        const char *name;
        size_t len;
        const char *bytes;
    } cases[] = {
        {"a frame that is not masked", 7, "\x81\x05hello"},
        {"a reserved bit", 6, "\xc1\x80\x00\x00\x00\x00"},
        {"a reserved opcode", 6, "\x83\x80\x00\x00\x00\x00"},
        {"a reserved control opcode", 6, "\x8b\x80\x00\x00\x00\x00"},
        {"a fragmented Ping", 6, "\x09\x80\x00\x00\x00\x00"},
        {"a Ping of 126 bytes", 8, "\x89\xfe\x00\x7e\x00\x00\x00\x00"},
        {"a continuation of nothing", 6, "\x80\x80\x00\x00\x00\x00"},
        {"a message inside another", 12, "\x01\x80\x00\x00\x00\x00\x81\x80\x00\x00\x00\x00"},
        {"a length that is not in its shortest form", 8, "\x81\xfe\x00\x7d\x00\x00\x00\x00"},
        {"a Close frame of one byte", 7, "\x88\x81\x00\x00\x00\x00x"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        is_refused(r, (const unsigned char *)cases[i].bytes, cases[i].len, 1002, cases[i].name);
    }
}

static void nobody_listens(rig *r)
{
    wire w = enter(r, "a");
    unsigned char stream[1024];
    wire_send(&w, stream, all_kinds(stream));
    wire_next_is(&w, "pong \"p\"", "Pings are answered without the handler");
    leave(&w, "a");
}

int main(void)
{
    static test *const recorded[] = {
        echoes,      any_cut_is_the_same, an_idle_connection_owns_no_buffer,
        early_bytes, what_is_not_utf8,    broken_frames,
        NULL};
    static test *const limited[] = {limits, NULL};
    static test *const counted[] = {long_messages,
                                    an_announcement_costs_little,
                                    large_buffers_are_used_again,
                                    a_storm,
                                    many_in_one_read,
                                    totals_exceed_32_bits,
                                    each_message_is_counted,
                                    messages_to_others_are_counted,
                                    NULL};
    static test *const ignored[] = {nobody_listens, NULL};
    ws_settings wide = RIG_SETTINGS, tight = RIG_SETTINGS;
    tight.max_frame = 1000;
    tight.max_message = 1500;
    rig_run((rig){.settings = wide}, &echo, 1, recorded);
    rig_run((rig){.settings = tight}, &echo, 1, limited);
    rig_run((rig){.settings = wide}, &quiet, 1, counted);
    rig_run((rig){.settings = wide}, &deaf, 1, ignored);
    return done_testing();
}
