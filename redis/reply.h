/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What Redis answers, which is believed no more than what a client sends: it may be another program, or
 * one that has been broken into. An answer has a type, a size and a time, and is looked at before it is used.
 */

#ifndef WS_REDIS_REPLY_H
#define WS_REDIS_REPLY_H

#include <apr.h>
#include <hiredis/hiredis.h>

/** Bytes of one answer at most: a page of a history, or a packet, with the greatest message in it. */
#define WS_REDIS_REPLY_MAX (20 * 1024 * 1024)

/** Elements of an array at most. */
#define WS_REDIS_ELEMENTS_MAX 1024

/** From now on arrays of this reader have no more elements than that: they are made as soon as they are
 *  announced. */
void ws_redis_reply_bound(redisReader *reader);

/**
 * Read what has come.
 * @param size  bytes of the answer that is not whole yet; 0 at first
 * @return 0; -1: the connection has broken, or the answer is too long: c->errstr says so
 */
int ws_redis_reply_fill(redisContext *c, apr_size_t *size);

/** The next whole answer of what has been read, to be freed, or NULL: c->err says whether that is an
 *  error. */
redisReply *ws_redis_reply_next(redisContext *c, apr_size_t *size);

/** Send what waits and wait for the next answer. @return NULL: c->errstr says why */
redisReply *ws_redis_reply_wait(redisContext *c);

/** Ask one question: as redisCommand(). */
redisReply *ws_redis_ask(redisContext *c, const char *format, ...);

/** It is a string of one or more bytes, without a NUL. */
int ws_redis_is_text(const redisReply *reply);

/** It is this string, or status. */
int ws_redis_is(const redisReply *reply, const char *text);

/** It is an array of so many elements. */
int ws_redis_is_array(const redisReply *reply, size_t elements);

/** A number, as one or as decimal digits. @return whether it is one */
int ws_redis_number(const redisReply *reply, apr_uint64_t *n);

#endif
