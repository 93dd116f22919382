/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests the limits on the rates of a connection and on its time, and the release of its
 *  tickets. */

#include "t/unit/rig.h"

static const ws_handler handler = {ECHO_RECORDER};

static wire enter_bounded(rig *r, const ws_settings *s, ws_ticket *ticket)
{
    int fd[2];
    ws_new_conn n;
    unix_pair(fd);
    n = rig_newcomer(r, fd[1], "a");
    n.settings = s;
    n.ticket = ticket;
    if (ws_engine_add(r->engine, &n) != APR_SUCCESS) {
        bail_out("the connection cannot be added to the engine");
    }
    told_is("a", "open", "a connection");
    return (wire){.fd = fd[0]};
}

static void is_ended(rig *r, wire *w, const char *close, const char *name)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof(text), "close %s", close);
    wire_next_is(w, text, "%s: the connection is closed", name);
    wire_close(w, 1000, "");
    wire_next_is(w, "eof", "%s: the connection ends", name);
    told_is("a", text, "%s: on_close gets the code and reason", name);
    wire_free(w);
    nobody_is_left(r);
}

/* Set the time of the last message back by 10 s. */
static void long_ago(ws_loop *loop, void *arg)
{
    ws_conn *c = ws_conn_find(loop, *(ws_id *)arg);
    apr_uint32_t now = loop->event.now;
    loop->event.now -= 10000;
    ws_rate_limit_touch(c);
    loop->event.now = now;
}

/* ---- Messages and bytes ---- */

static void a_burst_and_no_more(rig *r)
{
    ws_settings s = RIG_SETTINGS;
    wire w;
    s.bounds[0] = (ws_bounds){.messages = 1, .message_burst = 3};
    w = enter_bounded(r, &s, NULL);
    wire_send(&w, "\x81\x81\0\0\0\0a\x81\x81\0\0\0\0b\x81\x81\0\0\0\0c\x81\x81\0\0\0\0d", 28);
    for (const char *p = "abc"; *p; p++) {
        char text[20];
        snprintf(text, sizeof(text), "text \"%c\"", *p);
        told_is("a", text, "a message within the burst is delivered");
        wire_next_is(&w, text, "a message within the burst is answered");
    }
    is_ended(r, &w, "1008 \"more messages than WebSocketLimit allows\"",
             "one message more than the burst");
}

static void empty_fragments_are_frames_too(rig *r)
{
    ws_settings s = RIG_SETTINGS;
    wire w;
    s.bounds[0] = (ws_bounds){.messages = 1, .message_burst = 3};
    w = enter_bounded(r, &s, NULL);
    wire_send(&w, "\x01\x80\0\0\0\0\0\x80\0\0\0\0\0\x80\0\0\0\0\0\x80\0\0\0\0", 24);
    is_ended(r, &w, "1008 \"more messages than WebSocketLimit allows\"",
             "more empty fragments than the burst");
}

static void bytes_count_as_they_come(rig *r)
{
    ws_settings s = RIG_SETTINGS;
    wire w;
    s.bounds[0] = (ws_bounds){.bytes = 1, .byte_burst = 5};
    w = enter_bounded(r, &s, NULL);
    wire_text(&w, "12345");
    told_is("a", "text \"12345\"", "as many bytes as the burst allows are delivered");
    wire_next_is(&w, "text \"12345\"", "pass");
    wire_send(&w, "\x81\xFE\xFF\xFF\0\0\0\0 so much", 16);
    is_ended(r, &w, "1008 \"more bytes than WebSocketLimit allows\"",
             "half of a message that exceeds the burst");
}

static void tokens_come_back(rig *r)
{
    ws_settings s = RIG_SETTINGS;
    wire w;
    /* At this rate, one millisecond allows another message, even if the loop's clock is late. */
    s.bounds[0] = (ws_bounds){.messages = 1000000, .message_burst = 1};
    w = enter_bounded(r, &s, NULL);
    for (int i = 0; i < 5; i++) {
        usleep(3000);
        wire_text(&w, "x");
        told_is("a", "text \"x\"", "a message within the rate is delivered");
        wire_next_is(&w, "text \"x\"", "a message within the rate is answered");
    }
    leave(&w, "a");
    nobody_is_left(r);
}

