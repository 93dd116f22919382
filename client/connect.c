/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements ws_connect(), ws_connect_check() and ws_connect_cancel(), which any thread may call.
 * ws_connect() copies and checks the options, and posts a connector (an outgoing connection that is
 * being made) to a loop.
 */

#include <apr_strings.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/connector.h"
#include "client/connect.h"
#include "engine/handoff.h"

/* Values of options that the caller does not set, milliseconds and bytes. A connection of the
 * server can supply other values for most of them (ws_connect_from()). */
#define LOOKUP_TIMEOUT 5000
#define CONNECT_TIMEOUT 5000
#define HANDSHAKE_TIMEOUT 10000
#define CLOSE_TIMEOUT 5000
#define PING_INTERVAL 20000
#define PING_GRACE 10000
#define MAX_ANSWER (16 * 1024)
#define MAX_BODY (1024 * 1024)
#define MAX_MESSAGE (1024 * 1024)
#define SEND_QUEUE (1024 * 1024)

/* The id of an attempt consists of a counter, followed by LOOP_BITS bits with the index of the
 * loop. */
#define LOOP_BITS 6

static apr_uint64_t counter;

/* Copy a NULL-terminated list whose number of strings should be a multiple of `multiple`, which is
 * at most 2. If the last string is missing, it becomes "". */
static const char *const *connect_copy_list(apr_pool_t *p, const char *const *list, int multiple)
{
    apr_array_header_t *copy = apr_array_make(p, 8, sizeof(const char *));
    for (; list && *list; list++) {
        APR_ARRAY_PUSH(copy, const char *) = apr_pstrdup(p, *list);
    }
    if (copy->nelts % multiple) {
        APR_ARRAY_PUSH(copy, const char *) = "";
    }
    APR_ARRAY_PUSH(copy, const char *) = NULL;
    return (const char *const *)copy->elts;
}

static void connect_set_default(apr_uint32_t *field, apr_uint32_t value)
{
    if (!*field) {
        *field = value;
    }
}

static void connect_copy_options(ws_connector *t, const ws_connect_options *options)
{
    ws_connect_options *o = &t->o;
    const char **const strings[] = {&o->url,         &o->protocols,   &o->origin,
                                    &o->ca_file,     &o->certificate, &o->key,
                                    &o->server_name, &o->proxy,       &o->source,
                                    &o->unix_socket, &o->key_log,     &o->pass_extensions};
    /* A caller that was built with an older header passes a shorter structure. */
    memcpy(o, options, options->size < sizeof(*o) ? options->size : sizeof(*o));
    for (unsigned i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
        *strings[i] = apr_pstrdup(t->pool, *strings[i]);
    }
    o->headers = connect_copy_list(t->pool, o->headers, 2);
    o->connect_to = connect_copy_list(t->pool, o->connect_to, 1);
    o->max_body = o->max_body < MAX_BODY ? o->max_body : MAX_BODY;
    o->version = o->version ? o->version : 13;
    o->max_answer = o->max_answer ? o->max_answer : MAX_ANSWER;
    connect_set_default(&o->lookup_timeout, LOOKUP_TIMEOUT);
    connect_set_default(&o->connect_timeout, CONNECT_TIMEOUT);
    connect_set_default(&o->handshake_timeout, HANDSHAKE_TIMEOUT);
}

static apr_uint64_t connect_length(apr_uint64_t wanted, apr_uint64_t otherwise)
{
    return wanted == WS_NEVER ? APR_INT64_MAX : wanted ? wanted : otherwise;
}

static void connect_settle(ws_connector *t, const ws_settings *base)
{
    const ws_connect_options *o = &t->o;
    ws_settings *s = &t->settings;
    if (base) {
        *s = *base;
    }
    else {
        s->max_frame = s->max_message = MAX_MESSAGE;
        s->send_queue = SEND_QUEUE;
        s->ping_interval = PING_INTERVAL;
        s->ping_grace = PING_GRACE;
        s->close_timeout = CLOSE_TIMEOUT;
    }
    /* The limits of the Location apply to its clients, not to servers that handlers connect to. */
    memset(s->bounds, 0, sizeof(s->bounds));
    s->slow = WS_SLOW_CLOSE;
    s->max_delay = s->recheck = 0;
    s->log = NULL;
    s->max_frame = connect_length(o->max_frame, o->max_message ? connect_length(o->max_message, 0)
                                                               : s->max_frame);
    s->max_message = connect_length(o->max_message, s->max_message);
    s->send_queue = o->send_queue ? o->send_queue : s->send_queue;
    s->fragment = o->fragment;
    s->ping_interval = o->ping_interval == WS_NEVER ? 0
                       : o->ping_interval           ? o->ping_interval
                                                    : s->ping_interval;
    s->ping_grace = o->ping_grace ? o->ping_grace : s->ping_grace ? s->ping_grace : PING_GRACE;
    s->close_timeout = o->close_timeout ? o->close_timeout : s->close_timeout;
    s->trace = o->trace ? o->trace : s->trace;
}

