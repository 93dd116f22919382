/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Keys and records of the history file. Every record that is read is checked for its size. */

#include "channels/history_layout.h"

#include <string.h>

static void layout_put_be(unsigned char *to, apr_uint64_t n)
{
    for (int i = 7; i >= 0; i--, n >>= 8) {
        to[i] = (unsigned char)n;
    }
}

static apr_uint64_t layout_get_be(const unsigned char *from)
{
    apr_uint64_t n = 0;
    for (int i = 0; i < 8; i++) {
        n = n << 8 | from[i];
    }
    return n;
}

MDB_val ws_record_message_key(pair_key *k, apr_uint64_t id, apr_uint64_t offset)
{
    layout_put_be(k->bytes, id);
    layout_put_be(k->bytes + 8, offset);
    return (MDB_val){sizeof(k->bytes), k->bytes};
}

MDB_val ws_record_number_key(pair_key *k, apr_uint64_t n)
{
    layout_put_be(k->bytes, n);
    return (MDB_val){8, k->bytes};
}

MDB_val ws_record_text_val(const char *text)
{
    return (MDB_val){strlen(text), (char *)text};
}

int ws_record_get(ws_history_records *h, MDB_txn *txn, unsigned base, MDB_val key, void *record,
                  size_t size)
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

int ws_record_first_message(MDB_cursor *cursor, apr_uint64_t id, apr_uint64_t *offset,
                            MDB_val *value)
{
    pair_key k;
    MDB_val key = ws_record_message_key(&k, id, 0);
    int rc = mdb_cursor_get(cursor, &key, value, MDB_SET_RANGE);
    if (rc) {
        return rc;
    }
    if (key.mv_size != sizeof(k) || value->mv_size < sizeof(message_head)) {
        return MDB_CORRUPTED;
    }
    *offset = layout_get_be((unsigned char *)key.mv_data + 8);
    return layout_get_be(key.mv_data) == id ? 0 : MDB_NOTFOUND;
}

int ws_record_load_totals(ws_history_records *h, MDB_txn *txn, apr_time_t now, totals *t)
{
    int rc = ws_record_get(h, txn, TOTALS, ws_record_text_val("totals"), t, sizeof(*t));
    if (rc == MDB_NOTFOUND) {
        memset(t, 0, sizeof(*t));
        t->lost = t->epoch = (apr_uint64_t)now;
        rc = 0;
    }
    return rc;
}

apr_status_t ws_record_status_of(int rc)
{
    return !rc ? APR_SUCCESS : rc == MDB_MAP_FULL ? APR_ENOSPC : rc > 0 ? rc : APR_EGENERAL;
}
