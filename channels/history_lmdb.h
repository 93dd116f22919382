/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The history that all child processes of an httpd share, in a file: implements history.h with
 * history_records.h. One thread writes. The next transaction writes all messages that arrive during
 * the current one, so the cost per message decreases as the load increases. Reads run in the
 * calling thread; they do not wait for the writer.
 */

#ifndef WS_CHANNELS_HISTORY_LMDB_H
#define WS_CHANNELS_HISTORY_LMDB_H

#include "channels/history.h"
#include "channels/history_records.h"

typedef struct ws_history_lmdb_options {
    const char *directory; /**< see ws_history_env_options */
    apr_uint64_t size;     /**< maximum size of the file, bytes */
    const ws_history_rule *rules;
    unsigned rule_count;
    apr_size_t queue; /**< limit of the write queue, bytes; 0: 8 MiB */
    ws_history_log_fn *log;
} ws_history_lmdb_options;

/** Like ws_history_records_open(); also starts the thread. @param pool  must outlive the history */
apr_status_t ws_history_lmdb_create(ws_history **h, const ws_history_lmdb_options *options,
                                    apr_pool_t *pool);

/** Write the queued messages, stop the thread and close the file. No other call may follow. */
void ws_history_lmdb_destroy(ws_history *h);

#endif
