/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests subscribing, publishing and presence in one process. The test acts as a second process,
 *  which sends and receives packets over the bus. */

#include "channels/channels.h"
#include "t/unit/supervisor.h"
#include "t/unit/rig.h"

/* ---- A bus with one other process, as which the test acts ---- */

#define OTHER ((ws_node){1, 8})

static struct {
    ws_bus bus;
    pthread_mutex_t lock;
    int wants, refuses, other_has_ended;
    apr_uint32_t elsewhere; /* number of subscribers in the other process */
    apr_uint32_t last_request;
} other;

static ws_status other_want(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash,
                            int change)
{
    (void)b, (void)channel, (void)len, (void)hash;
    __atomic_add_fetch(&other.wants, change, __ATOMIC_RELAXED);
    return WS_QUEUED;
}

static void note_packet(const char *how, const ws_packet *p)
{
    static const char *const kinds[] = {"?",    "message",   "?",      "leave", "who", "?",
                                        "send", "broadcast", "missed", "join",  "here"};
    other.last_request = p->request;
    note("other", "%s %s %.*s \"%.*s\" %u", how, kinds[p->kind], (int)p->channel_len,
         p->channel ? p->channel : "", p->kind == WS_PACKET_HERE ? 0 : (int)p->len,
         p->data ? p->data : "", (unsigned)p->position.offset);
}

static ws_status other_publish(ws_bus *b, const ws_packet *p, apr_uint32_t *reached,
                               apr_uint32_t *missed)
{
    (void)b;
    if (other.refuses && !(p->flags & WS_PACKET_STORED)) {
        return WS_FULL;
    }
    *missed += (apr_uint32_t)other.refuses;
    *reached += (apr_uint32_t)!other.refuses;
    note_packet("gets", p);
    return WS_QUEUED;
}

static ws_status other_send(ws_bus *b, const ws_node *to, const ws_packet *p)
{
    (void)b;
    if (to->process != OTHER.process) {
        return WS_GONE;
    }
    note_packet("is sent", p);
    return WS_HANDED;
}

static apr_uint32_t other_subscribers(ws_bus *b, const char *channel, unsigned len,
                                      apr_uint64_t hash)
{
    (void)b, (void)channel, (void)len, (void)hash;
    return other.elsewhere;
}

static int other_alive(ws_bus *b, const ws_node *node)
{
    (void)b, (void)node;
    return !__atomic_load_n(&other.other_has_ended, __ATOMIC_RELAXED);
}

static ws_packet from_other(ws_packet_kind kind, const char *channel, const char *data)
{
    return (ws_packet){.kind = kind,
                       .type = WS_TEXT,
                       .from = OTHER,
                       .channel = channel,
                       .channel_len = (unsigned)strlen(channel),
                       .data = data,
                       .len = strlen(data)};
}

static void other_says(ws_packet p)
{
    ws_channels_receive(ws_channels_current(), &p);
}

/* ---- Handlers ---- */

enum { RAW = 2 };

/* Drops messages that begin with "no", and sends "UP" instead of messages that begin with "up".
 * Events other than messages are added to the record. */
static int on_channel(ws_conn *c, const ws_event *e)
{
    static const char *const kinds[] = {"?", "message", "live", "gap", "join", "leave"};
    if (e->kind != WS_EVENT_MESSAGE) {
        note(name_of(c), "%s %s \"%.*s\" %u/%u", kinds[e->kind], e->channel, (int)e->len, e->data,
             (unsigned)e->position.epoch, (unsigned)e->position.offset);
        return WS_FORM_NONE;
    }
    if (e->len >= 2 && !memcmp(e->data, "no", 2)) {
        return WS_FORM_NONE;
    }
    if (e->len >= 2 && !memcmp(e->data, "up", 2)) {
        if (!ws_event_has_form(e, RAW)) {
            note("forms", "made");
            ws_event_form(e, RAW, WS_BINARY, "UP", 2);
        }
        return RAW;
    }
    return WS_FORM_AS_IS;
}

#define NOTES .on_open = rec_open, .on_message = rec_message, .on_close = rec_close

static const ws_handler watching = {.on_channel = on_channel, NOTES};
static const ws_handler blocking = {.flags = WS_BLOCKING, .on_channel = on_channel, NOTES};
static const ws_handler plain = {NOTES};

