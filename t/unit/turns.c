/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests that the loop is fair: the work that one connection can cause in an iteration of its
 *  loop is limited, and so is the number of bytes that wait for a loop. */

#include "channels/channels.h"
#include "t/unit/rig.h"

enum { MANY = 3000, LONG = 20000 };

/* These variables are atomic. */
static int of_a;               /* number of messages of connection "a" */
static int of_a_when_b;        /* of_a when the first message of "b" arrived */
static int pieces;             /* number of pieces that the extension has enlarged */
static int pieces_when_b;      /* pieces when the first message of "b" arrived */
static apr_size_t most_posted; /* maximum number of bytes that waited for the loop */
static char answer[LONG];

static void watch_posted(const ws_conn *c)
{
    apr_size_t now = __atomic_load_n(&c->loop->posted, __ATOMIC_RELAXED);
    if (now > __atomic_load_n(&most_posted, __ATOMIC_RELAXED)) {
        __atomic_store_n(&most_posted, now, __ATOMIC_RELAXED);
    }
}

static void forget_counts(void)
{
    __atomic_store_n(&of_a, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&of_a_when_b, -1, __ATOMIC_RELAXED);
    __atomic_store_n(&pieces, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&most_posted, 0, __ATOMIC_RELAXED);
}

/* Echo a message of "b", or count a message of "a". @return whether the message is from "a" */
static int counts(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    if (*name_of(c) == 'b') {
        if (__atomic_load_n(&of_a_when_b, __ATOMIC_RELAXED) < 0) {
            __atomic_store_n(&of_a_when_b, of_a, __ATOMIC_RELAXED);
            __atomic_store_n(&pieces_when_b, pieces, __ATOMIC_RELAXED);
        }
        ws_send(c, type, data, len);
        return 0;
    }
    __atomic_add_fetch(&of_a, 1, __ATOMIC_RELAXED);
    return 1;
}

static void answer_by_id(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    if (counts(c, type, data, len)) {
        ws_send_to(ws_conn_id(c), WS_BINARY, answer, LONG);
        watch_posted(c);
    }
}

static void answer_by_broadcast(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    if (counts(c, type, data, len)) {
        ws_broadcast(ws_conn_location(c), WS_BINARY, answer, LONG, ws_conn_id(c));
        watch_posted(c);
    }
}

static void only_count(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    counts(c, type, data, len);
}

static const ws_handler by_id = {
    .on_open = rec_open, .on_message = answer_by_id, .on_close = rec_close};
static const ws_handler by_broadcast = {
    .on_open = rec_open, .on_message = answer_by_broadcast, .on_close = rec_close};
static const ws_handler counting = {
    .on_open = rec_open, .on_message = only_count, .on_close = rec_close};

/* Send many short messages of "a", then one of "b". The loop is blocked until all are in the
 * sockets. */
