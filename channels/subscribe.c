/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Coming and going: ws_subscribe() and what belongs to it. All of it happens on the connection's loop;
 *  a WS_BLOCKING handler's thread waits for that. */

#include "channels/presence.h"
#include "channels/replay.h"
#include "channels/snapshot.h"

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

static void sub_run_loop_call(ws_loop *loop, ws_task *task)
{
    loop_call *e = (loop_call *)task;
    (void)loop;
    e->status = e->fn(e->h, e->c, e->arg);
    sem_post(&e->done);
}

/* Inside a callback the connection lives; its loop waits for no callback. */
static ws_status sub_on_its_loop(ws_conn *c, ws_status (*fn)(ws_channels *h, ws_conn *c, void *arg),
                                 void *arg)
{
    ws_channels *h = ws_channels_current();
    loop_call e = {.task = {.fn = sub_run_loop_call}, .fn = fn, .h = h, .c = c, .arg = arg};
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

static void sub_leave(ws_channels *h, ws_sub *sub)
{
    if (sub->flags & WS_MEMBER) {
        ws_presence_leave(h, sub->ch, sub->c->id);
    }
    if (sub->flags & WS_WATCH) {
        ws_presence_watch(h, sub->ch, -1);
    }
    ws_sub_want(h, sub->ch, -1);
    ws_sub_give(h, sub);
}

static ws_status sub_take_sub(ws_channels *h, ws_conn *c, ws_channel *ch,
                              const ws_subscription *how)
{
    ws_sub *sub;
    ws_status s = ws_sub_want(h, ch, 1);
    if (s < 0) {
        return s;
    }
    if (!(sub = ws_sub_take(h, c, ch))) {
        ws_sub_want(h, ch, -1);
        return WS_FULL;
    }
    sub->flags = (unsigned char)(how->flags & (WS_MEMBER | WS_WATCH | WS_AS_PUBLISHED));
    if (sub->flags & WS_WATCH) {
        ws_presence_watch(h, ch, 1);
        ws_snapshot_begin(h, sub, how);
    }
    ws_catch_up(h, sub, how);
    if (sub->flags & WS_MEMBER) {
        ws_presence_join(h, ch, c, how);
    }
    return WS_QUEUED;
}

/* The connection is subscribed already. */
static void sub_change(ws_channels *h, ws_sub *sub, const ws_subscription *how)
{
    unsigned flags = how->flags & (how->flags & WS_CHANGE ? ~0u : sub->flags & WS_MEMBER);
    if (flags & ~sub->flags & WS_WATCH) {
        ws_presence_watch(h, sub->ch, 1);
    }
    sub->flags |= (unsigned char)(flags & (WS_MEMBER | WS_WATCH));
    if (flags & WS_CHANGE) {
        ws_snapshot_begin(h, sub, how);
    }
    if (flags & WS_CHANGE) {
        ws_catch_up_again(h, sub, how);
    }
    if (flags & WS_MEMBER) {
        ws_presence_join(h, sub->ch, sub->c, how);
    }
}

static ws_status sub_subscribe(ws_channels *h, ws_conn *c, void *arg)
{
    const sub_args *w = arg;
    ws_status s = WS_QUEUED;
    ws_channel *ch;
    ws_sub *sub;

    if (ws_state_of(c) != WS_OPEN) {
        return WS_GONE;
    }
    if (!(ch = ws_channel_take(h, w->name, w->len, &s))) {
        return s;
    }
    if ((sub = ws_sub_find(c, ch))) {
        sub_change(h, sub, w->how);
    }
    else if (c->settings->subscriptions && c->channels
             && c->channels->count >= c->settings->subscriptions) {
        s = WS_LIMIT;
    }
    else if ((s = sub_take_sub(h, c, ch, w->how)) >= 0) {
        return s; /* the reference is the sub's */
    }
    ws_channel_unref(h, ch);
    return s;
}

/* Wildcards have no members. */
static int sub_is_wildcard(const char *channel, const ws_subscription *how)
{
    return ws_wildcard_valid(channel, strlen(channel)) && !(how->flags & (WS_MEMBER | WS_WATCH));
}

ws_status ws_subscribe(ws_conn *c, const char *channel, const ws_subscription *how)
{
    static const ws_subscription plainly = {0};
    sub_args w = {channel, 0, how ? how : &plainly};
    if (!channel || !(ws_channel_valid(channel) || sub_is_wildcard(channel, w.how))) {
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
    return sub_on_its_loop(c, sub_subscribe, &w);
}

static ws_status sub_unsubscribe(ws_channels *h, ws_conn *c, void *arg)
{
    const char *name = arg;
    ws_sub *sub = c->channels ? c->channels->first : NULL;
    while (sub && strcmp(sub->ch->name, name)) {
        sub = sub->next;
    }
    if (!sub) {
        return WS_GONE;
    }
    sub_leave(h, sub);
    return WS_QUEUED;
}

ws_status ws_unsubscribe(ws_conn *c, const char *channel)
{
    return channel ? sub_on_its_loop(c, sub_unsubscribe, (void *)channel) : WS_GONE;
}

typedef struct iter {
    void (*fn)(const char *channel, void *arg);
    void *arg;
} iter;

static ws_status sub_go_through(ws_channels *h, ws_conn *c, void *arg)
{
    const iter *t = arg;
    (void)h;
    for (ws_sub *sub = c->channels ? c->channels->first : NULL; sub; sub = sub->next) {
        t->fn(sub->ch->name, t->arg);
    }
    return WS_QUEUED;
}

void ws_subscriptions_of(ws_conn *c, void (*fn)(const char *channel, void *arg), void *arg)
{
    iter t = {fn, arg};
    sub_on_its_loop(c, sub_go_through, &t);
}

int ws_may(ws_conn *c, ws_action action, const char *channel)
{
    ws_channels *h = ws_channels_current();
    return h && h->options.may ? h->options.may(c, action, channel) : -1;
}

const char *ws_use_token(ws_conn *c, const char *channel, const char *token)
{
    ws_channels *h = ws_channels_current();
    return h && h->options.use_token ? h->options.use_token(c, channel, token)
                                     : "no tokens are accepted here";
}

/* ---- Its end ---- */

static void sub_leave_all(ws_conn *c)
{
    while (c->channels) {
        sub_leave(ws_channels_current(), c->channels->first);
    }
}

const ws_channels_hooks ws_channels_for_engine = {sub_leave_all, ws_catch_up_drained};