/* ---- Helpers of the tests ---- */

static keeper history;
static ws_channels_options with;

typedef struct deed {
    const char *channel;
    ws_subscription how;
    ws_status status;
} deed;

static void do_subscribe(ws_conn *c, void *arg)
{
    deed *d = arg;
    d->status = ws_subscribe(c, d->channel, &d->how);
}

static void do_unsubscribe(ws_conn *c, void *arg)
{
    deed *d = arg;
    d->status = ws_unsubscribe(c, d->channel);
}

static ws_status subscribe(rig *r, const char *name, const char *channel, unsigned flags)
{
    deed d = {.channel = channel,
              .how = {.flags = flags, .member = name, .member_len = strlen(name)}};
    as_callback(id_of(r, name), do_subscribe, &d);
    return d.status;
}

static void resume(rig *r, const char *name, const char *channel, ws_position after)
{
    deed d = {.channel = channel, .how = {.flags = WS_RESUME, .after = after}};
    as_callback(id_of(r, name), do_subscribe, &d);
    is_int(d.status, WS_QUEUED, "%s resumes from %u", name, (unsigned)after.offset);
}

static ws_status unsubscribe(rig *r, const char *name, const char *channel)
{
    deed d = {.channel = channel};
    as_callback(id_of(r, name), do_unsubscribe, &d);
    return d.status;
}

static ws_status publish(const char *channel, const char *text)
{
    return ws_publish(channel, WS_TEXT, text, strlen(text), 0, NULL, NULL);
}

/* Add a connection that is subscribed to the channel. */
static wire enter_channel(rig *r, const char *name, const char *channel, unsigned flags)
{
    wire w = enter(r, name);
    is_int(subscribe(r, name, channel, flags), WS_QUEUED, "%s subscribes to %s", name, channel);
    return w;
}

static void leave_quietly(wire *w, const char *name)
{
    wire_close(w, 1000, "bye");
    while (strcmp(wire_next(w), "eof")) {
    }
    while (strncmp(told(name), "close", 5)) {
    }
    wire_free(w);
}

/* ---- Publishing ---- */

static ws_published published;

static void has_been_published(const ws_published *what, void *arg)
{
    (void)arg;
    published = *what;
    note("publisher", "%d %u/%u, %u receivers, %u missed", what->status,
         (unsigned)what->position.epoch, (unsigned)what->position.offset, what->receivers,
         what->missed);
}

static void subscribers_get_what_is_published(rig *r)
{
    wire a = enter_channel(r, "a", "news", 0), b = enter_channel(r, "b", "news", 0);
    wire c = enter_channel(r, "c", "other", 0);

    is_int(ws_subscribers("news"), 2, "two subscribers are counted");
    is_int(publish("news", "one"), WS_QUEUED, "a message is published");
    is_int(publish("news", "two"), WS_QUEUED, "another message is published");
    is_int(ws_publish("news", WS_BINARY, "three", 5, id_of(r, "b"), NULL, NULL), WS_QUEUED,
           "a message is published to all but b");
    publish("other", "four");
    publish("news", "five");
    wire_next_is(&a, "text \"one\"", "a gets the first message");
    wire_next_is(&a, "text \"two\"", "a gets the second message");
    wire_next_is(&a, "binary \"three\"", "a gets the third message, which b is excluded from");
    wire_next_is(&a, "text \"five\"", "a gets the last message");
    wire_next_is(&b, "text \"one\"", "b gets the first message");
    wire_next_is(&b, "text \"two\"", "b gets the second message");
    wire_next_is(&b, "text \"five\"", "b gets the last message, but not the third");
    wire_next_is(&c, "text \"four\"", "c gets only the message of its own channel");
    is_int(unsubscribe(r, "a", "news"), WS_QUEUED, "a unsubscribes");
    is_int(unsubscribe(r, "a", "news"), WS_GONE, "a cannot unsubscribe twice");
    publish("news", "six");
    is_int(subscribe(r, "a", "news", 0), WS_QUEUED, "a subscribes again");
    is_int(subscribe(r, "a", "news", 0), WS_QUEUED,
           "a second subscription to the same channel changes nothing");
    publish("news", "seven");
    wire_next_is(&a, "text \"seven\"",
                 "a does not get the message published while it was not subscribed");
    wire_next_is(&b, "text \"six\"", "b gets the message published while a was not subscribed");
    wire_next_is(&b, "text \"seven\"", "b gets the later message, too");
    leave(&a, "a");
    leave(&b, "b");
    leave(&c, "c");
    nobody_is_left(r); /* a connection leaves its channels after on_close */
    is_int(publish("news", "eight"), WS_QUEUED,
           "a message can be published to a channel without subscribers");
    is_int(ws_subscribers("news"), 0, "a channel without subscribers counts none");
}

