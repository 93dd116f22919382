/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Each process knows its own members. Where somebody watches a channel, or asks who is there, it has a
 * view of the others too: it asks all (WHO), they answer with theirs (HERE), and from then on their JOIN
 * and LEAVE keep the view right, since what one process sends arrives in order. When packets were lost,
 * it asks again. Members of a process that has ended leave within a second or two.
 *
 * The lock is held while packets are handed to a bus, so that they leave in the order of the changes.
 * Functions of others are called without it.
 *
 * Data of HERE: for each member its id (8 bytes), a length (2), what is known of it (ws_member_split()).
 */

#include "channels/presence.h"

#include <stdlib.h>
#include <string.h>

#include "channels/dispatch.h"
#include "engine/ticker.h"

/* How long answers are waited for, milliseconds. A bus to other machines cannot tell how many there will
 * be. */
#define ANSWER_TIME 1000
#define ANSWER_TIME_REMOTE 500

/* How often it is looked who has not answered, and who has ended, milliseconds. */
#define TICK 250
#define TICKS_OF_LIFE 4

/* Members are sent in packets of about so many bytes. */
#define PACKET 16384

#define VIEWS 256

typedef struct entry {
    struct entry *next;
    ws_node node;
    ws_id id;
    apr_uint32_t seen; /* the question whose answer it was in */
    apr_size_t len;
    char data[]; /* as ws_member_split() takes it, and one NUL more */
} entry;

typedef struct question {
    struct question *next;
    ws_presence_fn fn;
    void *arg;
    int locked; /* fn is called under the lock */
} question;

typedef struct view {
    struct view *next;
    apr_uint64_t hash;
    entry **table;
    unsigned size, count, own;
    unsigned watchers;
    question *questions, **last;
    int asking;            /* answers are on their way */
    int known;             /* the view is right */
    apr_uint32_t request;  /* the last question */
    apr_uint32_t deadline; /* ws_clock() */
    apr_uint32_t expected, answered;
    unsigned len;
    char name[];
} view;

/* Answers that are to be given when the lock has been released. */
typedef struct answer {
    struct answer *next;
    question *questions;
    char *name;
    ws_member *members;
    apr_size_t count;
    int complete;
} answer;

struct ws_presence_state {
    apr_thread_mutex_t *lock;
    view *views[VIEWS];
    apr_uint32_t requests;
    ws_ticker *ticker; /* while answers are due, or members of others are known */
    unsigned ticks;
};

static int presence_same_node(const ws_node *a, const ws_node *b)
{
    return a->server == b->server && a->process == b->process;
}

static int presence_is_self(const ws_channels *h, const ws_node *n)
{
    return presence_same_node(n, &h->options.self);
}

/* ---- Views ---- */

static view **presence_place_of(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash)
{
    view **link = &h->presence->views[hash % VIEWS];
    while (*link
           && ((*link)->hash != hash || (*link)->len != len || memcmp((*link)->name, name, len))) {
        link = &(*link)->next;
    }
    return link;
}

static view *presence_view_of(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash,
                              int make)
{
    view **link = presence_place_of(h, name, len, hash), *v = *link;
    if (!v && make && (v = calloc(1, sizeof(*v) + len + 1))) {
        v->hash = hash;
        v->len = len;
        v->last = &v->questions;
        memcpy(v->name, name, len);
        *link = v;
    }
    return v;
}

static entry **presence_find(view *v, const ws_node *node, ws_id id)
{
    entry **link = &v->table[(id ^ id >> 22 ^ node->server) & (v->size - 1)];
    while (*link && ((*link)->id != id || !presence_same_node(&(*link)->node, node))) {
        link = &(*link)->next;
    }
    return link;
}

