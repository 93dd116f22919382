/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Channels' histories in Redis: one stream per channel. Scripts make each operation atomic. They
 *  also make operations idempotent, because an operation whose reply is lost with the connection is
 *  sent again. */

#include <apr_lib.h>
#include <apr_strings.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "redis/private.h"

/* Time for which a channel's epoch and offset are stored after its messages have expired, so that
 * positions stay valid, seconds. */
#define REMEMBERED (24 * 3600)

/* Size limit for the messages on a page, bytes. A single message may be larger. */
#define PAGE_BYTES (256 * 1024)

/* clang-format off */

/* Part of a script. epoch and offset: the numbers of the arguments with the newest epoch and offset
 * that this process knows. If the offset in Redis is lower, the script begins a new epoch. */
#define TAIL(epoch, offset)                                                                        \
    "if redis.call('HGET', KEYS[2], 'epoch') == ARGV[" epoch "]"                                   \
    " and tonumber(redis.call('HGET', KEYS[2], 'offset') or 0) < tonumber(ARGV[" offset            \
    "]) then\n"                                                                                    \
    "  redis.call('HSET', KEYS[2], 'epoch', ARGV[1])\n"                                            \
    "end\n"

/*
 * KEYS: the channel's messages; its position; the key that marks the message's id as published.
 * ARGV: a new epoch, used if the channel has none; count; age; type; server; except; time; data;
 * REMEMBERED; WS_ONCE_TIME; a token that is unique to the message; the message's fields; epoch and
 * offset of the newest known message. If the reply was lost with the connection, the script runs
 * again. If the message is then already stored, the reply is its position. If another message with
 * the same id is stored, the reply is the position of that message, and 1 as third element.
 */
static const char append_script[] =
    "local was = redis.call('GET', KEYS[3])\n"
    "if was then\n"
    "  local n, of = string.match(was, '^(%d+) (.*)$')\n"
    "  return {redis.call('HGET', KEYS[2], 'epoch'), n, of == ARGV[11] and 0 or 1}\n"
    "end\n"
    "redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])\n"
    TAIL("13", "14")
    "local n = redis.call('HINCRBY', KEYS[2], 'offset', 1)\n"
    "local entry = {'t', ARGV[4], 's', ARGV[5], 'e', ARGV[6], 'w', ARGV[7], 'd', ARGV[8]}\n"
    "if ARGV[12] ~= '' then entry[11], entry[12] = 'x', ARGV[12] end\n"
    "redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], string.format('%d-1', n), unpack(entry))\n"
    "if ARGV[3] ~= '0' then\n"
    "  redis.call('EXPIRE', KEYS[1], ARGV[3])\n"
    "  redis.call('EXPIRE', KEYS[2], ARGV[3] + ARGV[9])\n"
    "end\n"
    "redis.call('SET', KEYS[3], n .. ' ' .. ARGV[11], 'EX', ARGV[10])\n"
    "return {redis.call('HGET', KEYS[2], 'epoch'), n, 0}\n";

/* KEYS: the channel's messages; its position. ARGV: a new epoch, used if the channel has none;
 * epoch and offset after which to read; maximum number of messages of the page, and of their bytes;
 * time before which messages are too old, seconds; epoch and offset of the newest known message. */
static const char read_script[] =
    "redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])\n"
    TAIL("7", "8")
    "local e = redis.call('HGET', KEYS[2], 'epoch')\n"
    "local n = redis.call('HGET', KEYS[2], 'offset') or 0\n"
    "local from = e == ARGV[2] and ARGV[3] + 1 or 1\n"
    "local max, bytes, oldest = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])\n"
    "local page, size, full = {}, 0, false\n"
    "repeat\n"
    "  local all = redis.call('XRANGE', KEYS[1], string.format('%d-0', from), '+', 'COUNT', max)\n"
    "  for _, m in ipairs(all) do\n"
    "    from = tonumber(string.match(m[1], '^%d+')) + 1\n"
    "    if tonumber(m[2][8]) >= oldest then\n"
    "      size = size + #m[2][10]\n"
    "      full = #page == max or (#page > 0 and size > bytes)\n"
    "      if full then break end\n"
    "      page[#page + 1] = m\n"
    "    end\n"
    "  end\n"
    "until full or #page > 0 or #all < max\n"
    "return {e, n, page}\n";