static void a_dry_run_only_tells(rig *r)
{
    ws_settings s = RIG_SETTINGS;
    wire w;
    s.bounds[1] = (ws_bounds){.messages = 1, .message_burst = 1, .bytes = 1, .byte_burst = 1};
    w = enter_bounded(r, &s, NULL);
    for (int i = 0; i < 5; i++) {
        wire_text(&w, "dry");
        told_is("a", "text \"dry\"", "with dry-run, a message beyond the limit is delivered");
        wire_next_is(&w, "text \"dry\"", "with dry-run, a message beyond the limit is answered");
    }
    leave(&w, "a");
    nobody_is_left(r);
}

/* ---- Time ---- */

static void a_lifetime_ends(rig *r)
{
    ws_settings s = RIG_SETTINGS;
    wire w;
    s.bounds[0].lifetime = 1;
    w = enter_bounded(r, &s, NULL);
    is_ended(r, &w, "1001 \"its lifetime has ended\"", "lifetime");
}

static void an_idle_connection_ends(rig *r)
{
    ws_settings s = RIG_SETTINGS;
    wire w;
    ws_id id;
    s.bounds[0].idle = 9000;
    s.bounds[1].idle = 1;
    w = enter_bounded(r, &s, NULL);
    id = id_of(r, "a");
    wire_text(&w, "x");
    told_is("a", "text \"x\"", "a message is delivered");
    wire_next_is(&w, "text \"x\"", "the message is answered");
    on_loop_of(r, 0, long_ago, &id);
    is_ended(r, &w, "1001 \"no message for too long\"", "idle");
}

static int looks; /* atomic */

static void look(ws_conn *c)
{
    if (ws_conn_ticket(c) && __atomic_add_fetch(&looks, 1, __ATOMIC_RELAXED) == 3) {
        ws_close(c, 4000, "seen enough");
    }
}

static void release(ws_ticket *t);
static ws_ticket *ticket(void);

static void a_connection_is_looked_at_again_and_again(rig *r)
{
    ws_settings s = RIG_SETTINGS;
    wire w;
    s.recheck = 1;
    r->engine->options.recheck = look;
    w = enter_bounded(r, &s, ticket());
    is_ended(r, &w, "4000 \"seen enough\"", "a check that closes the connection");
    is_int(looks, 3, "the check was called three times");
}

/* ---- Tickets ---- */

static int released; /* atomic */

static void release(ws_ticket *t)
{
    free(t);
    __atomic_add_fetch(&released, 1, __ATOMIC_RELAXED);
}

static ws_ticket *ticket(void)
{
    ws_ticket *t = calloc(1, sizeof(*t));
    t->release = release;
    return t;
}

static void tickets_come_back(rig *r)
{
    ws_settings s = RIG_SETTINGS;
    ws_new_conn n = {.fd = -1, .ticket = ticket()};
    wire w = enter_bounded(r, &s, ticket());
    ws_ticket *t = ticket();
    released = 0;
    t->next = ticket();
    ws_tickets_release(t);
    is_int(released, 2, "dropping a chain of tickets releases both");
    released = 0;
    is_int(released, 0, "the ticket of an open connection is not released");
    leave(&w, "a");
    nobody_is_left(r);
    is_int(released, 1, "the ticket is released when the connection ends");
    w = enter_bounded(r, &s, ticket());
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "the connection breaks");
    nobody_is_left(r);
    is_int(released, 2, "the ticket of a broken connection is released");
    ws_new_conn_drop(&n);
    is_int(released, 3, "the ticket of a dropped connection is released");
}

int main(void)
{
    static test *const tests[] = {
        a_burst_and_no_more,      empty_fragments_are_frames_too,
        bytes_count_as_they_come, tokens_come_back,
        a_dry_run_only_tells,     a_lifetime_ends,
        an_idle_connection_ends,  a_connection_is_looked_at_again_and_again,
        tickets_come_back,        NULL};
    rig_run((rig){0}, &handler, 1, tests);
    return done_testing();
}