static void presence_grow(view *v)
{
    unsigned old = v->size, size = old ? old * 2 : 8;
    entry **was = v->table, **table = calloc(size, sizeof(*table));
    if (!table) {
        return;
    }
    v->table = table;
    v->size = size;
    for (unsigned i = 0; i < old; i++) {
        for (entry *e = was[i], *next; e; e = next) {
            entry **link = presence_find(v, &e->node, e->id);
            next = e->next;
            e->next = NULL;
            *link = e;
        }
    }
    free(was);
}

static void presence_take_out(const ws_channels *h, view *v, entry **link)
{
    entry *e = *link;
    *link = e->next;
    v->count--;
    v->own -= (unsigned)presence_is_self(h, &e->node);
    free(e);
}

/* @return the new entry; NULL if it was there just so, or there is no memory */
static entry *presence_put(const ws_channels *h, view *v, const ws_node *node, ws_id id,
                           const char *data, apr_size_t len, apr_uint32_t seen)
{
    entry **link, *e;
    if (v->count >= v->size) {
        presence_grow(v);
    }
    if (!v->size) {
        return NULL;
    }
    link = presence_find(v, node, id);
    if (*link && (*link)->len == len && !memcmp((*link)->data, data, len)) {
        (*link)->seen = seen;
        return NULL;
    }
    if (!(e = malloc(sizeof(*e) + len + 1))) {
        return NULL;
    }
    if (*link) {
        presence_take_out(h, v, link);
        link = presence_find(v, node, id);
    }
    e->next = *link;
    e->node = *node;
    e->id = id;
    e->seen = seen;
    e->len = len;
    memcpy(e->data, data, len);
    e->data[len] = 0;
    *link = e;
    v->count++;
    v->own += (unsigned)presence_is_self(h, node);
    return e;
}

/* Forget others where nobody wants to know them; and the view, where there is nothing in it. */
static void presence_tidy(ws_channels *h, view *v)
{
    if (v->watchers || v->asking) {
        return;
    }
    v->known = 0;
    for (unsigned i = 0; v->own < v->count && i < v->size; i++) {
        for (entry **link = &v->table[i]; *link;) {
            if (presence_is_self(h, &(*link)->node)) {
                link = &(*link)->next;
            }
            else {
                presence_take_out(h, v, link);
            }
        }
    }
    if (!v->count) {
        view **link = presence_place_of(h, v->name, v->len, v->hash);
        *link = v->next;
        free(v->table);
        free(v);
    }
}

/* ---- Telling those who watch ---- */

static void presence_tell(ws_channels *h, const view *v, ws_event_kind kind, const entry *e)
{
    ws_channel *ch = v->watchers ? ws_channel_find(h, v->name, v->len, v->hash) : NULL;
    ws_message *m = ch ? ws_message_about(v->name, e->data, e->len) : NULL;
    if (m) {
        m->server = e->node.server;
        m->except = e->id;
        for (unsigned i = 0; i < h->loops; i++) {
            if (__atomic_load_n(&ch->lists[i].count, __ATOMIC_SEQ_CST)) {
                ws_dispatch(h, i, ch, kind, m);
            }
        }
        ws_message_unref(m);
    }
    if (ch) {
        ws_channel_unref(h, ch);
    }
}

/* ---- Telling other processes ---- */

static ws_packet presence_packet_for(const ws_channels *h, const char *name, unsigned len,
                                     apr_uint64_t hash, ws_packet_kind kind)
{
    return (ws_packet){.kind = kind,
                       /* Who misses it is told so, and asks. */
                       .flags = WS_PACKET_STORED,
                       .from = h->options.self,
                       .channel = name,
                       .channel_len = len,
                       .hash = hash};
}

/* @return how many processes it was handed to */
static apr_uint32_t presence_publish(ws_channels *h, const ws_packet *p)
{
    apr_uint32_t reached = 0, missed = 0;
    if (h->options.local) {
        h->options.local->publish(h->options.local, p, &reached, &missed);
    }
    if (h->options.remote) {
        h->options.remote->publish(h->options.remote, p, &reached, &missed);
    }
    return reached;
}

