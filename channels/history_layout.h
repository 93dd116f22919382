/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The records of the history file, for history_records.c and history_changes.c. */

#ifndef WS_CHANNELS_HISTORY_LAYOUT_H
#define WS_CHANNELS_HISTORY_LAYOUT_H

#include "channels/history_records.h"

/*
 * The file lists all messages of all channels by age. An entry of this list is called a turn, and
 * has a number. Each new message gets a turn with the next number. The file has five databases:
 *
 *   channels  name -> channel
 *   names     channel's id -> name
 *   messages  channel's id, offset -> message_head, fields, data
 *   order     turn's number -> turn
 *   totals    one record
 *
 * A channel's messages have consecutive offsets, because they are deleted in the order of arrival.
 * To find the offset of a channel's first message, search `messages` for the first record whose key
 * has the channel's id: the key also contains the offset.
 *
 * When the only remaining message of a channel is deleted, a turn with offset 0 is appended to
 * `order`. If nothing has been published to the channel when that turn expires, the channel itself
 * is deleted.
 */
enum { CHANNELS, NAMES, MESSAGES, ORDER, TOTALS };

typedef struct channel {
    apr_uint64_t id, epoch, next; /* next: offset of the next message, at least 1 */
} channel;

typedef struct message_head {
    apr_uint64_t turn;
    apr_int64_t time, expires; /* apr_time_t; expires 0: never */
    apr_uint64_t type, server;
    ws_id except;
} message_head;

typedef struct turn {
    apr_uint64_t id, offset; /* offset 0: a channel without messages */
    apr_int64_t expires;
    apr_uint64_t next; /* used if offset is 0: the channel's next offset when the turn was added */
} turn;

typedef struct totals {
    apr_uint64_t turn, id; /* the last numbers assigned to a turn and to a channel */
    apr_uint64_t epoch; /* the last epoch assigned: microseconds since 1970, strictly increasing */
    apr_uint64_t lost;  /* epoch of the last deletion of a channel, or of the file's creation */
    apr_uint64_t cost;  /* cost of all records, bytes */
} totals;

struct ws_history_records {
    ws_history_env *lmdb;
    apr_uint64_t budget;
};

/* The low bits of message_head.type contain the message's type, the other bits the length of its
 * encoded fields. */
#define TYPE_BITS 8
#define TYPE_MASK 0xFFu

typedef struct pair_key {
    unsigned char bytes[16];
} pair_key;

MDB_val ws_record_message_key(pair_key *k, apr_uint64_t id, apr_uint64_t offset);
MDB_val ws_record_number_key(pair_key *k, apr_uint64_t n);
MDB_val ws_record_text_val(const char *text);

/** Read a record of a fixed size. @return 0, MDB_NOTFOUND, or an error */
int ws_record_get(ws_history_records *h, MDB_txn *txn, unsigned base, MDB_val key, void *record,
                  size_t size);

/** Find a channel's oldest message. @return 0, MDB_NOTFOUND, or an error */
int ws_record_first_message(MDB_cursor *cursor, apr_uint64_t id, apr_uint64_t *offset,
                            MDB_val *value);

/** Read the totals. If the file has none yet, return those of an empty file. */
int ws_record_load_totals(ws_history_records *h, MDB_txn *txn, apr_time_t now, totals *t);

/** Convert the result of an LMDB function to a status. */
apr_status_t ws_record_status_of(int rc);

#endif
