/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The history of channels in Redis: a stream for each. */

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#include "redis/private.h"

/* Names of a channel that is forgotten live on so long, seconds, so that positions hold. */
#define REMEMBERED (24 * 3600)

/* A page has so many bytes of messages, or one message. */
#define PAGE_BYTES (256 * 1024)

/*
 * KEYS: messages, position, done. ARGV: an epoch, should there be none; count; age; type; server; except;
 * time; data; REMEMBERED; KNOWN; what tells the message from all others; its fields. A message that was kept already has
 * the position that it had then: an answer can get lost with its connection. One with the id of another (the
 * answer's third part is 1) has that one's.
 */
static const char append_script[] =
    "local was = redis.call('GET', KEYS[3])\n"
    "if was then\n"
    "  local n, of = string.match(was, '^(%d+) (.*)$')\n"
    "  return {redis.call('HGET', KEYS[2], 'epoch'), n, of == ARGV[11] and 0 or 1}\n"
    "end\n"
    "redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])\n"
    "local n = redis.call('HINCRBY', KEYS[2], 'offset', 1)\n"
    "redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], string.format('%d-1', n), 't', ARGV[4], 's', "
    "ARGV[5],"
    " 'e', ARGV[6], 'w', ARGV[7], 'd', ARGV[8], 'x', ARGV[12])\n"
    "if ARGV[3] ~= '0' then\n"
    "  redis.call('EXPIRE', KEYS[1], ARGV[3])\n"
    "  redis.call('EXPIRE', KEYS[2], ARGV[3] + ARGV[9])\n"
    "end\n"
    "redis.call('SET', KEYS[3], n .. ' ' .. ARGV[11], 'EX', ARGV[10])\n"
    "return {redis.call('HGET', KEYS[2], 'epoch'), n, 0}\n";

/* KEYS: messages, position. ARGV: an epoch, should there be none; epoch and offset behind which is read;
 * how many, and bytes, at which the page ends; the time of the oldest that counts. */
static const char read_script[] =
    "redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])\n"
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

/* An epoch and an offset. @return whether they are */
static int position_of(const redisReply *epoch, const redisReply *offset, ws_position *at)
{
    return ws_redis_number(epoch, &at->epoch) && ws_redis_number(offset, &at->offset) && at->epoch;
}

/* ---- Keeping ---- */

static void has_kept(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    ws_position at = {0, 0};
    apr_uint64_t duplicate;
    apr_status_t rv;
    if (ws_redis_is_array(reply, 3) && position_of(reply->element[0], reply->element[1], &at)
        && at.offset && ws_redis_number(reply->element[2], &duplicate) && duplicate <= 1) {
        rv = duplicate ? APR_EEXIST : APR_SUCCESS;
    }
    else {
        /* An error is told before anything is written. What else comes tells nothing. */
        int refused = (reply && reply->type == REDIS_REPLY_ERROR) || ws_message_withdraw(j->m);
        ws_redis_wrong(r, reply);
        rv = refused ? APR_EGENERAL : APR_INCOMPLETE;
    }
    j->append_done(j->arg, rv, at);
}

static ws_status append(ws_history *h, ws_message *m, ws_append_done done, void *arg)
{
    static apr_uint64_t numbers;
    ws_redis *r = WS_REDIS_OF(h, history);
    const ws_keep *keep = keep_of(r, m->channel);
    ws_redis_job *j = keep ? ws_redis_job_new(18) : NULL;
    apr_time_t now = apr_time_now();
    unsigned char fields[WS_FIELDS_MAX];
    apr_uint64_t number;
    if (!j) {
        return WS_FULL;
    }
    memcpy(j->channel, m->channel, m->channel_len + 1);
    j->m = ws_message_ref(m);
    j->append_done = done;
    j->arg = arg;
    j->done = has_kept;
    j->lasting = 1;
    number = m->once ? m->number : __atomic_add_fetch(&numbers, 1, __ATOMIC_RELAXED);
    if (set_keys(r, j, append_script, 3) < 0
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
        || ws_redis_once_token(r, j, 16, number) < 0
        || ws_redis_job_set(j, 17, fields, ws_fields_encode(&m->fields, fields)) < 0
        || ws_redis_give(r, j) < 0) {
        ws_redis_job_free(j);
        return WS_FULL;
    }
    return WS_QUEUED;
}

/* ---- Reading ---- */

/* The offset of an entry of a stream, whose id is offset-1; 0: it is none of ours. */
static apr_uint64_t offset_of(const redisReply *entry)
{
    char *end;
    apr_uint64_t offset;
    if (!ws_redis_is_array(entry, 2) || !ws_redis_is_text(entry->element[0])) {
        return 0;
    }
    offset = strtoull(entry->element[0]->str, &end, 10);
    return *end == '-' ? offset : 0;
}