static void presence_answer_who(ws_channels *h, view *v, const ws_packet *who)
{
    ws_bus *bus = who->from.server == h->options.self.server ? h->options.local : h->options.remote;
    ws_packet p = presence_packet_for(h, who->channel, who->channel_len, 0, WS_PACKET_HERE);
    unsigned char *at, *buffer = malloc(PACKET + WS_MEMBER_WHOLE + 10);
    if (!bus || !buffer) {
        free(buffer);
        return;
    }
    at = buffer;
    p.flags = 0;
    p.request = who->request;
    p.data = (char *)buffer;
    for (unsigned i = 0; v && i < v->size; i++) {
        for (const entry *e = v->table[i]; e; e = e->next) {
            if (!presence_is_self(h, &e->node)) {
                continue;
            }
            for (int shift = 56; shift >= 0; shift -= 8) {
                *at++ = (unsigned char)(e->id >> shift);
            }
            *at++ = (unsigned char)(e->len >> 8);
            *at++ = (unsigned char)e->len;
            memcpy(at, e->data, e->len);
            at += e->len;
            if (at - buffer >= PACKET) {
                p.len = (apr_size_t)(at - buffer);
                bus->send(bus, &who->from, &p);
                at = buffer;
            }
        }
    }
    p.flags = WS_PACKET_LAST;
    p.len = (apr_size_t)(at - buffer);
    bus->send(bus, &who->from, &p);
    free(buffer);
}

/* ---- Asking ---- */

static void presence_give_answers(answer *a)
{
    while (a) {
        answer *next = a->next;
        for (question *q = a->questions, *after; q; q = after) {
            after = q->next;
            q->fn(a->name, a->members, a->count, a->complete, q->arg);
            free(q);
        }
        free(a);
        a = next;
    }
}

static void presence_answer_locked(answer *a)
{
    for (question **link = &a->questions, *q; (q = *link);) {
        if (q->locked) {
            *link = q->next;
            q->fn(a->name, a->members, a->count, a->complete, q->arg);
            free(q);
        }
        else {
            link = &q->next;
        }
    }
}

/* What is known, in one block, for all who have asked. */
static void presence_prepare_answer(view *v, int complete, answer **answers)
{
    apr_size_t size = sizeof(answer) + v->count * sizeof(ws_member) + v->len + 1;
    answer *a;
    char *at;
    for (unsigned i = 0; i < v->size; i++) {
        for (const entry *e = v->table[i]; e; e = e->next) {
            size += e->len + 1;
        }
    }
    if (!v->questions || !(a = calloc(1, size))) {
        return; /* they are asked again at the next tick */
    }
    a->questions = v->questions;
    v->questions = NULL;
    v->last = &v->questions;
    a->complete = complete;
    a->members = (ws_member *)(a + 1);
    at = (char *)(a->members + v->count);
    a->name = at;
    memcpy(at, v->name, v->len);
    at += v->len + 1;
    for (unsigned i = 0; i < v->size; i++) {
        for (const entry *e = v->table[i]; e; e = e->next) {
            ws_member *m = &a->members[a->count++];
            m->server = e->node.server;
            m->id = e->id;
            m->data = memcpy(at, e->data, e->len + 1);
            ws_member_split(m->data, e->len, &m->len);
            at += e->len + 1;
        }
    }
    presence_answer_locked(a);
    a->next = *answers;
    *answers = a;
}

static void presence_arm(ws_channels *h);

static void presence_finish(ws_channels *h, view *v, answer **answers)
{
    v->known = 1;
    presence_prepare_answer(v, v->answered >= v->expected, answers);
    v->asking = v->questions != NULL;
    presence_tidy(h, v);
}

static void presence_ask_others(ws_channels *h, view *v, answer **answers)
{
    ws_packet p = presence_packet_for(h, v->name, v->len, v->hash, WS_PACKET_WHO);
    p.request = v->request = ++h->presence->requests;
    v->asking = 1;
    v->answered = 0;
    v->deadline = ws_clock() + (h->options.remote ? ANSWER_TIME_REMOTE : ANSWER_TIME);
    v->expected = presence_publish(h, &p);
    if (!v->expected && !h->options.remote) {
        presence_finish(h, v, answers);
    }
    else {
        presence_arm(h);
    }
}

