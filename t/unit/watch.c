/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests that handlers can watch descriptors, on the loop or, with WS_BLOCKING, on pool threads. */

#include <fcntl.h>
#include <sys/socket.h>

#include "t/unit/rig.h"

/* A watch of one end of a socket pair. Each call that reads something adds a line to the record. */
typedef struct pair {
    const char *name;
    int ours, theirs;
    unsigned events;
    ws_watch *w;
    struct pair *other; /* the watch that stop_other stops */
    int calls;
    int fail; /* whether ws_watch_start() must fail */
} pair;

/* on_close stops this watch and closes its descriptor. Atomic, because ThreadSanitizer does not
 * see that data which a ring receives was sent before. */
static pair *_Atomic farewell;

static void farewell_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    if (farewell) {
        ws_watch_stop(c, farewell->w);
        close(farewell->theirs);
        farewell = NULL;
    }
    rec_close(c, code, reason, len);
}

static const ws_handler on_the_loop = {
    .on_open = rec_open, .on_message = rec_and_echo, .on_close = farewell_close};
static const ws_handler blocking = {.flags = WS_BLOCKING,
                                    .on_open = rec_open,
                                    .on_message = rec_and_echo,
                                    .on_close = farewell_close};

static pair pair_new(const char *name, unsigned events)
{
    int fd[2];
    unix_pair(fd);
    fcntl(fd[1], F_SETFL, O_NONBLOCK);
    return (pair){.name = name, .ours = fd[0], .theirs = fd[1], .events = events};
}

static void pair_free(pair *p)
{
    close(p->ours);
    close(p->theirs);
}

static void say(const pair *p, const char *text)
{
    if (write(p->ours, text, strlen(text)) < 0) {
        bail_out("write: %s", strerror(errno));
    }
}

/* Read only one byte, so that the loop reports the descriptor again. */
static void take(ws_conn *c, int fd, unsigned events, void *arg)
{
    pair *p = arg;
    char byte;
    ssize_t n = events & WS_READABLE ? read(fd, &byte, 1) : -1;
    p->calls++;
    if (n > 0) {
        note(p->name, "'%c' of %s", byte, name_of(c));
    }
    else if (n == 0) {
        note(p->name, "end%s", events & WS_BROKEN ? ", broken" : "");
        ws_watch_stop(c, p->w);
    }
    else if (events & WS_WRITABLE) {
        note(p->name, "writable");
        ws_watch_set(c, p->w, WS_READABLE);
    }
}

static void take_and_stop_other(ws_conn *c, int fd, unsigned events, void *arg)
{
    pair *p = arg;
    take(c, fd, events, arg);
    if (p->other->w) {
        ws_watch_stop(c, p->other->w);
        p->w = NULL;
    }
}

static void start_with(ws_conn *c, pair *p, ws_watch_fn fn)
{
    p->w = ws_watch_start(c, p->theirs, p->events, fn, p);
    if ((p->w == NULL) != p->fail) {
        note(p->name, "ws_watch_start() is wrong");
    }
}

static void start(ws_conn *c, void *arg)
{
    start_with(c, arg, take);
}

static void start_two(ws_conn *c, void *arg)
{
    pair *p = arg;
    start_with(c, p, take_and_stop_other);
    start_with(c, p->other, take_and_stop_other);
}

static void for_nothing(ws_conn *c, void *arg)
{
    ws_watch_set(c, ((pair *)arg)->w, 0);
}

static void for_reading(ws_conn *c, void *arg)
{
    ws_watch_set(c, ((pair *)arg)->w, WS_READABLE);
}

static void stop(ws_conn *c, void *arg)
{
    ws_watch_stop(c, ((pair *)arg)->w);
}

/* Stop the watch, close the descriptor, and watch a new one that has the same number. */
static void stop_and_reuse(ws_conn *c, void *arg)
{
    pair *p = arg, *other = p->other;
    int number = p->theirs;
    ws_watch_stop(c, p->w);
    if (dup2(other->theirs, number) != number) {
        note(p->name, "dup2: %s", strerror(errno));
    }
    close(other->theirs);
    other->theirs = number;
    p->theirs = -1;
    start(c, other);
}

/* Wait until all events have been delivered, which is after two iterations of the loop and a later
 * callback. */
static void settle(rig *r, const char *conn)
{
    turns(r, 0);
    as_callback(id_of(r, conn), do_resume, NULL);
    turns(r, 0);
}

static void it_is_told_again_and_again(rig *r)
{
    pair p = pair_new("pair", WS_READABLE);
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), start, &p);
    settle(r, "a");
    is_int(p.calls, 0, "a descriptor that is not ready is not reported");
    say(&p, "xyz");
    told_is("pair", "'x' of a", "a readable descriptor is reported");
    told_is("pair", "'y' of a", "a descriptor is reported as long as it is readable");
    told_is("pair", "'z' of a", "a descriptor is reported until all data has been read");
    wire_text(&w, "hello");
    told_is("a", "text \"hello\"", "messages are still delivered");
    wire_next_is(&w, "text \"hello\"", "messages are still echoed");
    as_callback(id_of(r, "a"), stop, &p);
    settle(r, "a");
    say(&p, "q");
    settle(r, "a");
    is_int(untold(), 0, "a stopped watch reports nothing");
    leave(&w, "a");
    pair_free(&p);
}

