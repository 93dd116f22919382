/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Replays messages from a history. On a channel with a history, each subscription receives each
 * message once, in the order of the positions, even if the bus loses or reorders packets.
 *
 * Each loop has a list of a channel's subscriptions. The list stores the last position that it has
 * delivered. It delivers the message with the next position, and drops messages with earlier
 * positions. If a message has a later position, messages are missing, so the list reads them from
 * the history first.
 *
 * A new subscription reads from the history until it has reached the position of its list. From
 * then on it is live: it receives what the list delivers.
 */

#include "channels/replay.h"

#include <stdlib.h>

#include "channels/deliver.h"

/* Maximum number of messages in a page. */
#define PAGE 64

/* A page being read, for a list or for one subscription. It is allocated before the read starts, so
 * that posting the result cannot fail for lack of memory. */
typedef struct page {
    ws_task task;
    ws_channels *h;
    ws_loop *loop;
    ws_sub_ref sub; /* no connection and no listener: the page is for the list */
    apr_status_t status;
    unsigned count;
    int gap, more;
    ws_position head;
    ws_message *messages[PAGE];
} page;

static int replay_same(ws_position a, ws_position b)
{
    return a.epoch == b.epoch && a.offset == b.offset;
}

static void replay_free_page(page *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        ws_message_unref(p->messages[i]);
    }
    ws_sub_ref_release(p->h, &p->sub);
    free(p);
}

/* Receive the result of a read, on the history's thread. */
static void replay_has_read(void *arg, const ws_history_page *found)
{
    page *p = arg;
    p->status = found->status;
    if (found->status == APR_SUCCESS) {
        for (; p->count < found->count && p->count < PAGE; p->count++) {
            p->messages[p->count] = ws_message_ref(found->messages[p->count]);
        }
        p->gap = found->gap;
        p->more = found->more || p->count < found->count;
        p->head = found->head;
    }
    if (ws_loop_post(p->loop, &p->task) < 0) {
        replay_free_page(p); /* the process is stopping */
    }
}

static int replay_start_reading(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_position after,
                                unsigned max, void (*fn)(ws_loop *loop, ws_task *task),
                                const ws_sub *sub)
{
    page *p = ws_task_new(sizeof(*p), fn);
    if (!p) {
        return -1;
    }
    p->h = h;
    p->loop = loop;
    p->sub = sub ? ws_sub_ref_to(h, sub) : (ws_sub_ref){.ch = ws_channel_ref(h, ch)};
    h->options.history->read(h->options.history, ch->name, after, max, replay_has_read, p);
    return 0;
}

static void replay_tell_failure(const page *p)
{
    ws_engine_log(p->h->options.engine, WS_LOG_WARNING, NULL,
                  "channel %s: cannot read the history, status %d: messages may be missing",
                  p->sub.ch->name, (int)p->status);
}

/* ---- Lists ---- */

static void replay_list_has_read(ws_loop *loop, ws_task *task);

static void replay_read_for_list(ws_channels *h, ws_loop *loop, ws_channel *ch)
{
    ws_sub_list *list = ws_sub_list_of(loop, ch);
    list->again = 0;
    list->reading =
        replay_start_reading(h, loop, ch, list->at, PAGE, replay_list_has_read, NULL) == 0;
    list->lost |= !list->reading;
}

static void replay_list_has_read(ws_loop *loop, ws_task *task)
{
    page *p = (page *)task;
    ws_sub_list *list = ws_sub_list_of(loop, p->sub.ch);
    list->reading = 0;
    if (!list->started) {
        replay_free_page(p); /* all subscriptions have ended meanwhile */
        return;
    }
    if (p->status != APR_SUCCESS) {
        replay_tell_failure(p);
        list->lost = 1;
        replay_free_page(p);
        return;
    }
    if (p->gap) {
        ws_deliver_now(p->h, loop, p->sub.ch, WS_EVENT_GAP, NULL, NULL);
    }
    for (unsigned i = 0; i < p->count && list->started; i++) {
        list->at = p->messages[i]->position;
        ws_deliver_now(p->h, loop, p->sub.ch, WS_EVENT_MESSAGE, p->messages[i], NULL);
    }
    if (list->started) {
        if (!p->more) {
            list->at = p->head;
        }
        if (p->more || list->again) {
            replay_read_for_list(p->h, loop, p->sub.ch);
        }
    }
    replay_free_page(p);
}