/* ---- Time ---- */

static int presence_has_ended(const ws_channels *h, const ws_node *n)
{
    ws_bus *local = h->options.local, *remote = h->options.remote;
    int alive = local ? local->alive(local, n) : -1;
    if (alive < 0 && remote) {
        alive = remote->alive(remote, n);
    }
    return alive == 0;
}

/* Members of processes that have ended have left. */
static void presence_look_after(ws_channels *h, view *v)
{
    ws_node ended = {0, 0}, alive = h->options.self;
    for (unsigned i = 0; i < v->size; i++) {
        for (entry **link = &v->table[i]; *link;) {
            ws_node *n = &(*link)->node;
            if (presence_same_node(n, &alive) || presence_is_self(h, n)) {
                link = &(*link)->next;
            }
            else if (presence_same_node(n, &ended) || presence_has_ended(h, n)) {
                ended = *n;
                presence_tell(h, v, WS_EVENT_LEAVE, *link);
                presence_take_out(h, v, link);
            }
            else {
                alive = *n;
                link = &(*link)->next;
            }
        }
    }
}

static void presence_tick(void *arg, int last)
{
    ws_channels *h = arg;
    ws_presence_state *p = h->presence;
    answer *answers = NULL;
    int wanted = 0;
    if (last) {
        return;
    }
    apr_thread_mutex_lock(p->lock);
    p->ticks++;
    for (int i = 0; i < VIEWS; i++) {
        for (view *v = p->views[i], *next; v; v = next) {
            next = v->next;
            wanted |= v->asking || v->own < v->count;
            if (p->ticks % TICKS_OF_LIFE == 0) {
                presence_look_after(h, v);
            }
            if (v->asking && (apr_int32_t)(ws_clock() - v->deadline) >= 0) {
                presence_finish(h, v, &answers);
            }
        }
    }
    if (!wanted && p->ticker) {
        ws_ticker_stop(p->ticker);
        p->ticker = NULL;
    }
    apr_thread_mutex_unlock(p->lock);
    presence_give_answers(answers);
}

/* Under the lock. */
static void presence_arm(ws_channels *h)
{
    if (!h->presence->ticker) {
        h->presence->ticker = ws_engine_ticker(h->options.engine, TICK, TICK, presence_tick, h);
    }
}

/* ---- Calls ---- */

/* What is known of a member, in one. @return its length */
static apr_size_t presence_describe(const ws_subscription *how, const char *user, char *whole)
{
    apr_size_t len = how->member_len, user_len = user ? strlen(user) : 0;
    if (user_len > WS_USER_MAX || ws_text_prefix(user, user_len, user_len) < user_len) {
        user_len = 0;
    }
    if (len) {
        memcpy(whole, how->member, len);
    }
    whole[len++] = 0;
    if (user_len) {
        memcpy(whole + len, user, user_len);
    }
    return len + user_len;
}

void ws_presence_join(ws_channels *h, const ws_channel *ch, const ws_conn *c,
                      const ws_subscription *how)
{
    ws_packet p = presence_packet_for(h, ch->name, ch->len, ch->hash, WS_PACKET_JOIN);
    char whole[WS_MEMBER_WHOLE];
    entry *e;
    view *v;
    p.id = c->id;
    p.data = whole;
    p.len = presence_describe(how, ws_user(c), whole);
    apr_thread_mutex_lock(h->presence->lock);
    v = presence_view_of(h, ch->name, ch->len, ch->hash, 1);
    if (v && (e = presence_put(h, v, &h->options.self, c->id, whole, p.len, 0))) {
        presence_publish(h, &p);
        presence_tell(h, v, WS_EVENT_JOIN, e);
    }
    apr_thread_mutex_unlock(h->presence->lock);
}