static void what_is_wrong_is_refused(rig *r)
{
    char longest[WS_CHANNEL_MAX + 2];
    wire a = enter(r, "a");
    memset(longest, 'x', sizeof(longest));
    longest[WS_CHANNEL_MAX + 1] = 0;
    is_int(publish("no blanks", "x"), WS_BAD_NAME,
           "publishing to an invalid channel name is refused");
    is_int(publish("", "x"), WS_BAD_NAME, "publishing to an empty channel name is refused");
    is_int(publish(longest, "x"), WS_BAD_NAME,
           "publishing to a channel name that is too long is refused");
    is_int(ws_publish("a", WS_TEXT, "", WS_PUBLISH_MAX + 1, 0, NULL, NULL), WS_TOO_BIG,
           "publishing a message that is too large is refused");
    is_int(subscribe(r, "a", "no blanks", 0), WS_BAD_NAME,
           "subscribing to an invalid channel name is refused");
    r->settings.subscriptions = 2;
    is_int(subscribe(r, "a", "1", 0), WS_QUEUED, "a connection subscribes to a first channel");
    is_int(subscribe(r, "a", "2", 0), WS_QUEUED, "a connection subscribes to a second channel");
    is_int(subscribe(r, "a", "3", 0), WS_LIMIT, "the limit of two channels refuses a third");
    is_int(subscribe(r, "a", "2", 0), WS_QUEUED, "subscribing again to a channel does not count");
    r->settings.subscriptions = 0;
    is_int(subscribe(r, "a", "3", 0), WS_QUEUED, "without a limit, a third channel is accepted");
    is_int(subscribe(r, "a", "4", 0), WS_LIMIT, "a process with three channels refuses a fourth");
    is_int(unsubscribe(r, "a", "1"), WS_QUEUED, "a connection unsubscribes from a channel");
    is_int(subscribe(r, "a", "4", 0), WS_QUEUED, "after that, another channel is accepted");
    leave(&a, "a");
    nobody_is_left(r);
    is_int(other.wants, 0, "at the end, the bus has no subscribed channels");
}

static void a_publisher_is_told(rig *r)
{
    wire a = enter_channel(r, "a", "news", 0);
    other.elsewhere = 5;
    ws_publish("news", WS_TEXT, "x", 1, 0, has_been_published, NULL);
    told_is("publisher", "1 0/0, 6 receivers, 0 missed",
            "the publisher gets the numbers of receivers here and elsewhere");
    other.elsewhere = 0;
    wire_next_is(&a, "text \"x\"", "the receiver gets the message");
    leave(&a, "a");
}

/* A store of ids whose claims expire, and an application that answers when the test calls
 * app_done(). */

static ws_app_done app_done;
static void *app_arg;

static void brief_claim(ws_once *o, ws_message *m, ws_once_done done, void *arg)
{
    const ws_published nothing = {.status = WS_QUEUED};
    (void)o, (void)m;
    done(arg, WS_ONCE_NEW, &nothing);
}

static void brief_settle(ws_once *o, ws_message *m, const ws_published *what)
{
    (void)o, (void)m;
    note("settled", "%s", what->status < 0 ? "refused" : "published");
}

static int app_wants(ws_app_event event, const char *channel)
{
    return event == WS_APP_PUBLISH && !strcmp(channel, "asked");
}

static ws_status app_ask(const ws_app_question *question, ws_app_done done, void *arg)
{
    (void)question;
    app_done = done;
    app_arg = arg;
    return WS_QUEUED;
}

static ws_once brief = {brief_claim, brief_settle, 600};
static const ws_application application = {app_wants, app_ask};

