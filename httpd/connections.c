/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Lists the open connections of all children for the status page, and closes a connection by its
 * id. Each child collects the answer from its loops, in parts that each fit into one message. So no
 * loop is blocked for long.
 */

#include "httpd/connections.h"

#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "httpd/child.h"
#include "httpd/counters.h"
#include "httpd/shm.h"
#include "httpd/ipc.h"

/* Maximum time to wait for one answer of a child, and maximum time to wait for all answers of all
 * children, milliseconds. */
#define ANSWER_TIMEOUT 1000
#define LIST_TIMEOUT 5000

/* Maximum number of entries of the loop's connection table (slab) that the loop examines for one
 * question. This limits how long the loop is blocked. */
#define SLOTS 1024

/* Longest text in a listing, bytes. Longer texts are cut. */
#define TEXT_MAX 512

/* Maximum number of questions that this child processes at the same time. Each question needs
 * memory for an answer. */
#define QUESTIONS_MAX 64

/* A request to examine one loop, starting at an entry of its slab. */
WS_SHM_STRUCT(question, {
    apr_uint32_t loop, slot;
    char filter[WS_CONNECTIONS_FILTER + 1];
});

/* The header of an answer. The connections follow the header. */
WS_SHM_STRUCT(answer, {
    apr_uint32_t loop, slot; /* position where the next question continues */
    apr_uint32_t done;       /* 1: all loops have been examined */
    apr_uint32_t count;
});

const ws_shm_layout *const ws_connections_layout[] = {&question_layout, &answer_layout,
                                                      &ws_connection_info_layout, NULL};

/** An answer that a loop is filling. */
typedef struct listing {
    ws_ipc_message to;
    question question;
    union {
        answer head;
        char bytes[WS_IPC_SIZE];
    };
} listing;

typedef struct closing {
    ws_ipc_message to;
    ws_id id;
} closing;

const char *ws_connection_text(const ws_connection_info *l, unsigned which)
{
    const char *text = l->texts;
    for (; which > 0; which--) {
        text += strlen(text) + 1;
    }
    return text;
}

/* ---- The answering child ---- */

static unsigned questions; /* atomic */

static void *connections_question_new(apr_size_t size)
{
    void *q =
        __atomic_add_fetch(&questions, 1, __ATOMIC_RELAXED) <= QUESTIONS_MAX ? malloc(size) : NULL;
    if (!q) {
        __atomic_sub_fetch(&questions, 1, __ATOMIC_RELAXED);
    }
    return q;
}

static void connections_question_free(void *q)
{
    __atomic_sub_fetch(&questions, 1, __ATOMIC_RELAXED);
    free(q);
}

static int connections_contains(const char *text, const char *part, apr_size_t len)
{
    for (; text && *text; text++) {
        if (!strncasecmp(text, part, len)) {
            return 1;
        }
    }
    return 0;
}

static int connections_matches(const ws_conn *c, const char *const texts[], const char *filter)
{
    apr_size_t len = strlen(filter);
    char id[20];
    snprintf(id, sizeof(id), "%016" APR_UINT64_T_HEX_FMT, ws_conn_id(c));
    for (unsigned i = 0; len && i < WS_LISTED_TEXTS; i++) {
        if (connections_contains(texts[i], filter, len)) {
            return 1;
        }
    }
    return !len || connections_contains(id, filter, len);
}

/* Write a connection to l. @return bytes written; 0 if they exceed the room */
static apr_size_t connections_put(ws_connection_info *l, apr_size_t room, const ws_conn *c,
                                  const ws_conn_info *r, const char *const texts[])
{
    apr_size_t size = sizeof(*l), len[WS_LISTED_TEXTS];
    char *out = l->texts;
    for (unsigned i = 0; i < WS_LISTED_TEXTS; i++) {
        len[i] = texts[i] ? strnlen(texts[i], TEXT_MAX) : 0;
        size += len[i] + 1;
    }
    size = APR_ALIGN_DEFAULT(size);
    if (size > room) {
        return 0;
    }
    memset(l, 0, size);
    for (unsigned i = 0; i < WS_LISTED_TEXTS; i++) {
        if (len[i]) {
            memcpy(out, texts[i], len[i]);
        }
        out += len[i] + 1;
    }
    l->id = ws_conn_id(c);
    l->start = r->tally.start;
    l->messages_in = r->tally.messages_in;
    l->messages_out = r->tally.messages_out;
    l->bytes_in = r->tally.bytes_in;
    l->bytes_out = r->tally.bytes_out;
    l->wire_in = r->tally.wire_in;
    l->wire_out = r->tally.wire_out;
    l->queued = r->tally.queued;
    l->pid = (apr_uint32_t)getpid();
    l->size = (apr_uint16_t)size;
    l->version = (unsigned char)ws_version(c);
    l->transport = (unsigned char)r->transport;
    l->carrier = (unsigned char)r->carrier;
    return size;
}