void ws_deliver_in_order(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_message *m)
{
    ws_sub_list *list = ws_sub_list_of(loop, ch);
    if (!list->started) {
        /* A new subscription may have read its page before this message was stored. */
        list->again = 1;
        return;
    }
    if (list->reading) {
        list->again = 1;
        return;
    }
    if (!m->position.epoch) {
        /* The message comes from a process with an older configuration, in which the channel had no
         * history. */
        ws_deliver_now(h, loop, ch, WS_EVENT_MESSAGE, m, NULL);
        return;
    }
    if (m->position.epoch == list->at.epoch && m->position.offset <= list->at.offset) {
        return; /* it has been delivered */
    }
    if (list->lost) {
        list->lost = 0;
        ws_deliver_now(h, loop, ch, WS_EVENT_GAP, NULL, NULL);
    }
    else if (m->position.offset != (list->at.epoch ? list->at.offset : 0) + 1
             || (list->at.epoch && m->position.epoch != list->at.epoch)) {
        replay_read_for_list(h, loop, ch);
        return;
    }
    if (list->started) {
        list->at = m->position;
        ws_deliver_now(h, loop, ch, WS_EVENT_MESSAGE, m, NULL);
    }
}

/* ---- Subscriptions ---- */

static void replay_sub_has_read(ws_loop *loop, ws_task *task);

/* Make a subscription live. It may have been freed when this function returns. */
static void replay_go_live(ws_channels *h, ws_sub *sub)
{
    ws_loop *loop = sub->loop;
    ws_channel *ch = sub->ch;
    ws_sub_list *list = ws_sub_list_of(loop, ch);
    int begins = ch->kept && !list->started;
    if (begins) {
        list->started = 1;
        list->at = sub->at;
    }
    sub->live = 1;
    sub->resumes = sub->newest = sub->lenient = 0;
    ws_deliver_now(h, loop, ch, WS_EVENT_LIVE, NULL, sub);
    if (begins && list->started && list->again && !list->reading && !list->lost) {
        replay_read_for_list(h, loop, ch);
    }
}

/* Handle that memory is exhausted: close a connection, or send a gap event to a listener. */
static void replay_fail(ws_channels *h, ws_sub *sub)
{
    if (sub->c) {
        ws_conn_fail(sub->c, WS_CLOSE_INTERNAL, "out of memory");
    }
    else {
        ws_deliver_now(h, sub->loop, sub->ch, WS_EVENT_GAP, NULL, sub);
    }
}

static void replay_read_for_sub(ws_channels *h, ws_sub *sub)
{
    int pages = sub->resumes && !sub->newest;
    ws_position after = sub->newest ? (ws_position){0, 0} : sub->at;
    if (replay_start_reading(h, sub->loop, sub->ch, after, pages ? PAGE : 0, replay_sub_has_read,
                             sub)
        < 0) {
        replay_fail(h, sub);
    }
}

/* Read the newest messages, as many as sub->at.offset says. head: position of the newest one */
static void replay_begin_newest(ws_channels *h, ws_sub *sub, ws_position head)
{
    apr_uint64_t count = sub->at.offset;
    sub->newest = 0;
    sub->lenient = 1;
    sub->at = head;
    sub->at.offset -= count < head.offset ? count : head.offset;
    replay_read_for_sub(h, sub);
}

/* Called when all earlier callbacks of the connection have returned. For WS_BLOCKING handlers, this
 * runs on the thread pool. */
static void replay_has_been_called(ws_conn *c, void *arg)
{
    (void)arg;
    if (c) {
        ws_engine_on_conn(c, ws_catch_up_drained);
    }
}

/* Read the next page, now or when the client has received the previous pages. */
static void replay_read_on(ws_channels *h, ws_sub *sub)
{
    ws_conn *c = sub->c;
    sub->waits = 1;
    if (c && ws_conn_has_jobs(c)) {
        ws_cb_run(c, replay_has_been_called, NULL);
    }
    else if (!c || ws_conn_drained(c)) { /* otherwise, ws_catch_up_drained() reads it */
        sub->waits = 0;
        replay_read_for_sub(h, sub);
    }
}

