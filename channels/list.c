/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Lists the channels of a process, page by page, for the administrator. A long list does not block
 *  subscriptions, because the lock of the table is released after each SLICE buckets. */

#include <stdlib.h>
#include <string.h>

#include "channels/presence.h"

/* Number of buckets to read before the lock is released. Every new subscription needs this lock. */
#define SLICE 256

typedef struct channel_page {
    const char *prefix, *after;
    ws_channel_count *items;
    unsigned count, most;
    int more;
    char last[WS_CHANNEL_MAX + 1]; /* skip this name and those after it in byte order; "": none */
} channel_page;

static int list_compare(const void *a, const void *b)
{
    return strcmp(((const ws_channel_count *)a)->name, ((const ws_channel_count *)b)->name);
}

static void list_cut(channel_page *page)
{
    qsort(page->items, page->count, sizeof(*page->items), list_compare);
    if (page->count > page->most) {
        page->count = page->most;
        page->more = 1;
        strcpy(page->last, page->items[page->count - 1].name);
    }
}

static void list_add(channel_page *page, const ws_channels *h, const ws_channel *ch)
{
    apr_uint32_t subscribers = 0;
    ws_channel_count *item = &page->items[page->count];
    if (strncmp(ch->name, page->prefix, strlen(page->prefix)) || strcmp(ch->name, page->after) <= 0
        || ws_wildcard_valid(ch->name, ch->len)) {
        return;
    }
    for (unsigned i = 0; i < h->loops; i++) {
        subscribers += __atomic_load_n(&ch->lists[i].count, __ATOMIC_RELAXED);
    }
    if (!subscribers) {
        return; /* only work in progress has a reference to the channel */
    }
    if (*page->last && strcmp(ch->name, page->last) >= 0) {
        page->more = 1;
        return;
    }
    item->subscribers = subscribers;
    item->members = 0;
    memcpy(item->name, ch->name, ch->len + 1);
    if (++page->count == 2 * page->most) {
        list_cut(page);
    }
}

/* Read a page. @return 0: the table has grown meanwhile; the caller must start again */
static int list_read(channel_page *page, ws_channels *h)
{
    unsigned size, at = 0;
    apr_thread_mutex_lock(h->lock);
    size = h->size;
    while (h->size == size && at < size) {
        for (unsigned end = at + SLICE; at < size && at < end; at++) {
            for (const ws_channel *ch = h->table[at]; ch; ch = ch->next) {
                list_add(page, h, ch);
            }
        }
        apr_thread_mutex_unlock(h->lock);
        apr_thread_mutex_lock(h->lock);
    }
    apr_thread_mutex_unlock(h->lock);
    return at >= size;
}

int ws_channels_list(const char *prefix, const char *after, unsigned most, ws_channel_count **all,
                     int *more)
{
    ws_channels *h = ws_channels_current();
    channel_page page = {.prefix = prefix, .after = after, .most = most};
    if (!h || !(page.items = malloc(2 * (apr_size_t)most * sizeof(*page.items)))) {
        return -1;
    }
    while (!list_read(&page, h)) {
        page.count = 0;
        page.more = 0;
        *page.last = 0;
    }
    list_cut(&page);
    for (unsigned i = 0; i < page.count; i++) {
        page.items[i].members = ws_presence_own(h, page.items[i].name);
    }
    *all = page.items;
    *more = page.more;
    return (int)page.count;
}