const char *ws_member_user(const ws_member *member)
{
    const char *user = member->data + member->len + 1;
    return *user ? user : NULL;
}

/* Take a member out and tell those who watch. @return whether it was there */
static int presence_remove_member(ws_channels *h, view *v, const ws_node *node, ws_id id)
{
    entry **link = v && v->size ? presence_find(v, node, id) : NULL;
    if (!link || !*link) {
        return 0;
    }
    presence_tell(h, v, WS_EVENT_LEAVE, *link);
    presence_take_out(h, v, link);
    presence_tidy(h, v);
    return 1;
}

void ws_presence_leave(ws_channels *h, const ws_channel *ch, ws_id id)
{
    ws_packet p = presence_packet_for(h, ch->name, ch->len, ch->hash, WS_PACKET_LEAVE);
    apr_thread_mutex_lock(h->presence->lock);
    if (presence_remove_member(h, presence_view_of(h, ch->name, ch->len, ch->hash, 0),
                               &h->options.self, id)) {
        p.id = id;
        presence_publish(h, &p);
    }
    apr_thread_mutex_unlock(h->presence->lock);
}

void ws_presence_watch(ws_channels *h, const ws_channel *ch, int change)
{
    answer *answers = NULL;
    view *v;
    apr_thread_mutex_lock(h->presence->lock);
    v = presence_view_of(h, ch->name, ch->len, ch->hash, change > 0);
    if (v && change > 0) {
        if (v->watchers++ == 0 && !v->asking) {
            presence_ask_others(h, v, &answers);
        }
    }
    else if (v) {
        v->watchers--;
        presence_tidy(h, v);
    }
    apr_thread_mutex_unlock(h->presence->lock);
    presence_give_answers(answers);
}

static ws_status presence_question(ws_channels *h, const char *channel, unsigned len,
                                   apr_uint64_t hash, const question *what)
{
    answer *answers = NULL;
    question *q = malloc(sizeof(*q));
    view *v;
    if (!q) {
        return WS_FULL;
    }
    *q = *what;
    apr_thread_mutex_lock(h->presence->lock);
    if ((v = presence_view_of(h, channel, len, hash, 1))) {
        *v->last = q;
        v->last = &q->next;
        if (v->known && !v->asking) {
            presence_finish(h, v, &answers);
        }
        else if (!v->asking) {
            presence_ask_others(h, v, &answers);
        }
    }
    apr_thread_mutex_unlock(h->presence->lock);
    if (!v) {
        free(q);
        return WS_FULL;
    }
    presence_give_answers(answers);
    /* cppcheck-suppress memleak; the question is the view's */
    return WS_QUEUED;
}

ws_status ws_presence(const char *channel, ws_presence_fn fn, void *arg)
{
    ws_channels *h = ws_channels_running();
    const question q = {.fn = fn, .arg = arg};
    unsigned len;
    if (!ws_channel_valid(channel)) {
        return WS_BAD_NAME;
    }
    if (!h) {
        return WS_GONE;
    }
    len = (unsigned)strlen(channel);
    return presence_question(h, channel, len, ws_channel_hash(channel, len), &q);
}

ws_status ws_presence_take(ws_channels *h, const ws_channel *ch, ws_presence_fn fn, void *arg)
{
    const question q = {.fn = fn, .arg = arg, .locked = 1};
    return presence_question(h, ch->name, ch->len, ch->hash, &q);
}

/* ---- From other processes ---- */

