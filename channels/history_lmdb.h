/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The history that all children of an httpd share, in a file: history_records.h behind the functions of history.h.
 * A thread writes; what has come while it wrote is its next transaction, so the more there is to write,
 * the less each message costs. Reads happen at once, in the thread that asks: they take no lock.
 */

#ifndef WS_CHANNELS_HISTORY_LMDB_H
#define WS_CHANNELS_HISTORY_LMDB_H

#include "channels/history.h"
#include "channels/history_records.h"

typedef struct ws_history_lmdb_options {
    const char *directory; /**< of the file, see ws_history_env_options */
    apr_uint64_t size;     /**< the file becomes no larger, bytes */
    const ws_history_rule *rules;
    unsigned rule_count;
    apr_size_t queue; /**< bytes of messages that may wait to be written; 0: 8 MiB */
    ws_history_log_fn *log;
} ws_history_lmdb_options;

/** As ws_history_records_open(), and its thread. @param pool  lives longer */
apr_status_t ws_history_lmdb_create(ws_history **h, const ws_history_lmdb_options *options,
                                    apr_pool_t *pool);

/** Write what waits, and end. Nobody calls it any more. */
void ws_history_lmdb_destroy(ws_history *h);

#endif
