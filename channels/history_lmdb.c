/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A history store on an LMDB file. One thread writes queued messages in batches. Callers never
 * block: when the queue is full, append refuses the message.
 */

#include "channels/history_lmdb.h"

#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

#define QUEUE_DEFAULT (8 * 1024 * 1024)

/* Maximum size of a page, bytes. A page always has at least one message. */
#define PAGE_BYTES (256 * 1024)

/* Status of a job whose message the publisher has withdrawn. No library returns this status. */
#define WITHDRAWN (APR_OS_START_USERERR + 1)

/* Maximum number of jobs in one transaction. */
#define BATCH 256

typedef struct job job;
struct job {
    job *next;
    ws_message *m; /**< the message to store, or the order to clear its channel */
    ws_append_done append_done;
    ws_clear_done clear_done; /**< NULL: store the message */
    void *arg;
    const ws_keep *keep;
    apr_status_t status;
    ws_position at;
};

typedef struct store {
    ws_history base;
    ws_history_lmdb_options options;
    ws_history_records *records;
    apr_thread_t *thread;
    apr_thread_mutex_t *lock; /**< protects the fields below */
    apr_thread_cond_t *work;
    job *first, **last;
    apr_size_t waiting; /**< size of the queue, bytes */
    int stop;
} store;

static const ws_keep *lmdb_keep_of(const store *s, const char *channel)
{
    return ws_history_rule_of(s->options.rules, s->options.rule_count, channel);
}

static int lmdb_keeps(ws_history *h, const char *channel)
{
    return lmdb_keep_of((store *)h, channel) != NULL;
}

/* ---- Writing ---- */

static apr_status_t lmdb_do_job(ws_change *c, job *j)
{
    return !ws_message_take(j->m) ? WITHDRAWN
           : j->clear_done        ? ws_change_clear(c, j->m->channel)
                                  : ws_change_append(c, j->m, j->keep, &j->at);
}

/* Run jobs in one transaction. @return its result; after an error, nothing has changed */
static apr_status_t lmdb_do_jobs(store *s, job *first, const job *end, unsigned harder)
{
    ws_change *c;
    apr_status_t rv = ws_change_begin(s->records, harder, &c);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (job *j = first; j != end; j = j->next) {
        j->status = lmdb_do_job(c, j);
    }
    return ws_change_end(c);
}

/* Run one job in a separate transaction. After a batch has failed, each of its jobs runs this way,
 * so that only the bad job fails. */
static void lmdb_do_one(store *s, job *j)
{
    apr_status_t rv = APR_ENOSPC;
    for (unsigned harder = 0; rv == APR_ENOSPC && harder <= WS_CHANGE_HARDEST; harder++) {
        rv = lmdb_do_jobs(s, j, j->next, harder);
    }
    if (rv != APR_SUCCESS) {
        j->status = rv;
    }
}

static void lmdb_answer(job *j)
{
    if (j->clear_done) {
        j->clear_done(j->arg, j->status);
    }
    else {
        j->append_done(j->arg, j->status, j->at);
    }
    ws_message_unref(j->m);
    free(j);
}

static void lmdb_write_jobs(store *s, job *first)
{
    while (first) {
        job *end = first;
        for (unsigned n = 0; end && n < BATCH; n++) {
            end = end->next;
        }
        if (lmdb_do_jobs(s, first, end, 0) != APR_SUCCESS) {
            for (job *j = first; j != end; j = j->next) {
                lmdb_do_one(s, j);
            }
        }
        while (first != end) {
            job *j = first;
            first = j->next;
            lmdb_answer(j);
        }
    }
}

static void *APR_THREAD_FUNC lmdb_run(apr_thread_t *self, void *arg)
{
    store *s = arg;
    (void)self;
    apr_thread_mutex_lock(s->lock);
    for (;;) {
        job *jobs = s->first;
        if (jobs) {
            s->first = NULL;
            s->last = &s->first;
            s->waiting = 0;
            apr_thread_mutex_unlock(s->lock);
            lmdb_write_jobs(s, jobs);
            apr_thread_mutex_lock(s->lock);
        }
        else if (s->stop) {
            break;
        }
        else {
            apr_thread_cond_wait(s->work, s->lock);
        }
    }
    apr_thread_mutex_unlock(s->lock);
    return NULL;
}

/* Queue a job. @return 0; -1: the queue is full, or the store is stopping */
static int lmdb_give(store *s, job *j, apr_size_t cost)
{
    int full;
    apr_thread_mutex_lock(s->lock);
    full = s->stop || (s->first && s->waiting + cost > s->options.queue);
    if (!full) {
        s->waiting += cost;
        *s->last = j;
        s->last = &j->next;
        apr_thread_cond_signal(s->work);
    }
    apr_thread_mutex_unlock(s->lock);
    return full ? -1 : 0;
}