static void connections_do_list(ws_engine *e, unsigned loop, void *arg)
{
    listing *g = arg;
    apr_uint32_t slot = g->question.slot, until = slot + SLOTS;
    apr_size_t used = sizeof(g->head);
    int end = 0;

    g->head.count = 0;
    for (; slot < until; slot++) {
        const ws_conn *c = ws_engine_at(e, loop, slot, &end);
        ws_conn_info r;
        if (end) {
            break;
        }
        if (c) {
            ws_conn_inspect(c, &r);
            const char *const texts[WS_LISTED_TEXTS] = {
                ws_peer(c), ws_user(c), ws_vhost(c), ws_uri(c), ws_protocol(c), r.location->name};
            if (!r.location->internal && connections_matches(c, texts, g->question.filter)) {
                apr_size_t size = connections_put((ws_connection_info *)(g->bytes + used),
                                                  sizeof(g->bytes) - used, c, &r, texts);
                if (!size) {
                    break; /* the answer is full, so the next answer starts with this connection */
                }
                used += size;
                g->head.count++;
            }
        }
    }
    g->head.loop = end ? loop + 1 : loop;
    g->head.slot = end ? 0 : slot;
    g->head.done = g->head.loop == ws_engine_loops(e);
    ws_ipc_answer(&g->to, g->bytes, used);
    connections_question_free(g);
}

static void connections_asked_to_list(const ws_ipc_message *m)
{
    ws_engine *e = ws_child_engine();
    listing *g;
    if (!e || m->len != sizeof(question) || !(g = connections_question_new(sizeof(*g)))) {
        return;
    }
    g->to = *m;
    memcpy(&g->question, m->data, sizeof(g->question));
    g->question.filter[WS_CONNECTIONS_FILTER] = '\0';
    if (g->question.loop >= ws_engine_loops(e)
        || ws_engine_on_loop(e, g->question.loop, connections_do_list, g) < 0) {
        connections_question_free(g);
    }
}

static void connections_do_close(ws_engine *e, unsigned loop, void *arg)
{
    static const char reason[] = "closed by the administrator";
    closing *g = arg;
    ws_conn *c = ws_engine_find(e, loop, g->id);
    char closed = c && ws_close(c, WS_CLOSE_POLICY, reason) >= 0;
    ws_ipc_answer(&g->to, &closed, sizeof(closed));
    connections_question_free(g);
}

static void connections_asked_to_close(const ws_ipc_message *m)
{
    ws_engine *e = ws_child_engine();
    closing *g;
    int loop;
    if (!e || m->len != sizeof(g->id) || !(g = connections_question_new(sizeof(*g)))) {
        return;
    }
    g->to = *m;
    memcpy(&g->id, m->data, sizeof(g->id));
    if ((loop = ws_engine_loop_of(e, g->id)) < 0
        || ws_engine_on_loop(e, (unsigned)loop, connections_do_close, g) < 0) {
        connections_question_free(g);
    }
}

void ws_connections_register(apr_pool_t *p)
{
    (void)p;
    ws_ipc_on(WS_IPC_LIST, connections_asked_to_list);
    ws_ipc_on(WS_IPC_CLOSE, connections_asked_to_close);
}

/* ---- Sorting ---- */

const char *const ws_connections_sorts[] = {
    "start",       "address",      "user",     "vhost",     "uri",    "subprotocol", "handler",
    "messages_in", "messages_out", "bytes_in", "bytes_out", "queued", NULL};

static __thread const ws_connections_query *sorting; /* qsort() passes no context */