/* clang-format on */

static const ws_keep *history_keep(const ws_redis *r, const char *channel)
{
    return ws_history_rule_of(r->options.rules, r->options.rule_count, channel);
}

static int history_keeps(ws_history *h, const char *channel)
{
    return history_keep(WS_REDIS_OF(h, history), channel) != NULL;
}

static int history_set_keys(const ws_redis *r, ws_redis_job *j, const char *script, int keys)
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

/* Read an epoch and an offset. @return whether both are valid */
static int history_position(const redisReply *epoch, const redisReply *offset, ws_position *at)
{
    return ws_redis_number(epoch, &at->epoch) && ws_redis_number(offset, &at->offset) && at->epoch;
}

static int history_set_tail(ws_redis_job *j, int i, ws_position tail)
{
    return ws_redis_job_printf(j, i, "%llu", (unsigned long long)tail.epoch) < 0
                   || ws_redis_job_printf(j, i + 1, "%llu", (unsigned long long)tail.offset) < 0
               ? -1
               : 0;
}

/* Log a reply that reports no success. After an error reply nothing is written, because Redis
 * reports errors before it writes. Other unexpected replies leave the outcome unknown.
 * @return APR_EGENERAL: nothing is written; APR_INCOMPLETE: the outcome is unknown */
static apr_status_t history_failed(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    int refused = (reply && reply->type == REDIS_REPLY_ERROR) || ws_message_withdraw(j->m);
    ws_redis_wrong(r, reply);
    return refused ? APR_EGENERAL : APR_INCOMPLETE;
}

/* ---- Appending ---- */

static void history_appended(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    ws_position at = {0, 0};
    apr_uint64_t duplicate;
    apr_status_t rv;
    if (ws_redis_is_array(reply, 3) && history_position(reply->element[0], reply->element[1], &at)
        && at.offset && ws_redis_number(reply->element[2], &duplicate) && duplicate <= 1) {
        rv = duplicate ? APR_EEXIST : APR_SUCCESS;
        ws_redis_tail_note(r, j->channel, at);
    }
    else {
        rv = history_failed(r, j, reply);
    }
    j->append_done(j->arg, rv, at);
}

static ws_status history_append(ws_history *h, ws_message *m, ws_append_done done, void *arg)
{
    static apr_uint64_t numbers;
    ws_redis *r = WS_REDIS_OF(h, history);
    const ws_keep *keep = history_keep(r, m->channel);
    ws_redis_job *j = keep ? ws_redis_job_new(20) : NULL;
    apr_time_t now = apr_time_now();
    ws_position tail = ws_redis_tail_of(r, m->channel);
    unsigned char fields[WS_FIELDS_MAX];
    apr_uint64_t number;
    if (!j) {
        return WS_FULL;
    }
    memcpy(j->channel, m->channel, m->channel_len + 1);
    j->m = ws_message_ref(m);
    j->append_done = done;
    j->arg = arg;
    j->done = history_appended;
    j->lasting = j->repeats = 1;
    number = m->once ? m->number : __atomic_add_fetch(&numbers, 1, __ATOMIC_RELAXED);
    if (history_set_keys(r, j, append_script, 3) < 0
        || (m->once ? ws_redis_once_key(r, j, 5, m)
                    : ws_redis_job_printf(j, 5, "%s{%s}:d:%llx.%x.%llx", r->options.prefix,
                                          j->channel, (unsigned long long)r->options.self.server,
                                          r->options.self.process, (unsigned long long)number))
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
        || ws_redis_job_printf(j, 15, "%d", WS_ONCE_TIME) < 0
        || ws_redis_once_token(r, j, 16, "", number) < 0
        || ws_redis_job_set(j, 17, fields, ws_fields_encode(&m->fields, fields)) < 0
        || history_set_tail(j, 18, tail) < 0 || ws_redis_give(r, j) < 0) {
        ws_redis_job_free(j);
        return WS_FULL;
    }
    return WS_QUEUED;
}

