/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Stores message ids in Redis for channels without a history. */

#include <apr_strings.h>
#include <string.h>

#include "redis/private.h"

/* KEYS: the id's key. ARGV: a token of the message that claims the id; lifetime of the key,
 * seconds. The script is idempotent: if the connection is lost and the command is sent again, the
 * same message gets the same reply. */
static const char claim_script[] =
    "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return 1 end\n"
    "return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0\n";

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

int ws_redis_once_token(const ws_redis *r, ws_redis_job *j, int i, apr_uint64_t number)
{
    return ws_redis_job_printf(j, i, "%llx.%x.%llx", (unsigned long long)r->options.self.server,
                               r->options.self.process, (unsigned long long)number);
}

static void once_claimed(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    ws_published then = {.status = WS_QUEUED};
    apr_uint64_t is_ours;
    ws_once_answer answer = WS_ONCE_BUSY;
    if (!ws_redis_number(reply, &is_ours)) {
        ws_redis_wrong(r, reply);
    }
    else {
        answer = is_ours ? WS_ONCE_NEW : WS_ONCE_AGAIN;
    }
    j->once_done(j->arg, answer, &then);
}

static void once_released(ws_redis *r, ws_redis_job *j, const redisReply *reply)
{
    (void)r, (void)j, (void)reply;
}

static ws_redis_job *once_job(const ws_redis *r, ws_message *m, const char *script)
{
    ws_redis_job *j = ws_redis_job_new(6);
    if (j) {
        j->lasting = j->repeats = 1;
        if (ws_redis_job_printf(j, 0, "EVAL") < 0
            || ws_redis_job_set(j, 1, script, strlen(script)) < 0
            || ws_redis_job_printf(j, 2, "1") < 0 || ws_redis_once_key(r, j, 3, m) < 0
            || ws_redis_once_token(r, j, 4, m->number) < 0
            || ws_redis_job_printf(j, 5, "%d", WS_ONCE_TIME) < 0) {
            ws_redis_job_free(j);
            j = NULL;
        }
    }
    return j;
}

static void once_claim(ws_once *o, ws_message *m, ws_once_done done, void *arg)
{
    ws_redis *r = WS_REDIS_OF(o, once);
    ws_redis_job *j = once_job(r, m, claim_script);
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
    ws_redis_job *j = what->status < 0 ? once_job(r, m, release_script) : NULL;
    if (j) {
        j->done = once_released;
        if (ws_redis_give(r, j) < 0) {
            ws_redis_job_free(j); /* the id's key stays until it expires */
        }
    }
}

void ws_redis_once_init(ws_redis *r)
{
    r->once = (ws_once){once_claim, once_settle};
}
