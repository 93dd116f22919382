/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The table of channels, and the subscriptions in each loop. One lock protects the table and the
 * reference counts. A loop's lists are changed only by the thread of that loop.
 */

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

/* Double the size of the table. Called with the lock held. If memory is exhausted, the table keeps
 * its size and the chains become longer. */
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

/* Find a channel. Called with the lock held. */
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
    ch->kept = !ws_wildcard_valid(name, len) && h->options.history
               && h->options.history->keeps(h->options.history, ch->name);
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

/* ---- Subscriptions ---- */

ws_status ws_sub_want(ws_channels *h, const ws_channel *ch, int change)
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

ws_sub *ws_sub_find(const ws_conn *c, const ws_channel *ch)
{
    ws_sub *sub = ws_sub_first(c);
    while (sub && sub->ch != ch) {
        sub = sub->next;
    }
    return sub;
}

static int sub_enter(ws_sub_list *list, ws_sub *sub)
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
    sub->index = list->used;
    list->subs[list->used++] = sub;
    return 0;
}

/* Create a subscription and add it to its list. Publishers count it from then on. */
static ws_sub *sub_new(ws_channels *h, ws_loop *loop, ws_channel *ch)
{
    ws_sub_list *list = ws_sub_list_of(loop, ch);
    ws_sub *sub = calloc(1, sizeof(*sub));
    if (!sub) {
        return NULL;
    }
    sub->loop = loop;
    sub->ch = ch;
    sub->serial = ws_sub_serial(h);
    if (sub_enter(list, sub) < 0) {
        free(sub);
        return NULL;
    }
    __atomic_add_fetch(&list->count, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_fetch_add(&ch->total, 1, __ATOMIC_SEQ_CST) && h->options.changed) {
        h->options.changed(ch->name);
    }
    ws_loop_count(loop, WS_COUNT_SUBSCRIPTIONS, 1);
    return sub;
}

ws_sub *ws_sub_take(ws_channels *h, ws_conn *c, ws_channel *ch)
{
    ws_subscriptions *s = ws_conn_subscriptions(c);
    ws_sub *sub;
    if (!s && (!(s = calloc(1, sizeof(*s))) || ws_conn_set_subscriptions(c, s) < 0)) {
        free(s);
        return NULL;
    }
    if ((sub = sub_new(h, ws_conn_loop(c), ch))) {
        sub->c = c;
        sub->next = s->first;
        s->first = sub;
        s->count++;
    }
    else if (!s->first) {
        free(s);
        ws_conn_set_subscriptions(c, NULL);
    }
    return sub;
}

ws_sub *ws_sub_take_for(ws_channels *h, ws_listener *listener, ws_channel *ch)
{
    ws_sub *sub = sub_new(h, listener->loop, ch);
    if (sub) {
        sub->listener = ws_listener_ref(listener);
        listener->sub = sub;
    }
    return sub;
}

ws_listener *ws_listener_ref(ws_listener *l)
{
    __atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
    return l;
}

void ws_listener_unref(ws_listener *l)
{
    if (__atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        free(l);
    }
}

ws_sub_ref ws_sub_ref_to(ws_channels *h, const ws_sub *sub)
{
    return (ws_sub_ref){.id = sub->c ? ws_conn_id(sub->c) : 0,
                        .listener = sub->listener ? ws_listener_ref(sub->listener) : NULL,
                        .ch = ws_channel_ref(h, sub->ch),
                        .serial = sub->serial};
}

ws_sub *ws_sub_ref_find(ws_loop *loop, const ws_sub_ref *ref)
{
    ws_conn *c = ref->id ? ws_conn_find(loop, ref->id) : NULL;
    ws_sub *sub = c ? ws_sub_find(c, ref->ch) : ref->listener ? ref->listener->sub : NULL;
    return sub && (!ref->serial || sub->serial == ref->serial) ? sub : NULL;
}

void ws_sub_ref_release(ws_channels *h, ws_sub_ref *ref)
{
    ws_channel_unref(h, ref->ch);
    if (ref->listener) {
        ws_listener_unref(ref->listener);
    }
}

/* Reset the list if it has no subscriptions. */
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
            list->subs[i]->index = n;
            list->subs[n++] = list->subs[i];
        }
    }
    list->used = n;
    list->holes = 0;
    sub_leave_empty(list);
}

static void sub_remove(ws_sub_list *list, const ws_sub *sub)
{
    if (list->visiting) {
        list->subs[sub->index] = NULL; /* an iteration is using the indexes */
        list->holes = 1;
        return;
    }
    list->subs[sub->index] = list->subs[--list->used];
    list->subs[sub->index]->index = sub->index;
    sub_leave_empty(list);
}

static void sub_unlink(ws_sub *sub)
{
    ws_subscriptions *s = ws_conn_subscriptions(sub->c);
    ws_sub **link = &s->first;
    while (*link != sub) {
        link = &(*link)->next;
    }
    *link = sub->next;
    if (--s->count == 0) {
        free(s);
        ws_conn_set_subscriptions(sub->c, NULL);
    }
}

void ws_sub_give(ws_channels *h, ws_sub *sub)
{
    ws_loop *loop = sub->loop;
    ws_sub_list *list = ws_sub_list_of(loop, sub->ch);
    if (sub->c) {
        sub_unlink(sub);
    }
    sub_remove(list, sub);
    __atomic_sub_fetch(&list->count, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_sub_fetch(&sub->ch->total, 1, __ATOMIC_SEQ_CST) && h->options.changed) {
        h->options.changed(sub->ch->name);
    }
    ws_loop_count(loop, WS_COUNT_SUBSCRIPTIONS, -1);
    ws_channel_unref(h, sub->ch);
    if (sub->listener) {
        sub->listener->sub = NULL;
        ws_listener_unref(sub->listener);
    }
    free(sub);
}