/* ---- Reading ---- */

/* Get the offset of a stream entry, whose id is "offset-1". @return 0: another program wrote the
 * entry */
static apr_uint64_t history_offset(const redisReply *entry)
{
    char *end;
    apr_uint64_t offset;
    if (!ws_redis_is_array(entry, 2) || !ws_redis_is_text(entry->element[0])
        || !apr_isdigit(*entry->element[0]->str)) {
        return 0;
    }
    errno = 0;
    offset = strtoull(entry->element[0]->str, &end, 10);
    return !errno && *end == '-' ? offset : 0;
}

/* Create a message from the fields of an entry. @return APR_SUCCESS; APR_EINVAL: another program
 * wrote the entry; or another error */
static apr_status_t history_message(const ws_redis_job *j, const redisReply *entry, ws_position at,
                                    ws_message **m)
{
    const redisReply *fields = entry->element[1], *data;
    const redisReply *extra = NULL;
    ws_message_fields more;
    ws_fields_buffer buffer;
    apr_uint64_t type, server, except;
    if (!(ws_redis_is_array(fields, 10) || ws_redis_is_array(fields, 12))
        || !ws_redis_number(fields->element[1], &type)
        || !ws_redis_number(fields->element[3], &server)
        || !ws_redis_number(fields->element[5], &except)) {
        return APR_EINVAL;
    }
    data = fields->element[9];
    if (fields->elements == 12) {
        extra = fields->element[11];
    }
    if (data->type != REDIS_REPLY_STRING || type > WS_BINARY
        || (extra && extra->type != REDIS_REPLY_STRING)
        || !ws_fields_decode(&more, extra ? extra->str : NULL, extra ? (apr_size_t)extra->len : 0,
                             &buffer)
        || !ws_message_valid((ws_type)type, data->str, (apr_size_t)data->len)) {
        return APR_EINVAL;
    }
    if (!(*m = ws_message_new_with(j->channel, (ws_type)type, data->str, (apr_size_t)data->len,
                                   &more))) {
        return APR_ENOMEM;
    }
    (*m)->position = at;
    (*m)->server = server;
    (*m)->except = except;
    return APR_SUCCESS;
}

/* A page under construction. */
typedef struct reading {
    ws_history_page page;
    ws_message **messages;
    apr_uint64_t last; /* offset of the last entry */
} reading;

/* Add an entry to the page. An entry whose offset is not greater than that of the previous entry is
 * rejected, because a reader might otherwise never finish. */
static apr_status_t history_take_entry(const ws_redis_job *j, const redisReply *entry, reading *g)
{
    ws_position at = {g->page.head.epoch, history_offset(entry)};
    apr_status_t rv = APR_EINVAL;
    if (at.offset > g->last && at.offset <= g->page.head.offset) {
        g->last = at.offset;
        rv = history_message(j, entry, at, &g->messages[g->page.count]);
        g->page.count += rv == APR_SUCCESS;
    }
    return rv;
}

static apr_status_t history_take_entries(const ws_redis_job *j, const redisReply *entries,
                                         reading *g)
{
    apr_status_t rv = APR_SUCCESS;
    if (entries->type != REDIS_REPLY_ARRAY) {
        return APR_EINVAL;
    }
    if (!(g->messages = calloc(entries->elements + 1, sizeof(*g->messages)))) {
        return APR_ENOMEM;
    }
    for (size_t i = 0; rv == APR_SUCCESS && i < entries->elements; i++) {
        rv = history_take_entry(j, entries->element[i], g);
    }
    return rv;
}

static apr_status_t history_take_page(const ws_redis_job *j, const redisReply *reply, reading *g)
{
    ws_history_page *p = &g->page;
    apr_uint64_t first;
    apr_status_t rv;
    if (!ws_redis_is_array(reply, 3)
        || !history_position(reply->element[0], reply->element[1], &p->head)) {
        return APR_EINVAL;
    }
    g->last = j->after.epoch == p->head.epoch ? j->after.offset : 0;
    rv = history_take_entries(j, reply->element[2], g);
    first = p->count ? g->messages[0]->position.offset : p->head.offset + 1;
    p->messages = g->messages;
    p->more = j->max && p->count && g->last < p->head.offset;
    p->gap = j->after.epoch
             && (j->after.epoch != p->head.epoch || j->after.offset > p->head.offset
                 || j->after.offset + 1 < first);
    return rv;
}