static ws_sub *replay_sub_of(const page *p)
{
    return ws_sub_ref_find(p->loop, &p->sub);
}

/* Deliver the messages of a page. @return the subscription; NULL: it has ended meanwhile */
static ws_sub *replay_deliver_page(const page *p, ws_sub *sub)
{
    if (p->gap && sub->resumes && !sub->lenient) {
        ws_deliver_now(p->h, p->loop, p->sub.ch, WS_EVENT_GAP, NULL, sub);
        sub = replay_sub_of(p);
    }
    for (unsigned i = 0; sub && i < p->count; i++) {
        sub->lenient = 0;
        ws_deliver_now(p->h, p->loop, p->sub.ch, WS_EVENT_MESSAGE, p->messages[i], sub);
        if ((sub = replay_sub_of(p))) {
            sub->at = p->messages[i]->position;
        }
    }
    return sub;
}

static void replay_sub_has_read(ws_loop *loop, ws_task *task)
{
    page *p = (page *)task;
    ws_sub_list *list = ws_sub_list_of(loop, p->sub.ch);
    ws_sub *sub = replay_sub_of(p);

    if (sub && p->status != APR_SUCCESS) {
        replay_tell_failure(p);
        ws_deliver_now(p->h, loop, p->sub.ch, WS_EVENT_GAP, NULL, sub);
        if ((sub = replay_sub_of(p))) {
            sub->at = list->started ? list->at : sub->at;
            list->lost |= !list->started;
            replay_go_live(p->h, sub);
        }
    }
    else if (sub && sub->newest) {
        replay_begin_newest(p->h, sub, p->head);
    }
    else if (sub && (sub = replay_deliver_page(p, sub))) {
        int more = p->more && sub->resumes;
        if (!more) {
            sub->at = p->head;
        }
        if (!more
            && (!list->started || replay_same(sub->at, list->at)
                || (sub->at.epoch == list->at.epoch && sub->at.offset > list->at.offset))) {
            replay_go_live(p->h, sub);
        }
        else {
            /* The list has delivered later messages than this subscription has read. If the epochs
             * differ, the list also reads from the history, so that both reach the newer epoch. */
            if (!more && sub->at.epoch != list->at.epoch && !list->reading) {
                replay_read_for_list(p->h, loop, p->sub.ch);
            }
            sub->resumes = 1;
            replay_read_on(p->h, sub);
        }
    }
    replay_free_page(p);
}

/* Without a history, a subscription starts in a task, so that it does not receive messages that
 * were published earlier. */
typedef struct beginning {
    ws_task task;
    ws_channels *h;
    ws_sub_ref sub;
} beginning;

static void replay_begin_sub(ws_channels *h, ws_loop *loop, ws_sub *sub, const ws_sub_ref *ref)
{
    ws_sub_list *list = ws_sub_list_of(loop, sub->ch);
    if (sub->live && !sub->resumes) {
        sub->at = list->started ? list->at : sub->at;
        replay_go_live(h, sub);
        return;
    }
    if (sub->resumes && sub->at.epoch) {
        sub->at = (ws_position){0, 0};
        ws_deliver_now(h, loop, sub->ch, WS_EVENT_GAP, NULL, sub);
    }
    if ((sub = ws_sub_ref_find(loop, ref))) {
        sub->at = (ws_position){0, 0};
        replay_go_live(h, sub);
    }
}

static void replay_begin(ws_loop *loop, ws_task *task)
{
    beginning *b = (beginning *)task;
    ws_sub *sub = ws_sub_ref_find(loop, &b->sub);
    if (sub) {
        replay_begin_sub(b->h, loop, sub, &b->sub);
    }
    ws_sub_ref_release(b->h, &b->sub);
    free(b);
}

static void replay_set_start(ws_sub *sub, const ws_subscription *how)
{
    sub->newest = (how->flags & WS_RESUME_LAST) && !(how->flags & WS_RESUME);
    sub->resumes = (how->flags & (WS_RESUME | WS_RESUME_LAST)) != 0;
    sub->lenient = 0;
    if (sub->resumes) {
        sub->at = sub->newest ? (ws_position){0, how->last} : how->after;
    }
}

