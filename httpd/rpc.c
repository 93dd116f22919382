/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Sends questions, which are function calls (rpc.h), to other processes and waits for the answers.
 *  Also receives the questions of other processes. A request does not wait for a process that has
 *  ended. Limits bound the work that other processes can cause. */

#include "httpd/rpc.h"

#include <apr_strings.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event/clock.h"

/* How long a request waits for answers, and how often it checks whether the processes are still
 * running, milliseconds. */
#define PATIENCE 3000
#define LOOK 200

/* Maximum number of unanswered questions in this process, and maximum size of their data, bytes. */
#define QUESTIONS_MAX 256
#define BYTES_MAX (64 * 1024 * 1024)

/* ---- Asking ---- */

typedef struct rpc_waiter {
    struct rpc_waiter *next;
    apr_uint32_t request;
    ws_rpc_answer *answers;
    unsigned count, open;
} rpc_waiter;

static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER; /* protects answered, waiters, and the waiters' answers */
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;
static rpc_waiter *waiters;
static apr_uint32_t requests; /* atomic */

static const ws_channels_options *rpc_options(void)
{
    const ws_channels *h = ws_channels_current();
    return h ? ws_channels_options_of(h) : NULL;
}

static ws_bus *rpc_bus(const ws_channels_options *o, const ws_node *node)
{
    return node->server == o->self.server ? o->local : o->remote;
}

int ws_rpc_nodes(apr_pool_t *p, ws_node **nodes, unsigned *count)
{
    const ws_channels_options *o = rpc_options();
    ws_bus *buses[] = {o ? o->local : NULL, o ? o->remote : NULL};
    int all = buses[0] != NULL;
    *nodes = apr_palloc(p, WS_RPC_NODES_MAX * sizeof(**nodes));
    *count = 0;
    for (int i = 0; i < 2; i++) {
        unsigned n = 0;
        if (buses[i]) {
            all &= buses[i]->nodes(buses[i], *nodes + *count, WS_RPC_NODES_MAX - *count, &n);
            *count += n;
        }
    }
    return all;
}

int ws_rpc_alive(apr_pool_t *p, const ws_node *node)
{
    ws_node *nodes;
    unsigned count;
    int all = ws_rpc_nodes(p, &nodes, &count);
    const ws_channels_options *o = rpc_options();
    for (unsigned i = 0; i < count; i++) {
        if (nodes[i].server == node->server && nodes[i].process == node->process) {
            return 1;
        }
    }
    return all || !o || node->server == o->self.server || !o->remote ? 0 : -1;
}

static ws_rpc_status rpc_send(const ws_packet *question, const ws_node *to)
{
    const ws_channels_options *o = rpc_options();
    ws_bus *bus = o ? rpc_bus(o, to) : NULL;
    switch (bus ? bus->send(bus, to, question) : WS_GONE) {
    case WS_HANDED:
        return WS_RPC_LATE;
    case WS_GONE:
        return WS_RPC_ENDED;
    default:
        return WS_RPC_BUSY;
    }
}

/* Stop waiting for processes that have ended. The caller holds the lock. */
static void rpc_look(rpc_waiter *w)
{
    const ws_channels_options *o = rpc_options();
    for (unsigned i = 0; i < w->count; i++) {
        ws_rpc_answer *a = &w->answers[i];
        ws_bus *bus = o ? rpc_bus(o, &a->node) : NULL;
        if (a->status == WS_RPC_LATE && bus && !bus->alive(bus, &a->node)) {
            a->status = WS_RPC_ENDED;
            w->open--;
        }
    }
}

static void rpc_wait(rpc_waiter *w, apr_time_t until)
{
    while (w->open && apr_time_now() < until) {
        apr_time_t next = apr_time_now() + apr_time_from_msec(LOOK);
        struct timespec t = {.tv_sec = (time_t)apr_time_sec(next),
                             .tv_nsec = (long)apr_time_usec(next) * 1000};
        if (pthread_cond_timedwait(&answered, &lock, &t) == ETIMEDOUT) {
            rpc_look(w);
        }
    }
}

static void rpc_forget(const rpc_waiter *w)
{
    rpc_waiter **link = &waiters;
    while (*link != w) {
        link = &(*link)->next;
    }
    *link = w->next;
}

