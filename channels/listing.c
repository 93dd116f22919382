/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Lists the channels of all processes. A process knows only the channels to which its connections
 * are subscribed, so the asking process sends the packet LIST (WS_PACKET_LIST) to all processes.
 * Each process answers (LISTED) with the first of its names that follow `after` in byte order: at
 * most one name more than the limit. The first names of the merged answers are then the first names
 * of all processes, with complete counts. The additional name shows that the list continues.
 *
 * Data of LIST: the limit (2 bytes), the length of the prefix (1), the prefix, and `after`. Data of
 * LISTED: for each channel the number of subscribers (4), the length of its name (1), and the name.
 */

#include "channels/listing.h"

#include <stdlib.h>
#include <string.h>

#include "engine/services.h"

/* Time limit for answers, milliseconds. A bus to other machines does not know how many processes
 * will answer. */
#define ANSWER_TIME 1000
#define ANSWER_TIME_REMOTE 500

/* Approximate size of a packet with names, bytes. */
#define PACKET 16384

/* Limit on the number of names collected for one question. */
#define COLLECTED_MAX 200000

typedef struct counted {
    apr_uint32_t subscribers;
    char *name;
} counted;

typedef struct question {
    struct question *next;
    ws_channels *h;
    ws_ticker *ticker; /* its last call frees the question */
    ws_channels_fn fn; /* NULL: already called */
    void *arg;
    apr_uint32_t limit, request, expected, answered;
    int waits_for_all; /* wait until the time limit, because the number of answers is unknown */
    int incomplete;
    counted *all;
    unsigned count, size;
} question;

struct ws_listing_state {
    apr_thread_mutex_t *lock;
    question *questions;
    apr_uint32_t requests;
};

/* ---- The channels of this process ---- */

/* Call fn for the first channels of this process. @return 0; -1: out of memory */
static int listing_own(const char *prefix, const char *after, apr_uint32_t limit,
                       void (*fn)(const char *name, apr_uint32_t subscribers, void *arg), void *arg)
{
    ws_channel_count *all;
    int more, n = ws_channels_list(prefix, after, limit + 1, &all, &more);
    for (int i = 0; i < n; i++) {
        fn(all[i].name, all[i].subscribers, arg);
    }
    if (n >= 0) {
        free(all);
    }
    return n < 0 ? -1 : 0;
}

/* ---- Collecting ---- */

static void listing_add(question *q, const char *name, apr_size_t len, apr_uint32_t subscribers)
{
    counted *c;
    if (q->count == q->size) {
        unsigned size = q->size ? 2 * q->size : 64;
        counted *grown = size > COLLECTED_MAX ? NULL : realloc(q->all, size * sizeof(*grown));
        if (!grown) {
            q->incomplete = 1;
            return;
        }
        q->all = grown;
        q->size = size;
    }
    c = &q->all[q->count];
    c->subscribers = subscribers;
    if ((c->name = strndup(name, len))) {
        q->count++;
    }
    else {
        q->incomplete = 1;
    }
}

static void listing_add_own(const char *name, apr_uint32_t subscribers, void *arg)
{
    listing_add(arg, name, strlen(name), subscribers);
}

static int listing_compare(const void *a, const void *b)
{
    return strcmp(((const counted *)a)->name, ((const counted *)b)->name);
}

/* Sort by name, and add up the counts of equal names. */
static void listing_merge(question *q)
{
    unsigned n = 0;
    if (q->count) {
        qsort(q->all, q->count, sizeof(*q->all), listing_compare);
    }
    for (unsigned i = 0; i < q->count; i++) {
        if (n && !strcmp(q->all[n - 1].name, q->all[i].name)) {
            q->all[n - 1].subscribers += q->all[i].subscribers;
            free(q->all[i].name);
        }
        else {
            q->all[n++] = q->all[i];
        }
    }
    q->count = n;
}

static void listing_free(question *q)
{
    while (q->count) {
        free(q->all[--q->count].name);
    }
    free(q->all);
    free(q);
}

/* Answer the question. The caller has removed it from the list, so that no other thread can find
 * it. */
