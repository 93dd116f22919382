/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Subscribes and unsubscribes connections. Subscriptions change only on the connection's loop. If
 *  a WS_BLOCKING handler calls a function of this file on a thread of the thread pool, that thread
 *  waits until the loop has made the change. */

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

/* Run fn on the connection's loop, and wait for its result. The connection is not freed while a
 * callback is running. Waiting here cannot deadlock, because the loop never waits for a
 * callback. */
static ws_status sub_on_its_loop(ws_conn *c, ws_status (*fn)(ws_channels *h, ws_conn *c, void *arg),
                                 void *arg)
{
    ws_channels *h = ws_channels_current();
    loop_call e = {.task = {.fn = sub_run_loop_call}, .fn = fn, .h = h, .c = c, .arg = arg};
    if (!h) {
        return WS_GONE;
    }
    if (ws_loop_current() == ws_conn_loop(c)) {
        return fn(h, c, arg);
    }
    sem_init(&e.done, 0, 0);
    if (ws_loop_post(ws_conn_loop(c), &e.task) < 0) {
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

static void sub_notify(const ws_channels *h, const ws_sub *sub)
{
    const ws_application *app = h->options.application;
    ws_app_question question = {.event = WS_APP_UNSUBSCRIBE,
                                .channel = sub->ch->name,
                                .id = ws_conn_id(sub->c),
                                .user = ws_user(sub->c),
                                .uri = ws_uri(sub->c)};
    if (app && app->wants(WS_APP_UNSUBSCRIBE, sub->ch->name)) {
        app->ask(&question, NULL, NULL);
    }
}

static void sub_leave(ws_channels *h, ws_sub *sub)
{
    sub_notify(h, sub);
    if (sub->flags & WS_MEMBER) {
        ws_presence_leave(h, sub->ch, ws_conn_id(sub->c));
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

/* Change an existing subscription. */
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

static int sub_is_at_limit(const ws_conn *c)
{
    unsigned limit = ws_conn_settings(c)->subscriptions;
    const ws_subscriptions *s = ws_conn_subscriptions(c);
    return limit && s && s->count >= limit;
}

static ws_status sub_subscribe(ws_channels *h, ws_conn *c, void *arg)
{
    const sub_args *w = arg;
    ws_status s = WS_QUEUED;
    ws_channel *ch;
    ws_sub *sub;

    if (ws_conn_state(c) != WS_OPEN) {
        return WS_GONE;
    }
    if (!(ch = ws_channel_take(h, w->name, w->len, &s))) {
        return s;
    }
    if ((sub = ws_sub_find(c, ch))) {
        sub_change(h, sub, w->how);
    }
    else if (sub_is_at_limit(c)) {
        s = WS_LIMIT;
    }
    else if ((s = sub_take_sub(h, c, ch, w->how)) >= 0) {
        return s; /* the subscription owns the reference now */
    }
    ws_channel_unref(h, ch);
    return s;
}

/* Whether this is a valid subscription to a wildcard. A wildcard has no members. */
static int sub_is_wildcard(const char *channel, const ws_subscription *how)
{
    return ws_wildcard_valid(channel, strlen(channel)) && !(how->flags & (WS_MEMBER | WS_WATCH));
}

/* ---- The application's decision ---- */

struct ws_sub_pending {
    ws_sub_pending *next;
    ws_id id;
    int cancelled;
    ws_status status; /* the application's answer */
    ws_subscription how;
    char member[WS_MEMBER_MAX];
    char channel[WS_CHANNEL_MAX + 1];
};

/* Find a pending subscription. Called with the lock held. @return the link to it, or the link at
 * the end of the list */
static ws_sub_pending **sub_pending_of(ws_channels *h, ws_id id, const char *channel)
{
    ws_sub_pending **link = &h->pending;
    while (*link
           && ((*link)->id != id || (*link)->cancelled || strcmp((*link)->channel, channel))) {
        link = &(*link)->next;
    }
    return link;
}

static int sub_is_pending(ws_channels *h, ws_id id, const char *channel, int cancel)
{
    ws_sub_pending *p;
    apr_thread_mutex_lock(h->lock);
    p = *sub_pending_of(h, id, channel);
    if (p && cancel) {
        p->cancelled = 1;
    }
    apr_thread_mutex_unlock(h->lock);
    return p != NULL;
}

static void sub_pending_free(ws_channels *h, ws_sub_pending *p)
{
    ws_sub_pending **link = &h->pending;
    apr_thread_mutex_lock(h->lock);
    while (*link != p) {
        link = &(*link)->next;
    }
    *link = p->next;
    apr_thread_mutex_unlock(h->lock);
    free(p);
}

/* Report the refusal of a subscription to the handler. If the handler does not process refusals,
 * close the connection, because the client could otherwise wait forever. */
static void sub_refused(ws_conn *c, const char *channel, ws_status status)
{
    const ws_handler *handler = ws_conn_handler(c);
    ws_event event = {.kind = WS_EVENT_REFUSED, .channel = channel, .status = status};
    if (handler->on_channel && handler->flags & WS_REFUSED_EVENTS) {
        handler->on_channel(c, &event);
    }
    else if (status == WS_FORBIDDEN) {
        ws_close(c, WS_CLOSE_POLICY, "the subscription is refused");
    }
    else {
        ws_close(c, WS_CLOSE_TRY_LATER, "the subscription is not possible now, try again later");
    }
}

/* Finish a pending subscription. Runs as a callback of the connection. @param c  NULL: the
 * connection has ended */
static void sub_settle(ws_conn *c, void *arg)
{
    ws_sub_pending *p = arg;
    ws_channels *h = ws_channels_current();
    sub_args w = {p->channel, (unsigned)strlen(p->channel), &p->how};
    ws_status s = p->status;
    if (c && !p->cancelled) {
        s = s < 0 ? s : sub_on_its_loop(c, sub_subscribe, &w);
        if (s < 0) {
            sub_refused(c, p->channel, s);
        }
    }
    sub_pending_free(h, p);
}

static void sub_answered(void *arg, const ws_app_answer *answer)
{
    ws_sub_pending *p = arg;
    ws_status s;
    p->status = answer->status;
    if ((s = ws_run(p->id, sub_settle, p)) != WS_QUEUED) {
        if (s == WS_FULL) {
            ws_close_id(p->id, WS_CLOSE_TRY_LATER, "the server is overloaded");
        }
        sub_settle(NULL, p);
    }
}

static ws_status sub_ask(ws_channels *h, ws_conn *c, const sub_args *w)
{
    ws_app_question question = {.event = WS_APP_SUBSCRIBE,
                                .channel = w->name,
                                .id = ws_conn_id(c),
                                .user = ws_user(c),
                                .uri = ws_uri(c)};
    ws_sub_pending *p;
    if (sub_is_pending(h, ws_conn_id(c), w->name, 0)) {
        return WS_QUEUED;
    }
    if (!(p = calloc(1, sizeof(*p)))) {
        return WS_FULL;
    }
    p->id = ws_conn_id(c);
    p->how = *w->how;
    if (p->how.flags & WS_MEMBER && p->how.member_len) {
        memcpy(p->member, p->how.member, p->how.member_len);
    }
    p->how.member = p->member;
    memcpy(p->channel, w->name, w->len);
    apr_thread_mutex_lock(h->lock);
    p->next = h->pending;
    h->pending = p;
    apr_thread_mutex_unlock(h->lock);
    if (h->options.application->ask(&question, sub_answered, p) < 0) {
        sub_pending_free(h, p);
        return WS_FULL;
    }
    return WS_QUEUED;
}

/* Subscribe, or ask the application first. */
static ws_status sub_subscribe_or_ask(ws_channels *h, ws_conn *c, void *arg)
{
    const sub_args *w = arg;
    const ws_application *app = h->options.application;
    const ws_sub *sub = app ? ws_sub_first(c) : NULL;
    while (sub && strcmp(sub->ch->name, w->name)) {
        sub = sub->next;
    }
    return sub || !app || !app->wants(WS_APP_SUBSCRIBE, w->name) ? sub_subscribe(h, c, arg)
           : ws_conn_state(c) != WS_OPEN                         ? WS_GONE
                                                                 : sub_ask(h, c, w);
}

static ws_status sub_check(ws_conn *c, const char *channel, const ws_subscription *how,
                           ws_status (*fn)(ws_channels *h, ws_conn *c, void *arg))
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
    return sub_on_its_loop(c, fn, &w);
}

ws_status ws_subscribe(ws_conn *c, const char *channel, const ws_subscription *how)
{
    return sub_check(c, channel, how, sub_subscribe_or_ask);
}

ws_status ws_subscribe_unasked(ws_conn *c, const char *channel, const ws_subscription *how)
{
    return sub_check(c, channel, how, sub_subscribe);
}

/* ---- Unsubscribing ---- */

static ws_status sub_unsubscribe(ws_channels *h, ws_conn *c, void *arg)
{
    const char *name = arg;
    ws_sub *sub = ws_sub_first(c);
    while (sub && strcmp(sub->ch->name, name)) {
        sub = sub->next;
    }
    if (!sub) {
        return sub_is_pending(h, ws_conn_id(c), name, 1) ? WS_QUEUED : WS_GONE;
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
    for (ws_sub *sub = ws_sub_first(c); sub; sub = sub->next) {
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
                                     : "tokens are not accepted here";
}

/* ---- End of a connection ---- */

static void sub_leave_all(ws_conn *c)
{
    for (ws_sub *sub; (sub = ws_sub_first(c));) {
        sub_leave(ws_channels_current(), sub);
    }
}

const ws_channels_hooks ws_channels_for_engine = {sub_leave_all, ws_catch_up_drained};
