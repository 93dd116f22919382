/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "channels/subscriptions.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_MIN 64

static ws_channel **bucket(const ws_channels *h, apr_uint64_t hash)
{
    return &h->table[hash & (h->size - 1)];
}

/* Under the lock. Without memory the chains grow instead. */
static void grow(ws_channels *h)
{
    unsigned size = h->size ? h->size * 2 : TABLE_MIN, old = h->size;
    ws_channel **table = calloc(size, sizeof(*table)), **was = h->table;
    if (!table) {
        return;
    }
    h->table = table;
    h->size = size;
    for (unsigned i = 0; i < old; i++) {
        for (ws_channel *ch = was[i], *next; ch; ch = next) {
            next = ch->next;
            ch->next = *bucket(h, ch->hash);
            *bucket(h, ch->hash) = ch;
        }
    }
    free(was);
}

/* Under the lock. */
static ws_channel *find(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash)
{
    ws_channel *ch = h->size ? *bucket(h, hash) : NULL;
    while (ch && (ch->hash != hash || ch->len != len || memcmp(ch->name, name, len))) {
        ch = ch->next;
    }
    if (ch) {
        ch->refs++;
    }
    return ch;
}

ws_channel *ws_channel_find(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash)
{
    ws_channel *ch;
    apr_thread_mutex_lock(h->lock);
    ch = find(h, name, len, hash);
    apr_thread_mutex_unlock(h->lock);
    return ch;
}

static ws_channel *make(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash)
{
    apr_size_t size = sizeof(ws_channel) + h->loops * sizeof(ws_sub_list);
    ws_channel *ch = calloc(1, size + len + 1);
    if (!ch) {
        return NULL;
    }
    ch->refs = 1;
    ch->hash = hash;
    ch->len = len;
    ch->name = (char *)ch + size;
    memcpy(ch->name, name, len);
    ch->kept = h->options.history && h->options.history->keeps(h->options.history, ch->name);
    return ch;
}

ws_channel *ws_channel_take(ws_channels *h, const char *name, unsigned len, ws_status *status)
{
    apr_uint64_t hash = ws_channel_hash(name, len);
    ws_channel *ch;
    apr_thread_mutex_lock(h->lock);
    ch = find(h, name, len, hash);
    if (!ch && h->options.channels && h->count >= h->options.channels) {
        *status = WS_LIMIT;
    }
    else if (!ch) {
        if (h->count >= h->size) {
            grow(h);
        }
        *status = WS_FULL;
        if (h->size && (ch = make(h, name, len, hash))) {
            ch->next = *bucket(h, hash);
            *bucket(h, hash) = ch;
            h->count++;
            ws_channels_count(h, WS_COUNT_CHANNELS, 1);
        }
    }
    apr_thread_mutex_unlock(h->lock);
    return ch;
}

ws_channel *ws_channel_ref(ws_channels *h, ws_channel *ch)
{
    apr_thread_mutex_lock(h->lock);
    ch->refs++;
    apr_thread_mutex_unlock(h->lock);
    return ch;
}

void ws_channel_unref(ws_channels *h, ws_channel *ch)
{
    int last;
    apr_thread_mutex_lock(h->lock);
    if ((last = --ch->refs == 0)) {
        ws_channel **link = bucket(h, ch->hash);
        while (*link != ch) {
            link = &(*link)->next;
        }
        *link = ch->next;
        h->count--;
        ws_channels_count(h, WS_COUNT_CHANNELS, -1);
    }
    apr_thread_mutex_unlock(h->lock);
    if (last) {
        for (unsigned i = 0; i < h->loops; i++) {
            free(ch->rooms[i].seats);
        }
        free(ch);
    }
}

