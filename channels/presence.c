/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Tracks the members of channels. Each process knows its own members. If a subscription watches the
 * members of a channel (WS_WATCH), or a caller of ws_presence() waits for them, the process also
 * has a view of the members in other processes. To get this view, the process asks all others with
 * the packet WHO, and they answer with their members in HERE. JOIN and LEAVE packets then keep the
 * view current, because packets from one process arrive in order. After a loss of packets, the
 * process asks again. When a process ends, the others remove its members within two seconds.
 *
 * The lock is held while packets are handed to a bus, so that they are sent in the order of the
 * changes. Handler functions are called without the lock.
 *
 * The data in HERE: for each member its id (8 bytes), a length (2), its data and user
 * (ws_member_split()).
 */

#include "channels/presence.h"

#include <stdlib.h>
#include <string.h>

#include "channels/dispatch.h"
#include "channels/members.h"
#include "engine/services.h"

/* Time limit for answers, milliseconds. A bus to other machines does not know how many processes
 * will answer. */
#define ANSWER_TIME 1000
#define ANSWER_TIME_REMOTE 500

/* How often to check for missing answers and ended processes, milliseconds. */
#define TICK 250
#define TICKS_OF_LIFE 4 /* check for ended processes in every fourth tick */

/* Maximum size of a packet with members, bytes. A packet may exceed it by one member. */
#define PACKET 16384

/* An answer to deliver after the lock has been released. */
typedef struct answer {
    struct answer *next;
    ws_presence_question *questions;
    char *name;
    ws_member *members;
    apr_size_t count;
    int complete;
} answer;

/* ---- Events for watching subscriptions ---- */

static void presence_tell(ws_channels *h, const ws_member_view *v, ws_event_kind kind,
                          const ws_member_entry *e)
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

/* ---- Packets for other processes ---- */

static ws_packet presence_packet_for(const ws_channels *h, const char *name, unsigned len,
                                     apr_uint64_t hash, ws_packet_kind kind)
{
    return (ws_packet){.kind = kind,
                       /* A process that misses the packet receives MISSED, and asks again. */
                       .flags = WS_PACKET_STORED,
                       .from = h->options.self,
                       .channel = name,
                       .channel_len = len,
                       .hash = hash};
}

/* Hand a packet to the buses. @return the number of processes that it was handed to */
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

