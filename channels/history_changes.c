/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Changes the history file: adds and deletes messages. When the file is full, the oldest messages
 * of all channels are deleted first. A turn is a message's entry in the list of all messages by
 * age: see history_layout.h.
 */

#include <stdlib.h>
#include <string.h>

#include "channels/history_layout.h"

/* Overhead of a message, bytes: its key, its header, its turn, and its part of the inner pages of
 * LMDB's trees. */
#define COST 256
#define PAGE 4096

/* How long an empty channel is stored, so that its positions stay valid. */
#define REMEMBERED apr_time_from_sec(24 * 3600)

/* Maximum number of expired turns that each change deletes. */
#define SWEEP 8

struct ws_change {
    ws_history_records *h;
    MDB_txn *txn;
    apr_time_t now;
    totals totals;
    apr_uint64_t most; /* limit on totals.cost during this change, bytes */
    int rc;            /* the first error, after which calls do nothing; 0: none */
};
typedef struct ws_change change;

static apr_uint64_t changes_cost_of_message(apr_size_t len)
{
    return COST + (len < PAGE / 3 ? len : (len / PAGE + 2) * PAGE);
}

static apr_uint64_t changes_cost_of_channel(apr_size_t name_len)
{
    return COST + 2 * name_len;
}

static int changes_put(change *c, unsigned base, MDB_val key, const void *record, size_t size,
                       unsigned flags)
{
    MDB_val value = {size, (void *)record};
    return mdb_put(c->txn, ws_history_env_base(c->h->lmdb, base), &key, &value, flags);
}

