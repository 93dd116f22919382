/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The contents of the history file: the last messages of each channel, each with a position. When
 * the file is full, the oldest messages of all channels are deleted first. Functions block briefly
 * on the file's lock; history_lmdb.c calls them on a separate thread.
 */

#ifndef WS_CHANNELS_HISTORY_RECORDS_H
#define WS_CHANNELS_HISTORY_RECORDS_H

#include "channels/history_env.h"
#include "channels/history_rules.h"
#include "channels/message.h"

/** A stored message. */
typedef struct ws_past {
    ws_position at;
    apr_time_t time; /**< when it was published */
    ws_type type;
    apr_uint64_t server; /**< server of the publisher */
    ws_id except;
    const char *fields; /**< see ws_fields_encode(); fields and data are valid until the callback of
                             ws_history_records_read() returns */
    apr_size_t fields_len;
    const char *data;
    apr_size_t len;
} ws_past;

/** The range of a channel's messages that the file holds. */
typedef struct ws_span {
    ws_position last;   /**< position of the newest message; offset 0: none so far */
    apr_uint64_t count; /**< number of stored messages */
    int gap;            /**< some of the requested messages are not stored */
} ws_span;

typedef struct ws_history_records ws_history_records;

/** An atomic set of changes. */
typedef struct ws_change ws_change;

/** Like ws_history_env_inspect(). @param size  maximum size of the file, bytes */
apr_status_t ws_history_records_inspect(const char *directory, apr_uint64_t size,
                                        ws_history_log_fn *log, uid_t uid, gid_t gid);

/** Like ws_history_env_open(). */
apr_status_t ws_history_records_open(ws_history_records **h, const char *directory,
                                     apr_uint64_t size, ws_history_log_fn *log, apr_pool_t *pool);

void ws_history_records_close(ws_history_records *h);

/**
 * Begin a change. A thread can have only one change at a time, and must not read during it. All
 * other writers wait until it ends.
 * @param harder  0 at first. After APR_ENOSPC, retry with 1 to WS_CHANGE_HARDEST: a higher value
 *                waits longer, 2^harder milliseconds, and deletes more old messages
 * @return APR_SUCCESS: the caller must call ws_change_end(). Otherwise an error
 *         (file errors are logged)
 */
apr_status_t ws_change_begin(ws_history_records *h, unsigned harder, ws_change **change);

#define WS_CHANGE_HARDEST 8

/**
 * Store a message, and delete the messages beyond the channel's limits. This takes effect when
 * ws_change_end() succeeds.
 * @param at  set to the message's position
 * @return APR_SUCCESS; APR_ENOSPC if the file is full; or another error. An error undoes the whole
 *         change. Exception: APR_ENOSPC does not undo the change if the message alone exceeds the
 *         space for records. This space is half the maximum size of the file, and less with a high
 *         value of `harder`
 */
apr_status_t ws_change_append(ws_change *c, const ws_message *m, const ws_keep *keep,
                              ws_position *at);

/** Delete a channel's messages. The channel keeps its epoch and its next offset until the channel
 *  itself is deleted. */
apr_status_t ws_change_clear(ws_change *c, const char *channel);

/** Commit. @return APR_SUCCESS; or the first error from any call for this change, in which case
 *  nothing was changed */
apr_status_t ws_change_end(ws_change *c);

/**
 * Read the messages after a position, in order. Does not wait for the write lock.  [any thread]
 * @param after  epoch 0: all messages
 * @param fn     called for each message; must not call functions in this file; returns non-zero to
 *               stop. NULL: only fill in span
 * @param span   set. If span->gap is set, some messages after the position are no longer stored,
 *               and fn received the remaining ones
 * @return APR_SUCCESS, or an error
 */
apr_status_t ws_history_records_read(ws_history_records *h, const char *channel, ws_position after,
                                     int (*fn)(const ws_past *past, void *arg), void *arg,
                                     ws_span *span);

#endif
