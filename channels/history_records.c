/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Stores the messages of channels in LMDB databases. Each channel has a limit on count and age;
 * when the file is full, the oldest messages of all channels are deleted first.
 */

#include "channels/history_records.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Five databases:
 *
 *   channels  name -> channel
 *   names     id of a channel -> name
 *   messages  id, offset -> past, data
 *   order     number, increasing with each message of all channels -> turn
 *   totals    one record
 *
 * A channel's messages have consecutive offsets, because they are deleted in the order of arrival.
 * The offset of the first one is therefore not stored: it is the first record in messages with that
 * id.
 *
 * When a channel's last message is deleted, a turn with offset 0 is appended to the order. When
 * that turn expires and nothing has been published meanwhile, the channel itself is deleted.
 */
enum { CHANNELS, NAMES, MESSAGES, ORDER, TOTALS };
static const char *const names[] = {"channels", "names", "messages", "order", "totals", NULL};

/* The budget for records is half the file: pages may be half full, and a change copies pages. */
#define SHARE(size) ((size) / 2)

/* Overhead of a message, bytes: its key, head, turn, and its share of inner pages. */
#define COST 256
#define PAGE 4096

/* How long an empty channel is kept, so that its positions stay valid. */
#define REMEMBERED apr_time_from_sec(24 * 3600)

/* Maximum number of expired turns that each change deletes. */
#define SWEEP 8

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
    apr_uint64_t next; /* with offset 0: the channel's next offset when the turn was added */
} turn;

typedef struct totals {
    apr_uint64_t turn, id; /* the last ones assigned */
    apr_uint64_t epoch;    /* the last one assigned: microseconds since 1970, strictly increasing */
    apr_uint64_t lost;     /* epoch of the last deletion of a channel, or of the file's creation */
    apr_uint64_t cost;     /* of all records, bytes */
} totals;

struct ws_history_records {
    ws_history_env *lmdb;
    apr_uint64_t budget;
};

struct ws_change {
    ws_history_records *h;
    MDB_txn *txn;
    apr_time_t now;
    totals totals;
    apr_uint64_t most; /* limit on totals.cost during this change, bytes */
    int rc;            /* the first error: later calls do nothing */
};
typedef struct ws_change change;

typedef struct pair_key {
    unsigned char bytes[16];
} pair_key;

static void records_put_be(unsigned char *to, apr_uint64_t n)
{
    for (int i = 7; i >= 0; i--, n >>= 8) {
        to[i] = (unsigned char)n;
    }
}

static apr_uint64_t records_get_be(const unsigned char *from)
{
    apr_uint64_t n = 0;
    for (int i = 0; i < 8; i++) {
        n = n << 8 | from[i];
    }
    return n;
}

static MDB_val records_message_key(pair_key *k, apr_uint64_t id, apr_uint64_t offset)
{
    records_put_be(k->bytes, id);
    records_put_be(k->bytes + 8, offset);
    return (MDB_val){sizeof(k->bytes), k->bytes};
}

static MDB_val records_number_key(pair_key *k, apr_uint64_t n)
{
    records_put_be(k->bytes, n);
    return (MDB_val){8, k->bytes};
}

static MDB_val records_text_val(const char *text)
{
    return (MDB_val){strlen(text), (char *)text};
}

static apr_uint64_t records_cost_of_message(apr_size_t len)
{
    return COST + (len < PAGE / 3 ? len : (len / PAGE + 2) * PAGE);
}

static apr_uint64_t records_cost_of_channel(apr_size_t name_len)
{
    return COST + 2 * name_len;
}

/* Read a record of a fixed size. @return 0, MDB_NOTFOUND, or an error */
static int records_get(ws_history_records *h, MDB_txn *txn, unsigned base, MDB_val key,
                       void *record, size_t size)
{
    MDB_val value;
    int rc = mdb_get(txn, ws_history_env_base(h->lmdb, base), &key, &value);
    if (!rc && value.mv_size != size) {
        return MDB_CORRUPTED;
    }
    if (!rc) {
        memcpy(record, value.mv_data, size);
    }
    return rc;
}

static int records_put(change *c, unsigned base, MDB_val key, const void *record, size_t size,
                       unsigned flags)
{
    MDB_val value = {size, (void *)record};
    return mdb_put(c->txn, ws_history_env_base(c->h->lmdb, base), &key, &value, flags);
}