static int changes_del(change *c, unsigned base, MDB_val key)
{
    int rc = mdb_del(c->txn, ws_history_env_base(c->h->lmdb, base), &key, NULL);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

static int changes_add_turn(change *c, const turn *t)
{
    pair_key k;
    return changes_put(c, ORDER, ws_record_number_key(&k, ++c->totals.turn), t, sizeof(*t),
                       MDB_APPEND);
}

/* Delete a channel's oldest message, and the message's turn. */
static int changes_drop_first(change *c, apr_uint64_t id)
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
    if (!(rc = ws_record_first_message(cursor, id, &offset, &value))) {
        memcpy(&head, value.mv_data, sizeof(head));
        c->totals.cost -= changes_cost_of_message(value.mv_size - sizeof(head));
        rc = mdb_cursor_del(cursor, 0);
    }
    if (!rc && !(rc = changes_del(c, ORDER, ws_record_number_key(&k, head.turn)))
        && (rc = ws_record_first_message(cursor, id, &next, &value)) == MDB_NOTFOUND) {
        turn t = {.id = id, .expires = c->now + REMEMBERED, .next = offset + 1};
        rc = changes_add_turn(c, &t);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

/* Get the next epoch. Epochs increase even when the system clock is set back, so that no position
 * is assigned twice. */
static apr_uint64_t changes_next_epoch(change *c)
{
    apr_uint64_t now = (apr_uint64_t)c->now;
    return c->totals.epoch = now > c->totals.epoch ? now : c->totals.epoch + 1;
}

/* Delete a channel, unless a message has been published to it since the turn was added. */
static int changes_forget_channel(change *c, const turn *t)
{
    char name[WS_CHANNEL_MAX + 1];
    channel ch;
    pair_key k;
    MDB_val value, key = ws_record_number_key(&k, t->id);
    int rc = mdb_get(c->txn, ws_history_env_base(c->h->lmdb, NAMES), &key, &value);

    if (rc || value.mv_size >= sizeof(name)) {
        return rc == MDB_NOTFOUND ? 0 : rc ? rc : MDB_CORRUPTED;
    }
    memcpy(name, value.mv_data, value.mv_size);
    name[value.mv_size] = '\0';
    if ((rc = ws_record_get(c->h, c->txn, CHANNELS, ws_record_text_val(name), &ch, sizeof(ch)))) {
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    }
    if (ch.next != t->next) {
        return 0;
    }
    c->totals.cost -= changes_cost_of_channel(strlen(name));
    c->totals.lost = changes_next_epoch(c);
    rc = changes_del(c, CHANNELS, ws_record_text_val(name));
    return rc ? rc : changes_del(c, NAMES, key);
}

/* If the oldest turn has expired, or has_to_be is set, delete the turn, and the message or channel
 * that the turn is for.
 * @param done  set to 1 if there was no turn to delete */
static int changes_end_turn(change *c, int has_to_be, int *done)
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
    return t.offset ? changes_drop_first(c, t.id) : changes_forget_channel(c, &t);
}

/* Delete old messages until a record fits. cost: the record's cost, bytes */
static int changes_make_room(change *c, apr_uint64_t cost)
{
    int rc = 0, done = 0;
    while (!rc && !done && c->totals.cost + cost > c->most) {
        rc = changes_end_turn(c, 1, &done);
    }
    done = 0;
    for (int i = 0; i < SWEEP && !rc && !done; i++) {
        rc = changes_end_turn(c, 0, &done);
    }
    return rc;
}

static int changes_new_channel(change *c, const char *name, channel *ch)
{
    pair_key k;
    int rc;
    ch->id = ++c->totals.id;
    ch->epoch = changes_next_epoch(c);
    ch->next = 1;
    c->totals.cost += changes_cost_of_channel(strlen(name));
    rc = changes_put(c, NAMES, ws_record_number_key(&k, ch->id), name, strlen(name), 0);
    return rc;
}

/* Delete the messages of a channel that exceed its limits. */
static int changes_trim(change *c, const channel *ch, const ws_keep *keep)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(c->txn, ws_history_env_base(c->h->lmdb, MESSAGES), &cursor);
    while (!rc) {
        MDB_val value;
        message_head head;
        apr_uint64_t offset;
        if ((rc = ws_record_first_message(cursor, ch->id, &offset, &value))) {
            break;
        }
        memcpy(&head, value.mv_data, sizeof(head));
        if (ch->next - offset <= keep->count && (!head.expires || head.expires > c->now)) {
            break;
        }
        rc = changes_drop_first(c, ch->id);
    }
    if (cursor) {
        mdb_cursor_close(cursor);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Get the size of a stored message, bytes: its fields and its data. */
static apr_size_t changes_size_of(const ws_message *m)
{
    unsigned char fields[WS_FIELDS_MAX];
    return ws_fields_encode(&m->fields, fields) + m->len;
}

static int changes_add_message(change *c, const channel *ch, const ws_keep *keep,
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
    MDB_val key = ws_record_message_key(&k, ch->id, ch->next),
            value = {sizeof(head) + changes_size_of(m), NULL};
    int rc = mdb_put(c->txn, ws_history_env_base(c->h->lmdb, MESSAGES), &key, &value,
                     MDB_NOOVERWRITE | MDB_RESERVE);
    if (rc) {
        return rc == MDB_KEYEXIST ? MDB_CORRUPTED : rc;
    }
    memcpy(value.mv_data, &head, sizeof(head));
    memcpy((char *)value.mv_data + sizeof(head), fields, fields_len);
    memcpy((char *)value.mv_data + sizeof(head) + fields_len, m->data, m->len);
    c->totals.cost += changes_cost_of_message(fields_len + m->len);
    return changes_add_turn(c, &t);
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
        /* A read transaction prevents the reuse of old pages. If its process is dead, this call
         * ends the transaction. If the process is alive, the transaction may end during the
         * pause. */
        ws_history_env_forget_the_dead(h->lmdb);
        apr_sleep(apr_time_from_msec(1) << harder);
    }
    if ((rc = ws_history_env_begin(h->lmdb, 1, &c->txn))) {
        free(c);
        return ws_record_status_of(rc);
    }
    c->h = h;
    c->now = apr_time_now();
    /* The first retries only wait for readers; later retries also lower the limit c->most. */
    c->most = harder <= WS_CHANGE_HARDEST / 2
                  ? h->budget
                  : h->budget / WS_CHANGE_HARDEST * (WS_CHANGE_HARDEST + 1 - harder);
    c->rc = ws_record_load_totals(h, c->txn, c->now, &c->totals);
    *change = c;
    return APR_SUCCESS;
}

apr_status_t ws_change_append(ws_change *c, const ws_message *m, const ws_keep *keep,
                              ws_position *at)
{
    apr_uint64_t room =
        changes_cost_of_message(changes_size_of(m)) + changes_cost_of_channel(m->channel_len);
    channel ch;
    int rc = c->rc;
    if (!rc && room > c->most) {
        return APR_ENOSPC;
    }
    if (!rc && !(rc = changes_make_room(c, room))) {
        rc = ws_record_get(c->h, c->txn, CHANNELS, ws_record_text_val(m->channel), &ch, sizeof(ch));
        if (rc == MDB_NOTFOUND) {
            rc = changes_new_channel(c, m->channel, &ch);
        }
    }
    if (!rc && !(rc = changes_add_message(c, &ch, keep, m))) {
        *at = (ws_position){ch.epoch, ch.next++};
        if (!(rc = changes_put(c, CHANNELS, ws_record_text_val(m->channel), &ch, sizeof(ch), 0))) {
            rc = changes_trim(c, &ch, keep);
        }
    }
    c->rc = rc;
    return ws_record_status_of(rc);
}

apr_status_t ws_change_clear(ws_change *c, const char *name)
{
    const ws_keep nothing = {0, 0};
    channel ch;
    if (!c->rc) {
        int rc = ws_record_get(c->h, c->txn, CHANNELS, ws_record_text_val(name), &ch, sizeof(ch));
        c->rc = rc == MDB_NOTFOUND ? 0 : rc ? rc : changes_trim(c, &ch, &nothing);
    }
    return ws_record_status_of(c->rc);
}

apr_status_t ws_change_end(ws_change *c)
{
    int rc = c->rc;
    if (!rc) {
        rc = changes_put(c, TOTALS, ws_record_text_val("totals"), &c->totals, sizeof(c->totals), 0);
    }
    rc = ws_history_env_end(c->h->lmdb, c->txn, rc);
    free(c);
    return ws_record_status_of(rc);
}