static void presence_take_here(ws_channels *h, view *v, const ws_packet *p, answer **answers)
{
    const unsigned char *at = (const unsigned char *)p->data, *end = at + p->len;
    while (end - at >= 10) {
        ws_id id = 0;
        apr_size_t len = (apr_size_t)at[8] << 8 | at[9], data_len;
        entry *e;
        for (int i = 0; i < 8; i++) {
            id = id << 8 | at[i];
        }
        at += 10;
        if ((apr_size_t)(end - at) < len || !id
            || !ws_member_split((const char *)at, len, &data_len)) {
            return; /* it is broken */
        }
        e = presence_put(h, v, &p->from, id, (const char *)at, len, p->request);
        if (e && v->known) {
            presence_tell(h, v, WS_EVENT_JOIN, e);
        }
        at += len;
    }
    if (!(p->flags & WS_PACKET_LAST)) {
        return;
    }
    for (unsigned i = 0; i < v->size; i++) {
        for (entry **link = &v->table[i]; *link;) {
            entry *e = *link;
            if (e->seen != p->request && presence_same_node(&e->node, &p->from)) {
                if (v->known) {
                    presence_tell(h, v, WS_EVENT_LEAVE, e);
                }
                presence_take_out(h, v, link);
            }
            else {
                link = &e->next;
            }
        }
    }
    if (v->asking && p->request == v->request && ++v->answered >= v->expected
        && !h->options.remote) {
        presence_finish(h, v, answers);
    }
}

void ws_presence_receive(ws_channels *h, const ws_packet *p)
{
    apr_uint64_t hash = ws_channel_hash(p->channel, p->channel_len);
    answer *answers = NULL;
    entry *e;
    view *v;

    if (presence_is_self(h, &p->from)) {
        return;
    }
    apr_thread_mutex_lock(h->presence->lock);
    v = presence_view_of(h, p->channel, p->channel_len, hash, 0);
    if (p->kind == WS_PACKET_WHO) {
        presence_answer_who(h, v, p);
    }
    else if (v && (v->watchers || v->asking)) {
        if (p->kind == WS_PACKET_HERE) {
            presence_take_here(h, v, p, &answers);
        }
        else if (p->kind == WS_PACKET_LEAVE) {
            presence_remove_member(h, v, &p->from, p->id);
        }
        else if ((e = presence_put(h, v, &p->from, p->id, p->data, p->len, v->request))) {
            presence_tell(h, v, WS_EVENT_JOIN, e);
        }
        presence_arm(h);
    }
    apr_thread_mutex_unlock(h->presence->lock);
    presence_give_answers(answers);
}

void ws_presence_again(ws_channels *h)
{
    answer *answers = NULL;
    apr_thread_mutex_lock(h->presence->lock);
    for (int i = 0; i < VIEWS; i++) {
        for (view *v = h->presence->views[i], *next; v; v = next) {
            next = v->next;
            if (v->watchers) {
                presence_ask_others(h, v, &answers);
            }
        }
    }
    apr_thread_mutex_unlock(h->presence->lock);
    presence_give_answers(answers);
}

/* ---- Beginning and end ---- */

int ws_presence_init(ws_channels *h, apr_pool_t *pool)
{
    h->presence = apr_pcalloc(pool, sizeof(*h->presence));
    return apr_thread_mutex_create(&h->presence->lock, APR_THREAD_MUTEX_DEFAULT, pool)
                   == APR_SUCCESS
               ? 0
               : -1;
}

void ws_presence_end(ws_channels *h)
{
    for (int i = 0; i < VIEWS; i++) {
        for (view *v = h->presence->views[i], *next; v; v = next) {
            answer *answers = NULL;
            next = v->next;
            if (v->questions) {
                presence_prepare_answer(v, 0, &answers);
            }
            for (unsigned j = 0; j < v->size; j++) {
                while (v->table[j]) {
                    presence_take_out(h, v, &v->table[j]);
                }
            }
            presence_give_answers(answers);
            free(v->table);
            free(v);
        }
    }
}

unsigned ws_presence_own(ws_channels *h, const char *channel)
{
    unsigned len = (unsigned)strlen(channel), own = 0;
    view *v;
    apr_thread_mutex_lock(h->presence->lock);
    if ((v = presence_view_of(h, channel, len, ws_channel_hash(channel, len), 0))) {
        own = v->own;
    }
    apr_thread_mutex_unlock(h->presence->lock);
    return own;
}