static int connections_compare_numbers(apr_uint64_t a, apr_uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int connections_compare_by(unsigned column, const ws_connection_info *a,
                                  const ws_connection_info *b)
{
    switch (column) {
    case 0:
        return connections_compare_numbers((apr_uint64_t)a->start, (apr_uint64_t)b->start);
    case 7:
        return connections_compare_numbers(a->messages_in, b->messages_in);
    case 8:
        return connections_compare_numbers(a->messages_out, b->messages_out);
    case 9:
        return connections_compare_numbers(a->bytes_in, b->bytes_in);
    case 10:
        return connections_compare_numbers(a->bytes_out, b->bytes_out);
    case 11:
        return connections_compare_numbers(a->queued, b->queued);
    default:
        return strcasecmp(ws_connection_text(a, column - 1), ws_connection_text(b, column - 1));
    }
}

static int connections_compare(const void *x, const void *y)
{
    const ws_connection_info *a = *(ws_connection_info *const *)x,
                             *b = *(ws_connection_info *const *)y;
    unsigned column = 0;
    int order;
    while (ws_connections_sorts[column] && strcmp(ws_connections_sorts[column], sorting->sort)) {
        column++;
    }
    order = connections_compare_by(column, a, b);
    order = order ? order : connections_compare_numbers(a->id, b->id);
    return sorting->descending ? -order : order;
}

/* ---- The asking child ---- */

/** The connections collected so far. When the array is full, it is sorted and cut, so its size is
 *  bounded. */
typedef struct collection {
    ws_connection_info **items;
    unsigned count, size, wanted;
    const ws_connections_query *query;
} collection;

static void connections_sort_and_cut(collection *l)
{
    sorting = l->query;
    qsort(l->items, l->count, sizeof(*l->items), connections_compare);
    while (l->count > l->wanted) {
        free(l->items[--l->count]);
    }
}

static void connections_collect(collection *l, const ws_connection_info *item)
{
    if (l->count == l->size) {
        connections_sort_and_cut(l);
    }
    if ((l->items[l->count] = malloc(item->size))) {
        memcpy(l->items[l->count++], item, item->size);
    }
}

const ws_connection_info *ws_connection_check(const char *bytes, apr_size_t len)
{
    const ws_connection_info *item = (const ws_connection_info *)bytes;
    unsigned texts = 0;
    if (len < sizeof(*item) || item->size < sizeof(*item) || item->size > len
        || item->size % APR_ALIGN_DEFAULT(1) || item->start < 0 || item->start > WS_SHM_TIME_MAX) {
        return NULL;
    }
    for (const char *c = item->texts; c < bytes + item->size; c++) {
        texts += !*c;
    }
    return texts >= WS_LISTED_TEXTS ? item : NULL;
}

/* Add the connections in an answer to the collection. @return 0 if the answer is malformed */
static int connections_take(collection *l, ws_connections *list, const char *bytes, apr_size_t len)
{
    const answer *a = (const answer *)bytes;
    apr_size_t at = sizeof(*a);
    for (apr_uint32_t i = 0; i < a->count; i++) {
        const ws_connection_info *item = ws_connection_check(bytes + at, len - at);
        if (!item) {
            return 0;
        }
        connections_collect(l, item);
        list->matching++;
        at += item->size;
    }
    return 1;
}

/* Collect the connections of one child. @return 0 if the child does not answer in time or its
 * answer is malformed */
static int connections_ask(unsigned slot, const ws_connections_query *query, collection *l,
                           ws_connections *list, char *bytes, apr_time_t until)
{
    question q = {0};
    const answer *a = (const answer *)bytes;
    memcpy(q.filter, query->filter, sizeof(q.filter));
    do {
        apr_ssize_t len = apr_time_now() >= until ? -1
                                                  : ws_ipc_ask(slot, WS_IPC_LIST, &q, sizeof(q),
                                                               bytes, WS_IPC_SIZE, ANSWER_TIMEOUT);
        if (len < (apr_ssize_t)sizeof(*a) || !connections_take(l, list, bytes, (apr_size_t)len)) {
            return 0;
        }
        q.loop = a->loop;
        q.slot = a->slot;
    } while (!a->done);
    return 1;
}

void ws_connections_make(apr_pool_t *p, const ws_connections_query *query, ws_connections *list)
{
    collection l = {.wanted = query->offset + query->limit, .query = query};
    char *bytes = apr_palloc(p, WS_IPC_SIZE);
    apr_time_t until = apr_time_now() + apr_time_from_msec(LIST_TIMEOUT);

    memset(list, 0, sizeof(*list));
    l.size = 2 * l.wanted + 1024;
    l.items = apr_palloc(p, l.size * sizeof(*l.items));
    for (unsigned s = 0; s < ws_shm_slots(); s++) {
        ws_shm_owner owner, now;
        if (ws_shm_owner_of(s, &owner) && ws_counters_open(s)
            && !connections_ask(s, query, &l, list, bytes, until) && ws_shm_owner_of(s, &now)
            && now.process == owner.process
            && ws_counters_open(s)) { /* the child runs, but has not answered */
            if (list->missing_count < sizeof(list->missing) / sizeof(*list->missing)) {
                list->missing[list->missing_count++] = (unsigned)owner.pid;
            }
        }
    }
    connections_sort_and_cut(&l);
    list->first = l.items + (query->offset < l.count ? query->offset : l.count);
    list->count = query->offset < l.count ? l.count - query->offset : 0;
    for (unsigned i = 0; i < l.count; i++) {
        ws_connection_info *copy = apr_pmemdup(p, l.items[i], l.items[i]->size);
        free(l.items[i]);
        l.items[i] = copy;
    }
}

int ws_connections_close(ws_id id)
{
    for (unsigned s = 0; s < ws_shm_slots(); s++) {
        ws_shm_owner owner;
        char closed;
        if (ws_shm_owner_of(s, &owner) && (owner.process & 0xFFFF) == id >> 48) {
            return ws_ipc_ask(s, WS_IPC_CLOSE, &id, sizeof(id), &closed, sizeof(closed),
                              ANSWER_TIMEOUT)
                           == sizeof(closed)
                       ? closed
                       : -1;
        }
    }
    return 0;
}