static void events_change(rig *r)
{
    pair p = pair_new("pair", WS_READABLE | WS_WRITABLE);
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), start, &p);
    told_is("pair", "writable", "a writable descriptor is reported");
    settle(r, "a");
    is_int(untold(), 0, "a descriptor is no longer watched for writing");
    as_callback(id_of(r, "a"), for_nothing, &p);
    settle(r, "a");
    say(&p, "x");
    shutdown(p.ours, SHUT_RDWR);
    settle(r, "a");
    is_int(untold(), 0, "a watch for nothing reports nothing, not even an error");
    as_callback(id_of(r, "a"), for_reading, &p);
    told_is("pair", "'x' of a", "a watch for reading again reports what has arrived");
    told_is("pair", "end, broken", "a watch for reading reports the end");
    leave(&w, "a");
    pair_free(&p);
}

static void one_stops_another(rig *r)
{
    pair p = pair_new("either", WS_READABLE), q = pair_new("either", WS_READABLE);
    hold h;
    wire w = enter(r, "a");
    p.other = &q;
    q.other = &p;
    as_callback(id_of(r, "a"), start_two, &p);
    settle(r, "a");
    hold_loop(&h, r);
    say(&p, "x");
    say(&q, "x");
    let_loop_go(&h);
    told_is("either", "'x' of a",
            "one of two watches that are ready at the same time and stop each other is called");
    settle(r, "a");
    is_int(p.calls + q.calls, 1, "of two watches that stop each other, only one is called");
    leave(&w, "a");
    pair_free(&p);
    pair_free(&q);
}

static void a_number_comes_again(rig *r)
{
    pair p = pair_new("first", WS_READABLE), q = pair_new("second", WS_READABLE);
    wire w = enter(r, "a");
    p.other = &q;
    as_callback(id_of(r, "a"), start, &p);
    settle(r, "a");
    as_callback(id_of(r, "a"), stop_and_reuse, &p);
    say(&q, "x");
    told_is("second", "'x' of a", "a descriptor number that was reused is watched as the new one");
    close(p.ours);
    settle(r, "a");
    is_int(p.calls, 0, "a descriptor number that was reused is not watched as the old one");
    leave(&w, "a");
    pair_free(&q);
}

static void what_cannot_be_watched(rig *r)
{
    pair p = {.name = "file", .events = WS_READABLE, .fail = 1};
    wire w = enter(r, "a");
    p.theirs = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (r->location.handler->flags & WS_BLOCKING) {
        p.fail = 0;
        as_callback(id_of(r, "a"), start, &p);
        told_is("a", "close 1006 \"\"", "if a file is watched, the connection ends");
        log_lines--;
        wire_free(&w);
    }
    else {
        as_callback(id_of(r, "a"), start, &p);
        settle(r, "a");
        is_int(untold(), 0, "ws_watch_start() of a file returns an error");
        leave(&w, "a");
    }
    close(p.theirs);
}

static void they_end_with_the_connection(rig *r)
{
    pair p = pair_new("left", WS_READABLE), q = pair_new("stopped", WS_READABLE);
    wire w = enter(r, "a");
    as_callback(id_of(r, "a"), start, &p);
    as_callback(id_of(r, "a"), start, &q);
    farewell = &q;
    /* on_close stops one watch and closes its descriptor. The other ends with the connection. */
    leave(&w, "a");
    nobody_is_left(r);
    say(&p, "x");
    w = enter(r, "b");
    settle(r, "b");
    is_int(p.calls, 0, "a watch reports nothing after on_close");
    leave(&w, "b");
    pair_free(&p);
    close(q.ours);
}

static void many(rig *r)
{
    enum { MANY = 100 };
    static pair p[MANY];
    int right = 0;
    wire w = enter(r, "a");
    for (int i = 0; i < MANY; i++) {
        p[i] = pair_new("many", WS_READABLE);
        as_callback(id_of(r, "a"), start, &p[i]);
    }
    for (int i = 0; i < MANY; i++) {
        say(&p[i], "1");
    }
    for (int i = 0; i < MANY; i++) {
        right += !strcmp(told("many"), "'1' of a");
    }
    is_int(right, MANY, "%d descriptors of one connection are watched", MANY);
    leave(&w, "a");
    for (int i = 0; i < MANY; i++) {
        pair_free(&p[i]);
    }
}

int main(void)
{
    static test *const tests[] = {it_is_told_again_and_again,
                                  events_change,
                                  one_stops_another,
                                  a_number_comes_again,
                                  what_cannot_be_watched,
                                  they_end_with_the_connection,
                                  many,
                                  NULL};
    diag("on the loop");
    rig_run((rig){0}, &on_the_loop, 1, tests);
    diag("on pool threads");
    rig_run((rig){0}, &blocking, 1, tests);
    return done_testing();
}
