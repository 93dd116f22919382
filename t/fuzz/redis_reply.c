/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target reads replies of a Redis server. The first byte of the input chooses the request,
 *  and the rest is the reply in Redis's protocol. The callback of a request about a history is called
 *  exactly once. Messages from a history are valid, and their positions increase. */

#include "redis/bus.c"
#include "redis/cluster.c"
#include "redis/connect.c"
#include "redis/history.c"
#include "redis/io.c"
#include "redis/jobs.c"
#include "redis/once.c"
#include "redis/peers.c"
#include "redis/receive.c"
#include "redis/reply.c"
#include "redis/sender.c"
#include "redis/shards.c"
#include "redis/tails.c"
#include "redis/tls.c"
#include "t/fuzz/fuzz.h"

static const ws_history_rule rules[] = {{"*", {100, 0}}};

static void ignore(ws_log_level level, const char *text)
{
    (void)level, (void)text;
}

static ws_redis *a_redis(void)
{
    static ws_redis r = {
        .options = {
            .prefix = "p:", .self = {1, 1}, .rules = rules, .rule_count = 1, .log = ignore}};
    static int ready;
    static apr_pool_t *pool;
    if (!ready) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
        apr_thread_mutex_create(&r.lock, APR_THREAD_MUTEX_DEFAULT, pool);
        ready = 1;
    }
    return &r;
}

static void kept(void *arg, apr_status_t status, ws_position at)
{
    ++*(int *)arg;
    MUST(status != APR_SUCCESS || (at.epoch && at.offset));
}

static void was_read(void *arg, const ws_history_page *page)
{
    apr_uint64_t last = 0;
    ++*(int *)arg;
    if (page->status != APR_SUCCESS) {
        return;
    }
    MUST(page->head.epoch && page->count <= 64);
    for (unsigned i = 0; i < page->count; i++) {
        const ws_message *m = page->messages[i];
        MUST(ws_message_valid(m->type, m->data, m->len));
        MUST(m->position.epoch == page->head.epoch && m->position.offset > last);
        last = m->position.offset;
    }
    MUST(last <= page->head.offset);
}

static void cleared(void *arg, apr_status_t status)
{
    (void)status;
    ++*(int *)arg;
}

static void answer_job(ws_redis *r, unsigned question, const redisReply *reply)
{
    int told = 0;
    ws_message m = {.refs = 1};
    ws_redis_job j = {.m = &m,
                      .channel = "c",
                      .arg = &told,
                      .append_done = kept,
                      .read_done = was_read,
                      .clear_done = cleared,
                      .max = question & 64,
                      .after = {7, question & 31}};
    switch (question % 5) {
    case 0:
        history_appended(r, &j, reply);
        break;
    case 1:
        history_was_read(r, &j, reply);
        break;
    case 2:
        history_cleared(r, &j, reply);
        break;
    case 3:
        bus_sent(r, &j, reply);
        return;
    default:
        ws_redis_receive(r, reply);
        return;
    }
    MUST(told == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    ws_redis *r = a_redis();
    unsigned question = take_byte(&data, &len);
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    ws_redis_reply_bound(reader);
    redisReaderFeed(reader, (const char *)data, len);
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        answer_job(r, question, reply);
        reply_is_temporary(reply);
        freeReplyObject(reply);
        reply = NULL;
    }
    redisReaderFree(reader);
    return 0;
}
