/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests the send queue: pushing frames, appending data, partial writes, and the order of the
 *  output. */

#include "engine/send_queue.h"

#include <stdlib.h>

#include "t/unit/tap.h"

#define FIN 0x80u
#define OUT_MAX (1 << 20)

static unsigned char out[OUT_MAX];
static apr_size_t out_len;

/* Take n bytes out of the queue, as a write to a socket does. */
static void take(ws_send_queue *q, apr_size_t n)
{
    while (n > 0 && ws_send_queue_count(q)) {
        struct iovec iov[3];
        int vectors = ws_send_queue_peek(q, iov, 3);
        apr_size_t done = 0;
        for (int i = 0; i < vectors && done < n; i++) {
            apr_size_t part = iov[i].iov_len < n - done ? iov[i].iov_len : n - done;
            memcpy(out + out_len, iov[i].iov_base, part);
            out_len += part;
            done += part;
        }
        ws_send_queue_drop(q, done);
        n -= done;
    }
}

static void append(ws_send_queue *q, const char *a, const char *b)
{
    struct iovec iov[2] = {{(void *)a, strlen(a)}, {(void *)b, strlen(b)}};
    if (ws_send_queue_append(q, iov, 2, 0) < 0) {
        bail_out("no memory");
    }
}

static void control(ws_send_queue *q, unsigned opcode, const char *text)
{
    if (ws_send_queue_push_control(q, ws_frames_build(FIN | opcode, text, strlen(text)), 0) < 0) {
        bail_out("no memory");
    }
}

/* Take all bytes out of the queue, and compare them with the expected bytes. */
static void comes_out_as(ws_send_queue *q, const char *expected, apr_size_t len, const char *name)
{
    apr_size_t bytes = ws_send_queue_bytes(q);
    apr_size_t before = out_len;
    take(q, OUT_MAX);
    is_int(bytes, out_len - before, "%s: the queue knows its length", name);
    is_mem(out, out_len, expected, len, "%s", name);
    is_int(ws_send_queue_bytes(q), 0, "%s: in the end, the queue is empty", name);
    ok(!q->ring, "%s: in the end, the queue holds no memory", name);
    out_len = 0;
}

#define COMES_OUT_AS(Q, EXPECTED, NAME) comes_out_as(Q, EXPECTED, sizeof(EXPECTED) - 1, NAME)

static void bytes_keep_their_order(void)
{
    ws_send_queue q = {0};
    ws_frames *f;
    append(&q, "one", "");
    append(&q, " two", " three");
    is_int(ws_send_queue_count(&q), 1, "appended data share a buffer");
    ws_send_queue_push(&q, ws_frames_build(FIN | WS_OP_TEXT, "four", 4), 0);
    append(&q, "five", "");
    COMES_OUT_AS(&q,
                 "one two three\x81\x04"
                 "fourfive",
                 "appended data is sent before a frame that was pushed later");

    append(&q, "abcdef", "");
    take(&q, 3);
    append(&q, "ghi", "");
    COMES_OUT_AS(&q, "abcdefghi", "data can be appended to a partly sent buffer");

    f = ws_frames_build(FIN | WS_OP_BINARY, "shared", 6);
    f->size = f->len; /* as if the frame was allocated with its exact size */
    ws_send_queue_push(&q, ws_frames_ref(f), 0);
    append(&q, "own", "");
    is_mem(f->data, f->len, "\x82\x06shared", 8, "data are not appended to a shared frame");
    COMES_OUT_AS(&q, "\x82\x06sharedown", "data after a shared frame");
    is_int(f->refs, 1, "the reference to the shared frame is released");
    ws_frames_unref(f);

    f = ws_frames_new(100);
    ws_send_queue_push(&q, ws_frames_ref(f), 0);
    append(&q, "x", "");
    is_int(f->len, 0, "data are not appended to a frame in another queue, even if it has room");
    ws_send_queue_clear(&q);
    ws_frames_unref(f);
}

static void control_frames_go_first(void)
{
    ws_send_queue q = {0};
    append(&q, "data", "");
    control(&q, WS_OP_PING, "p");
    COMES_OUT_AS(&q, "\x89\x01pdata", "a Ping overtakes queued data");

    append(&q, "data", "");
    append(&q, "", "more");
    take(&q, 1);
    ws_send_queue_push(&q, ws_frames_build(FIN | WS_OP_TEXT, "t", 1), 0);
    control(&q, WS_OP_PING, "p");
    COMES_OUT_AS(&q, "datamore\x89\x01p\x81\x01t", "a Ping does not overtake a partly sent frame");

    append(&q, "rest", ""); /* the socket has already taken its beginning */
    q.ring->partial = 1;
    control(&q, WS_OP_PING, "p");
    COMES_OUT_AS(&q, "rest\x89\x01p", "a Ping waits for the rest of a frame");
    is_int(q.ring && q.ring->partial, 0,
           "when the partial frame is sent, a Ping no longer waits for it");

    append(&q, "rest", "");
    q.ring->partial = 1;
    ws_send_queue_push(&q, ws_frames_build(FIN | WS_OP_TEXT, "t", 1), 0);
    take(&q, 4);
    control(&q, WS_OP_PING, "p");
    COMES_OUT_AS(&q, "rest\x89\x01p\x81\x01t", "a Ping overtakes data after a partly sent frame");
}

