/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "channels/subscriptions.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_MIN 64

static ws_channels *the_channels;

ws_channels *ws_channels_current(void)
{
    return __atomic_load_n(&the_channels, __ATOMIC_ACQUIRE);
}

void ws_channels_set_current(ws_channels *h)
{
    __atomic_store_n(&the_channels, h, __ATOMIC_RELEASE);
}

ws_channels *ws_channels_running(void)
{
    ws_channels *h = ws_channels_current();
    return h && !__atomic_load_n(&h->stopped, __ATOMIC_ACQUIRE) ? h : NULL;
}

const ws_channels_options *ws_channels_options_of(const ws_channels *h)
{
    return &h->options;
}

static ws_channel **sub_bucket(const ws_channels *h, apr_uint64_t hash)
{
    return &h->table[hash & (h->size - 1)];
}

/* Under the lock. Without memory the chains grow instead. */
static void sub_grow(ws_channels *h)
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
            ch->next = *sub_bucket(h, ch->hash);
            *sub_bucket(h, ch->hash) = ch;
        }
    }
    free(was);
}

/* Under the lock. */
static ws_channel *sub_find(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash)
{
    ws_channel *ch = h->size ? *sub_bucket(h, hash) : NULL;
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
    ch = sub_find(h, name, len, hash);
    apr_thread_mutex_unlock(h->lock);
    return ch;
}

static ws_channel *sub_make(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash)
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
    ch = sub_find(h, name, len, hash);
    if (!ch && h->options.channels && h->count >= h->options.channels) {
        *status = WS_LIMIT;
    }
    else if (!ch) {
        if (h->count >= h->size) {
            sub_grow(h);
        }
        *status = WS_FULL;
        if (h->size && (ch = sub_make(h, name, len, hash))) {
            ch->next = *sub_bucket(h, hash);
            *sub_bucket(h, hash) = ch;
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
        ws_channel **link = sub_bucket(h, ch->hash);
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
            free(ch->lists[i].subs);
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
                if (__atomic_load_n(&ch->lists[loop].count, __ATOMIC_RELAXED)) {
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
    ws_sub *sub = c->channels ? c->channels->first : NULL;
    while (sub && sub->ch != ch) {
        sub = sub->next;
    }
    return sub;
}

static int sub_sit_down(ws_sub_list *list, ws_sub *sub)
{
    if (list->used == list->size) {
        apr_uint32_t size = list->size ? list->size * 2 : 4;
        ws_sub **subs = realloc(list->subs, size * sizeof(*subs));
        if (!subs) {
            return -1;
        }
        list->subs = subs;
        list->size = size;
    }
    sub->place = list->used;
    list->subs[list->used++] = sub;
    return 0;
}

ws_sub *ws_sub_take(ws_channels *h, ws_conn *c, ws_channel *ch)
{
    ws_sub_list *list = ws_sub_list_of(c->loop, ch);
    ws_sub *sub = calloc(1, sizeof(*sub));
    if (!sub || (!c->channels && !(c->channels = calloc(1, sizeof(*c->channels))))) {
        free(sub);
        return NULL;
    }
    sub->c = c;
    sub->ch = ch;
    sub->serial = ws_sub_serial(h);
    if (sub_sit_down(list, sub) < 0) {
        free(sub);
        sub = NULL;
    }
    else {
        sub->next = c->channels->first;
        c->channels->first = sub;
        c->channels->count++;
        /* From here on publishers know of it. */
        __atomic_add_fetch(&list->count, 1, __ATOMIC_SEQ_CST);
        ws_count(c->loop->counters, WS_COUNT_SUBSCRIPTIONS, 1);
    }
    if (!c->channels->first) {
        free(c->channels);
        c->channels = NULL;
    }
    return sub;
}

/* What the next one finds is as if nobody had been here. */
static void sub_leave_empty(ws_sub_list *list)
{
    if (list->used == 0) {
        free(list->subs);
        list->subs = NULL;
        list->size = 0;
        list->started = list->lost = list->again = 0;
    }
}

void ws_sub_list_compact(ws_sub_list *list)
{
    apr_uint32_t n = 0;
    if (list->visiting || !list->holes) {
        return;
    }
    for (apr_uint32_t i = 0; i < list->used; i++) {
        if (list->subs[i]) {
            list->subs[i]->place = n;
            list->subs[n++] = list->subs[i];
        }
    }
    list->used = n;
    list->holes = 0;
    sub_leave_empty(list);
}

static void sub_stand_up(ws_sub_list *list, const ws_sub *sub)
{
    if (list->visiting) {
        list->subs[sub->place] = NULL; /* whoever goes through them counts on their places */
        list->holes = 1;
        return;
    }
    list->subs[sub->place] = list->subs[--list->used];
    list->subs[sub->place]->place = sub->place;
    sub_leave_empty(list);
}

void ws_sub_give(ws_channels *h, ws_sub *sub)
{
    ws_subscriptions *s = sub->c->channels;
    ws_loop *loop = sub->c->loop;
    ws_sub_list *list = ws_sub_list_of(loop, sub->ch);
    ws_sub **link = &s->first;
    while (*link != sub) {
        link = &(*link)->next;
    }
    *link = sub->next;
    if (--s->count == 0) {
        free(s);
        sub->c->channels = NULL;
    }
    sub_stand_up(list, sub);
    __atomic_sub_fetch(&list->count, 1, __ATOMIC_SEQ_CST);
    ws_count(loop->counters, WS_COUNT_SUBSCRIPTIONS, -1);
    ws_channel_unref(h, sub->ch);
    free(sub);
}
