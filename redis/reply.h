/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Replies from Redis. The server may be compromised, or be a different program. Each reply is
 * therefore checked like client input before it is used: its type, its size, and the time it takes.
 */

#ifndef WS_REDIS_REPLY_H
#define WS_REDIS_REPLY_H

#include <apr.h>
#include <hiredis/hiredis.h>

#include "redis/bus.h"

/** Maximum size of a reply, bytes: a page of a history, or a packet, with the largest message. */
#define WS_REDIS_REPLY_MAX (20 * 1024 * 1024)

/** Largest number of elements of an array. */
#define WS_REDIS_ELEMENTS_MAX 1024

/** Limit the size of arrays in a reader, because hiredis allocates an array as soon as its length
 *  arrives. */
void ws_redis_reply_bound(redisReader *reader);

/**
 * Read the bytes that have arrived.
 * @param size  received bytes of an incomplete reply; initially 0
 * @return 0; -1: the connection broke, or the reply is too long; c->errstr has the error
 */
int ws_redis_reply_fill(redisContext *c, apr_size_t *size);

/** Take the next complete reply; the caller frees it. @return NULL: none is complete, or c->err is
 *  set */
redisReply *ws_redis_reply_next(redisContext *c, apr_size_t *size);

/** Send the appended commands and wait for the next reply. @return NULL: c->errstr has the error */
redisReply *ws_redis_reply_wait(const ws_redis *r, redisContext *c);

/** Send one command and wait for its reply, as redisCommand() does. */
redisReply *ws_redis_ask(const ws_redis *r, redisContext *c, const char *format, ...);

/** Whether a reply is a string of one or more bytes without a NUL. */
int ws_redis_is_text(const redisReply *reply);

/** Whether a reply is this string or status. */
int ws_redis_is(const redisReply *reply, const char *text);

/** Whether a reply is an array with this number of elements. */
int ws_redis_is_array(const redisReply *reply, size_t elements);

/** Read a non-negative number from an integer reply or a string of decimal digits. @return whether
 *  the reply is such a number */
int ws_redis_number(const redisReply *reply, apr_uint64_t *n);

#endif
