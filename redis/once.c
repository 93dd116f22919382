/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Stores message ids in Redis for channels without a history. */

#include <apr_strings.h>
#include <string.h>

#include "redis/private.h"

/* The key of an id has a token of the message with this id, and before it CLAIMED until the message
 * is published. A claim expires, because the process that made it may end before it publishes. */
#define CLAIMED "claimed "

/* Time for which a claim may be used after Redis has replied, and for which Redis stores it,
 * seconds. The difference covers the time until the reply arrives, and until Redis knows that the
 * message is published. */
#define CLAIM_TIME 60
#define CLAIM_STORED 120

/* KEYS: the id's key. ARGV: value of the key; lifetime of the key, seconds. The scripts are
 * idempotent: if the connection is lost and a command is sent again, the same message gets the same
 * reply. Replies to the claim: 1: claimed; 0: already published; 2: another message is under way. */
static const char claim_script[] =
    "local was = redis.call('GET', KEYS[1])\n"
    "if was and was ~= ARGV[1] then return string.find(was, '^" CLAIMED "') and 2 or 0 end\n"
    "redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])\n"
    "return 1\n";

static const char publish_script[] = "return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])\n";

static const char release_script[] =
    "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0\n";

int ws_redis_once_key(const ws_redis *r, ws_redis_job *j, int i, const ws_message *m)
{
    char hex[2 * WS_MESSAGE_ID + 1];
    for (int n = 0; n < WS_MESSAGE_ID; n++) {
        apr_snprintf(hex + 2 * n, 3, "%02x", m->id[n]);
    }
    return ws_redis_job_printf(j, i, "%s{%s}:d:%s", r->options.prefix, m->channel, hex);
}

int ws_redis_once_token(const ws_redis *r, ws_redis_job *j, int i, const char *mark,
                        apr_uint64_t number)
{
    return ws_redis_job_printf(j, i, "%s%llx.%x.%llx", mark,
                               (unsigned long long)r->options.self.server, r->options.self.process,
                               (unsigned long long)number);
}

static void once_claimed(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    ws_published then = {.status = WS_QUEUED};
    apr_uint64_t number;
    ws_once_answer answer = WS_ONCE_BUSY;
    if (!ws_redis_number(reply, &number) || number > 2) {
        ws_redis_wrong(r, reply);
    }
    else if (number == 0) {
        answer = WS_ONCE_AGAIN;
    }
    else if (number == 1 && !__atomic_load_n(&r->stopped, __ATOMIC_RELAXED)) {
        answer = WS_ONCE_NEW; /* after the stop, the result could not be stored */
    }
    j->once_done(j->arg, answer, &then);
}

static void once_settled(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    (void)j;
    if (reply) {
        ws_redis_refused(r, reply);
    }
}

static ws_redis_job *once_job(const ws_redis *r, ws_message *m, const char *script,
                              const char *mark, int lifetime)
{
    ws_redis_job *j = ws_redis_job_new(6);
    if (j) {
        j->lasting = j->repeats = 1;
        if (ws_redis_job_printf(j, 0, "EVAL") < 0
            || ws_redis_job_set(j, 1, script, strlen(script)) < 0
            || ws_redis_job_printf(j, 2, "1") < 0 || ws_redis_once_key(r, j, 3, m) < 0
            || ws_redis_once_token(r, j, 4, mark, m->number) < 0
            || ws_redis_job_printf(j, 5, "%d", lifetime) < 0) {
            ws_redis_job_free(j);
            j = NULL;
        }
    }
    return j;
}

static void once_claim(ws_once *o, ws_message *m, ws_once_done done, void *arg)
{
    ws_redis *r = WS_REDIS_OF(o, once);
    ws_redis_job *j = once_job(r, m, claim_script, CLAIMED, CLAIM_STORED);
    if (j) {
        j->m = ws_message_ref(m); /* the message can be withdrawn while queued */
        j->once_done = done;
        j->arg = arg;
        j->done = once_claimed;
    }
    if (!j || ws_redis_give(r, j) < 0) {
        ws_redis_job_free(j);
        done(arg, WS_ONCE_BUSY, NULL);
    }
}

static void once_settle(ws_once *o, ws_message *m, const ws_published *what)
{
    ws_redis *r = WS_REDIS_OF(o, once);
    int refused = what->status < 0 && what->status != WS_UNCERTAIN;
    ws_redis_job *j = refused ? once_job(r, m, release_script, CLAIMED, 0)
                              : once_job(r, m, publish_script, "", WS_ONCE_TIME);
    if (j) {
        j->done = once_settled;
        j->owed = 1;
        if (ws_redis_give(r, j) < 0) {
            ws_redis_job_free(j); /* the claim stays until it expires */
        }
    }
}

void ws_redis_once_init(ws_redis *r)
{
    r->once = (ws_once){once_claim, once_settle, CLAIM_TIME};
}
