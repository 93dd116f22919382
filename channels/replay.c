/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Channels with a history: everybody gets every message once, in the order of the positions, whatever the
 * bus does.
 *
 * A room knows up to where its live seats have everything. The message behind that is delivered; one
 * that has been delivered is not delivered again; one that is further ahead is dropped, and with all that
 * is missing before it read from the history.
 *
 * A new seat reads from the history until it is where its room is, or further; then it is live.
 */

#include "channels/deliver.h"

#include <stdlib.h>

/* Messages that are read at a time. */
#define PAGE 64

/* A page on its way, for a room or for one seat. Made before it is asked for, so that it cannot get
 * lost. */
typedef struct page {
    ws_task task;
    ws_channels *h;
    ws_channel *ch;
    ws_loop *loop;
    ws_id id; /* of the seat's connection; 0: the room's */
    apr_uint32_t serial;
    apr_status_t status;
    unsigned count;
    int gap, more;
    ws_position head;
    ws_message *messages[PAGE];
} page;

static int same(ws_position a, ws_position b)
{
    return a.epoch == b.epoch && a.offset == b.offset;
}

static void free_page(page *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        ws_message_unref(p->messages[i]);
    }
    ws_channel_unref(p->h, p->ch);
    free(p);
}

/* On the history's thread. */
static void has_read(void *arg, const ws_history_page *found)
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
        free_page(p); /* the process ends */
    }
}

static int start_reading(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_position after,
                         unsigned max, void (*fn)(ws_loop *loop, ws_task *task), const ws_sub *seat)
{
    page *p = ws_task_new(sizeof(*p), fn);
    if (!p) {
        return -1;
    }
    p->h = h;
    p->ch = ws_channel_ref(h, ch);
    p->loop = loop;
    if (seat) {
        p->id = seat->c->id;
        p->serial = seat->serial;
    }
    h->options.history->read(h->options.history, ch->name, after, max, has_read, p);
    return 0;
}

static void tell_failure(const page *p)
{
    ws_log(p->h->options.engine, WS_LOG_WARNING, NULL,
           "channel %s: its history cannot be read, status %d: messages may be missing",
           p->ch->name, (int)p->status);
}

/* ---- Rooms ---- */

static void room_has_read(ws_loop *loop, ws_task *task);

static void read_for_room(ws_channels *h, ws_loop *loop, ws_channel *ch)
{
    ws_sub_list *room = ws_sub_list_of(loop, ch);
    room->again = 0;
    room->reading = start_reading(h, loop, ch, room->at, PAGE, room_has_read, NULL) == 0;
    room->lost |= !room->reading;
}

static void room_has_read(ws_loop *loop, ws_task *task)
{
    page *p = (page *)task;
    ws_sub_list *room = ws_sub_list_of(loop, p->ch);
    room->reading = 0;
    if (!room->started) {
        free_page(p); /* all have left meanwhile */
        return;
    }
    if (p->status != APR_SUCCESS) {
        tell_failure(p);
        room->lost = 1;
        free_page(p);
        return;
    }
    if (p->gap) {
        ws_deliver_now(p->h, loop, p->ch, WS_EVENT_GAP, NULL, NULL);
    }
    for (unsigned i = 0; i < p->count && room->started; i++) {
        room->at = p->messages[i]->position;
        ws_deliver_now(p->h, loop, p->ch, WS_EVENT_MESSAGE, p->messages[i], NULL);
    }
    if (room->started) {
        if (!p->more) {
            room->at = p->head;
        }
        if (p->more || room->again) {
            read_for_room(p->h, loop, p->ch);
        }
    }
    free_page(p);
}

void ws_deliver_in_order(ws_channels *h, ws_loop *loop, ws_channel *ch, ws_message *m)
{
    ws_sub_list *room = ws_sub_list_of(loop, ch);
    if (!room->started) {
        return; /* those who are coming read it */
    }
    if (room->reading) {
        room->again = 1;
        return;
    }
    if (!m->position.epoch) {
        /* From a process of an older configuration, in which the channel had no history. */
        ws_deliver_now(h, loop, ch, WS_EVENT_MESSAGE, m, NULL);
        return;
    }
    if (room->lost) {
        room->lost = 0;
        ws_deliver_now(h, loop, ch, WS_EVENT_GAP, NULL, NULL);
    }
    else if (m->position.epoch == room->at.epoch && m->position.offset <= room->at.offset) {
        return;
    }
    else if (m->position.offset != (room->at.epoch ? room->at.offset : 0) + 1
             || (room->at.epoch && m->position.epoch != room->at.epoch)) {
        read_for_room(h, loop, ch);
        return;
    }
    if (room->started) {
        room->at = m->position;
        ws_deliver_now(h, loop, ch, WS_EVENT_MESSAGE, m, NULL);
    }
}

