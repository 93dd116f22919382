/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The history of channels in Redis: a stream for each. */

#include <stdlib.h>
#include <string.h>

#include "redis/private.h"

/* Names of a channel that is forgotten live on so long, seconds, so that positions hold. */
#define REMEMBERED (24 * 3600)

/* How long it is known that a message has been kept: whoever sends it again does so before. */
#define KNOWN 600

/*
 * KEYS: messages, position, done. ARGV: an epoch, should there be none; count; age; type; server; except;
 * time; data; REMEMBERED; KNOWN. A message that was kept already has the position that it had then: an
 * answer can get lost with its connection.
 */
static const char append_script[] =
    "local was = redis.call('GET', KEYS[3])\n"
    "if was then return {redis.call('HGET', KEYS[2], 'epoch'), was} end\n"
    "redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])\n"
    "local n = redis.call('HINCRBY', KEYS[2], 'offset', 1)\n"
    "redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], string.format('%d-1', n), 't', ARGV[4], 's', "
    "ARGV[5],"
    " 'e', ARGV[6], 'w', ARGV[7], 'd', ARGV[8])\n"
    "if ARGV[3] ~= '0' then\n"
    "  redis.call('EXPIRE', KEYS[1], ARGV[3])\n"
    "  redis.call('EXPIRE', KEYS[2], ARGV[3] + ARGV[9])\n"
    "end\n"
    "redis.call('SET', KEYS[3], n, 'EX', ARGV[10])\n"
    "return {redis.call('HGET', KEYS[2], 'epoch'), n}\n";

/* KEYS: messages, position. ARGV: an epoch, should there be none; epoch and offset behind which is read;
 * how many. */
static const char read_script[] = "redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])\n"
                                  "local e = redis.call('HGET', KEYS[2], 'epoch')\n"
                                  "local n = redis.call('HGET', KEYS[2], 'offset') or 0\n"
                                  "local from = e == ARGV[2] and ARGV[3] + 1 or 1\n"
                                  "return {e, n, redis.call('XRANGE', KEYS[1], "
                                  "string.format('%d-0', from), '+', 'COUNT', ARGV[4])}\n";

static const ws_keep *keep_of(const ws_redis *r, const char *channel)
{
    return ws_history_rule_of(r->options.rules, r->options.rule_count, channel);
}

static int keeps(ws_history *h, const char *channel)
{
    return keep_of(WS_REDIS_OF(h, history), channel) != NULL;
}

static int set_keys(const ws_redis *r, ws_redis_job *j, const char *script, int keys)
{
    const char *p = r->options.prefix, *c = j->channel;
    return ws_redis_job_printf(j, 0, "EVAL") < 0
                   || ws_redis_job_set(j, 1, script, strlen(script)) < 0
                   || ws_redis_job_printf(j, 2, "%d", keys) < 0
                   || ws_redis_job_printf(j, 3, "%s{%s}:m", p, c) < 0
                   || ws_redis_job_printf(j, 4, "%s{%s}:p", p, c) < 0
               ? -1
               : 0;
}

static apr_uint64_t number_of(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_INTEGER  ? (apr_uint64_t)reply->integer
           : reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10)
                                               : 0;
}

/* ---- Keeping ---- */

static void has_kept(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    ws_position at = {0, 0};
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        at = (ws_position){number_of(reply->element[0]), number_of(reply->element[1])};
    }
    else if (reply) {
        ws_redis_refused(r, reply);
    }
    j->append_done(j->arg, at.epoch ? APR_SUCCESS : APR_EGENERAL, at);
}

static ws_status append(ws_history *h, ws_message *m, ws_append_done done, void *arg)
{
    static apr_uint64_t numbers;
    ws_redis *r = WS_REDIS_OF(h, history);
    const ws_keep *keep = keep_of(r, m->channel);
    ws_redis_job *j = keep ? ws_redis_job_new(16) : NULL;
    apr_time_t now = apr_time_now();
    if (!j) {
        return WS_FULL;
    }
    memcpy(j->channel, m->channel, m->channel_len + 1);
    j->m = ws_message_ref(m);
    j->append_done = done;
    j->arg = arg;
    j->done = has_kept;
    j->lasting = 1;
    if (set_keys(r, j, append_script, 3) < 0
        || ws_redis_job_printf(
               j, 5, "%s{%s}:d:%llx.%x.%llx", r->options.prefix, j->channel,
               (unsigned long long)r->options.self.server, r->options.self.process,
               (unsigned long long)__atomic_add_fetch(&numbers, 1, __ATOMIC_RELAXED))
               < 0
        || ws_redis_job_printf(j, 6, "%lld", (long long)now) < 0
        || ws_redis_job_printf(j, 7, "%u", keep->count) < 0
        || ws_redis_job_printf(j, 8, "%u", keep->age) < 0
        || ws_redis_job_printf(j, 9, "%d", (int)m->type) < 0
        || ws_redis_job_printf(j, 10, "%llu", (unsigned long long)m->server) < 0
        || ws_redis_job_printf(j, 11, "%llu", (unsigned long long)m->except) < 0
        || ws_redis_job_printf(j, 12, "%lld", (long long)apr_time_sec(now)) < 0
        || ws_redis_job_set(j, 13, m->data, m->len) < 0
        || ws_redis_job_printf(j, 14, "%d", REMEMBERED) < 0
        || ws_redis_job_printf(j, 15, "%d", KNOWN) < 0 || ws_redis_give(r, j) < 0) {
        ws_redis_job_free(j);
        return WS_FULL;
    }
    return WS_QUEUED;
}