static void send_both(rig *r, wire *a, wire *b)
{
    unsigned char *stream = malloc((size_t)MANY * 16);
    size_t n = 0;
    hold h;
    int large = 1 << 20;
    setsockopt(a->fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
    for (int i = 0; i < MANY; i++) {
        n += frame_put(stream + n, FIN | TEXT, "ask", 3);
    }
    forget_counts();
    hold_loop(&h, r);
    wire_send(a, stream, n);
    wire_text(b, "b");
    let_loop_go(&h);
    free(stream);
}

static int answers(wire *w, int opcode, int n)
{
    char text[TEXT_SIZE];
    int right = 0;
    describe(text, opcode, answer, LONG);
    for (int i = 0; i < n; i++) {
        right += !strcmp(wire_next(w), text);
    }
    return right;
}

static void answers_by_id_are_bounded(rig *r)
{
    wire a = enter(r, "a"), b = enter(r, "b");
    send_both(r, &a, &b);
    wire_next_is(&b, "text \"b\"", "another client is answered while one client causes much work");
    ok(__atomic_load_n(&of_a_when_b, __ATOMIC_RELAXED) < MANY / 2,
       "another client is answered after only %d messages of a busy client",
       __atomic_load_n(&of_a_when_b, __ATOMIC_RELAXED));
    is_int(answers(&a, BINARY, MANY), MANY, "the busy client that reads late gets all answers");
    ok(__atomic_load_n(&most_posted, __ATOMIC_RELAXED) < (1 << 20),
       "at most %zu bytes waited for the loop", __atomic_load_n(&most_posted, __ATOMIC_RELAXED));
    is_int(untold(), 0, "no connection was closed");
    leave(&a, "a");
    leave(&b, "b");
}

static void broadcasts_are_bounded(rig *r)
{
    wire a = enter(r, "a"), b = enter(r, "b");
    send_both(r, &a, &b);
    while (strcmp(wire_next(&b), "text \"b\"")) {
    }
    ok(__atomic_load_n(&of_a_when_b, __ATOMIC_RELAXED) < MANY / 2,
       "another client is answered after only %d broadcasts",
       __atomic_load_n(&of_a_when_b, __ATOMIC_RELAXED));
    ok(__atomic_load_n(&most_posted, __ATOMIC_RELAXED) < (1 << 20),
       "at most %zu bytes waited for the loop", __atomic_load_n(&most_posted, __ATOMIC_RELAXED));
    wire_free(&a);
    wire_free(&b);
    nobody_is_left(r);
    forget("a");
    forget("b");
}

/* ---- Short messages to many connections ---- */

enum { SUBSCRIBERS = 100 };

static void open_subscribed(ws_conn *c)
{
    rec_open(c);
    if (*name_of(c) == 's') {
        ws_subscribe(c, "all", NULL);
    }
}

static void publish_short(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    if (counts(c, type, data, len)) {
        ws_publish("all", WS_TEXT, "x", 1, 0, NULL, NULL);
    }
}

static void broadcast_short(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    if (counts(c, type, data, len)) {
        ws_broadcast(ws_conn_location(c), WS_TEXT, "x", 1, ws_conn_id(c));
    }
}

static const ws_handler publishing = {
    .on_open = open_subscribed, .on_message = publish_short, .on_close = rec_close};
static const ws_handler broadcasting = {
    .on_open = rec_open, .on_message = broadcast_short, .on_close = rec_close};

static void short_messages_to_many_are_bounded(rig *r)
{
    wire s[SUBSCRIBERS], a = enter(r, "a"), b = enter(r, "b");
    for (int i = 0; i < SUBSCRIBERS; i++) {
        s[i] = enter(r, "s");
    }
    send_both(r, &a, &b);
    while (strcmp(wire_next(&b), "text \"b\"")) {
    }
    ok(__atomic_load_n(&of_a_when_b, __ATOMIC_RELAXED) < MANY / 2,
       "another client is answered after only %d messages to all",
       __atomic_load_n(&of_a_when_b, __ATOMIC_RELAXED));
    wire_free(&a);
    wire_free(&b);
    for (int i = 0; i < SUBSCRIBERS; i++) {
        wire_free(&s[i]);
    }
    nobody_is_left(r);
    forget("a");
    forget("b");
    forget("s");
}

/* ---- A blocking handler whose loop takes no more messages ---- */

static sem_t form_begun, form_may_end;

static int form_slowly(ws_conn *c, const ws_event *e)
{
    if (e->kind != WS_EVENT_MESSAGE) {
        note(name_of(c), "event %d", e->kind);
        return WS_FORM_NONE;
    }
    sem_post(&form_begun);
    sem_must(&form_may_end, "the test does not let on_channel return");
    return WS_FORM_AS_IS;
}

static void open_live(ws_conn *c)
{
    ws_subscription how = {.flags = WS_RESUME};
    rec_open(c);
    if (*name_of(c) == 's') {
        ws_subscribe(c, "all", &how);
    }
}

static const ws_handler forming = {
    .flags = WS_BLOCKING, .on_open = open_live, .on_channel = form_slowly, .on_close = rec_close};

static void no_message_is_lost_unnoticed(rig *r)
{
    wire s = enter(r, "s"), b;
    char live[16];
    ws_id id;
    hold h;
    sem_init(&form_begun, 0, 0);
    sem_init(&form_may_end, 0, 0);
    snprintf(live, sizeof(live), "event %d", WS_EVENT_LIVE);
    told_is("s", live, "the subscription is live");
    b = enter(r, "b");
    id = id_of(r, "b");
    ws_publish("all", WS_TEXT, "1", 1, 0, NULL, NULL);
    ws_publish("all", WS_TEXT, "2", 1, 0, NULL, NULL);
    sem_must(&form_begun, "on_channel is not called");
    turns(r, 0); /* the second message waits for the handler, too */
    hold_loop(&h, r);
    while (ws_send_to(id, WS_BINARY, answer, LONG) == WS_QUEUED) {
    }
    sem_post(&form_may_end);
    sem_must(&form_begun, "on_channel is not called for the second message");
    sem_post(&form_may_end);
    let_loop_go(&h);
    wire_next_is(&s, "close 1013",
                 "a client whose loop cannot take its message gets 1013, not a gap");
    wire_free(&s);
    wire_free(&b);
    nobody_is_left(r);
    forget("s");
    forget("b");
}

static void run_with_channels(const ws_handler *handler, test *const *tests)
{
    ws_channels_options options = {.self = {1, 7}, .channels = 4};
    ws_channels *channels;
    rig r = {0};
    rig_start(&r, handler, 1);
    options.engine = r.engine;
    channels = ws_channels_create(&options, r.pool);
    for (; *tests; tests++) {
        (*tests)(&r);
    }
    ws_channels_stop(channels);
    ws_engine_stop(r.engine);
    ws_channels_finish(channels);
    ws_channels_destroy(channels);
    rig_stop(&r);
}

/* ---- An extension that enlarges messages ---- */

static int swell(ws_extended *x, unsigned char *data, apr_size_t len, unsigned where)
{
    static unsigned char much[1 << 20];
    (void)data, (void)len;
    __atomic_add_fetch(&pieces, 1, __ATOMIC_RELAXED);
    ws_extension_deliver(x, much, sizeof(much), where & WS_LAST);
    return 0;
}

static int send_as_it_is(ws_extended *x, ws_type type, const unsigned char *data, apr_size_t len,
                         unsigned where)
{
    (void)x, (void)type, (void)data, (void)len, (void)where;
    return WS_PASS_BY;
}

static const ws_extension swelling = {.receive = swell, .send = send_as_it_is};
static const ws_extension_use use = {&swelling, "x-swelling", NULL, 0};
static const ws_extension *const all[] = {&swelling};

static wire join_swelling(rig *r, const char *name)
{
    int fd[2];
    ws_negotiation n = {0};
    ws_new_conn c;
    unix_pair(fd);
    c = rig_newcomer(r, fd[1], name);
    c.chain = ws_chain_new(1);
    ws_chain_add(c.chain, &use, &n);
    if (ws_engine_add(r->engine, &c) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    told_is(name, "open", "a connection with an extension");
    return (wire){.fd = fd[0]};
}

static void inflated_bytes_count(rig *r)
{
    wire a = join_swelling(r, "a"), b = enter(r, "b");
    send_both(r, &a, &b);
    wire_next_is(&b, "text \"b\"", "another client is answered");
    ok(__atomic_load_n(&of_a_when_b, __ATOMIC_RELAXED) < 10,
       "the other client is answered after only %d messages that become 1 MiB each",
       __atomic_load_n(&of_a_when_b, __ATOMIC_RELAXED));
    while (__atomic_load_n(&of_a, __ATOMIC_RELAXED) < MANY) {
        turns(r, 0);
    }
    ok(1, "all messages that become 1 MiB are delivered, too");
    leave(&b, "b");
    wire_free(&a);
    told_is("a", "close 1006 \"\"", "on_close");
}

/* One message that becomes much is delivered in several turns. */
static void one_message_is_divided(rig *r)
{
    enum { SIZE = 60000 };
    wire a = join_swelling(r, "a"), b = enter(r, "b");
    unsigned char *frame = malloc(SIZE + 64);
    char *payload = calloc(1, SIZE);
    size_t n = frame_put(frame, FIN | BINARY, payload, SIZE);
    hold h;
    int large = 1 << 20;
    setsockopt(a.fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
    forget_counts();
    hold_loop(&h, r);
    wire_send(&a, frame, n);
    wire_text(&b, "b");
    let_loop_go(&h);
    wire_next_is(&b, "text \"b\"", "another client is answered");
    while (__atomic_load_n(&of_a, __ATOMIC_RELAXED) < 1) {
        turns(r, 0);
    }
    ok(__atomic_load_n(&pieces_when_b, __ATOMIC_RELAXED)
           < __atomic_load_n(&pieces, __ATOMIC_RELAXED),
       "the other client is answered after %d of %d MiB that a message becomes",
       __atomic_load_n(&pieces_when_b, __ATOMIC_RELAXED),
       __atomic_load_n(&pieces, __ATOMIC_RELAXED));
    leave(&b, "b");
    wire_free(&a);
    told_is("a", "close 1006 \"\"", "on_close");
    free(frame);
    free(payload);
}

static void inflated_bytes_are_limited(rig *r)
{
    wire a = join_swelling(r, "a");
    wire_text(&a, "small");
    wire_text(&a, "small");
    wire_next_is(&a, "close 1008 \"more bytes than WebSocketLimit allows\"",
                 "the limit on bytes applies to the decoded message");
    told_is("a", "close 1008 \"more bytes than WebSocketLimit allows\"", "on_close");
    wire_free(&a);
    nobody_is_left(r);
}

/* ---- Messages from other threads ---- */

static void send_many(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    int n = 0;
    (void)type, (void)data, (void)len;
    while (n < MANY && ws_send(c, WS_BINARY, answer, LONG) >= 0) {
        watch_posted(c);
        n++;
    }
    note(name_of(c), "sent %s", n == MANY ? "all" : "some");
}

static const ws_handler blocking = {
    .flags = WS_BLOCKING, .on_open = rec_open, .on_message = send_many, .on_close = rec_close};

static void a_blocking_callback_waits(rig *r)
{
    wire a = enter(r, "a");
    forget_counts();
    wire_text(&a, "go");
    told_is("a", "sent some", "a callback that sends to a client that does not read gets WS_FULL");
    ok(__atomic_load_n(&most_posted, __ATOMIC_RELAXED) <= (1 << 20) + 2 * LONG,
       "at most %zu bytes waited for the loop", __atomic_load_n(&most_posted, __ATOMIC_RELAXED));
    wire_free(&a);
    ok(!strncmp(told("a"), "close ", 6), "on_close");
}

static void what_waits_for_a_loop_is_bounded(rig *r)
{
    enum { SIZE = 1 << 20 };
    char *much = calloc(1, SIZE);
    wire a = enter(r, "a");
    ws_id id = id_of(r, "a");
    ws_status last;
    hold h;
    int n = 0;
    hold_loop(&h, r);
    while ((last = ws_send_to(id, WS_BINARY, much, SIZE)) == WS_QUEUED && n < 1000) {
        n++;
    }
    is_int(last, WS_FULL, "ws_send_to() to a blocked loop returns WS_FULL after %d MiB", n);
    is_int(ws_broadcast(&r->location, WS_BINARY, much, SIZE, 0), WS_FULL,
           "ws_broadcast() to a blocked loop returns WS_FULL");
    is_int(ws_close_id(id, 1000, NULL), WS_QUEUED,
           "a connection of a blocked loop can still be closed by id");
    let_loop_go(&h);
    turns(r, 0);
    is_int((long long)__atomic_load_n(&r->engine->loops[0].posted, __ATOMIC_RELAXED), 0,
           "all accepted messages have been handled");
    wire_free(&a);
    ok(!strncmp(told("a"), "close ", 6), "on_close");
    nobody_is_left(r);
    free(much);
}

int main(void)
{
    static test *const ids[] = {answers_by_id_are_bounded, what_waits_for_a_loop_is_bounded, NULL};
    static test *const broadcasts[] = {broadcasts_are_bounded, NULL};
    static test *const to_many[] = {short_messages_to_many_are_bounded, NULL};
    static test *const full[] = {no_message_is_lost_unnoticed, NULL};
    static test *const larger[] = {inflated_bytes_count, one_message_is_divided, NULL};
    static test *const limited[] = {inflated_bytes_are_limited, NULL};
    static test *const threads[] = {a_blocking_callback_waits, NULL};
    rig extended = {.settings = RIG_SETTINGS, .extensions = all, .extension_count = 1};
    rig_run((rig){0}, &by_id, 1, ids);
    rig_run((rig){0}, &by_broadcast, 1, broadcasts);
    rig_run((rig){0}, &broadcasting, 1, to_many);
    run_with_channels(&publishing, to_many);
    run_with_channels(&forming, full);
    rig_run(extended, &counting, 1, larger);
    extended.settings.bounds[0].bytes = 1000;
    extended.settings.bounds[0].byte_burst = 3 << 19; /* one and a half messages */
    rig_run(extended, &counting, 1, limited);
    rig_run((rig){.blocking = 4}, &blocking, 1, threads);
    return done_testing();
}