static ws_status lmdb_append(ws_history *h, ws_message *m, ws_append_done done, void *arg)
{
    store *s = (store *)h;
    const ws_keep *keep = lmdb_keep_of(s, m->channel);
    job *j = calloc(1, sizeof(*j));
    if (!j) {
        return WS_FULL;
    }
    j->m = ws_message_ref(m);
    j->append_done = done;
    j->arg = arg;
    j->keep = keep;
    if (!keep) { /* callers check keeps() first; report an error, not a position */
        j->status = APR_EINVAL;
        lmdb_answer(j);
        return WS_QUEUED;
    }
    if (lmdb_give(s, j, ws_message_cost(m)) < 0) {
        ws_message_unref(m);
        free(j);
        return WS_FULL;
    }
    return WS_QUEUED;
}

static void lmdb_clear(ws_history *h, ws_message *order, ws_clear_done done, void *arg)
{
    job *j = calloc(1, sizeof(*j));
    if (j) {
        j->m = ws_message_ref(order);
        j->clear_done = done;
        j->arg = arg;
    }
    if (!j || lmdb_give((store *)h, j, 0) < 0) {
        if (j) {
            ws_message_unref(order);
        }
        free(j);
        done(arg, APR_ENOMEM);
    }
}

/* ---- Reading ---- */

typedef struct page {
    const char *channel;
    ws_message **messages;
    unsigned count, size, max;
    apr_size_t bytes;
    apr_status_t status;
    int more, gap;
} page;

static int lmdb_add_to_page(const ws_past *past, void *arg)
{
    page *p = arg;
    ws_message_fields fields;
    ws_fields_buffer buffer;
    ws_message *m;
    if (p->count == p->max || (p->count && p->bytes + past->len > PAGE_BYTES)) {
        p->more = 1;
        return 1;
    }
    if (p->count == p->size) {
        unsigned size = p->size ? 2 * p->size : 16;
        ws_message **grown = realloc(p->messages, size * sizeof(*grown));
        if (!grown) {
            p->status = APR_ENOMEM;
            return 1;
        }
        p->messages = grown;
        p->size = size;
    }
    if (!ws_message_valid(past->type, past->data, past->len)
        || !ws_fields_decode(&fields, past->fields, past->fields_len, &buffer)) {
        p->gap = 1; /* the file has been damaged */
        return 0;
    }
    if (!(m = ws_message_new_with(p->channel, past->type, past->data, past->len, &fields))) {
        p->status = APR_ENOMEM;
        return 1;
    }
    m->position = past->at;
    m->server = past->server;
    m->except = past->except;
    p->messages[p->count++] = m;
    p->bytes += past->len;
    return 0;
}

static void lmdb_read_channel(ws_history *h, const char *channel, ws_position after, unsigned max,
                              ws_read_done done, void *arg)
{
    store *s = (store *)h;
    page p = {.channel = channel, .max = max};
    ws_history_page result = {.status = APR_SUCCESS};
    ws_span span;

    result.status = ws_history_records_read(s->records, channel, after,
                                            max ? lmdb_add_to_page : NULL, &p, &span);
    if (result.status == APR_SUCCESS) {
        result.status = p.status;
    }
    result.messages = p.messages;
    result.count = p.count;
    result.head = span.last;
    result.gap = span.gap || p.gap;
    result.more = p.more;
    done(arg, &result);
    while (p.count) {
        ws_message_unref(p.messages[--p.count]);
    }
    free(p.messages);
}

/* ---- Creation and destruction ---- */

apr_status_t ws_history_lmdb_create(ws_history **h, const ws_history_lmdb_options *options,
                                    apr_pool_t *pool)
{
    store *s = apr_pcalloc(pool, sizeof(*s));
    apr_status_t rv;

    s->base = (ws_history){"lmdb", lmdb_keeps, lmdb_append, lmdb_read_channel, lmdb_clear, 0};
    s->options = *options;
    s->options.queue = options->queue ? options->queue : QUEUE_DEFAULT;
    s->last = &s->first;
    if ((rv = apr_thread_mutex_create(&s->lock, APR_THREAD_MUTEX_DEFAULT, pool)) != APR_SUCCESS
        || (rv = apr_thread_cond_create(&s->work, pool)) != APR_SUCCESS
        || (rv = ws_history_records_open(&s->records, options->directory, options->size,
                                         options->log, pool))
               != APR_SUCCESS) {
        return rv;
    }
    if ((rv = ws_thread_create(&s->thread, lmdb_run, s, pool)) != APR_SUCCESS) {
        ws_history_records_close(s->records);
        return rv;
    }
    *h = &s->base;
    return APR_SUCCESS;
}

void ws_history_lmdb_destroy(ws_history *h)
{
    store *s = (store *)h;
    apr_status_t rv;
    apr_thread_mutex_lock(s->lock);
    s->stop = 1;
    apr_thread_cond_signal(s->work);
    apr_thread_mutex_unlock(s->lock);
    apr_thread_join(&rv, s->thread);
    ws_history_records_close(s->records);
}