/* ---- Reading ---- */

/* An entry of a stream: its id, and names and values. @return NULL if it is none of ours, or too old */
static ws_message *message_of(const ws_redis_job *j, const redisReply *entry, apr_uint64_t epoch,
                              const ws_keep *keep)
{
    const redisReply *fields = entry->elements == 2 ? entry->element[1] : NULL;
    const redisReply *data;
    ws_message *m;
    if (!fields || fields->elements != 10) {
        return NULL;
    }
    if (keep && keep->age
        && (apr_int64_t)number_of(fields->element[7]) + keep->age < apr_time_sec(apr_time_now())) {
        return NULL;
    }
    data = fields->element[9];
    if (!(m = ws_message_new(j->channel, (ws_type)number_of(fields->element[1]), data->str,
                             (apr_size_t)data->len))) {
        return NULL;
    }
    m->position = (ws_position){epoch, strtoull(entry->element[0]->str, NULL, 10)};
    m->server = number_of(fields->element[3]);
    m->except = number_of(fields->element[5]);
    return m;
}

static void has_read(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    ws_history_page page = {.status = APR_EGENERAL};
    const ws_keep *keep = keep_of(r, j->channel);
    ws_message **messages = NULL;
    if (reply && !ws_redis_refused(r, reply) && reply->type == REDIS_REPLY_ARRAY
        && reply->elements == 3) {
        const redisReply *entries = reply->element[2];
        apr_uint64_t first;
        page.status = APR_SUCCESS;
        page.head = (ws_position){number_of(reply->element[0]), number_of(reply->element[1])};
        messages = calloc(entries->elements + 1, sizeof(*messages));
        for (size_t i = 0; messages && i < entries->elements && page.count < j->max; i++) {
            ws_message *m = message_of(j, entries->element[i], page.head.epoch, keep);
            if (m) {
                messages[page.count++] = m;
            }
        }
        page.messages = messages;
        page.more = j->max && entries->elements > j->max;
        first = page.count ? messages[0]->position.offset
                : !j->max && entries->elements
                    ? strtoull(entries->element[0]->element[0]->str, NULL, 10)
                    : page.head.offset + 1;
        page.gap = j->after.epoch
                   && (j->after.epoch != page.head.epoch || j->after.offset > page.head.offset
                       || j->after.offset + 1 < first);
    }
    j->read_done(j->arg, &page);
    for (unsigned i = 0; i < page.count; i++) {
        ws_message_unref(messages[i]);
    }
    free(messages);
}

static void read_channel(ws_history *h, const char *channel, ws_position after, unsigned max,
                         ws_read_done done, void *arg)
{
    ws_redis *r = WS_REDIS_OF(h, history);
    ws_redis_job *j = ws_redis_job_new(9);
    static const ws_history_page nothing = {.status = APR_ENOMEM};
    if (j) {
        strncpy(j->channel, channel, WS_CHANNEL_MAX);
        j->after = after;
        j->max = max;
        j->read_done = done;
        j->arg = arg;
        j->done = has_read;
        j->lasting = 1;
    }
    if (!j || set_keys(r, j, read_script, 2) < 0
        || ws_redis_job_printf(j, 5, "%lld", (long long)apr_time_now()) < 0
        || ws_redis_job_printf(j, 6, "%llu", (unsigned long long)after.epoch) < 0
        || ws_redis_job_printf(j, 7, "%llu", (unsigned long long)after.offset) < 0
        || ws_redis_job_printf(j, 8, "%u", max + 1) < 0 || ws_redis_give(r, j) < 0) {
        ws_redis_job_free(j);
        done(arg, &nothing);
    }
}

/* ---- Forgetting ---- */

static void has_cleared(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    j->clear_done(j->arg, reply && !ws_redis_refused(r, reply) ? APR_SUCCESS : APR_EGENERAL);
}

static void clear(ws_history *h, const char *channel, ws_clear_done done, void *arg)
{
    ws_redis *r = WS_REDIS_OF(h, history);
    ws_redis_job *j = ws_redis_job_new(2);
    if (j) {
        j->clear_done = done;
        j->arg = arg;
        j->done = has_cleared;
        j->lasting = 1;
    }
    if (!j || ws_redis_job_printf(j, 0, "DEL") < 0
        || ws_redis_job_printf(j, 1, "%s{%s}:m", r->options.prefix, channel) < 0
        || ws_redis_give(r, j) < 0) {
        ws_redis_job_free(j);
        done(arg, APR_ENOMEM);
    }
}

void ws_redis_history_init(ws_redis *r)
{
    r->history = (ws_history){"redis", keeps, append, read_channel, clear};
}