static void a_newer_pong_replaces_an_older(void)
{
    ws_send_queue q = {0};
    append(&q, "data", "");
    control(&q, WS_OP_PONG, "old");
    control(&q, WS_OP_PONG, "newer");
    control(&q, WS_OP_PONG, "new");
    COMES_OUT_AS(&q, "\x8a\x03newdata", "only the newest Pong is sent (RFC 6455, section 5.5.3)");

    append(&q, "data", "");
    take(&q, 1);
    control(&q, WS_OP_PONG, "old");
    control(&q, WS_OP_PONG, "newest");
    COMES_OUT_AS(&q, "data\x8a\x06newest",
                 "only the newest Pong is sent after a partly sent frame");

    append(&q, "data", "");
    control(&q, WS_OP_PONG, "old");
    take(&q, 2);
    control(&q, WS_OP_PONG, "new");
    COMES_OUT_AS(&q, "\x8a\x03old\x8a\x03newdata", "a partly sent Pong is not replaced");

    append(&q, "data", "");
    control(&q, WS_OP_PONG, "pong");
    append(&q, "more", "");
    COMES_OUT_AS(&q, "\x8a\x04pongdatamore", "data is not appended to a Pong");

    control(&q, WS_OP_PONG, "pong");
    append(&q, "more", "");
    control(&q, WS_OP_PONG, "new");
    COMES_OUT_AS(&q, "\x8a\x03newmore", "data are not appended to the only Pong");
}

static void frames_have_the_shortest_header(void)
{
    static const struct {
        apr_size_t len;
        const char *head;
        apr_size_t head_len;
    } cases[] = {{0, "\x82\x00", 2},
                 {125, "\x82\x7d", 2},
                 {126, "\x82\x7e\x00\x7e", 4},
                 {65535, "\x82\x7e\xff\xff", 4},
                 {65536, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10}};
    static const char payload[65536];
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ws_frames *f = ws_frames_build(FIN | WS_OP_BINARY, payload, cases[i].len);
        is_int(f->len, cases[i].head_len + cases[i].len, "%zu bytes: length of the frame",
               cases[i].len);
        is_mem(f->data, cases[i].head_len, cases[i].head, cases[i].head_len,
               "%zu bytes: the header (RFC 6455, section 5.2)", cases[i].len);
        ws_frames_unref(f);
    }
    ok(!ws_frames_build(FIN | WS_OP_BINARY, payload, (apr_size_t)-1),
       "a frame as large as the address space is refused");
    ok(!ws_frames_build(FIN | WS_OP_BINARY, payload, (apr_size_t)-20),
       "a frame slightly smaller than the address space is refused");
}

/* Compare random pushes, appends and partial writes with a plain array. */
static void agrees_with_a_plain_array(void)
{
    static unsigned char expected[OUT_MAX];
    static char piece[5000];
    apr_size_t len = 0;
    ws_send_queue q = {0};
    unsigned seed = 5, most = 0;
    int counted = 1;

    out_len = 0;
    while (len + 2 * sizeof(piece) < OUT_MAX) {
        unsigned r = (seed = seed * 1664525u + 1013904223u) >> 8;
        unsigned n = r / 8 % (r % 64 ? 50 : sizeof(piece));
        if (r % 8 < 3 || ws_send_queue_count(&q) < 40 - r / 64 % 40) {
            for (unsigned i = 0; i < n; i++) {
                piece[i] = (char)(len + i);
            }
            n += !n;
            if (r % 2) {
                struct iovec iov[2] = {{piece, n / 2}, {piece + n / 2, n - n / 2}};
                ws_send_queue_append(&q, iov, 2, 0);
            }
            else {
                ws_frames *f = ws_frames_new(n);
                memcpy(f->data, piece, n);
                f->len = n;
                ws_send_queue_push(&q, f, 0);
            }
            memcpy(expected + len, piece, n);
            len += n;
        }
        else {
            take(&q, n);
        }
        most = ws_send_queue_count(&q) > most ? ws_send_queue_count(&q) : most;
        counted &= ws_send_queue_bytes(&q) == len - out_len;
    }
    ok(most > 16, "the queue's ring buffer has grown");
    ok(counted, "the number of queued bytes is always right");
    take(&q, OUT_MAX);
    is_mem(out, out_len, expected, len, "all bytes come out, in order");
    out_len = 0;
}

static void a_queue_that_is_dropped_gives_all_back(void)
{
    ws_frames *f = ws_frames_build(FIN | WS_OP_TEXT, "everybody", 9);
    ws_send_queue q[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 10; j++) {
            ws_send_queue_push(&q[i], ws_frames_ref(f), 0);
        }
    }
    is_int(f->refs, 31, "a frame is in three queues ten times");
    take(&q[0], 15);
    out_len = 0;
    for (int i = 0; i < 3; i++) {
        ws_send_queue_clear(&q[i]);
        is_int(ws_send_queue_bytes(&q[i]), 0, "a cleared queue is empty");
    }
    is_int(f->refs, 1, "a cleared queue holds no reference to the frame");
    ws_frames_unref(f);
}

int main(void)
{
    bytes_keep_their_order();
    control_frames_go_first();
    a_newer_pong_replaces_an_older();
    frames_have_the_shortest_header();
    agrees_with_a_plain_array();
    a_queue_that_is_dropped_gives_all_back();
    return done_testing();
}