void ws_rpc_ask(apr_pool_t *p, ws_packet *question, ws_rpc_answer *answers, unsigned count)
{
    apr_time_t until = apr_time_now() + apr_time_from_msec(PATIENCE);
    const ws_channels_options *o = rpc_options();
    rpc_waiter w = {.request = __atomic_add_fetch(&requests, 1, __ATOMIC_RELAXED),
                    .answers = answers,
                    .count = count};

    question->kind = WS_PACKET_ASK;
    question->request = w.request;
    question->position.offset = (ws_clock() + PATIENCE) | 1;
    if (o) {
        question->from = o->self;
    }
    for (unsigned i = 0; i < count; i++) {
        answers[i].status = WS_RPC_LATE;
        answers[i].data = NULL;
        answers[i].len = 0;
    }
    w.open = count;
    pthread_mutex_lock(&lock);
    w.next = waiters;
    waiters = &w;
    pthread_mutex_unlock(&lock);
    for (unsigned i = 0; i < count; i++) {
        ws_rpc_status s = rpc_send(question, &answers[i].node);
        pthread_mutex_lock(&lock);
        if (s != WS_RPC_LATE) {
            answers[i].status = s;
            w.open--;
        }
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    rpc_wait(&w, until);
    rpc_forget(&w);
    pthread_mutex_unlock(&lock);
    for (unsigned i = 0; i < count; i++) {
        char *data = answers[i].data;
        answers[i].data = apr_pstrmemdup(p, data ? data : "", answers[i].len);
        free(data);
    }
}

/* Store an answer. The caller holds the lock. */
static void rpc_take(rpc_waiter *w, const ws_packet *p)
{
    for (unsigned i = 0; i < w->count; i++) {
        ws_rpc_answer *a = &w->answers[i];
        if (a->node.server == p->from.server && a->node.process == p->from.process
            && a->status == WS_RPC_LATE && p->len <= WS_RPC_ANSWER_MAX && p->flags <= WS_RPC_NOTHING
            && (a->data = malloc(p->len + 1))) {
            memcpy(a->data, p->data, p->len);
            a->len = p->len;
            a->status = (ws_rpc_status)p->flags;
            w->open--;
            pthread_cond_broadcast(&answered);
        }
    }
}

static void rpc_answered(const ws_packet *p)
{
    pthread_mutex_lock(&lock);
    for (rpc_waiter *w = waiters; w; w = w->next) {
        if (w->request == p->request) {
            rpc_take(w, p);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* ---- Answering ---- */

static unsigned questions; /* atomic */
static apr_size_t held;    /* atomic; size of the data of unanswered questions, bytes */

static void rpc_free(ws_rpc *call)
{
    __atomic_sub_fetch(&questions, 1, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&held, call->len, __ATOMIC_RELAXED);
    ws_strbuf_free(&call->text);
    free(call);
}

static void rpc_reply(const ws_node *to, apr_uint32_t request, ws_rpc_status status,
                      const char *data, apr_size_t len)
{
    const ws_channels_options *o = rpc_options();
    ws_bus *bus = o ? rpc_bus(o, to) : NULL;
    ws_packet answer = {.kind = WS_PACKET_ANSWER,
                        .flags = (unsigned)status,
                        .request = request,
                        .channel = "",
                        .data = data,
                        .len = len};
    if (bus) {
        answer.from = o->self;
        bus->send(bus, to, &answer);
    }
}

void ws_rpc_answer_with(ws_rpc *call, ws_rpc_status status, const char *data, apr_size_t len)
{
    rpc_reply(&call->from, call->request, status, data, len);
    rpc_free(call);
}

int ws_rpc_drop_late(ws_rpc *call)
{
    if (!call->until || (apr_int32_t)(ws_clock() - call->until) < 0) {
        return 0;
    }
    rpc_free(call);
    return 1;
}

static ws_rpc *rpc_new(const ws_packet *p)
{
    int room = __atomic_add_fetch(&questions, 1, __ATOMIC_RELAXED) <= QUESTIONS_MAX;
    const ws_channels_options *o = rpc_options();
    ws_rpc *call;
    room &= __atomic_add_fetch(&held, p->len, __ATOMIC_RELAXED) <= BYTES_MAX;
    if (!room || !(call = calloc(1, sizeof(*call) + p->len + 1))) {
        __atomic_sub_fetch(&questions, 1, __ATOMIC_RELAXED);
        __atomic_sub_fetch(&held, p->len, __ATOMIC_RELAXED);
        return NULL;
    }
    call->from = p->from;
    call->request = p->request;
    call->kind = (ws_rpc_kind)p->flags;
    call->type = p->type;
    call->id = p->id;
    if (o && p->from.server == o->self.server) { /* clocks of other machines differ */
        call->until = (apr_uint32_t)p->position.offset;
    }
    memcpy(call->channel, p->channel, p->channel_len);
    call->len = p->len;
    memcpy(call->data, p->data, p->len);
    return call;
}

static void (*rpc_carry_out)(ws_rpc *call);

void ws_rpc_on(void (*carry_out)(ws_rpc *call))
{
    rpc_carry_out = carry_out;
}

void ws_rpc_received(const ws_packet *p)
{
    ws_rpc *call;
    if (p->kind == WS_PACKET_ANSWER) {
        rpc_answered(p);
    }
    else if (!(call = rpc_new(p))) {
        rpc_reply(&p->from, p->request, WS_RPC_BUSY, "", 0);
    }
    else if (!ws_rpc_drop_late(call)) {
        rpc_carry_out(call);
    }
}