static void a_late_decision_publishes_nothing(rig *r)
{
    const ws_app_answer allowed = {.status = WS_QUEUED};
    (void)r;
    ws_publish_once("asked", WS_TEXT, "x", 1, 0, "id", NULL, NULL);
    app_done(app_arg, &allowed);
    told_is("settled", "published", "a message is published when the application allows it");
    ws_publish_once("asked", WS_TEXT, "x", 1, 0, "id", NULL, NULL);
    brief.holds = 1;
    apr_sleep(apr_time_from_sec(1));
    app_done(app_arg, &allowed);
    told_is("settled", "refused", "a message is refused when its claim has expired meanwhile");
}

static void nobody_gets_what_is_refused(rig *r)
{
    wire a = enter_channel(r, "a", "news", 0);
    other.refuses = 1;
    is_int(publish("news", "refused"), WS_FULL, "when the bus is full, the publisher gets WS_FULL");
    other.refuses = 0;
    is_int(publish("news", "taken"), WS_QUEUED,
           "when the bus is not full, the message is published");
    wire_next_is(&a, "text \"taken\"",
                 "a message refused by the bus is not delivered locally either");
    leave(&a, "a");
}

static void a_loop_that_is_behind_is_not_given_more(rig *r)
{
    static char big[60000];
    wire a = enter_channel(r, "a", "news", 0);
    hold h;
    int n = 0;
    memset(big, 'x', sizeof(big) - 1);
    hold_loop(&h, r);
    while (n < 100 && publish("news", big) == WS_QUEUED) {
        n++;
    }
    is_int(n, 3, "three messages may wait for the bus");
    is_int(publish("elsewhere", "x"), WS_QUEUED, "messages to another channel are still accepted");
    let_loop_go(&h);
    for (int i = 0; i < n; i++) {
        wire_next(&a);
    }
    all_loops_turn(r);
    is_int(publish("news", "next"), WS_QUEUED,
           "when the bus has processed a waiting message, another is accepted");
    wire_next_is(&a, "text \"next\"", "none of these messages is lost");
    leave(&a, "a");
}

/* ---- Packets from the other process ---- */

static void the_bus_brings_and_takes(rig *r)
{
    wire a = enter_channel(r, "a", "news", 0);
    ws_id id = id_of(r, "a");
    ws_packet p;
    forget("other");
    publish("news", "out");
    told_is("other", "gets message news \"out\" 0", "a published message is sent to the bus");
    other_says(from_other(WS_PACKET_MESSAGE, "news", "in"));
    wire_next_is(&a, "text \"out\"", "a published message is delivered to local subscribers");
    wire_next_is(&a, "text \"in\"", "a message from the bus is delivered to local subscribers");
    p = from_other(WS_PACKET_MESSAGE, "news", "not for a");
    p.from.server = 1;
    p.id = id;
    other_says(p);
    p.from.server = 42;
    p.data = "for a";
    p.len = 5;
    other_says(p);
    wire_next_is(
        &a, "text \"for a\"",
        "the publisher of a message from the bus is excluded, but not ids of other servers");
    other_says(from_other(WS_PACKET_MESSAGE, "nobody", "x"));
    p = from_other(WS_PACKET_SEND, "", "straight");
    p.id = id;
    other_says(p);
    wire_next_is(&a, "text \"straight\"", "a message from the bus to one connection is delivered");
    p = from_other(WS_PACKET_BROADCAST, "the key", "to all");
    other_says(p);
    wire_next_is(&a, "text \"to all\"", "a broadcast from the bus to a location is delivered");
    p.channel = "another";
    p.channel_len = 7;
    other_says(p);

    is_int(ws_send_anywhere(0, id, WS_TEXT, "here", 4), WS_QUEUED,
           "ws_send_anywhere() finds a local connection");
    wire_next_is(&a, "text \"here\"", "the local connection gets the message");
    is_int(ws_send_anywhere(1, (ws_id)8 << 48 | 1, WS_TEXT, "there", 5), WS_HANDED,
           "ws_send_anywhere() finds the process of a remote connection");
    told_is("other", "is sent send  \"there\" 0", "the message is sent to the other process");
    is_int(ws_send_anywhere(0, (ws_id)9 << 48 | 1, WS_TEXT, "x", 1), WS_GONE,
           "ws_send_anywhere() to an ended process returns WS_GONE");
    is_int(ws_send_anywhere(0, 0, WS_TEXT, "x", 1), WS_GONE,
           "ws_send_anywhere() to the id 0 returns WS_GONE");
    is_int(ws_broadcast_everywhere(&r->location, WS_TEXT, "everywhere", 10, 0), WS_QUEUED,
           "ws_broadcast_everywhere() is queued");
    told_is("other", "gets broadcast the key \"everywhere\" 0", "the broadcast is sent to the bus");
    wire_next_is(&a, "text \"everywhere\"", "the broadcast is delivered to local connections");
    leave(&a, "a");
    forget("other");
}