static void history_was_read(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    reading g = {.page = {.status = APR_EGENERAL}};
    ws_history_page nothing = {.status = APR_EINVAL};
    unsigned count;
    if (reply && reply->type != REDIS_REPLY_ERROR) {
        g.page.status = history_take_page(j, reply, &g);
    }
    if (g.page.status == APR_SUCCESS) {
        ws_redis_tail_note(r, j->channel, g.page.head);
    }
    if (g.page.status != APR_SUCCESS) {
        ws_redis_wrong(r, reply);
    }
    count = g.page.count;
    g.page.count = count < j->max ? count : j->max;
    j->read_done(j->arg, g.page.status == APR_EINVAL ? &nothing : &g.page);
    while (count) {
        ws_message_unref(g.messages[--count]);
    }
    free(g.messages);
}

static int history_request_page(ws_redis *r, ws_redis_job *j)
{
    const ws_keep *keep = history_keep(r, j->channel);
    apr_time_t now = apr_time_now();
    apr_int64_t oldest = keep && keep->age ? apr_time_sec(now) - keep->age : 0;
    return history_set_keys(r, j, read_script, 2) < 0
                   || ws_redis_job_printf(j, 5, "%lld", (long long)now) < 0
                   || ws_redis_job_printf(j, 6, "%llu", (unsigned long long)j->after.epoch) < 0
                   || ws_redis_job_printf(j, 7, "%llu", (unsigned long long)j->after.offset) < 0
                   || ws_redis_job_printf(j, 8, "%u", j->max ? j->max : 1) < 0
                   || ws_redis_job_printf(j, 9, "%d", PAGE_BYTES) < 0
                   || ws_redis_job_printf(j, 10, "%lld", (long long)oldest) < 0
                   || history_set_tail(j, 11, ws_redis_tail_of(r, j->channel)) < 0
                   || ws_redis_give(r, j) < 0
               ? -1
               : 0;
}

static void history_read(ws_history *h, const char *channel, ws_position after, unsigned max,
                         ws_read_done done, void *arg)
{
    ws_redis *r = WS_REDIS_OF(h, history);
    ws_redis_job *j = ws_redis_job_new(13);
    static const ws_history_page nothing = {.status = APR_ENOMEM};
    if (j) {
        apr_cpystrn(j->channel, channel, sizeof(j->channel));
        j->after = after;
        j->max = max;
        j->read_done = done;
        j->arg = arg;
        j->done = history_was_read;
        j->lasting = j->repeats = 1;
    }
    if (!j || history_request_page(r, j) < 0) {
        ws_redis_job_free(j);
        done(arg, &nothing);
    }
}

/* ---- Clearing ---- */

static void history_cleared(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    apr_uint64_t deleted;
    j->clear_done(j->arg,
                  ws_redis_number(reply, &deleted) ? APR_SUCCESS : history_failed(r, j, reply));
}

static void history_clear(ws_history *h, ws_message *order, ws_clear_done done, void *arg)
{
    ws_redis *r = WS_REDIS_OF(h, history);
    ws_redis_job *j = ws_redis_job_new(2);
    if (j) {
        j->clear_done = done;
        j->arg = arg;
        j->done = history_cleared;
        j->m = ws_message_ref(order);
        j->lasting = 1; /* but never repeated, which could delete messages stored since */
    }
    if (!j || ws_redis_job_printf(j, 0, "DEL") < 0
        || ws_redis_job_printf(j, 1, "%s{%s}:m", r->options.prefix, order->channel) < 0
        || ws_redis_give(r, j) < 0) {
        ws_redis_job_free(j);
        done(arg, APR_ENOMEM);
    }
}

void ws_redis_history_init(ws_redis *r)
{
    r->history =
        (ws_history){"redis", history_keeps, history_append, history_read, history_clear, 1};
}
