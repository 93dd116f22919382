/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A file of LMDB's that many processes use at the same time: opening it, transactions, and what is done
 * when it turns out to be damaged. What lies in it is history_records.c's.
 *
 * A process that is killed at any moment damages nothing: LMDB never writes over what the last commit
 * refers to, its lock is a robust mutex that the next one takes over, and the places of readers that
 * are no more are given back. The file outlives the processes, not the machine: nothing is synced to a
 * disk, and a runtime directory is usually none.
 */

#ifndef WS_CHANNELS_LMDB_H
#define WS_CHANNELS_LMDB_H

#include <apr_pools.h>
#include <lmdb.h>
#include <sys/types.h>

#include "channels/history_rules.h"

typedef struct ws_history_env ws_history_env;

/** Greatest number of databases in the file. */
#define WS_HISTORY_ENV_BASES 5

typedef struct ws_history_env_options {
    const char *directory;    /**< exists; the files in it are data.mdb and lock.mdb */
    apr_uint64_t size;        /**< the data's file becomes no larger, bytes */
    const char *const *names; /**< of its databases, NULL at the end */
    ws_history_log_fn *log;
} ws_history_env_options;

/**
 * Look whether the file that lies there is in order; if it is damaged, rename it to data.mdb.damaged
 * (over an older one) and log that. Reading a damaged file can crash who does it: so it is done by a
 * process of its own, which takes the given user and group first. A file that is not there is in order.
 * Others may use the file meanwhile.  [before threads: the parent]
 * @param uid  0: stay what we are; likewise gid
 * @return APR_SUCCESS, also when a file was set aside; else why there can be none
 */
apr_status_t ws_history_env_inspect(const ws_history_env_options *options, uid_t uid, gid_t gid);

/**
 * Open it, or make it. A process opens a file once, and not before it has been forked.
 * @param pool  lives longer
 */
apr_status_t ws_history_env_open(ws_history_env **lmdb, const ws_history_env_options *options,
                                 apr_pool_t *pool);

void ws_history_env_close(ws_history_env *lmdb);

/**
 * Begin a transaction: the only one of this file that writes, or one of many that read. Each must be
 * ended by ws_history_env_end(), and a thread has one at a time.  [any thread]
 * @param txn  set; NULL when it fails
 * @return 0, or LMDB's error
 */
int ws_history_env_begin(ws_history_env *lmdb, int write, MDB_txn **txn);

/** A database, by its place in options.names. */
MDB_dbi ws_history_env_base(const ws_history_env *lmdb, unsigned i);

/**
 * Commit if rc is 0, else undo. If the file turns out to be damaged, it is set aside and a new one
 * begins.
 * @param rc  0 or LMDB's error
 * @return 0 when it is committed; else an error: rc, or that of the commit
 */
int ws_history_env_end(ws_history_env *lmdb, MDB_txn *txn, int rc);

/** Give back the places of readers that were killed: they keep old pages from being used again. */
void ws_history_env_forget_the_dead(ws_history_env *lmdb);

#endif