static void presence_answer_who(ws_channels *h, ws_member_view *v, const ws_packet *who)
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
        for (const ws_member_entry *e = v->table[i]; e; e = e->next) {
            if (!ws_node_is_self(h, &e->node)) {
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
        for (ws_presence_question *q = a->questions, *after; q; q = after) {
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
    for (ws_presence_question **link = &a->questions, *q; (q = *link);) {
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

/* Copy the known members into one block, which answers all questions. */
static void presence_prepare_answer(ws_member_view *v, int complete, answer **answers)
{
    apr_size_t size = sizeof(answer) + v->count * sizeof(ws_member) + v->len + 1;
    answer *a;
    char *at;
    for (unsigned i = 0; i < v->size; i++) {
        for (const ws_member_entry *e = v->table[i]; e; e = e->next) {
            size += e->len + 1;
        }
    }
    if (!v->questions || !(a = calloc(1, size))) {
        return; /* the next tick tries again */
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
        for (const ws_member_entry *e = v->table[i]; e; e = e->next) {
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

static void presence_finish(ws_channels *h, ws_member_view *v, answer **answers)
{
    v->known = 1;
    presence_prepare_answer(v, v->answered >= v->expected, answers);
    v->asking = v->questions != NULL;
    ws_view_tidy(h, v);
}

static void presence_ask_others(ws_channels *h, ws_member_view *v, answer **answers)
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

/* Remove the members in processes that have ended. */
static void presence_look_after(ws_channels *h, ws_member_view *v)
{
    ws_node ended = {0, 0}, alive = h->options.self;
    for (unsigned i = 0; i < v->size; i++) {
        for (ws_member_entry **link = &v->table[i]; *link;) {
            ws_node *n = &(*link)->node;
            if (ws_node_same(n, &alive) || ws_node_is_self(h, n)) {
                link = &(*link)->next;
            }
            else if (ws_node_same(n, &ended) || presence_has_ended(h, n)) {
                ended = *n;
                presence_tell(h, v, WS_EVENT_LEAVE, *link);
                ws_view_take_out(h, v, link);
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
    for (int i = 0; i < WS_VIEWS; i++) {
        for (ws_member_view *v = p->views[i], *next; v; v = next) {
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

/* Start the ticker if it is not running. Called with the lock held. */
static void presence_arm(ws_channels *h)
{
    if (!h->presence->ticker) {
        h->presence->ticker = ws_engine_ticker(h->options.engine, TICK, TICK, presence_tick, h);
    }
}

/* ---- Calls ---- */

/* Encode a member's data and user, see ws_member_split(). @return the length */
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
    ws_member_entry *e;
    ws_member_view *v;
    p.id = ws_conn_id(c);
    p.data = whole;
    p.len = presence_describe(how, ws_user(c), whole);
    apr_thread_mutex_lock(h->presence->lock);
    v = ws_view_of(h, ch->name, ch->len, ch->hash, 1);
    if (v && (e = ws_view_put(h, v, &h->options.self, ws_conn_id(c), whole, p.len, 0))) {
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

/* Remove a member and send the event. @return whether the view contained the member */
static int presence_remove_member(ws_channels *h, ws_member_view *v, const ws_node *node, ws_id id)
{
    ws_member_entry **link = v && v->size ? ws_view_find(v, node, id) : NULL;
    if (!link || !*link) {
        return 0;
    }
    presence_tell(h, v, WS_EVENT_LEAVE, *link);
    ws_view_take_out(h, v, link);
    ws_view_tidy(h, v);
    return 1;
}

void ws_presence_leave(ws_channels *h, const ws_channel *ch, ws_id id)
{
    ws_packet p = presence_packet_for(h, ch->name, ch->len, ch->hash, WS_PACKET_LEAVE);
    apr_thread_mutex_lock(h->presence->lock);
    if (presence_remove_member(h, ws_view_of(h, ch->name, ch->len, ch->hash, 0), &h->options.self,
                               id)) {
        p.id = id;
        presence_publish(h, &p);
    }
    apr_thread_mutex_unlock(h->presence->lock);
}

void ws_presence_watch(ws_channels *h, const ws_channel *ch, int change)
{
    answer *answers = NULL;
    ws_member_view *v;
    apr_thread_mutex_lock(h->presence->lock);
    v = ws_view_of(h, ch->name, ch->len, ch->hash, change > 0);
    if (v && change > 0) {
        if (v->watchers++ == 0 && !v->asking) {
            presence_ask_others(h, v, &answers);
        }
    }
    else if (v) {
        v->watchers--;
        ws_view_tidy(h, v);
    }
    apr_thread_mutex_unlock(h->presence->lock);
    presence_give_answers(answers);
}

static ws_status presence_question(ws_channels *h, const char *channel, unsigned len,
                                   apr_uint64_t hash, const ws_presence_question *what)
{
    answer *answers = NULL;
    ws_presence_question *q = malloc(sizeof(*q));
    ws_member_view *v;
    if (!q) {
        return WS_FULL;
    }
    *q = *what;
    apr_thread_mutex_lock(h->presence->lock);
    if ((v = ws_view_of(h, channel, len, hash, 1))) {
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
    /* cppcheck-suppress memleak; the view owns the question */
    return WS_QUEUED;
}

ws_status ws_presence(const char *channel, ws_presence_fn fn, void *arg)
{
    ws_channels *h = ws_channels_running();
    const ws_presence_question q = {.fn = fn, .arg = arg};
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
    const ws_presence_question q = {.fn = fn, .arg = arg, .locked = 1};
    return presence_question(h, ch->name, ch->len, ch->hash, &q);
}

/* ---- From other processes ---- */

static void presence_take_here(ws_channels *h, ws_member_view *v, const ws_packet *p,
                               answer **answers)
{
    const unsigned char *at = (const unsigned char *)p->data, *end = at + p->len;
    while (end - at >= 10) {
        ws_id id = 0;
        apr_size_t len = (apr_size_t)at[8] << 8 | at[9], data_len;
        ws_member_entry *e;
        for (int i = 0; i < 8; i++) {
            id = id << 8 | at[i];
        }
        at += 10;
        if ((apr_size_t)(end - at) < len || !id
            || !ws_member_split((const char *)at, len, &data_len)) {
            return; /* invalid data */
        }
        e = ws_view_put(h, v, &p->from, id, (const char *)at, len, p->request);
        if (e && v->known) {
            presence_tell(h, v, WS_EVENT_JOIN, e);
        }
        at += len;
    }
    if (!(p->flags & WS_PACKET_LAST)) {
        return;
    }
    for (unsigned i = 0; i < v->size; i++) {
        for (ws_member_entry **link = &v->table[i]; *link;) {
            ws_member_entry *e = *link;
            if (e->seen != p->request && ws_node_same(&e->node, &p->from)) {
                if (v->known) {
                    presence_tell(h, v, WS_EVENT_LEAVE, e);
                }
                ws_view_take_out(h, v, link);
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
    ws_member_entry *e;
    ws_member_view *v;

    if (ws_node_is_self(h, &p->from)) {
        return;
    }
    apr_thread_mutex_lock(h->presence->lock);
    v = ws_view_of(h, p->channel, p->channel_len, hash, 0);
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
        else if ((e = ws_view_put(h, v, &p->from, p->id, p->data, p->len, v->request))) {
            presence_tell(h, v, WS_EVENT_JOIN, e);
        }
        presence_arm(h);
    }
    apr_thread_mutex_unlock(h->presence->lock);
    presence_give_answers(answers);
}

void ws_presence_again(ws_channels *h, const ws_channel *ch)
{
    answer *answers = NULL;
    apr_thread_mutex_lock(h->presence->lock);
    for (int i = 0; i < WS_VIEWS; i++) {
        for (ws_member_view *v = h->presence->views[i], *next; v; v = next) {
            next = v->next;
            if (v->watchers
                && (!ch || (v->len == ch->len && !memcmp(v->name, ch->name, ch->len)))) {
                presence_ask_others(h, v, &answers);
            }
        }
    }
    apr_thread_mutex_unlock(h->presence->lock);
    presence_give_answers(answers);
}

/* ---- Initialization and cleanup ---- */

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
    for (int i = 0; i < WS_VIEWS; i++) {
        for (ws_member_view *v = h->presence->views[i], *next; v; v = next) {
            answer *answers = NULL;
            next = v->next;
            if (v->questions) {
                presence_prepare_answer(v, 0, &answers);
            }
            for (unsigned j = 0; j < v->size; j++) {
                while (v->table[j]) {
                    ws_view_take_out(h, v, &v->table[j]);
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
    ws_member_view *v;
    apr_thread_mutex_lock(h->presence->lock);
    if ((v = ws_view_of(h, channel, len, ws_channel_hash(channel, len), 0))) {
        own = v->own;
    }
    apr_thread_mutex_unlock(h->presence->lock);
    return own;
}