unsigned ws_channels_of_loop(ws_channels *h, unsigned loop, ws_channel ***all)
{
    unsigned n = 0;
    apr_thread_mutex_lock(h->lock);
    if ((*all = calloc(h->count + 1, sizeof(**all)))) {
        for (unsigned i = 0; i < h->size; i++) {
            for (ws_channel *ch = h->table[i]; ch; ch = ch->next) {
                if (__atomic_load_n(&ch->rooms[loop].count, __ATOMIC_RELAXED)) {
                    ch->refs++;
                    (*all)[n++] = ch;
                }
            }
        }
    }
    apr_thread_mutex_unlock(h->lock);
    return n;
}

/* ---- Seats ---- */

ws_sub *ws_sub_find(const ws_conn *c, const ws_channel *ch)
{
    ws_sub *seat = c->channels ? c->channels->first : NULL;
    while (seat && seat->ch != ch) {
        seat = seat->next;
    }
    return seat;
}

static int sit_down(ws_sub_list *room, ws_sub *seat)
{
    if (room->used == room->size) {
        apr_uint32_t size = room->size ? room->size * 2 : 4;
        ws_sub **seats = realloc(room->seats, size * sizeof(*seats));
        if (!seats) {
            return -1;
        }
        room->seats = seats;
        room->size = size;
    }
    seat->place = room->used;
    room->seats[room->used++] = seat;
    return 0;
}

ws_sub *ws_sub_take(ws_channels *h, ws_conn *c, ws_channel *ch)
{
    ws_sub_list *room = ws_sub_list_of(c->loop, ch);
    ws_sub *seat = calloc(1, sizeof(*seat));
    if (!seat || (!c->channels && !(c->channels = calloc(1, sizeof(*c->channels))))) {
        free(seat);
        return NULL;
    }
    seat->c = c;
    seat->ch = ch;
    seat->serial = ws_sub_serial(h);
    if (sit_down(room, seat) < 0) {
        free(seat);
        seat = NULL;
    }
    else {
        seat->next = c->channels->first;
        c->channels->first = seat;
        c->channels->count++;
        /* From here on publishers know of it. */
        __atomic_add_fetch(&room->count, 1, __ATOMIC_SEQ_CST);
        ws_count(c->loop->counters, WS_COUNT_SUBSCRIPTIONS, 1);
    }
    if (!c->channels->first) {
        free(c->channels);
        c->channels = NULL;
    }
    return seat;
}

/* What the next one finds is as if nobody had been here. */
static void leave_empty(ws_sub_list *room)
{
    if (room->used == 0) {
        free(room->seats);
        room->seats = NULL;
        room->size = 0;
        room->started = room->lost = 0;
    }
}

void ws_sub_list_compact(ws_sub_list *room)
{
    apr_uint32_t n = 0;
    if (room->visiting || !room->holes) {
        return;
    }
    for (apr_uint32_t i = 0; i < room->used; i++) {
        if (room->seats[i]) {
            room->seats[i]->place = n;
            room->seats[n++] = room->seats[i];
        }
    }
    room->used = n;
    room->holes = 0;
    leave_empty(room);
}

static void stand_up(ws_sub_list *room, const ws_sub *seat)
{
    if (room->visiting) {
        room->seats[seat->place] = NULL; /* whoever goes through them counts on their places */
        room->holes = 1;
        return;
    }
    room->seats[seat->place] = room->seats[--room->used];
    room->seats[seat->place]->place = seat->place;
    leave_empty(room);
}

void ws_sub_give(ws_channels *h, ws_sub *seat)
{
    ws_subscriptions *s = seat->c->channels;
    ws_loop *loop = seat->c->loop;
    ws_sub_list *room = ws_sub_list_of(loop, seat->ch);
    ws_sub **link = &s->first;
    while (*link != seat) {
        link = &(*link)->next;
    }
    *link = seat->next;
    if (--s->count == 0) {
        free(s);
        seat->c->channels = NULL;
    }
    stand_up(room, seat);
    __atomic_sub_fetch(&room->count, 1, __ATOMIC_SEQ_CST);
    ws_count(loop->counters, WS_COUNT_SUBSCRIPTIONS, -1);
    ws_channel_unref(h, seat->ch);
    free(seat);
}