static void listing_answer(question *q)
{
    ws_channels_fn fn = q->fn;
    int complete = !q->incomplete && (q->waits_for_all || q->answered >= q->expected);
    ws_listed_channel *list;
    unsigned n;
    listing_merge(q);
    n = q->count < q->limit ? q->count : q->limit;
    list = calloc(n + 1, sizeof(*list));
    for (unsigned i = 0; list && i < n; i++) {
        list[i] = (ws_listed_channel){q->all[i].name, q->all[i].subscribers};
    }
    q->fn = NULL;
    fn(list, list ? n : 0, q->count > n, complete && list, q->arg);
    free(list);
}

/* Remove a question from the list. Called with the lock held. @return whether it was in the list */
static int listing_take_out(ws_channels *h, const question *q)
{
    question **link = &h->listing->questions;
    while (*link && *link != q) {
        link = &(*link)->next;
    }
    if (!*link) {
        return 0;
    }
    *link = q->next;
    return 1;
}

static void listing_time_is_over(void *arg, int last)
{
    question *q = arg;
    int open;
    apr_thread_mutex_lock(q->h->listing->lock);
    open = listing_take_out(q->h, q);
    apr_thread_mutex_unlock(q->h->listing->lock);
    if (open) {
        listing_answer(q);
    }
    if (last) {
        listing_free(q);
    }
}

/* ---- Asking ---- */

static ws_packet listing_packet(const ws_channels *h, ws_packet_kind kind,
                                const unsigned char *data, apr_size_t len)
{
    return (ws_packet){.kind = kind,
                       .from = h->options.self,
                       .channel = "",
                       .data = (const char *)data,
                       .len = len};
}

static void listing_ask(ws_channels *h, question *q, const char *prefix, const char *after)
{
    unsigned char data[3 + 2 * WS_CHANNEL_MAX], *at = data;
    ws_bus *buses[] = {h->options.local, h->options.remote};
    apr_uint32_t missed = 0;
    ws_packet p;
    *at++ = (unsigned char)(q->limit >> 8);
    *at++ = (unsigned char)q->limit;
    *at++ = (unsigned char)strlen(prefix);
    memcpy(at, prefix, strlen(prefix));
    at += strlen(prefix);
    memcpy(at, after, strlen(after));
    at += strlen(after);
    p = listing_packet(h, WS_PACKET_LIST, data, (apr_size_t)(at - data));
    p.request = q->request;
    for (int i = 0; i < 2; i++) {
        if (buses[i]) {
            buses[i]->publish(buses[i], &p, &q->expected, &missed);
        }
    }
    q->incomplete |= missed > 0;
}

/* Ask all processes. @return WS_QUEUED: the question has been or will be answered */
static ws_status listing_start(ws_channels *h, question *q, const char *prefix, const char *after)
{
    int done;
    q->waits_for_all = h->options.remote != NULL;
    q->incomplete |= listing_own(prefix, after, q->limit, listing_add_own, q) < 0;
    apr_thread_mutex_lock(h->listing->lock); /* answers have to wait until all have been asked */
    q->request = ++h->listing->requests;
    q->next = h->listing->questions;
    q->ticker =
        ws_engine_ticker(h->options.engine, q->waits_for_all ? ANSWER_TIME_REMOTE : ANSWER_TIME, 0,
                         listing_time_is_over, q);
    if (!q->ticker) {
        apr_thread_mutex_unlock(h->listing->lock);
        listing_free(q);
        return WS_FULL;
    }
    h->listing->questions = q;
    listing_ask(h, q, prefix, after);
    done = !q->waits_for_all && q->answered >= q->expected && listing_take_out(h, q);
    apr_thread_mutex_unlock(h->listing->lock);
    if (done) {
        listing_answer(q);
        ws_ticker_stop(q->ticker);
    }
    return WS_QUEUED;
}

static int listing_valid(const char *text)
{
    return !*text || ws_channel_valid(text);
}

ws_status ws_list_channels(const char *prefix, const char *after, apr_uint32_t limit,
                           ws_channels_fn fn, void *arg)
{
    ws_channels *h = ws_channels_running();
    question *q;
    if (!listing_valid(prefix) || !listing_valid(after)) {
        return WS_BAD_NAME;
    }
    if (!limit || limit > WS_LIST_LIMIT) {
        return WS_TOO_BIG;
    }
    if (!h) {
        return WS_GONE;
    }
    if (!(q = calloc(1, sizeof(*q)))) {
        return WS_FULL;
    }
    q->h = h;
    q->fn = fn;
    q->arg = arg;
    q->limit = limit;
    return listing_start(h, q, prefix, after);
}