/* ---- Seats ---- */

static void seat_has_read(ws_loop *loop, ws_task *task);

static void go_live(ws_channels *h, ws_sub *seat)
{
    ws_loop *loop = seat->c->loop;
    ws_sub_list *room = ws_sub_list_of(loop, seat->ch);
    if (seat->ch->kept && !room->started) {
        room->started = 1;
        room->at = seat->at;
    }
    seat->live = 1;
    seat->resumes = 0;
    ws_deliver_now(h, loop, seat->ch, WS_EVENT_LIVE, NULL, seat);
}

static void read_for_seat(ws_channels *h, ws_sub *seat)
{
    if (start_reading(h, seat->c->loop, seat->ch, seat->at, seat->resumes ? PAGE : 0, seat_has_read,
                      seat)
        < 0) {
        ws_conn_fail(seat->c, WS_CLOSE_INTERNAL, "out of memory");
    }
}

/* On a thread of WS_BLOCKING handlers: all callbacks before this one have returned. */
static void has_been_called(ws_conn *c, void *arg)
{
    (void)arg;
    if (c) {
        ws_engine_on_conn(c, ws_catch_up_drained);
    }
}

/* The next page, as soon as little of the last one waits. */
static void read_on(ws_channels *h, ws_sub *seat)
{
    ws_conn *c = seat->c;
    seat->waits = 1;
    if (c->jobs) {
        ws_cb_run(c, has_been_called, NULL);
    }
    else if (!ws_send_queue_bytes(&c->out)) {
        seat->waits = 0;
        read_for_seat(h, seat);
    }
}

static ws_sub *seat_of(const page *p)
{
    ws_conn *c = ws_conn_find(p->loop, p->id);
    ws_sub *seat = c ? ws_sub_find(c, p->ch) : NULL;
    return seat && seat->serial == p->serial ? seat : NULL;
}

/* @return the seat, NULL if it has been given up meanwhile */
static ws_sub *deliver_page(const page *p, ws_sub *seat)
{
    if (p->gap && seat->resumes) {
        ws_deliver_now(p->h, p->loop, p->ch, WS_EVENT_GAP, NULL, seat);
        seat = seat_of(p);
    }
    for (unsigned i = 0; seat && i < p->count; i++) {
        ws_deliver_now(p->h, p->loop, p->ch, WS_EVENT_MESSAGE, p->messages[i], seat);
        if ((seat = seat_of(p))) {
            seat->at = p->messages[i]->position;
        }
    }
    return seat;
}

static void seat_has_read(ws_loop *loop, ws_task *task)
{
    page *p = (page *)task;
    ws_sub_list *room = ws_sub_list_of(loop, p->ch);
    ws_sub *seat = seat_of(p);

    if (seat && p->status != APR_SUCCESS) {
        tell_failure(p);
        ws_deliver_now(p->h, loop, p->ch, WS_EVENT_GAP, NULL, seat);
        if ((seat = seat_of(p))) {
            seat->at = room->started ? room->at : seat->at;
            room->lost |= !room->started;
            go_live(p->h, seat);
        }
    }
    else if (seat && (seat = deliver_page(p, seat))) {
        int more = p->more && seat->resumes;
        if (!more) {
            seat->at = p->head;
        }
        if (!more
            && (!room->started || same(seat->at, room->at)
                || (seat->at.epoch == room->at.epoch && seat->at.offset > room->at.offset))) {
            go_live(p->h, seat);
        }
        else {
            /* The room has delivered more than this seat has read; what is of another epoch, one of the
             * two will find in the history, too. */
            if (!more && seat->at.epoch != room->at.epoch && !room->reading) {
                read_for_room(p->h, loop, p->ch);
            }
            seat->resumes = 1;
            read_on(p->h, seat);
        }
    }
    free_page(p);
}

