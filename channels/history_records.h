/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What lies in the file of histories: the last messages of each channel, each with a position, and what
 * is oldest goes first, of whichever channel, when the file is full. Functions wait for the file's lock,
 * briefly; history_lmdb.c gives them a thread.
 */

#ifndef WS_CHANNELS_RECORDS_H
#define WS_CHANNELS_RECORDS_H

#include "channels/history_env.h"
#include "channels/history_rules.h"
#include "channels/message.h"

/** A message of the past. */
typedef struct ws_past {
    ws_position at;
    apr_time_t time; /**< when it was published */
    ws_type type;
    apr_uint64_t server; /**< of the publisher */
    ws_id except;
    const char *fields; /**< see ws_fields_encode(); valid until the function returns, as is data */
    apr_size_t fields_len;
    const char *data;
    apr_size_t len;
} ws_past;

/** What is there of a channel. */
typedef struct ws_span {
    ws_position last;   /**< of the newest message; offset 0: there has been none */
    apr_uint64_t count; /**< messages that are kept */
    int gap;            /**< some that were asked for are not */
} ws_span;

typedef struct ws_history_records ws_history_records;

/** Changes that are made all or not at all. */
typedef struct ws_change ws_change;

/** As ws_history_env_inspect(). @param size  that the file may have, bytes */
apr_status_t ws_history_records_inspect(const char *directory, apr_uint64_t size,
                                        ws_history_log_fn *log, uid_t uid, gid_t gid);

/** As ws_history_env_open(). */
apr_status_t ws_history_records_open(ws_history_records **h, const char *directory,
                                     apr_uint64_t size, ws_history_log_fn *log, apr_pool_t *pool);

void ws_history_records_close(ws_history_records *h);

/**
 * Begin changes; a thread has one at a time, and reads nothing meanwhile. All others wait.
 * @param harder  0; after APR_ENOSPC, 1 to WS_CHANGE_HARDEST: it waits a moment, and more that is old goes
 * @return APR_SUCCESS, then ws_change_end() has to follow; else the log says why not
 */
apr_status_t ws_change_begin(ws_history_records *h, unsigned harder, ws_change **change);

#define WS_CHANGE_HARDEST 8

/**
 * Keep a message, and forget what is too much. It counts when ws_change_end() has succeeded.
 * @param at  set to its position
 * @return APR_SUCCESS; APR_ENOSPC if there is no room; or another error. All but a message that is larger
 *         than everything that may be kept undo the whole change
 */
apr_status_t ws_change_append(ws_change *c, const ws_message *m, const ws_keep *keep,
                              ws_position *at);

/** Forget a channel's messages: it has another epoch then. */
apr_status_t ws_change_clear(ws_change *c, const char *channel);

/** @return APR_SUCCESS; or an error, of whichever call: then nothing was changed */
apr_status_t ws_change_end(ws_change *c);

/**
 * What came behind a position, in order. Does not wait.  [any thread]
 * @param after  epoch 0: everything
 * @param fn     called for each; must not call the records; not 0 ends it. NULL: only span is filled in
 * @param span   set; its gap says that something behind the position is not there any more: what is,
 *               has been given to fn
 * @return APR_SUCCESS, or an error: the log says why
 */
apr_status_t ws_history_records_read(ws_history_records *h, const char *channel, ws_position after,
                                     int (*fn)(const ws_past *past, void *arg), void *arg,
                                     ws_span *span);

#endif
