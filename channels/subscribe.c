/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Coming and going: ws_subscribe() and what belongs to it. All of it happens on the connection's loop;
 *  a WS_BLOCKING handler's thread waits for that. */

#include "channels/deliver.h"
#include "channels/presence.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

/* ---- From a WS_BLOCKING handler's thread ---- */

typedef struct loop_call {
    ws_task task; /* first */
    ws_status (*fn)(ws_channels *h, ws_conn *c, void *arg);
    ws_channels *h;
    ws_conn *c;
    void *arg;
    ws_status status;
    sem_t done;
} loop_call;

static void run_loop_call(ws_loop *loop, ws_task *task)
{
    loop_call *e = (loop_call *)task;
    (void)loop;
    e->status = e->fn(e->h, e->c, e->arg);
    sem_post(&e->done);
}

/* Inside a callback the connection lives; its loop waits for no callback. */
static ws_status on_its_loop(ws_conn *c, ws_status (*fn)(ws_channels *h, ws_conn *c, void *arg),
                             void *arg)
{
    ws_channels *h = ws_channels_current();
    loop_call e = {.task = {.fn = run_loop_call}, .fn = fn, .h = h, .c = c, .arg = arg};
    if (!h) {
        return WS_GONE;
    }
    if (ws_loop_current() == c->loop) {
        return fn(h, c, arg);
    }
    sem_init(&e.done, 0, 0);
    if (ws_loop_post(c->loop, &e.task) < 0) {
        e.status = WS_GONE;
    }
    else {
        while (sem_wait(&e.done) < 0 && errno == EINTR) {
        }
    }
    sem_destroy(&e.done);
    return e.status;
}

/* ---- Subscribing ---- */

typedef struct sub_args {
    const char *name;
    unsigned len;
    const ws_subscription *how;
} sub_args;

static ws_status want(ws_channels *h, const ws_channel *ch, int change)
{
    ws_bus *buses[] = {h->options.local, h->options.remote};
    for (int i = 0; i < 2; i++) {
        ws_status s =
            buses[i] ? buses[i]->want(buses[i], ch->name, ch->len, ch->hash, change) : WS_QUEUED;
        if (s < 0) {
            if (i) {
                buses[0]->want(buses[0], ch->name, ch->len, ch->hash, -change);
            }
            return s;
        }
    }
    return WS_QUEUED;
}

static void leave(ws_channels *h, ws_sub *seat)
{
    if (seat->flags & WS_MEMBER) {
        ws_presence_leave(h, seat->ch, seat->c->id);
    }
    if (seat->flags & WS_WATCH) {
        ws_presence_watch(h, seat->ch, -1);
    }
    want(h, seat->ch, -1);
    ws_sub_give(h, seat);
}

static ws_status take_seat(ws_channels *h, ws_conn *c, ws_channel *ch, const ws_subscription *how)
{
    ws_sub *seat;
    ws_status s = want(h, ch, 1);
    if (s < 0) {
        return s;
    }
    if (!(seat = ws_sub_take(h, c, ch))) {
        want(h, ch, -1);
        return WS_FULL;
    }
    seat->flags = (unsigned char)(how->flags & (WS_MEMBER | WS_WATCH));
    seat->resumes = (how->flags & WS_RESUME) != 0;
    if (seat->resumes) {
        seat->at = how->after;
    }
    if (seat->flags & WS_WATCH) {
        ws_presence_watch(h, ch, 1);
    }
    ws_catch_up(h, seat);
    if (seat->flags & WS_MEMBER) {
        ws_presence_join(h, ch, c, how);
    }
    return WS_QUEUED;
}

/* The connection is subscribed already. */
static void change(ws_channels *h, ws_sub *seat, const ws_subscription *how)
{
    unsigned flags = how->flags & (how->flags & WS_CHANGE ? ~0u : seat->flags & WS_MEMBER);
    if (flags & ~seat->flags & WS_WATCH) {
        ws_presence_watch(h, seat->ch, 1);
    }
    seat->flags |= (unsigned char)(flags & (WS_MEMBER | WS_WATCH));
    if (flags & WS_CHANGE) {
        ws_catch_up_again(h, seat, flags & WS_RESUME ? &how->after : NULL);
    }
    if (flags & WS_MEMBER) {
        ws_presence_join(h, seat->ch, seat->c, how);
    }
}

static ws_status subscribe(ws_channels *h, ws_conn *c, void *arg)
{
    const sub_args *w = arg;
    ws_status s = WS_QUEUED;
    ws_channel *ch;
    ws_sub *seat;

    if (ws_state_of(c) != WS_OPEN) {
        return WS_GONE;
    }
    if (!(ch = ws_channel_take(h, w->name, w->len, &s))) {
        return s;
    }
    if ((seat = ws_sub_find(c, ch))) {
        change(h, seat, w->how);
    }
    else if (c->settings->subscriptions && c->channels
             && c->channels->count >= c->settings->subscriptions) {
        s = WS_LIMIT;
    }
    else if ((s = take_seat(h, c, ch, w->how)) >= 0) {
        return s; /* the reference is the seat's */
    }
    ws_channel_unref(h, ch);
    return s;
}

ws_status ws_subscribe(ws_conn *c, const char *channel, const ws_subscription *how)
{
    static const ws_subscription plainly = {0};
    sub_args w = {channel, 0, how ? how : &plainly};
    if (!ws_channel_valid(channel)) {
        return WS_BAD_NAME;
    }
    if (w.how->member_len > WS_MEMBER_MAX) {
        return WS_TOO_BIG;
    }
    if (w.how->flags & WS_MEMBER && !ws_member_valid(w.how->member, w.how->member_len)) {
        return WS_BAD_TEXT;
    }
    if (ws_may(c, WS_MAY_SUBSCRIBE, channel) == 0) {
        return WS_FORBIDDEN;
    }
    w.len = (unsigned)strlen(channel);
    return on_its_loop(c, subscribe, &w);
}

static ws_status unsubscribe(ws_channels *h, ws_conn *c, void *arg)
{
    const char *name = arg;
    ws_sub *seat = c->channels ? c->channels->first : NULL;
    while (seat && strcmp(seat->ch->name, name)) {
        seat = seat->next;
    }
    if (!seat) {
        return WS_GONE;
    }
    leave(h, seat);
    return WS_QUEUED;
}

ws_status ws_unsubscribe(ws_conn *c, const char *channel)
{
    return channel ? on_its_loop(c, unsubscribe, (void *)channel) : WS_GONE;
}

typedef struct iter {
    void (*fn)(const char *channel, void *arg);
    void *arg;
} iter;

static ws_status go_through(ws_channels *h, ws_conn *c, void *arg)
{
    const iter *t = arg;
    (void)h;
    for (ws_sub *seat = c->channels ? c->channels->first : NULL; seat; seat = seat->next) {
        t->fn(seat->ch->name, t->arg);
    }
    return WS_QUEUED;
}

void ws_subscriptions_of(ws_conn *c, void (*fn)(const char *channel, void *arg), void *arg)
{
    iter t = {fn, arg};
    on_its_loop(c, go_through, &t);
}

int ws_may(ws_conn *c, ws_action action, const char *channel)
{
    ws_channels *h = ws_channels_current();
    return h && h->options.may ? h->options.may(c, action, channel) : -1;
}

/* ---- Its end ---- */

static void leave_all(ws_conn *c)
{
    while (c->channels) {
        leave(ws_channels_current(), c->channels->first);
    }
}

const ws_channels_hooks ws_channels_for_engine = {leave_all, ws_catch_up_drained};