/* ---- on_channel ---- */

static void a_handler_sees_and_decides(rig *r)
{
    wire a = enter_channel(r, "a", "news", 0), b = enter_channel(r, "b", "news", 0);
    told_is("a", "live news \"\" 0/0", "on_channel gets the event live for a");
    told_is("b", "live news \"\" 0/0", "on_channel gets the event live for b");
    publish("news", "none of it");
    publish("news", "upper");
    publish("news", "as it is");
    wire_next_is(&a, "binary \"UP\"",
                 "a gets the message in the form that on_channel makes, and not the dropped one");
    wire_next_is(&a, "text \"as it is\"", "a gets another message unchanged");
    wire_next_is(&b, "binary \"UP\"", "b gets the same form");
    wire_next_is(&b, "text \"as it is\"", "b gets the other message unchanged, too");
    told_is("forms", "made", "the form is made once");
    if (ws_engine_loops(r->engine) == 1 && !(r->location.handler->flags & WS_BLOCKING)) {
        forget("other");
        is_int(untold(), 0, "the form is not made a second time");
    }
    forget("forms");
    leave(&a, "a");
    leave(&b, "b");
    forget("other");
}

/* ---- Members ---- */

static void list_members(const char *channel, const ws_member *m, apr_size_t n, int complete,
                         void *arg)
{
    char text[200] = "";
    (void)arg;
    for (apr_size_t i = 0; i < n; i++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), " %.*s", (int)m[i].len,
                 m[i].data);
    }
    note("list", "%s:%s%s", channel, text, complete ? "" : ", and perhaps more");
}

static ws_packet here(const char *member, unsigned flags)
{
    static char data[64];
    ws_packet p = from_other(WS_PACKET_HERE, "room", data);
    memcpy(data, "\0\0\0\0\0\0\0\1\0", 9);
    data[9] = (char)(strlen(member) + 1);
    memcpy(data + 10, member, strlen(member) + 1);
    p.len = *member ? 10 + strlen(member) + 1 : 0;
    p.flags = flags;
    p.request = other.last_request;
    return p;
}

static void members_come_and_go(rig *r)
{
    wire a = enter(r, "a"), b;
    ws_packet p;

    forget("other");
    is_int(subscribe(r, "a", "room", WS_MEMBER | WS_WATCH), WS_QUEUED,
           "a subscribes as a member and watches");
    told_is("other", "gets who room \"\" 0", "the other process is asked for its members");
    told_is("other", "gets join room \"a\" 0", "the other process gets the join event of a");
    told_is("a", "live room \"\" 0/0", "a gets the event live");
    told_is("a", "join room \"a\" 0/0", "a gets its own join event first");
    is_int(ws_presence("room", list_members, NULL), WS_QUEUED, "the members are requested");
    is_int(untold(), 0, "the request waits for the other process");
    other_says(here("z", WS_PACKET_LAST));
    ok(strstr(told("list"), "z") != NULL, "the answer includes the members of the other process");
    ws_presence("room", list_members, NULL);
    ok(strstr(told("list"), "z") != NULL, "later, the members of the other process are known");

    b = enter(r, "b");
    is_int(subscribe(r, "b", "room", WS_MEMBER), WS_QUEUED, "b subscribes as a member");
    told_is("b", "live room \"\" 0/0", "b gets the event live");
    told_is("a", "join room \"b\" 0/0", "a gets the join event of b");
    told_is("other", "gets join room \"b\" 0", "the other process gets the join event of b");
    p = from_other(WS_PACKET_JOIN, "room", "y");
    p.len++; /* the data includes the NUL before an empty user */
    p.id = 2;
    other_says(p);
    told_is("a", "join room \"y\" 0/0", "a gets the join event of a member elsewhere");
    p.data = "Y";
    other_says(p);
    told_is("a", "join room \"Y\" 0/0", "a gets the new data of that member");
    other_says(p);
    p = from_other(WS_PACKET_LEAVE, "room", "");
    p.id = 2;
    other_says(p);
    told_is("a", "leave room \"Y\" 0/0",
            "a gets the leave event of that member, and no event without a change");
    p = from_other(WS_PACKET_WHO, "room", "");
    other_says(p);
    told_is("other", "is sent here room \"\" 0", "the other process gets the members when it asks");
    is_int(unsubscribe(r, "b", "room"), WS_QUEUED, "b unsubscribes");
    told_is("other", "gets leave room \"\" 0", "the other process gets the leave event of b");
    told_is("a", "leave room \"b\" 0/0", "a gets the leave event of b");

    ws_channels_missed(ws_channels_current(), 1);
    told_is("a", "gap room \"\" 0/0", "when packets were lost, watching connections get a gap");
    told_is("other", "gets who room \"\" 0",
            "when packets were lost, the other process is asked again");
    other_says(here("x", 0));
    told_is("a", "join room \"x\" 0/0", "new members in its answer are reported");
    p = here("", WS_PACKET_LAST);
    other_says(p);

    __atomic_store_n(&other.other_has_ended, 1, __ATOMIC_RELAXED);
    told_is("a", "leave room \"x\" 0/0", "when a process has ended, its members leave");
    other.other_has_ended = 0;
    leave_quietly(&a, "a");
    leave(&b, "b");
    nobody_is_left(r);
    forget("other");
    is_int(ws_presence("room", list_members, NULL), WS_QUEUED, "the members are requested again");
    told_is("list", "room:, and perhaps more",
            "without an answer of the other process, the list is incomplete");
    forget("other");
}

