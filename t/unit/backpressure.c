/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests clients that read too slowly: which messages the policies drop, and that a client never
 *  gets a part of a message. */

#include "t/unit/rig.h"

enum { SIZE = 4000, QUEUE = 100000, MANY = 200 };

static int drains; /* calls of on_drain, atomic */

static void count_drain(ws_conn *c)
{
    (void)c;
    __atomic_add_fetch(&drains, 1, __ATOMIC_RELAXED);
}

static const ws_handler handler = {
    .on_message = rec_message, .on_open = rec_open, .on_drain = count_drain, .on_close = rec_close};

static char much[3 * QUEUE];

static ws_settings settings(ws_slow policy)
{
    ws_settings s = RIG_SETTINGS;
    s.send_queue = QUEUE;
    s.slow = policy;
    return s;
}

static wire enter_version(rig *r, const char *name, const ws_settings *s, int version)
{
    int fd[2];
    ws_new_conn n;
    unix_pair(fd);
    small_buffers(fd);
    n = rig_newcomer(r, fd[1], name);
    n.settings = s;
    n.version = version;
    if (ws_engine_add(r->engine, &n) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    told_is(name, "open", "a connection");
    return (wire){.fd = fd[0]};
}

static wire enter_with(rig *r, const char *name, const ws_settings *s)
{
    return enter_version(r, name, s, 13);
}

/* ---- Handlers that send one message in each callback ---- */

typedef struct order {
    int number;
    apr_uint64_t key;
    unsigned where; /* position of the part; 0: a whole message */
    ws_status got;
    apr_size_t queued;
} order;

static void do_order(ws_conn *c, void *arg)
{
    order *o = arg;
    char message[SIZE] = "";
    sprintf(message, "%d", o->number);
    o->got = o->where ? ws_send_part(c, WS_TEXT, message, SIZE, o->where & 3)
                      : ws_send_keyed(c, WS_TEXT, message, SIZE, o->key);
    o->queued = ws_queued(c);
}

static ws_status send_part(ws_id id, int number, unsigned where)
{
    order o = {.number = number, .where = where | 4};
    as_callback(id, do_order, &o);
    return o.got;
}

static order send_one(ws_id id, int number, apr_uint64_t key)
{
    order o = {.number = number, .key = key};
    as_callback(id, do_order, &o);
    return o;
}

/* Read messages up to the one with this number, and store the numbers of all. @return how many */
static int read_until(wire *w, int last, int *numbers)
{
    int n = 0, whole = 1;
    do {
        frame f = {0};
        size_t len = 0;
        numbers[n] = -1;
        do {
            const char *problem = wire_get(w, &f);
            if (problem) {
                bail_out("%s instead of message %d", problem, last);
            }
            if (f.opcode & 8) {
                whole &= f.fin != 0;
                break;
            }
            whole &= (f.opcode == CONT) == (len > 0);
            if (!len) {
                numbers[n] = atoi((const char *)f.payload);
            }
            len += f.len;
        } while (!f.fin);
        whole &= f.opcode & 8 || len % SIZE == 0;
        n += numbers[n] >= 0;
    } while (!n || (numbers[n - 1] != last && n < 2 * MANY));
    ok(whole, "all messages that arrive are complete");
    return n;
}

static int increase(const int *numbers, int n)
{
    for (int i = 1; i < n; i++) {
        if (numbers[i] <= numbers[i - 1]) {
            return 0;
        }
    }
    return 1;
}

static void look_for_drain(ws_loop *loop, void *arg)
{
    (void)loop;
    *(int *)arg = __atomic_load_n(&drains, __ATOMIC_RELAXED) > 0;
}

static void wait_for_drain(rig *r)
{
    int come = 0;
    until(r, 0, look_for_drain, &come, &come);
    drains = 0;
    ok(1, "on_drain");
}

/* ---- Policies ---- */

static void the_newest_is_dropped(rig *r)
{
    ws_settings s = settings(WS_SLOW_DROP_NEWEST);
    wire w = enter_with(r, "a", &s);
    ws_id id = id_of(r, "a");
    int taken = 0, dropped = 0, numbers[2 * MANY], n;
    for (int i = 0; i < MANY; i++) {
        order o = send_one(id, i, 0);
        taken += o.got >= 0;
        dropped += o.got == WS_DROPPED;
        if (o.queued > QUEUE + 2 * SIZE + 100) {
            bail_out("%zu bytes wait", o.queued);
        }
    }
    is_int(taken + dropped, MANY, "drop-newest: a message is accepted or dropped");
    ok(dropped > 0, "drop-newest: %d messages are dropped", dropped);
    n = read_until(&w, taken - 1, numbers);
    is_int(n, taken, "drop-newest: the accepted messages arrive, and no others");
    ok(increase(numbers, n), "drop-newest: messages arrive in order");
    wait_for_drain(r);
    ok(send_one(id, MANY, 0).got >= 0,
       "drop-newest: when the client has read, messages are accepted again");
    read_until(&w, MANY, numbers);
    leave(&w, "a");
}

static void the_oldest_is_dropped(rig *r, apr_uint64_t fragment)
{
    ws_settings s = settings(WS_SLOW_DROP_OLDEST);
    int taken = 0, numbers[2 * MANY], n;
    wire w;
    ws_id id;
    s.fragment = fragment;
    w = enter_with(r, "a", &s);
    id = id_of(r, "a");
    for (int i = 0; i < MANY; i++) {
        order o = send_one(id, i, 0);
        taken += o.got >= 0;
        if (o.queued > QUEUE + 2 * SIZE + 100) {
            bail_out("%zu bytes wait", o.queued);
        }
    }
    is_int(taken, MANY, "drop-oldest: all messages are accepted");
    n = read_until(&w, MANY - 1, numbers);
    ok(n < MANY, "drop-oldest: %d of the messages arrive", n);
    ok(increase(numbers, n), "drop-oldest: messages arrive in order");
    is_int(numbers[0], 0, "drop-oldest: a message that is partly sent is not dropped");
    is_int(numbers[n - 1] - numbers[n - 10], 9, "drop-oldest: the newest messages arrive");
    leave(&w, "a");
}

static void the_oldest_whole_ones_are_dropped(rig *r)
{
    the_oldest_is_dropped(r, 0);
}

static void messages_in_fragments_are_dropped_whole(rig *r)
{
    the_oldest_is_dropped(r, 999);
}

static void version_75_has_whole_messages_too(rig *r)
{
    ws_settings s = settings(WS_SLOW_KEEP_LATEST);
    wire w = enter_version(r, "a", &s, 75);
    ws_id id = id_of(r, "a");
    int n = 0, whole = 1, number = -1;
    for (int i = 0; i < MANY; i++) {
        send_one(id, i, i % 2 ? 1 + (apr_uint64_t)(i % 7) : 0);
    }
    for (; number != MANY - 2 && wire_need(&w, SIZE + 2); n++) {
        const unsigned char *p = w.in + w.pos;
        whole &= p[0] == 0 && p[SIZE + 1] == 0xFF;
        number = atoi((const char *)p + 1);
        w.pos += SIZE + 2;
    }
    ok(whole && n < MANY, "version 75: %d messages arrive, all complete", n);
    wire_free(&w);
    told("a");
    nobody_is_left(r);
}

static void the_latest_of_a_key_is_kept(rig *r)
{
    ws_settings s = settings(WS_SLOW_KEEP_LATEST);
    wire w = enter_with(r, "a", &s);
    ws_id id = id_of(r, "a");
    int numbers[2 * MANY], n, last = MANY;
    apr_size_t most = 0;
    for (int i = 0; i < MANY; i++) {
        order o = send_one(id, i, 1 + (apr_uint64_t)(i % 7) * 0x100000000u);
        most = o.queued > most ? o.queued : most;
    }
    ok(most < 16 * SIZE, "keep-latest: one message of each key is queued, %zu bytes", most);
    is_int(send_one(id, last, 0).got, WS_QUEUED, "keep-latest: a message without a key is queued");
    n = read_until(&w, last, numbers);
    /* The client gets the messages sent before the queue was full, then the latest of each key. */
    ok(n >= 8 && n < MANY, "keep-latest: %d messages arrive", n);
    for (int key = 0; key < 7; key++) {
        int found = 0;
        for (int i = n - 8; i < n - 1; i++) {
            found += numbers[i] % 7 == key && numbers[i] >= MANY - 7;
        }
        is_int(found, 1, "keep-latest: the last message of key %d arrives", key);
    }
    leave(&w, "a");
}

static void without_the_policy_a_key_means_nothing(rig *r)
{
    ws_settings s = settings(WS_SLOW_DROP_OLDEST);
    wire w = enter_with(r, "a", &s);
    ws_id id = id_of(r, "a");
    int numbers[2 * MANY];
    for (int i = 0; i < 10; i++) {
        send_one(id, i, 5);
    }
    is_int(read_until(&w, 9, numbers), 10, "keep-latest: all messages of one key arrive");
    leave(&w, "a");
}

static void a_long_message_does_not_keep_out_new_ones(rig *r)
{
    char text[TEXT_SIZE];
    ws_settings s = settings(WS_SLOW_DROP_OLDEST);
    wire w = enter_with(r, "a", &s);
    ws_id id = id_of(r, "a");
    int numbers[2 * MANY];
    int taken = 0;
    hold h;
    hold_loop(&h, r); /* the loop reads all messages in one turn, before it writes to the socket */
    is_int(ws_send_to(id, WS_BINARY, much, sizeof(much)), WS_QUEUED,
           "a message larger than the queue is queued");
    ws_send_to(id, WS_BINARY, "-1", 3);
    let_loop_go(&h);
    for (int i = 0; i < MANY; i++) {
        taken += send_one(id, i, 0).got >= 0;
    }
    is_int(taken, MANY, "a message larger than the queue does not block later messages");
    wire_next_is(&w, describe(text, BINARY, much, sizeof(much)),
                 "the message larger than the queue arrives complete");
    ok(read_until(&w, MANY - 1, numbers) > 10, "the newest messages after it arrive");
    leave(&w, "a");
}

/* ---- Parts ---- */

static void a_part_that_finds_no_room_closes(rig *r)
{
    ws_settings s = settings(WS_SLOW_DROP_OLDEST);
    wire w = enter_with(r, "a", &s);
    ws_id id = id_of(r, "a");
    ws_status got = send_part(id, 0, WS_FIRST);
    int i;
    for (i = 1; got >= 0 && i < MANY; i++) {
        got = send_part(id, i, 0);
    }
    is_int(got, WS_FULL,
           "for a slow client, a part that does not fit into the queue returns WS_FULL");
    for (const char *text; strncmp(text = wire_next(&w), "close", 5);) {
        if (!strcmp(text, "eof")) {
            break;
        }
    }
    wire_close(&w, 1008, "");
    wire_next_is(&w, "eof", "after WS_FULL for a part, the connection is closed");
    told_is("a", "close 1008 \"too slow\"", "after WS_FULL for a part, on_close gets 1008");
    wire_free(&w);
}

static void a_first_part_can_be_dropped(rig *r)
{
    ws_settings s = settings(WS_SLOW_DROP_NEWEST);
    wire w = enter_with(r, "a", &s);
    ws_id id = id_of(r, "a");
    int numbers[2 * MANY], i = 0, n;
    while (send_one(id, i, 0).got >= 0) {
        i++;
    }
    is_int(send_part(id, MANY, WS_FIRST), WS_DROPPED,
           "the first part of a message is dropped when the queue is full");
    is_int(send_part(id, MANY, 0), WS_MISPLACED,
           "after a dropped first part, the next part is misplaced");
    n = read_until(&w, i - 1, numbers);
    is_int(n, i, "the messages accepted before arrive");
    wait_for_drain(r);
    ok(send_part(id, MANY, WS_FIRST) >= 0, "when the client has read, a first part is accepted");
    is_int(send_part(id, 0, WS_LAST) >= 0, 1, "the last part is accepted, too");
    read_until(&w, MANY, numbers);
    leave(&w, "a");
}

/* ---- Time ---- */

static void make_old(ws_loop *loop, void *arg)
{
    ws_conn *c = ws_conn_find(loop, *(ws_id *)arg);
    for (apr_uint32_t i = 0; i < ws_send_queue_count(&c->out); i++) {
        ((ws_send_entry *)ws_send_queue_at(&c->out, i))->since -= 3600 * 1000;
    }
}

static void old_messages_are_dropped(rig *r)
{
    ws_settings s = settings(WS_SLOW_DROP_OLDEST);
    int numbers[2 * MANY], n, i;
    wire w;
    ws_id id;
    s.max_delay = 1800 * 1000;
    w = enter_with(r, "a", &s);
    id = id_of(r, "a");
    for (i = 0; send_one(id, i, 0).queued < QUEUE / 2; i++) {
    }
    on_loop_of(r, 0, make_old, &id);
    is_int(send_one(id, MANY, 0).got, WS_QUEUED, "drop-oldest: a message is queued after old ones");
    n = read_until(&w, MANY, numbers);
    ok(n < i && numbers[n - 2] < i,
       "drop-oldest: messages that waited too long are dropped: %d of %d arrive", n - 1, i);
    leave(&w, "a");
}

static void old_messages_are_not_written(rig *r)
{
    ws_settings s = settings(WS_SLOW_DROP_OLDEST);
    int numbers[2 * MANY], n, i;
    wire w;
    ws_id id;
    s.max_delay = 1800 * 1000;
    w = enter_with(r, "a", &s);
    id = id_of(r, "a");
    for (i = 0; send_one(id, i, 0).queued < QUEUE / 2; i++) {
    }
    on_loop_of(r, 0, make_old, &id);
    wire_frame(&w, FIN | PING, "end", 3);
    n = 0;
    for (const char *text = ""; strcmp(text, "pong \"end\""); n++) {
        text = wire_next(&w);
    }
    ok(n < i, "drop-oldest: when the client reads again, old messages are not sent: %d of %d",
       n - 1, i);
    ok(send_one(id, MANY, 0).got >= 0, "drop-oldest: new messages are accepted");
    read_until(&w, MANY, numbers);
    leave(&w, "a");
}

static void a_message_that_waits_too_long_closes(rig *r, ws_slow policy)
{
    ws_settings s = settings(policy);
    int numbers[2 * MANY], i;
    wire w;
    ws_id id;
    s.max_delay = 1800 * 1000;
    w = enter_with(r, "a", &s);
    id = id_of(r, "a");
    for (i = 0; send_one(id, i, 0).queued < QUEUE / 2; i++) {
    }
    on_loop_of(r, 0, make_old, &id);
    /* A Pong overtakes queued messages, but the oldest message still counts for the time limit. */
    wire_frame(&w, FIN | PING, "x", 1);
    turns(r, 0);
    is_int(send_one(id, MANY, 0).got, policy == WS_SLOW_CLOSE ? WS_FULL : WS_DROPPED,
           "a message has waited too long");
    read_until(&w, i, numbers);
    if (policy == WS_SLOW_CLOSE) {
        wire_next_is(&w, "close 1008 \"too slow\"", "close");
        wire_close(&w, 1008, "");
        wire_next_is(&w, "eof", "the connection whose message waited too long is closed");
        told_is("a", "close 1008 \"too slow\"", "on_close");
        wire_free(&w);
        return;
    }
    wait_for_drain(r);
    ok(send_one(id, MANY, 0).got >= 0, "after the dropped message, messages are accepted again");
    read_until(&w, MANY, numbers);
    leave(&w, "a");
}

static void close_when_a_message_waits_too_long(rig *r)
{
    a_message_that_waits_too_long_closes(r, WS_SLOW_CLOSE);
}

static void drop_newest_when_a_message_waits_too_long(rig *r)
{
    a_message_that_waits_too_long_closes(r, WS_SLOW_DROP_NEWEST);
}

/* ---- Control frames, small messages ---- */

static void ping(ws_conn *c, void *arg)
{
    *(ws_status *)arg = ws_ping(c, "p", 1);
}

static void pings_do_not_close(rig *r)
{
    ws_settings s = settings(WS_SLOW_CLOSE);
    wire w = enter_with(r, "a", &s);
    ws_id id = id_of(r, "a");
    char text[TEXT_SIZE];
    ws_status got = WS_SENT;
    ws_send_to(id, WS_BINARY, much, sizeof(much));
    turns(r, 0);
    as_callback(id, ping, &got);
    is_int(got, WS_DROPPED, "ws_ping() on a full queue is dropped");
    wire_next_is(&w, describe(text, BINARY, much, sizeof(much)),
                 "after the dropped Ping, the connection is still open");
    leave(&w, "a");
}

typedef struct places {
    ws_id id;
    apr_uint32_t count;
} places;

static void count_places(ws_loop *loop, void *arg)
{
    places *p = arg;
    p->count = ws_send_queue_count(&ws_conn_find(loop, p->id)->out);
}

static void many_small_messages_are_many(rig *r)
{
    ws_settings s = settings(WS_SLOW_DROP_OLDEST);
    wire w = enter_with(r, "a", &s);
    ws_id id = id_of(r, "a");
    places p = {id, 0};
    ws_send_to(id, WS_BINARY, much, sizeof(much));
    for (int i = 0; i < 20000; i++) {
        if (ws_send_to(id, WS_TEXT, "x", 1) != WS_QUEUED) {
            bail_out("a message is not taken");
        }
    }
    turns(r, 0);
    on_loop_of(r, 0, count_places, &p);
    ok(p.count > 100 && p.count * WS_SEND_ENTRY_COST < QUEUE + WS_SEND_ENTRY_COST,
       "%u messages of a byte wait, because each entry of the queue counts, too", p.count);
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "on_close");
    nobody_is_left(r);
}