static void replay_start(ws_channels *h, ws_sub *sub)
{
    beginning *b;
    if (sub->ch->kept && !sub->live) {
        /* No task is needed, because messages that are published from now on have later
         * positions. */
        replay_read_for_sub(h, sub);
        return;
    }
    if (!(b = ws_task_new(sizeof(*b), replay_begin))) {
        replay_fail(h, sub);
        return;
    }
    b->h = h;
    b->sub = ws_sub_ref_to(h, sub);
    if (ws_loop_post(sub->loop, &b->task) < 0) {
        ws_sub_ref_release(h, &b->sub);
        free(b);
    }
}

void ws_catch_up(ws_channels *h, ws_sub *sub, const ws_subscription *how)
{
    replay_set_start(sub, how);
    replay_start(h, sub);
}

void ws_catch_up_again(ws_channels *h, ws_sub *sub, const ws_subscription *how)
{
    int resumes = (how->flags & (WS_RESUME | WS_RESUME_LAST)) != 0;
    if (resumes) {
        sub->live = !sub->ch->kept;
        sub->waits = 0;
        replay_set_start(sub, how);
    }
    if (resumes || sub->live) {
        sub->serial = ws_sub_serial(h); /* discard pages that are being read */
        replay_start(h, sub);
    }
}

void ws_catch_up_drained(ws_conn *c)
{
    for (ws_sub *sub = ws_sub_first(c); sub; sub = sub->next) {
        if (sub->waits) {
            sub->waits = 0;
            replay_read_for_sub(ws_channels_current(), sub);
        }
    }
}

/* ---- After missed messages ---- */

typedef struct look_task {
    ws_task task;
    ws_channels *h;
    ws_channel *ch; /* NULL: all channels on the loop */
} look_task;

static void replay_look_at(ws_channels *h, ws_loop *loop, ws_channel *ch)
{
    ws_sub_list *list = ws_sub_list_of(loop, ch);
    if (!ch->kept) {
        ws_deliver_now(h, loop, ch, WS_EVENT_GAP, NULL, NULL);
    }
    else if (!list->started || list->reading) {
        list->again = 1;
    }
    else {
        replay_read_for_list(h, loop, ch);
    }
    ws_channel_unref(h, ch);
}

static void replay_look(ws_loop *loop, ws_task *task)
{
    const look_task *t = (look_task *)task;
    ws_channels *h = t->h;
    ws_channel **all;
    unsigned n;
    if (t->ch) {
        replay_look_at(h, loop, t->ch);
        free(task);
        return;
    }
    __atomic_store_n(&h->loop_queues[ws_loop_index(loop)].looking, 0, __ATOMIC_SEQ_CST);
    n = ws_channels_of_loop(h, ws_loop_index(loop), &all);
    for (unsigned i = 0; i < n; i++) {
        replay_look_at(h, loop, all[i]);
    }
    free(all);
    free(task);
}

/* Post a look_task. @return 0; -1: out of memory, or the process is stopping */
static int replay_post_look(ws_channels *h, unsigned loop, ws_channel *ch)
{
    look_task *t = ws_task_new(sizeof(*t), replay_look);
    if (!t) {
        return -1;
    }
    t->h = h;
    t->ch = ch;
    if (ws_loop_post(ws_engine_loop(h->options.engine, loop), &t->task) < 0) {
        free(t);
        return -1;
    }
    return 0;
}

void ws_look_again(ws_channels *h, unsigned loop)
{
    /* Post one task for all channels on the loop, unless one is queued already. */
    if (!__atomic_exchange_n(&h->loop_queues[loop].looking, 1, __ATOMIC_SEQ_CST)
        && replay_post_look(h, loop, NULL) < 0) {
        __atomic_store_n(&h->loop_queues[loop].looking, 0, __ATOMIC_SEQ_CST);
    }
}

void ws_look_again_at(ws_channels *h, unsigned loop, ws_channel *ch)
{
    if (replay_post_look(h, loop, ws_channel_ref(h, ch)) < 0) {
        ws_channel_unref(h, ch);
    }
}