/* ---- With a history ---- */

static ws_packet kept_by_other(const char *text, apr_uint64_t epoch, apr_uint64_t offset)
{
    ws_packet p = from_other(WS_PACKET_MESSAGE, "kept", text);
    p.position = (ws_position){epoch, offset};
    return p;
}

/* Store a message as the other process does when it publishes. The packet arrives later. */
static void other_keeps(const char *text)
{
    ws_message *m = ws_message_new("kept", WS_TEXT, text, strlen(text));
    pthread_mutex_lock(&history.lock);
    m->position = (ws_position){history.head.epoch, ++history.head.offset};
    history.kept[history.head.offset] = m;
    pthread_mutex_unlock(&history.lock);
}

static void everybody_gets_everything_once(rig *r)
{
    wire a = enter_channel(r, "a", "kept", 0), b;
    told_is("a", "live kept \"\" 77/0",
            "a subscription without a position starts at the beginning");
    ws_publish("kept", WS_TEXT, "1", 1, 0, has_been_published, NULL);
    told_is("publisher", "1 77/1, 1 receivers, 0 missed", "a published message gets a position");
    wire_next_is(&a, "text \"1\"", "the published message is delivered");
    other_keeps("2");
    other_keeps("3");
    other_says(kept_by_other("3", 77, 3));
    other_says(kept_by_other("2", 77, 2));
    publish("kept", "4");
    wire_next_is(&a, "text \"2\"", "an overtaken message is delivered first");
    wire_next_is(&a, "text \"3\"", "the message that overtook it is delivered next");
    wire_next_is(&a, "text \"4\"", "the next message follows, so no message is delivered twice");
    other_keeps("5");
    publish("kept", "6");
    wire_next_is(&a, "text \"5\"", "a lost message is read from the history");
    wire_next_is(&a, "text \"6\"", "the message after it is delivered next");
    other_keeps("7");
    ws_channels_missed(ws_channels_current(), 1);
    wire_next_is(&a, "text \"7\"", "after missed messages, the history is read");

    b = enter(r, "b");
    resume(r, "b", "kept", (ws_position){77, 4});
    wire_next_is(&b, "text \"5\"", "a resumed subscription gets the first missed message");
    wire_next_is(&b, "text \"6\"", "a resumed subscription gets the second missed message");
    wire_next_is(&b, "text \"7\"", "a resumed subscription gets the missed messages in order");
    told_is("b", "live kept \"\" 77/7", "a resumed subscription then gets the event live");
    publish("kept", "8");
    wire_next_is(&b, "text \"8\"", "after live, it gets new messages");
    wire_next_is(&a, "text \"8\"", "the other subscriber gets the same message");
    is_int(unsubscribe(r, "b", "kept"), WS_QUEUED, "the resumed subscription ends");
    history.first = 4;
    resume(r, "b", "kept", (ws_position){77, 1});
    told_is("b", "gap kept \"\" 77/1", "a subscription that resumes too late gets a gap");
    for (int i = 4; i <= 8; i++) {
        wire_next(&b);
    }
    told_is("b", "live kept \"\" 77/8", "after the gap, it gets the kept messages and live");
    unsubscribe(r, "b", "kept");
    resume(r, "b", "kept", (ws_position){0, 0});
    for (int i = 4; i <= 8; i++) {
        wire_next(&b);
    }
    told_is("b", "live kept \"\" 77/8", "a subscription from the oldest kept message gets no gap");
    unsubscribe(r, "b", "kept");
    resume(r, "b", "news", (ws_position){77, 1});
    told_is("b", "gap news \"\" 0/0", "resuming a channel without a history gives a gap");
    told_is("b", "live news \"\" 0/0", "after that gap, the subscription is live");

    history.broken = 1;
    ws_publish("kept", WS_TEXT, "x", 1, 0, has_been_published, NULL);
    told_is("publisher", "-1 0/0, 0 receivers, 0 missed",
            "a message that the history cannot store is not published");
    history.broken = 0;
    history.full = 1;
    is_int(publish("kept", "x"), WS_FULL,
           "when too many messages wait for the history, publishing is refused");
    history.full = 0;
    leave(&a, "a");
    leave(&b, "b");
    forget("other");
}

