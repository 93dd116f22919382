/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Opens the history file, which consists of LMDB databases, and reads channels' messages. */

#include "channels/history_layout.h"

#include <apr_strings.h>
#include <string.h>

static const char *const names[] = {"channels", "names", "messages", "order", "totals", NULL};

/* The records may take half the size of the file, because pages may be half full, and a change
 * copies pages. */
#define SHARE(size) ((size) / 2)

/* ---- Reading ---- */

/* Whether no message is missing between a position and the first stored offset. */
static int records_follows(ws_position after, const channel *ch, apr_uint64_t first,
                           const totals *t)
{
    if (after.epoch == ch->epoch) {
        return after.offset + 1 >= first && after.offset < ch->next;
    }
    /* Otherwise the position must be older than the channel's first message, and no channel may
     * have been deleted since that position was assigned. */
    return !after.epoch
           || (!after.offset && after.epoch < ch->epoch && t->lost <= after.epoch && first == 1);
}

static int records_give(MDB_cursor *cursor, const channel *ch, apr_uint64_t offset,
                        int (*fn)(const ws_past *past, void *arg), void *arg)
{
    pair_key k;
    MDB_val value, key = ws_record_message_key(&k, ch->id, offset);
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET);
    for (; !rc; offset++) {
        message_head head;
        ws_past past = {.at = {ch->epoch, offset}};
        if (value.mv_size < sizeof(head)) {
            return MDB_CORRUPTED;
        }
        memcpy(&head, value.mv_data, sizeof(head));
        past.time = head.time;
        past.type = (ws_type)(head.type & TYPE_MASK);
        past.fields_len = head.type >> TYPE_BITS;
        past.server = head.server;
        past.except = head.except;
        past.fields = (const char *)value.mv_data + sizeof(head);
        if (value.mv_size - sizeof(head) < past.fields_len) {
            return MDB_CORRUPTED;
        }
        past.data = past.fields + past.fields_len;
        past.len = value.mv_size - sizeof(head) - past.fields_len;
        if (fn(&past, arg) || offset + 1 == ch->next) {
            break;
        }
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

/* Find the first message that has not expired. Expired messages may still be stored. */
static int records_first_of_age(MDB_cursor *cursor, const channel *ch, apr_time_t now,
                                apr_uint64_t *first)
{
    MDB_val key, value;
    int rc = ws_record_first_message(cursor, ch->id, first, &value);
    for (; !rc; ++*first) {
        message_head head;
        if (value.mv_size < sizeof(head)) {
            return MDB_CORRUPTED;
        }
        memcpy(&head, value.mv_data, sizeof(head));
        if (!head.expires || head.expires > now) {
            return 0;
        }
        if (*first + 1 == ch->next) {
            break;
        }
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    *first = ch->next;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int records_read_channel(ws_history_records *h, MDB_txn *txn, const channel *ch,
                                const totals *t, ws_position after,
                                int (*fn)(const ws_past *past, void *arg), void *arg, ws_span *span)
{
    MDB_cursor *cursor;
    apr_uint64_t first, from;
    int rc = mdb_cursor_open(txn, ws_history_env_base(h->lmdb, MESSAGES), &cursor);
    if (rc) {
        return rc;
    }
    if (!(rc = records_first_of_age(cursor, ch, apr_time_now(), &first))) {
        span->last = (ws_position){ch->epoch, ch->next - 1};
        span->count = ch->next - first;
        span->gap = !records_follows(after, ch, first, t);
        from = !span->gap && after.epoch == ch->epoch ? after.offset + 1 : first;
        if (fn && from < ch->next) {
            rc = records_give(cursor, ch, from, fn, arg);
        }
    }
    mdb_cursor_close(cursor);
    return rc;
}

apr_status_t ws_history_records_read(ws_history_records *h, const char *name, ws_position after,
                                     int (*fn)(const ws_past *past, void *arg), void *arg,
                                     ws_span *span)
{
    apr_time_t now = apr_time_now();
    MDB_txn *txn;
    channel ch;
    totals t;
    int rc = ws_history_env_begin(h->lmdb, 0, &txn);

    memset(span, 0, sizeof(*span));
    if (rc) {
        return ws_record_status_of(rc);
    }
    if (!(rc = ws_record_load_totals(h, txn, now, &t))) {
        rc = ws_record_get(h, txn, CHANNELS, ws_record_text_val(name), &ch, sizeof(ch));
        if (!rc) {
            rc = records_read_channel(h, txn, &ch, &t, after, fn, arg, span);
        }
        else if (rc == MDB_NOTFOUND) {
            rc = 0;
            span->last.epoch = t.epoch; /* the channel's first message will have a later one */
            span->gap = after.epoch && (after.offset || after.epoch < t.lost);
        }
    }
    rc = ws_history_env_end(h->lmdb, txn, rc);
    return ws_record_status_of(rc);
}

/* ---- Opening ---- */

static ws_history_env_options records_options_of(const char *directory, apr_uint64_t size,
                                                 ws_history_log_fn *log)
{
    return (ws_history_env_options){
        .directory = directory, .size = size, .names = names, .log = log};
}

apr_status_t ws_history_records_inspect(const char *directory, apr_uint64_t size,
                                        ws_history_log_fn *log, uid_t uid, gid_t gid)
{
    ws_history_env_options options = records_options_of(directory, size, log);
    return ws_history_env_inspect(&options, uid, gid);
}

/* Write the initial totals. They record the time since which no message has been lost. If the file
 * already has totals, write nothing, because there may be no room while another process reads. */
static apr_status_t records_begin_totals(ws_history_records *h)
{
    totals t;
    MDB_txn *txn;
    ws_change *c;
    apr_status_t rv;
    int rc = ws_history_env_begin(h->lmdb, 0, &txn);
    if (!rc) {
        rc = ws_history_env_end(
            h->lmdb, txn,
            ws_record_get(h, txn, TOTALS, ws_record_text_val("totals"), &t, sizeof(t)));
    }
    if (rc != MDB_NOTFOUND) {
        return ws_record_status_of(rc);
    }
    rv = ws_change_begin(h, 0, &c);
    return rv == APR_SUCCESS ? ws_change_end(c) : rv;
}

apr_status_t ws_history_records_open(ws_history_records **h, const char *directory,
                                     apr_uint64_t size, ws_history_log_fn *log, apr_pool_t *pool)
{
    ws_history_env_options options = records_options_of(apr_pstrdup(pool, directory), size, log);
    apr_status_t rv;
    *h = apr_pcalloc(pool, sizeof(**h));
    (*h)->budget = SHARE(size);
    if ((rv = ws_history_env_open(&(*h)->lmdb, &options, pool)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = records_begin_totals(*h)) != APR_SUCCESS) {
        ws_history_env_close((*h)->lmdb);
    }
    return rv;
}

void ws_history_records_close(ws_history_records *h)
{
    ws_history_env_close(h->lmdb);
}