static int records_del(change *c, unsigned base, MDB_val key)
{
    int rc = mdb_del(c->txn, ws_history_env_base(c->h->lmdb, base), &key, NULL);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

/* The oldest message of a channel. @return 0, MDB_NOTFOUND, or an error */
static int records_first_message(MDB_cursor *cursor, apr_uint64_t id, apr_uint64_t *offset,
                                 MDB_val *value)
{
    pair_key k;
    MDB_val key = records_message_key(&k, id, 0);
    int rc = mdb_cursor_get(cursor, &key, value, MDB_SET_RANGE);
    if (rc) {
        return rc;
    }
    if (key.mv_size != sizeof(k) || value->mv_size < sizeof(message_head)) {
        return MDB_CORRUPTED;
    }
    *offset = records_get_be((unsigned char *)key.mv_data + 8);
    return records_get_be(key.mv_data) == id ? 0 : MDB_NOTFOUND;
}

/* ---- Changes ---- */

static int records_load_totals(ws_history_records *h, MDB_txn *txn, apr_time_t now, totals *t)
{
    int rc = records_get(h, txn, TOTALS, records_text_val("totals"), t, sizeof(*t));
    if (rc == MDB_NOTFOUND) {
        memset(t, 0, sizeof(*t));
        t->lost = t->epoch = (apr_uint64_t)now;
        rc = 0;
    }
    return rc;
}

static int records_add_turn(change *c, const turn *t)
{
    pair_key k;
    return records_put(c, ORDER, records_number_key(&k, ++c->totals.turn), t, sizeof(*t),
                       MDB_APPEND);
}

/* Delete the oldest message of a channel, and its turn. */
static int records_drop_first(change *c, apr_uint64_t id)
{
    MDB_cursor *cursor;
    message_head head;
    MDB_val value;
    apr_uint64_t offset, next;
    pair_key k;
    int rc = mdb_cursor_open(c->txn, ws_history_env_base(c->h->lmdb, MESSAGES), &cursor);

    if (rc) {
        return rc;
    }
    if (!(rc = records_first_message(cursor, id, &offset, &value))) {
        memcpy(&head, value.mv_data, sizeof(head));
        c->totals.cost -= records_cost_of_message(value.mv_size - sizeof(head));
        rc = mdb_cursor_del(cursor, 0);
    }
    if (!rc && !(rc = records_del(c, ORDER, records_number_key(&k, head.turn)))
        && (rc = records_first_message(cursor, id, &next, &value)) == MDB_NOTFOUND) {
        turn t = {.id = id, .expires = c->now + REMEMBERED, .next = offset + 1};
        rc = records_add_turn(c, &t);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

/* Epochs increase even when the system clock is set back, so that no position is assigned twice. */
static apr_uint64_t records_next_epoch(change *c)
{
    apr_uint64_t now = (apr_uint64_t)c->now;
    return c->totals.epoch = now > c->totals.epoch ? now : c->totals.epoch + 1;
}

/* Delete a channel, unless a message has been published to it since the turn was added. */
static int records_forget_channel(change *c, const turn *t)
{
    char name[WS_CHANNEL_MAX + 1];
    channel ch;
    pair_key k;
    MDB_val value, key = records_number_key(&k, t->id);
    int rc = mdb_get(c->txn, ws_history_env_base(c->h->lmdb, NAMES), &key, &value);

    if (rc || value.mv_size >= sizeof(name)) {
        return rc == MDB_NOTFOUND ? 0 : rc ? rc : MDB_CORRUPTED;
    }
    memcpy(name, value.mv_data, value.mv_size);
    name[value.mv_size] = '\0';
    if ((rc = records_get(c->h, c->txn, CHANNELS, records_text_val(name), &ch, sizeof(ch)))) {
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    }
    if (ch.next != t->next) {
        return 0;
    }
    c->totals.cost -= records_cost_of_channel(strlen(name));
    c->totals.lost = records_next_epoch(c);
    rc = records_del(c, CHANNELS, records_text_val(name));
    return rc ? rc : records_del(c, NAMES, key);
}

/* Delete the oldest turn, with its message or channel, if it has expired or has_to_be is set.
 * @param done  set to 1 if there was no turn to delete */
static int records_end_turn(change *c, int has_to_be, int *done)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    turn t = {.id = 0};
    int rc = mdb_cursor_open(c->txn, ws_history_env_base(c->h->lmdb, ORDER), &cursor);

    *done = 1;
    if (rc) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    if (!rc && value.mv_size != sizeof(t)) {
        rc = MDB_CORRUPTED;
    }
    if (!rc) {
        memcpy(&t, value.mv_data, sizeof(t));
        *done = !has_to_be && (!t.expires || t.expires > c->now);
        if (!*done && !t.offset) {
            rc = mdb_cursor_del(cursor, 0);
        }
    }
    mdb_cursor_close(cursor);
    if (rc || *done) {
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    return t.offset ? records_drop_first(c, t.id) : records_forget_channel(c, &t);
}

/* Delete old messages until a record of this cost, in bytes, fits. */
static int records_make_room(change *c, apr_uint64_t cost)
{
    int rc = 0, done = 0;
    while (!rc && !done && c->totals.cost + cost > c->most) {
        rc = records_end_turn(c, 1, &done);
    }
    done = 0;
    for (int i = 0; i < SWEEP && !rc && !done; i++) {
        rc = records_end_turn(c, 0, &done);
    }
    return rc;
}

static int records_new_channel(change *c, const char *name, channel *ch)
{
    pair_key k;
    int rc;
    ch->id = ++c->totals.id;
    ch->epoch = records_next_epoch(c);
    ch->next = 1;
    c->totals.cost += records_cost_of_channel(strlen(name));
    rc = records_put(c, NAMES, records_number_key(&k, ch->id), name, strlen(name), 0);
    return rc;
}

/* Delete the messages beyond a channel's limits. */
static int records_trim(change *c, const channel *ch, const ws_keep *keep)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(c->txn, ws_history_env_base(c->h->lmdb, MESSAGES), &cursor);
    while (!rc) {
        MDB_val value;
        message_head head;
        apr_uint64_t offset;
        if ((rc = records_first_message(cursor, ch->id, &offset, &value))) {
            break;
        }
        memcpy(&head, value.mv_data, sizeof(head));
        if (ch->next - offset <= keep->count && (!head.expires || head.expires > c->now)) {
            break;
        }
        rc = records_drop_first(c, ch->id);
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Size of a stored message, bytes: its fields, then its data. */
static apr_size_t records_size_of(const ws_message *m)
{
    unsigned char fields[WS_FIELDS_MAX];
    return ws_fields_encode(&m->fields, fields) + m->len;
}

/* The length of the fields is in the upper bits of `type`. */
#define TYPE_BITS 8
#define TYPE_MASK 0xFFu

static int records_add_message(change *c, const channel *ch, const ws_keep *keep,
                               const ws_message *m)
{
    unsigned char fields[WS_FIELDS_MAX];
    apr_size_t fields_len = ws_fields_encode(&m->fields, fields);
    message_head head = {.turn = c->totals.turn + 1,
                         .time = c->now,
                         .expires = keep->age ? c->now + apr_time_from_sec(keep->age) : 0,
                         .type = (apr_uint64_t)m->type | fields_len << TYPE_BITS,
                         .server = m->server,
                         .except = m->except};
    turn t = {.id = ch->id, .offset = ch->next, .expires = head.expires};
    pair_key k;
    MDB_val key = records_message_key(&k, ch->id, ch->next),
            value = {sizeof(head) + records_size_of(m), NULL};
    int rc = mdb_put(c->txn, ws_history_env_base(c->h->lmdb, MESSAGES), &key, &value,
                     MDB_NOOVERWRITE | MDB_RESERVE);
    if (rc) {
        return rc == MDB_KEYEXIST ? MDB_CORRUPTED : rc;
    }
    memcpy(value.mv_data, &head, sizeof(head));
    memcpy((char *)value.mv_data + sizeof(head), fields, fields_len);
    memcpy((char *)value.mv_data + sizeof(head) + fields_len, m->data, m->len);
    c->totals.cost += records_cost_of_message(fields_len + m->len);
    return records_add_turn(c, &t);
}

static apr_status_t records_status_of(int rc)
{
    return !rc ? APR_SUCCESS : rc == MDB_MAP_FULL ? APR_ENOSPC : rc > 0 ? rc : APR_EGENERAL;
}

apr_status_t ws_change_begin(ws_history_records *h, unsigned harder, ws_change **change)
{
    ws_change *c = calloc(1, sizeof(*c));
    int rc;
    *change = NULL;
    if (!c) {
        return APR_ENOMEM;
    }
    if (harder) {
        /* A read transaction prevents the reuse of old pages. Its process may be dead, or it may be
         * about to end. */
        ws_history_env_forget_the_dead(h->lmdb);
        apr_sleep(apr_time_from_msec(1) << harder);
    }
    if ((rc = ws_history_env_begin(h->lmdb, 1, &c->txn))) {
        free(c);
        return records_status_of(rc);
    }
    c->h = h;
    c->now = apr_time_now();
    /* The first retries only wait for readers; later ones also lower the limit. */
    c->most = harder <= WS_CHANGE_HARDEST / 2
                  ? h->budget
                  : h->budget / WS_CHANGE_HARDEST * (WS_CHANGE_HARDEST + 1 - harder);
    c->rc = records_load_totals(h, c->txn, c->now, &c->totals);
    *change = c;
    return APR_SUCCESS;
}

apr_status_t ws_change_append(ws_change *c, const ws_message *m, const ws_keep *keep,
                              ws_position *at)
{
    apr_uint64_t room =
        records_cost_of_message(records_size_of(m)) + records_cost_of_channel(m->channel_len);
    channel ch;
    int rc = c->rc;
    if (!rc && room > c->most) {
        return APR_ENOSPC;
    }
    if (!rc && !(rc = records_make_room(c, room))) {
        rc = records_get(c->h, c->txn, CHANNELS, records_text_val(m->channel), &ch, sizeof(ch));
        if (rc == MDB_NOTFOUND) {
            rc = records_new_channel(c, m->channel, &ch);
        }
    }
    if (!rc && !(rc = records_add_message(c, &ch, keep, m))) {
        *at = (ws_position){ch.epoch, ch.next++};
        if (!(rc = records_put(c, CHANNELS, records_text_val(m->channel), &ch, sizeof(ch), 0))) {
            rc = records_trim(c, &ch, keep);
        }
    }
    c->rc = rc;
    return records_status_of(rc);
}

apr_status_t ws_change_clear(ws_change *c, const char *name)
{
    const ws_keep nothing = {0, 0};
    channel ch;
    if (!c->rc) {
        int rc = records_get(c->h, c->txn, CHANNELS, records_text_val(name), &ch, sizeof(ch));
        c->rc = rc == MDB_NOTFOUND ? 0 : rc ? rc : records_trim(c, &ch, &nothing);
    }
    return records_status_of(c->rc);
}

apr_status_t ws_change_end(ws_change *c)
{
    int rc = c->rc;
    if (!rc) {
        rc = records_put(c, TOTALS, records_text_val("totals"), &c->totals, sizeof(c->totals), 0);
    }
    rc = ws_history_env_end(c->h->lmdb, c->txn, rc);
    free(c);
    return records_status_of(rc);
}

/* ---- Reading ---- */

/* Whether no message is missing between a position and the first stored offset. */
static int records_follows(ws_position after, const channel *ch, apr_uint64_t first,
                           const totals *t)
{
    if (after.epoch == ch->epoch) {
        return after.offset + 1 >= first && after.offset < ch->next;
    }
    /* A position from before the channel's first message, and no channel has been deleted since. */
    return !after.epoch
           || (!after.offset && after.epoch < ch->epoch && t->lost <= after.epoch && first == 1);
}

static int records_give(MDB_cursor *cursor, const channel *ch, apr_uint64_t offset,
                        int (*fn)(const ws_past *past, void *arg), void *arg)
{
    pair_key k;
    MDB_val value, key = records_message_key(&k, ch->id, offset);
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

/* Find the first message that has not expired. Expired ones may not have been deleted yet. */
static int records_first_of_age(MDB_cursor *cursor, const channel *ch, apr_time_t now,
                                apr_uint64_t *first)
{
    MDB_val key, value;
    int rc = records_first_message(cursor, ch->id, first, &value);
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
        return records_status_of(rc);
    }
    if (!(rc = records_load_totals(h, txn, now, &t))) {
        rc = records_get(h, txn, CHANNELS, records_text_val(name), &ch, sizeof(ch));
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
    return records_status_of(rc);
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

/* Write the first totals, which record the time from which no message has been lost. If the file
 * already has totals, do not write: there may be no room while another process reads. */
static apr_status_t records_begin_totals(ws_history_records *h)
{
    totals t;
    MDB_txn *txn;
    ws_change *c;
    apr_status_t rv;
    int rc = ws_history_env_begin(h->lmdb, 0, &txn);
    if (!rc) {
        rc = ws_history_env_end(
            h->lmdb, txn, records_get(h, txn, TOTALS, records_text_val("totals"), &t, sizeof(t)));
    }
    if (rc != MDB_NOTFOUND) {
        return records_status_of(rc);
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