static void what_was_delivered_does_not_come_again(rig *r)
{
    wire a = enter_channel(r, "a", "kept", 0);
    apr_uint64_t epoch = history.head.epoch, offset = history.head.offset;
    ok(!strncmp(told("a"), "live kept", 9), "a is subscribed");
    other_keeps("first");
    other_says(kept_by_other("first", epoch, offset + 1));
    wire_next_is(&a, "text \"first\"", "the first message is delivered");
    history.broken = 1;
    other_keeps("missed");
    other_keeps("third");
    other_says(kept_by_other("third", epoch, offset + 3)); /* the history cannot be read */
    all_loops_turn(r);
    history.broken = 0;
    other_says(kept_by_other("first", epoch, offset + 1));
    other_keeps("fourth");
    other_says(kept_by_other("fourth", epoch, offset + 4));
    ok(!strncmp(told("a"), "gap kept", 8), "after a failed read of the history, there is a gap");
    wire_next_is(&a, "text \"fourth\"", "a message that was delivered before the gap is ignored");
    leave(&a, "a");
    forget("other");
}

static void subscribe_and_publish(ws_conn *c, void *arg)
{
    (void)arg;
    ws_subscribe(c, "kept", NULL);
    ws_publish("kept", WS_TEXT, "own", 3, 0, NULL, NULL);
}

static void what_is_published_behind_subscribing_comes(rig *r)
{
    wire a = enter(r, "a");
    as_callback(id_of(r, "a"), subscribe_and_publish, NULL);
    ok(!strncmp(told("a"), "live kept", 9), "a gets the event live after its own publication");
    wire_next_is(&a, "text \"own\"",
                 "a gets the message that it published after it had subscribed");
    leave(&a, "a");
    forget("other");
}

static void other_publishes(void)
{
    other_keeps("meanwhile");
    other_says(kept_by_other("meanwhile", history.head.epoch, history.head.offset));
}

static void a_message_that_overtakes_the_first_page_comes(rig *r)
{
    wire a;
    history.between = other_publishes;
    a = enter_channel(r, "a", "kept", 0);
    ok(!strncmp(told("a"), "live kept", 9), "a gets the event live after a message was published");
    wire_next_is(&a, "text \"meanwhile\"",
                 "a gets a message stored after its page and before live");
    leave(&a, "a");
    forget("other");
}

static void has_been_cleared(void *arg, apr_status_t status)
{
    (void)arg;
    note("cleared", "%d", (int)status);
}

static ws_status clear_channel(const char *name)
{
    ws_message *order = ws_message_new(name, WS_TEXT, "", 0);
    ws_status s = ws_channels_clear(order, has_been_cleared, NULL);
    ws_message_unref(order);
    return s;
}