static ws_connector *connect_new_connector(const ws_connect_options *options,
                                           const ws_settings *base)
{
    apr_pool_t *pool;
    ws_connector *t;
    if (apr_pool_create_unmanaged(&pool) != APR_SUCCESS) {
        return NULL;
    }
    t = apr_pcalloc(pool, sizeof(*t));
    t->pool = pool;
    apr_pool_create(&t->once, pool);
    connect_copy_options(t, options);
    connect_settle(t, base);
    ws_connector_init(t);
    return t;
}

/* Whether the structure ends before the fields that every caller has. */
static int connect_too_short(const ws_connect_options *options)
{
    return options->size < offsetof(ws_connect_options, version);
}

ws_attempt ws_connect_from(ws_engine *e, ws_loop *loop, const ws_settings *base,
                           const ws_connect_options *options, SSL_CTX *tls)
{
    ws_attempt id;
    ws_connector *t;

    if (connect_too_short(options) || !options->url || !options->handler
        || __atomic_load_n(&e->stopping, __ATOMIC_ACQUIRE)
        || !(t = connect_new_connector(options, base))) {
        return 0;
    }
    if (tls && SSL_CTX_up_ref(tls)) {
        t->tls = tls;
    }
    id = t->id = __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED) << LOOP_BITS | loop->index;
    ws_loop_entered(loop, 1);
    if (loop == ws_loop_current()) {
        /* List the connector, so that ws_connect_cancel() can find it. */
        ws_handle_open(loop, &t->handle);
    }
    if (ws_loop_post(loop, &t->start) < 0) {
        if (t->handle.loop) {
            ws_handle_forget(&t->handle);
        }
        ws_loop_left(loop, 1);
        SSL_CTX_free(t->tls);
        apr_pool_destroy(t->pool);
        return 0;
    }
    return id;
}

ws_attempt ws_connect(ws_conn *c, const ws_connect_options *options)
{
    ws_loop *loop = c ? c->loop : ws_loop_current();
    ws_engine *e = loop ? loop->engine : ws_api_engine_now();
    if (!e) {
        return 0;
    }
    return ws_connect_from(e, loop ? loop : ws_engine_least_busy(e), c ? c->settings : NULL,
                           options, NULL);
}

const char *ws_connect_check(apr_pool_t *p, const ws_connect_options *options)
{
    ws_connector *t = apr_pcalloc(p, sizeof(*t));
    const ws_connect_options *o = &t->o;
    char *error = apr_palloc(p, WS_TLS_ERROR);
    ws_tls_files files;
    const char *wrong;

    if (connect_too_short(options)) {
        return "request: the options do not have their size";
    }
    t->pool = t->once = p;
    connect_copy_options(t, options);
    files = (ws_tls_files){o->ca_file, o->certificate, o->key, o->insecure, NULL};
    if ((wrong = ws_connector_check(t)) || (wrong = ws_connector_choose_proxy(t))) {
        return wrong;
    }
    return (o->ca_file || o->certificate) && ws_tls_check(&files, error) < 0 ? error : NULL;
}

/* ---- Cancelling ---- */

typedef struct cancel_task {
    ws_task task;
    ws_attempt id;
} cancel_task;

static void connect_do_cancel(ws_loop *loop, ws_task *task)
{
    ws_connector_cancel(loop, ((cancel_task *)task)->id);
    free(task);
}

void ws_connect_cancel(ws_attempt attempt)
{
    ws_loop *here = ws_loop_current();
    ws_engine *e = here ? here->engine : ws_api_engine_now();
    unsigned index = (unsigned)attempt & ((1u << LOOP_BITS) - 1);
    cancel_task *task;
    if (!attempt || !e || index >= e->options.loops) {
        return;
    }
    if (here == &e->loops[index] && ws_connector_cancel(here, attempt)) {
        return;
    }
    if ((task = ws_task_new(sizeof(*task), connect_do_cancel))) {
        task->id = attempt;
        if (ws_loop_post(&e->loops[index], &task->task) < 0) {
            free(task);
        }
    }
}
