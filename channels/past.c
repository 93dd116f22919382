/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Reads a history backwards, page by page, for ws_read_history(). A store can only read forwards
 * from a position, so this file calculates the start of a page from its end. Each read starts one
 * message before the page, to detect whether there are earlier messages.
 */

#include <stdlib.h>
#include <string.h>

#include "channels/subscriptions.h"

/* Maximum size of a page, bytes. A larger page is cut to its newest messages. */
#define PAST_BYTES (1024 * 1024)

typedef struct past {
    ws_history *history;
    ws_history_fn fn;
    void *arg;
    ws_position before; /* end of the page; epoch 0: after the newest message */
    ws_position at;     /* start of the read: read the messages after it */
    ws_position head;
    apr_uint32_t limit;
    ws_message **messages; /* array of at most limit + 1 messages */
    apr_uint32_t count;
    apr_size_t bytes;
    int gap, more;
    char channel[WS_CHANNEL_MAX + 1];
} past;

static void past_drop_first(past *p)
{
    p->bytes -= p->messages[0]->len;
    ws_message_unref(p->messages[0]);
    memmove(p->messages, p->messages + 1, --p->count * sizeof(*p->messages));
    p->more = 1;
}

static void past_add(past *p, ws_message *m)
{
    p->messages[p->count++] = ws_message_ref(m);
    p->bytes += m->len;
    while (p->count > p->limit || (p->count > 1 && p->bytes > PAST_BYTES)) {
        past_drop_first(p);
    }
}

static void past_answer(past *p, apr_status_t status)
{
    ws_history_part part = {.status = status, .head = p->head, .more = p->more, .gap = p->gap};
    ws_event *events = calloc(p->count + 1, sizeof(*events));
    for (apr_uint32_t i = 0; events && i < p->count; i++) {
        const ws_message *m = p->messages[i];
        if (!ws_message_expired(m)) {
            events[part.count++] = (ws_event){.kind = WS_EVENT_MESSAGE,
                                              .type = m->type,
                                              .channel = p->channel,
                                              .data = m->data,
                                              .len = m->len,
                                              .position = m->position,
                                              .event = m->fields.event,
                                              .key = m->fields.key};
        }
    }
    part.events = events;
    part.status = events ? status : APR_ENOMEM;
    p->fn(p->channel, &part, p->arg);
    free(events);
    while (p->count) {
        ws_message_unref(p->messages[--p->count]);
    }
    free(p->messages);
    free(p);
}

/* Add the messages before the end of the page. @return whether to continue reading */
static int past_collect(past *p, const ws_history_page *page)
{
    for (unsigned i = 0; i < page->count; i++) {
        ws_message *m = page->messages[i];
        if (m->position.epoch != p->before.epoch || m->position.offset >= p->before.offset) {
            return 0;
        }
        past_add(p, m);
        p->at = m->position;
    }
    return page->more && page->count > 0;
}

static void past_has_read(void *arg, const ws_history_page *page)
{
    past *p = arg;
    if (page->status == APR_SUCCESS && past_collect(p, page)) {
        p->history->read(p->history, p->channel, p->at, p->limit + 1, past_has_read, p);
    }
    else {
        past_answer(p, page->status);
    }
}

/* Calculate the start of the page from the position of the newest message, and read from there. */
static void past_has_head(void *arg, const ws_history_page *page)
{
    past *p = arg;
    apr_uint64_t first;
    p->head = page->head;
    if (page->status != APR_SUCCESS) {
        past_answer(p, page->status);
        return;
    }
    if (!p->before.epoch) {
        p->before = (ws_position){p->head.epoch, p->head.offset + 1};
    }
    if (p->before.epoch != p->head.epoch || p->before.offset > p->head.offset + 1) {
        p->gap = 1;
        past_answer(p, APR_SUCCESS);
        return;
    }
    first = p->before.offset > p->limit + 1 ? p->before.offset - p->limit - 1 : 1;
    p->at = (ws_position){p->head.epoch, first - 1};
    p->history->read(p->history, p->channel, p->at, p->limit + 1, past_has_read, p);
}

int ws_channel_kept(const char *channel)
{
    ws_channels *h = ws_channels_current();
    ws_history *history = h ? h->options.history : NULL;
    return history && ws_channel_valid(channel) && history->keeps(history, channel);
}

ws_status ws_read_history(const char *channel, ws_position before, apr_uint32_t limit,
                          ws_history_fn fn, void *arg)
{
    ws_channels *h = ws_channels_running();
    past *p;
    if (!ws_channel_valid(channel)) {
        return WS_BAD_NAME;
    }
    if (!limit || limit > WS_HISTORY_LIMIT) {
        return WS_TOO_BIG;
    }
    if (!h) {
        return WS_GONE;
    }
    if (!ws_channel_kept(channel)) {
        return WS_MISPLACED;
    }
    if (!(p = calloc(1, sizeof(*p))) || !(p->messages = calloc(limit + 2, sizeof(*p->messages)))) {
        free(p);
        return WS_FULL;
    }
    p->history = h->options.history;
    p->fn = fn;
    p->arg = arg;
    p->before = before;
    p->limit = limit;
    strcpy(p->channel, channel);
    p->history->read(p->history, channel, (ws_position){0, 0}, 0, past_has_head, p);
    return WS_QUEUED;
}