static void an_epoch_ends(rig *r)
{
    wire a = enter_channel(r, "a", "kept", 0);
    ok(!strncmp(told("a"), "live", 4), "a gets the event live before the history is cleared");
    for (int i = 1; i <= KEEPER_MAX; i++) {
        if (history.kept[i]) {
            ws_message_unref(history.kept[i]);
            history.kept[i] = NULL;
        }
    }
    is_int(clear_channel("kept"), WS_QUEUED, "the history is cleared");
    told_is("cleared", "0", "the caller is notified when the history is cleared");
    is_int(clear_channel("news"), WS_GONE, "clearing a channel without a history returns WS_GONE");
    history.first = 1;
    publish("kept", "new");
    ok(!strncmp(told("a"), "gap", 3), "subscribers get a gap when the history was cleared");
    wire_next_is(&a, "text \"new\"", "the next message is delivered");
    publish("kept", "newer");
    wire_next_is(&a, "text \"newer\"", "the message after it is delivered, too");
    leave(&a, "a");
    forget("other");
}

static void many_are_resumed_in_pages(rig *r)
{
    enum { MANY = 3000 };
    char text[100];
    int wrong = 0;
    wire a;
    memset(text, 'x', sizeof(text));
    for (int i = 0; i < MANY; i++) {
        sprintf(text, "%d", i);
        text[strlen(text)] = ' ';
        ws_publish("kept", WS_TEXT, text, sizeof(text), 0, NULL, NULL);
    }
    forget("other");
    a = enter_narrow(r, "a");
    resume(r, "a", "kept", (ws_position){history.head.epoch, 0});
    for (int i = 0; i < MANY; i++) {
        char expected[20];
        sprintf(expected, "text \"%d ", i);
        wrong += strncmp(wire_next(&a), expected, strlen(expected)) != 0;
        if (i == MANY / 2) {
            publish("kept", "more");
        }
    }
    is_int(wrong, 0, "a client slower than its history gets all messages in order");
    wire_next_is(&a, "text \"more\"",
                 "after the history, it gets the messages published meanwhile");
    leave_quietly(&a, "a");
    forget("other");
}

/* ---- All tests ---- */

static void start(rig *r, const ws_handler *handler, unsigned loops)
{
    rig_start(r, handler, loops);
    r->location.key = "the key";
    other.bus = (ws_bus){"other",           other_want,  other_publish, other_send,
                         other_subscribers, other_alive, NULL};
    keeper_start(&history);
    with.engine = r->engine;
    with.self = (ws_node){1, 7};
    with.local = &other.bus;
    with.history = &history.store;
    with.once = &brief;
    with.application = &application;
    with.channels = 3;
    with.queue = 200000;
    if (!ws_channels_create(&with, r->pool)) {
        bail_out("no channels");
    }
}

static void stop(rig *r)
{
    nobody_is_left(r);
    forget("other");
    ws_channels_stop(ws_channels_current());
    is_int(publish("news", "x"), WS_GONE, "publishing while the process stops returns WS_GONE");
    ws_engine_stop(r->engine);
    ws_channels_destroy(ws_channels_current());
    keeper_end(&history);
    rig_stop(r);
    is_int(other.wants, 0, "after the stop, the bus has no subscribed channels");
}

static void run(const ws_handler *handler, unsigned loops, test *const *tests)
{
    rig r = {0};
    start(&r, handler, loops);
    for (; *tests; tests++) {
        (*tests)(&r);
    }
    stop(&r);
}

int main(void)
{
    static test *const basics[] = {subscribers_get_what_is_published,
                                   what_is_wrong_is_refused,
                                   a_publisher_is_told,
                                   a_late_decision_publishes_nothing,
                                   nobody_gets_what_is_refused,
                                   a_loop_that_is_behind_is_not_given_more,
                                   the_bus_brings_and_takes,
                                   NULL};
    static test *const seen[] = {a_handler_sees_and_decides,
                                 members_come_and_go,
                                 everybody_gets_everything_once,
                                 what_was_delivered_does_not_come_again,
                                 what_is_published_behind_subscribing_comes,
                                 a_message_that_overtakes_the_first_page_comes,
                                 an_epoch_ends,
                                 NULL};
    static test *const slow[] = {many_are_resumed_in_pages, NULL};
    run(&plain, 1, basics);
    run(&watching, 1, seen);
    run(&blocking, 3, seen);
    run(&plain, 1, slow);
    return done_testing();
}
