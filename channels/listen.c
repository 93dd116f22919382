/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements ws_listen(): subscriptions of handlers without a connection, called listeners. A
 *  listener belongs to the loop that had the fewest connections when the listener was created. */

#include <stdlib.h>
#include <string.h>

#include "channels/presence.h"
#include "channels/replay.h"
#include "channels/snapshot.h"

typedef struct listen_task {
    ws_task task;
    ws_listener *l; /* one reference */
} listen_task;

static void listen_unlink(ws_listener *l)
{
    apr_thread_mutex_lock(l->h->lock);
    *l->link = l->next;
    if (l->next) {
        l->next->link = l->link;
    }
    apr_thread_mutex_unlock(l->h->lock);
}

static void listen_link(ws_listener *l)
{
    apr_thread_mutex_lock(l->h->lock);
    l->next = l->h->listeners;
    l->link = &l->h->listeners;
    if (l->next) {
        l->next->link = &l->next;
    }
    l->h->listeners = l;
    apr_thread_mutex_unlock(l->h->lock);
}

/* End a listener: call its function for the last time. Runs on the loop, or after the loop has
 * ended. */
static void listen_finish(ws_listener *l)
{
    l->ended = 1;
    if (l->sub) {
        if (l->sub->flags & WS_WATCH) {
            ws_presence_watch(l->h, l->sub->ch, -1);
        }
        ws_sub_want(l->h, l->sub->ch, -1);
        ws_sub_give(l->h, l->sub);
    }
    else if (l->ch) {
        ws_sub_want(l->h, l->ch, -1);
        ws_channel_unref(l->h, l->ch);
    }
    listen_unlink(l);
    l->fn(NULL, l->arg);
    ws_listener_unref(l);
}

static void listen_begin(ws_loop *loop, ws_task *task)
{
    ws_listener *l = ((listen_task *)task)->l;
    ws_channel *ch = l->ch;
    (void)loop;
    if (!l->ended && ws_sub_take_for(l->h, l, ch)) {
        l->ch = NULL; /* the subscription owns the reference now */
        l->sub->flags = (unsigned char)(l->how.flags & WS_WATCH);
        if (l->sub->flags) {
            ws_presence_watch(l->h, ch, 1);
            ws_snapshot_begin(l->h, l->sub, &l->how);
        }
        ws_catch_up(l->h, l->sub, &l->how);
    }
    else if (!l->ended) {
        listen_finish(l); /* out of memory */
    }
    ws_listener_unref(l);
    free(task);
}

static void listen_do_end(ws_loop *loop, ws_task *task)
{
    ws_listener *l = ((listen_task *)task)->l;
    (void)loop;
    if (!l->ended) {
        listen_finish(l);
    }
    ws_listener_unref(l);
    free(task);
}

static int listen_post(ws_listener *l, void (*fn)(ws_loop *loop, ws_task *task))
{
    listen_task *t = ws_task_new(sizeof(*t), fn);
    if (!t) {
        return -1;
    }
    t->l = ws_listener_ref(l);
    if (ws_loop_post(l->loop, &t->task) < 0) {
        ws_listener_unref(l);
        free(t);
        return -1;
    }
    return 0;
}

static ws_listener *listen_new(ws_channels *h, ws_channel *ch, const ws_subscription *how,
                               ws_listen_fn fn, void *arg)
{
    ws_listener *l = calloc(1, sizeof(*l));
    if (l) {
        l->refs = 1;
        l->h = h;
        l->loop = ws_engine_least_busy(h->options.engine);
        l->ch = ch;
        l->fn = fn;
        l->arg = arg;
        if (how) {
            l->how = (ws_subscription){.flags = how->flags & ~WS_MEMBER, .after = how->after};
            l->how.last = how->flags & WS_RESUME_LAST ? how->last : 0;
        }
        listen_link(l);
    }
    return l;
}

/* Subscribe to the channel on the buses, then create and start the listener. */
static ws_status listen_to(ws_channels *h, ws_channel *ch, const ws_subscription *how,
                           ws_listen_fn fn, void *arg, ws_listener **listener)
{
    ws_listener *l;
    ws_status s = ws_sub_want(h, ch, 1);
    if (s < 0) {
        ws_channel_unref(h, ch);
        return s;
    }
    if (!(l = *listener = listen_new(h, ch, how, fn, arg))) {
        ws_sub_want(h, ch, -1);
        ws_channel_unref(h, ch);
        return WS_FULL;
    }
    if (listen_post(l, listen_begin) < 0) {
        listen_unlink(l);
        ws_sub_want(h, ch, -1);
        ws_channel_unref(h, ch);
        free(l);
        return WS_GONE;
    }
    return WS_QUEUED;
}

ws_status ws_listen(const char *channel, const ws_subscription *how, ws_listen_fn fn, void *arg,
                    ws_listener **listener)
{
    ws_channels *h = ws_channels_running();
    unsigned len = channel ? (unsigned)strlen(channel) : 0;
    ws_channel *ch;
    ws_status s = WS_FULL;
    if (!channel || !(ws_channel_valid(channel) || ws_wildcard_valid(channel, len))) {
        return WS_BAD_NAME;
    }
    if (!h) {
        return WS_GONE;
    }
    ch = ws_channel_take(h, channel, len, &s);
    return ch ? listen_to(h, ch, how, fn, arg, listener) : s;
}

void ws_listen_end(ws_listener *l)
{
    listen_post(l, listen_do_end); /* if the loop has ended, ws_listeners_end() ends the listener */
}

void ws_listeners_end(ws_channels *h)
{
    while (h->listeners) {
        listen_finish(h->listeners);
    }
}
