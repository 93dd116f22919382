/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reads replies from Redis. Limits the size of a reply, the number of its elements, and the time
 *  until it is complete. */

#include "redis/reply.h"

#include <apr_time.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/private.h"

/* Maximum time until a reply is complete, seconds. */
#define UNTIL_WHOLE 30

/* ---- Limits ---- */

#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

static redisReplyObjectFunctions bounded;
static void *(*make_array)(const redisReadTask *task, element_count n);

static void *reply_make_array(const redisReadTask *task, element_count n)
{
    return n > WS_REDIS_ELEMENTS_MAX ? NULL : make_array(task, n);
}

/* Get hiredis's reply functions, which it exposes only through a reader. */
static void reply_find_functions(void)
{
    redisReader *r = redisReaderCreate();
    if (r) {
        bounded = *r->fn;
        make_array = bounded.createArray;
        bounded.createArray = reply_make_array;
        redisReaderFree(r);
    }
}

void ws_redis_reply_bound(redisReader *reader)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, reply_find_functions);
    if (make_array) {
        reader->fn = &bounded;
    }
}

static int reply_fail(redisContext *c, const char *why)
{
    c->err = REDIS_ERR_PROTOCOL;
    snprintf(c->errstr, sizeof(c->errstr), "%s", why);
    return -1;
}

/* ---- Reading ---- */

int ws_redis_reply_fill(redisContext *c, apr_size_t *size)
{
    apr_size_t before = c->reader->len;
    if (ws_redis_read(c) != REDIS_OK) {
        return -1;
    }
    if (c->reader->len > before) {
        *size += c->reader->len - before;
    }
    return *size > WS_REDIS_REPLY_MAX ? reply_fail(c, "a reply is too long") : 0;
}

redisReply *ws_redis_reply_next(redisContext *c, apr_size_t *size)
{
    void *reply = NULL;
    if (redisGetReplyFromReader(c, &reply) == REDIS_OK && reply) {
        *size = c->reader->len - c->reader->pos;
    }
    return reply;
}

redisReply *ws_redis_reply_wait(const ws_redis *r, redisContext *c)
{
    apr_time_t until = apr_time_now() + apr_time_from_sec(UNTIL_WHOLE);
    apr_size_t size = 0;
    redisReply *reply;
    if (c->err || ws_redis_flush(r, c) < 0) {
        return NULL;
    }
    while (!(reply = ws_redis_reply_next(c, &size)) && !c->err) {
        if (apr_time_now() > until) {
            reply_fail(c, "a reply takes too long");
        }
        else if (ws_redis_wait(r, c, POLLIN) < 0 || ws_redis_reply_fill(c, &size) < 0) {
            break;
        }
    }
    return reply;
}

redisReply *ws_redis_ask(const ws_redis *r, redisContext *c, const char *format, ...)
{
    va_list args;
    int rv;
    va_start(args, format);
    rv = redisvAppendCommand(c, format, args);
    va_end(args);
    return rv == REDIS_OK ? ws_redis_reply_wait(r, c) : NULL;
}

/* ---- Checking ---- */

int ws_redis_is_text(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_STRING && reply->len > 0
           && strlen(reply->str) == (size_t)reply->len;
}

int ws_redis_is(const redisReply *reply, const char *text)
{
    return reply && (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS)
           && (size_t)reply->len == strlen(text) && !memcmp(reply->str, text, strlen(text));
}

int ws_redis_is_array(const redisReply *reply, size_t elements)
{
    return reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == elements;
}

int ws_redis_number(const redisReply *reply, apr_uint64_t *n)
{
    char *end;
    if (reply && reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0) {
        *n = (apr_uint64_t)reply->integer;
        return 1;
    }
    if (!ws_redis_is_text(reply) || reply->str[0] < '0' || reply->str[0] > '9') {
        return 0;
    }
    errno = 0;
    *n = strtoull(reply->str, &end, 10);
    return !errno && !*end;
}