/* Names and values of an entry. @return APR_EINVAL: this is no message of ours */
static apr_status_t message_of(const ws_redis_job *j, const redisReply *entry, ws_position at,
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

/* What a page is made of. */
typedef struct reading {
    ws_history_page page;
    ws_message **messages;
    apr_uint64_t last; /* offset */
} reading;

/* Offsets grow, or a reader would go round in circles. */
static apr_status_t take_entry(const ws_redis_job *j, const redisReply *entry, reading *g)
{
    ws_position at = {g->page.head.epoch, offset_of(entry)};
    apr_status_t rv = APR_EINVAL;
    if (at.offset > g->last && at.offset <= g->page.head.offset) {
        g->last = at.offset;
        rv = message_of(j, entry, at, &g->messages[g->page.count]);
        g->page.count += rv == APR_SUCCESS;
    }
    return rv;
}

static apr_status_t take_entries(const ws_redis_job *j, const redisReply *entries, reading *g)
{
    apr_status_t rv = APR_SUCCESS;
    if (entries->type != REDIS_REPLY_ARRAY) {
        return APR_EINVAL;
    }
    if (!(g->messages = calloc(entries->elements + 1, sizeof(*g->messages)))) {
        return APR_ENOMEM;
    }
    for (size_t i = 0; rv == APR_SUCCESS && i < entries->elements; i++) {
        rv = take_entry(j, entries->element[i], g);
    }
    return rv;
}

static apr_status_t take_page(const ws_redis_job *j, const redisReply *reply, reading *g)
{
    ws_history_page *p = &g->page;
    apr_uint64_t first;
    apr_status_t rv;
    if (!ws_redis_is_array(reply, 3)
        || !position_of(reply->element[0], reply->element[1], &p->head)) {
        return APR_EINVAL;
    }
    g->last = j->after.epoch == p->head.epoch ? j->after.offset : 0;
    rv = take_entries(j, reply->element[2], g);
    first = p->count ? g->messages[0]->position.offset : p->head.offset + 1;
    p->messages = g->messages;
    p->more = j->max && p->count && g->last < p->head.offset;
    p->gap = j->after.epoch
             && (j->after.epoch != p->head.epoch || j->after.offset > p->head.offset
                 || j->after.offset + 1 < first);
    return rv;
}

static void has_read(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    reading g = {.page = {.status = APR_EGENERAL}};
    ws_history_page nothing = {.status = APR_EINVAL};
    unsigned count;
    if (reply && reply->type != REDIS_REPLY_ERROR) {
        g.page.status = take_page(j, reply, &g);
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

static int ask_for_page(ws_redis *r, ws_redis_job *j)
{
    const ws_keep *keep = keep_of(r, j->channel);
    apr_time_t now = apr_time_now();
    apr_int64_t oldest = keep && keep->age ? apr_time_sec(now) - keep->age : 0;
    return set_keys(r, j, read_script, 2) < 0
                   || ws_redis_job_printf(j, 5, "%lld", (long long)now) < 0
                   || ws_redis_job_printf(j, 6, "%llu", (unsigned long long)j->after.epoch) < 0
                   || ws_redis_job_printf(j, 7, "%llu", (unsigned long long)j->after.offset) < 0
                   || ws_redis_job_printf(j, 8, "%u", j->max ? j->max : 1) < 0
                   || ws_redis_job_printf(j, 9, "%d", PAGE_BYTES) < 0
                   || ws_redis_job_printf(j, 10, "%lld", (long long)oldest) < 0
                   || ws_redis_give(r, j) < 0
               ? -1
               : 0;
}

static void read_channel(ws_history *h, const char *channel, ws_position after, unsigned max,
                         ws_read_done done, void *arg)
{
    ws_redis *r = WS_REDIS_OF(h, history);
    ws_redis_job *j = ws_redis_job_new(11);
    static const ws_history_page nothing = {.status = APR_ENOMEM};
    if (j) {
        apr_cpystrn(j->channel, channel, sizeof(j->channel));
        j->after = after;
        j->max = max;
        j->read_done = done;
        j->arg = arg;
        j->done = has_read;
        j->lasting = 1;
    }
    if (!j || ask_for_page(r, j) < 0) {
        ws_redis_job_free(j);
        done(arg, &nothing);
    }
}

/* ---- Forgetting ---- */

static void has_cleared(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    apr_uint64_t deleted;
    int cleared = ws_redis_number(reply, &deleted);
    if (!cleared) {
        ws_redis_wrong(r, reply);
    }
    j->clear_done(j->arg, cleared ? APR_SUCCESS : APR_EGENERAL);
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
    r->history = (ws_history){"redis", keeps, append, read_channel, clear, 1};
}
