/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Delivers a channel's members to one subscription. This file copies the list of members and posts
 * it to the loop while it holds the presence lock. Every change of members is also posted with this
 * lock held. Each change is therefore either included in the list, or delivered after it.
 */

#include "channels/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "channels/deliver.h"
#include "channels/presence.h"

typedef struct snapshot {
    ws_task task;
    ws_channels *h;
    ws_loop *loop;
    ws_sub_ref sub;
    apr_size_t count;
    ws_message **members; /* NULL: out of memory */
} snapshot;

static void snapshot_free(snapshot *s)
{
    for (apr_size_t i = 0; s->members && i < s->count; i++) {
        if (s->members[i]) {
            ws_message_unref(s->members[i]);
        }
    }
    free(s->members);
    ws_sub_ref_release(s->h, &s->sub);
    free(s);
}

static void snapshot_deliver(ws_loop *loop, ws_task *task)
{
    snapshot *s = (snapshot *)task;
    ws_sub *sub = ws_sub_ref_find(loop, &s->sub);
    if (!sub || !sub->snapshot) {
        snapshot_free(s);
        return;
    }
    sub->snapshot = 0;
    for (apr_size_t i = 0; sub && s->members && i < s->count; i++) {
        if (s->members[i]) {
            ws_deliver_now(s->h, loop, s->sub.ch, WS_EVENT_JOIN, s->members[i], sub);
            sub = ws_sub_ref_find(loop, &s->sub);
        }
    }
    if (sub) {
        ws_deliver_now(s->h, loop, s->sub.ch, WS_EVENT_MEMBERS, NULL, sub);
    }
    snapshot_free(s);
}

static ws_message *snapshot_message(const char *channel, const ws_member *member)
{
    /* The user's name follows the member's data and a NUL, see ws_member_split(). */
    apr_size_t whole = member->len + 1 + strlen(member->data + member->len + 1);
    ws_message *m = ws_message_about(channel, member->data, whole);
    if (m) {
        m->server = member->server;
        m->except = member->id;
    }
    return m;
}

/* Receive the members. Called with the presence lock held. */
static void snapshot_taken(const char *channel, const ws_member *members, apr_size_t count,
                           int complete, void *arg)
{
    snapshot *s = arg;
    (void)complete;
    s->members = calloc(count + 1, sizeof(*s->members));
    s->count = count;
    for (apr_size_t i = 0; s->members && i < count; i++) {
        s->members[i] = snapshot_message(channel, &members[i]);
    }
    if (ws_loop_post(s->loop, &s->task) < 0) {
        snapshot_free(s);
    }
}

void ws_snapshot_begin(ws_channels *h, ws_sub *sub, const ws_subscription *how)
{
    snapshot *s;
    if ((how->flags & (WS_WATCH | WS_SNAPSHOT)) != (WS_WATCH | WS_SNAPSHOT)) {
        return;
    }
    if (!(s = ws_task_new(sizeof(*s), snapshot_deliver))) {
        return; /* the subscription receives changes, but no list */
    }
    s->h = h;
    s->loop = sub->loop;
    s->sub = ws_sub_ref_to(h, sub);
    s->sub.serial = 0; /* find the subscription even if it has changed */
    s->members = NULL;
    s->count = 0;
    sub->snapshot = 1;
    if (ws_presence_take(h, sub->ch, snapshot_taken, s) < 0) {
        sub->snapshot = 0;
        snapshot_free(s);
    }
}