static void nothing_is_missing_for_who_says_so(rig *r)
{
    ws_settings s = settings(WS_SLOW_DROP_OLDEST);
    wire w = enter_with(r, "a", &s);
    ws_id id = id_of(r, "a");
    int taken = 0, numbers[2 * MANY];
    while (taken < MANY && send_one(id, taken, 0).got >= 0) {
        taken++;
    }
    ok(taken < MANY, "WS_LOSSLESS: a message that does not fit is not accepted");
    is_int(read_until(&w, taken - 1, numbers), taken, "WS_LOSSLESS: all messages before it arrive");
    wire_next_is(&w, "close 1008 \"too slow\"", "WS_LOSSLESS: the connection is closed with 1008");
    wire_close(&w, 1008, "");
    told_is("a", "close 1008 \"too slow\"", "on_close");
    wire_free(&w);
}

static void log_a_line(ws_conn *c, void *arg)
{
    ws_conn_log(c, WS_LOG_WARNING, "%s, from a handler", (const char *)arg);
}

static void a_handler_logs(rig *r)
{
    wire w = enter(r, "a");
    int before = log_lines;
    as_callback(id_of(r, "a"), log_a_line, "a line");
    is_int(log_lines, before + 1, "ws_conn_log() writes a line");
    leave(&w, "a");
}

int main(void)
{
    static test *const tests[] = {the_newest_is_dropped,
                                  the_oldest_whole_ones_are_dropped,
                                  messages_in_fragments_are_dropped_whole,
                                  the_latest_of_a_key_is_kept,
                                  version_75_has_whole_messages_too,
                                  without_the_policy_a_key_means_nothing,
                                  a_long_message_does_not_keep_out_new_ones,
                                  a_part_that_finds_no_room_closes,
                                  a_first_part_can_be_dropped,
                                  old_messages_are_dropped,
                                  old_messages_are_not_written,
                                  close_when_a_message_waits_too_long,
                                  drop_newest_when_a_message_waits_too_long,
                                  pings_do_not_close,
                                  many_small_messages_are_many,
                                  NULL};
    static test *const of_a_stream[] = {nothing_is_missing_for_who_says_so, a_handler_logs, NULL};
    static const ws_handler stream = {
        .flags = WS_LOSSLESS, .on_open = rec_open, .on_close = rec_close};
    rig_run((rig){0}, &handler, 1, tests);
    rig_run((rig){0}, &stream, 1, of_a_stream);
    return done_testing();
}
