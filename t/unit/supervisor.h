/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A history in memory for tests, with one channel. Its functions call done before they return. */

#ifndef WS_T_UNIT_SUPERVISOR_H
#define WS_T_UNIT_SUPERVISOR_H

#include "channels/history.h"
#include "t/unit/tap.h"

#define KEEPER_MAX 10000

typedef struct keeper {
    ws_history store; /**< must be the first member */
    pthread_mutex_t lock;
    ws_position head;
    ws_message *kept[KEEPER_MAX + 1]; /**< indexed by offset */
    apr_uint64_t first;               /**< offset of the oldest message that is kept */
    unsigned page; /**< maximum number of messages that one read returns; 0: no limit */
    int broken;    /**< reads and appends fail */
    int full;      /**< appends are refused */
    unsigned reads;
    void (*between)(void); /**< called once, after a page is read and before done is called */
} keeper;

/** @return whether a channel has a history: its name begins with "kept" */
static inline int keeper_keeps(ws_history *h, const char *channel)
{
    (void)h;
    return !strncmp(channel, "kept", 4);
}

static inline ws_status keeper_append(ws_history *h, ws_message *m, ws_append_done done, void *arg)
{
    keeper *k = (keeper *)h;
    ws_message *copy;
    ws_position at;
    if (k->full) {
        return WS_FULL;
    }
    if (k->broken) {
        done(arg, APR_EGENERAL, (ws_position){0, 0});
        return WS_QUEUED;
    }
    copy = ws_message_new(m->channel, m->type, m->data, m->len);
    copy->server = m->server;
    copy->except = m->except;
    pthread_mutex_lock(&k->lock);
    k->head.offset++;
    copy->position = k->head;
    k->kept[k->head.offset] = copy;
    at = k->head;
    pthread_mutex_unlock(&k->lock);
    done(arg, APR_SUCCESS, at);
    return WS_QUEUED;
}

static inline void keeper_read(ws_history *h, const char *channel, ws_position after, unsigned max,
                               ws_read_done done, void *arg)
{
    keeper *k = (keeper *)h;
    ws_history_page page = {.status = k->broken ? APR_EGENERAL : APR_SUCCESS};
    apr_uint64_t from;
    (void)channel;
    pthread_mutex_lock(&k->lock);
    from = after.epoch == k->head.epoch ? after.offset + 1 : 1;
    k->reads++;
    max = k->page && k->page < max ? k->page : max;
    page.head = k->head;
    page.gap = after.epoch && (after.epoch != k->head.epoch || from < k->first);
    from = from < k->first ? k->first : from;
    page.messages = &k->kept[from];
    page.count = from > k->head.offset ? 0 : (unsigned)(k->head.offset - from + 1);
    page.more = page.count > max;
    page.count = page.more ? max : page.count;
    pthread_mutex_unlock(&k->lock);
    if (k->between) {
        void (*fn)(void) = k->between;
        k->between = NULL;
        fn();
    }
    done(arg, &page);
}

static inline void keeper_clear(ws_history *h, ws_message *order, ws_clear_done done, void *arg)
{
    keeper *k = (keeper *)h;
    (void)order;
    pthread_mutex_lock(&k->lock);
    k->head.epoch++;
    k->head.offset = 0;
    pthread_mutex_unlock(&k->lock);
    done(arg, APR_SUCCESS);
}

static inline void keeper_start(keeper *k)
{
    memset(k, 0, sizeof(*k));
    k->store = (ws_history){"keeper", keeper_keeps, keeper_append, keeper_read, keeper_clear, 0};
    pthread_mutex_init(&k->lock, NULL);
    k->head.epoch = 77;
    k->first = 1;
}

static inline void keeper_end(keeper *k)
{
    for (int i = 0; i <= KEEPER_MAX; i++) {
        if (k->kept[i]) {
            ws_message_unref(k->kept[i]);
        }
    }
    pthread_mutex_destroy(&k->lock);
}

#endif
