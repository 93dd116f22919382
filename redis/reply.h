/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Replies of Redis. The server may be another program, or a compromised one. So type, size and time of each reply are
 * checked before it is used, as those of client input are.
 */

#ifndef WS_REDIS_REPLY_H
#define WS_REDIS_REPLY_H

#include <apr.h>
#include <hiredis/hiredis.h>

/** Largest reply, bytes: a page of a history, or a packet, with the largest message. */
#define WS_REDIS_REPLY_MAX (20 * 1024 * 1024)

/** Largest number of elements of an array. */
#define WS_REDIS_ELEMENTS_MAX 1024

/** Limit the arrays of a reader: hiredis allocates them when they are announced. */
void ws_redis_reply_bound(redisReader *reader);

/**
 * Read the bytes that have arrived.
 * @param size  bytes of the unfinished reply; 0 at first
 * @return 0; -1: the connection broke, or the reply is too long; c->errstr says which
 */
int ws_redis_reply_fill(redisContext *c, apr_size_t *size);

/** The next complete reply, to be freed. @return NULL: there is none, or c->err is set */
redisReply *ws_redis_reply_next(redisContext *c, apr_size_t *size);

/** Send the commands that were appended and wait for the next reply. @return NULL: c->errstr says why */
redisReply *ws_redis_reply_wait(redisContext *c);

/** Send one command and wait for its reply, as redisCommand(). */
redisReply *ws_redis_ask(redisContext *c, const char *format, ...);

/** Whether a reply is a string of one or more bytes without a NUL. */
int ws_redis_is_text(const redisReply *reply);

/** Whether a reply is this string or status. */
int ws_redis_is(const redisReply *reply, const char *text);

/** Whether a reply is an array with this number of elements. */
int ws_redis_is_array(const redisReply *reply, size_t elements);

/** Read a non-negative number, from an integer or from decimal digits. @return whether it is one */
int ws_redis_number(const redisReply *reply, apr_uint64_t *n);

#endif