/* ---- Answering other processes ---- */

typedef struct reply {
    ws_bus *bus;
    const ws_packet *question;
    ws_packet p;
    unsigned char *buffer, *at;
} reply;

static void listing_send(reply *r, unsigned flags)
{
    r->p.flags = flags;
    r->p.len = (apr_size_t)(r->at - r->buffer);
    r->bus->send(r->bus, &r->question->from, &r->p);
    r->at = r->buffer;
}

static void listing_write(const char *name, apr_uint32_t subscribers, void *arg)
{
    reply *r = arg;
    apr_size_t len = strlen(name);
    for (int shift = 24; shift >= 0; shift -= 8) {
        *r->at++ = (unsigned char)(subscribers >> shift);
    }
    *r->at++ = (unsigned char)len;
    memcpy(r->at, name, len);
    r->at += len;
    if (r->at - r->buffer >= PACKET) {
        listing_send(r, 0);
    }
}

static void listing_reply(ws_channels *h, const ws_packet *p)
{
    const unsigned char *data = (const unsigned char *)p->data;
    char prefix[WS_CHANNEL_MAX + 1] = "", after[WS_CHANNEL_MAX + 1] = "";
    apr_size_t prefix_len = p->len < 3 ? 0 : data[2], after_len = p->len - 3 - prefix_len;
    apr_uint32_t limit;
    reply r = {.bus =
                   p->from.server == h->options.self.server ? h->options.local : h->options.remote,
               .question = p};
    if (p->len < 3 + prefix_len || prefix_len > WS_CHANNEL_MAX || after_len > WS_CHANNEL_MAX
        || !r.bus || !(r.buffer = malloc(PACKET + 5 + WS_CHANNEL_MAX))) {
        return;
    }
    memcpy(prefix, data + 3, prefix_len);
    memcpy(after, data + 3 + prefix_len, after_len);
    r.at = r.buffer;
    r.p = listing_packet(h, WS_PACKET_LISTED, r.buffer, 0);
    r.p.request = p->request;
    limit = (apr_uint32_t)data[0] << 8 | data[1];
    listing_own(prefix, after, limit < WS_LIST_LIMIT ? limit : WS_LIST_LIMIT, listing_write, &r);
    listing_send(&r, WS_PACKET_LAST);
    free(r.buffer);
}

/* Handle the data of an answer. Called with the lock held. */
static void listing_take(question *q, const ws_packet *p)
{
    const unsigned char *at = (const unsigned char *)p->data, *end = at + p->len;
    while (end - at >= 5) {
        apr_uint32_t n = (apr_uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
        apr_size_t len = at[4];
        at += 5;
        if ((apr_size_t)(end - at) < len || !ws_channel_valid_len((const char *)at, len)) {
            q->incomplete = 1; /* invalid data */
            break;
        }
        listing_add(q, (const char *)at, len, n);
        at += len;
    }
    q->answered += p->flags & WS_PACKET_LAST ? 1 : 0;
}

static void listing_answered(ws_channels *h, const ws_packet *p)
{
    question *q;
    int done = 0;
    apr_thread_mutex_lock(h->listing->lock);
    q = h->listing->questions;
    while (q && q->request != p->request) {
        q = q->next;
    }
    if (q) {
        listing_take(q, p);
        done = !q->waits_for_all && q->answered >= q->expected && listing_take_out(h, q);
    }
    apr_thread_mutex_unlock(h->listing->lock);
    if (done) {
        listing_answer(q);
        ws_ticker_stop(q->ticker);
    }
}

void ws_listing_receive(ws_channels *h, const ws_packet *p)
{
    if (p->kind == WS_PACKET_LIST) {
        listing_reply(h, p);
    }
    else {
        listing_answered(h, p);
    }
}

int ws_listing_init(ws_channels *h, apr_pool_t *pool)
{
    h->listing = apr_pcalloc(pool, sizeof(*h->listing));
    return apr_thread_mutex_create(&h->listing->lock, APR_THREAD_MUTEX_DEFAULT, pool) == APR_SUCCESS
               ? 0
               : -1;
}