/* The beginning is a task, so that it comes behind all that was published before. */
typedef struct beginning {
    ws_task task;
    ws_channels *h;
    ws_channel *ch;
    ws_id id;
    apr_uint32_t serial;
} beginning;

static void begin(ws_loop *loop, ws_task *task)
{
    beginning *b = (beginning *)task;
    ws_conn *c = ws_conn_find(loop, b->id);
    ws_sub *seat = c ? ws_sub_find(c, b->ch) : NULL;
    if (seat && seat->serial == b->serial) {
        ws_sub_list *room = ws_sub_list_of(loop, b->ch);
        if (seat->live && !seat->resumes) {
            seat->at = room->started ? room->at : seat->at;
            go_live(b->h, seat);
        }
        else if (b->ch->kept) {
            read_for_seat(b->h, seat);
        }
        else {
            if (seat->resumes && seat->at.epoch) {
                seat->at = (ws_position){0, 0};
                ws_deliver_now(b->h, loop, b->ch, WS_EVENT_GAP, NULL, seat);
            }
            if ((seat = ws_sub_find(c, b->ch)) && seat->serial == b->serial) {
                go_live(b->h, seat);
            }
        }
    }
    ws_channel_unref(b->h, b->ch);
    free(b);
}

void ws_catch_up(ws_channels *h, ws_sub *seat)
{
    beginning *b = ws_task_new(sizeof(*b), begin);
    if (b) {
        b->h = h;
        b->ch = ws_channel_ref(h, seat->ch);
        b->id = seat->c->id;
        b->serial = seat->serial;
        if (ws_loop_post(seat->c->loop, &b->task) < 0) {
            ws_channel_unref(h, b->ch);
            free(b);
        }
    }
    else {
        ws_conn_fail(seat->c, WS_CLOSE_INTERNAL, "out of memory");
    }
}

void ws_catch_up_again(ws_channels *h, ws_sub *seat, const ws_position *after)
{
    if (after) {
        seat->live = !seat->ch->kept;
        seat->resumes = 1;
        seat->waits = 0;
        seat->at = *after;
    }
    if (after || seat->live) {
        seat->serial = ws_sub_serial(h); /* what was on its way for it is not for it any more */
        ws_catch_up(h, seat);
    }
}

void ws_catch_up_drained(ws_conn *c)
{
    for (ws_sub *seat = c->channels ? c->channels->first : NULL; seat; seat = seat->next) {
        if (seat->waits) {
            seat->waits = 0;
            read_for_seat(ws_channels_current(), seat);
        }
    }
}

/* ---- When something was missed ---- */

typedef struct look_task {
    ws_task task;
    ws_channels *h;
} look_task;

static void look(ws_loop *loop, ws_task *task)
{
    ws_channels *h = ((look_task *)task)->h;
    ws_channel **all;
    unsigned n;
    __atomic_store_n(&h->halls[loop->index].looking, 0, __ATOMIC_SEQ_CST);
    n = ws_channels_of_loop(h, loop->index, &all);
    for (unsigned i = 0; i < n; i++) {
        ws_sub_list *room = ws_sub_list_of(loop, all[i]);
        if (!all[i]->kept) {
            ws_deliver_now(h, loop, all[i], WS_EVENT_GAP, NULL, NULL);
        }
        else if (room->started && room->reading) {
            room->again = 1;
        }
        else if (room->started) {
            read_for_room(h, loop, all[i]);
        }
        ws_channel_unref(h, all[i]);
    }
    free(all);
    free(task);
}

void ws_look_again(ws_channels *h, unsigned loop)
{
    look_task *t;
    if (__atomic_exchange_n(&h->halls[loop].looking, 1, __ATOMIC_SEQ_CST)) {
        return; /* it is going to */
    }
    t = ws_task_new(sizeof(*t), look);
    if (t) {
        t->h = h;
    }
    if (!t || ws_loop_post(&h->options.engine->loops[loop], &t->task) < 0) {
        __atomic_store_n(&h->halls[loop].looking, 0, __ATOMIC_SEQ_CST);
        free(t);
    }
}
