/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * An LMDB file that many processes use at the same time: opening, transactions, and the handling of
 * a damaged file. history_records.c defines its contents.
 *
 * Killing a process at any moment does not damage the file. LMDB never overwrites pages that the
 * last commit refers to. LMDB's lock is a robust mutex: if its owner is killed, the next process
 * takes it over. Readers occupy slots in LMDB's lock file, and the slots of killed processes are
 * released. The file survives crashes of the processes, but not of the machine, because nothing is
 * synced to disk, and a runtime directory is usually in memory.
 */

#ifndef WS_CHANNELS_HISTORY_ENV_H
#define WS_CHANNELS_HISTORY_ENV_H

#include <apr_pools.h>
#include <lmdb.h>
#include <sys/types.h>

#include "channels/history_rules.h"

typedef struct ws_history_env ws_history_env;

/** Maximum number of databases in the file. */
#define WS_HISTORY_ENV_BASES 5

typedef struct ws_history_env_options {
    const char *directory;    /**< an existing directory, for the files data.mdb and lock.mdb */
    apr_uint64_t size;        /**< maximum size of the data file, bytes */
    const char *const *names; /**< names of its databases, NULL-terminated */
    ws_history_log_fn *log;
} ws_history_env_options;

/**
 * Check the existing file. If it is damaged, rename it to data.mdb.damaged, replacing an older file
 * of that name, and log that. Reading a damaged file can crash the reader. The check therefore runs
 * in a separate process, which first switches to the given user and group. A missing file is not an
 * error. Other processes may use the file meanwhile. A check that takes more than 15 s is stopped,
 * with a line in the log, because other processes of that user can block it.  [in the parent
 * process, before it creates threads]
 * @param uid  0: keep the current user
 * @param gid  0: keep the current group
 * @return APR_SUCCESS, even if a file was renamed or the check was stopped. An error means that no
 *         file can be used
 */
apr_status_t ws_history_env_inspect(const ws_history_env_options *options, uid_t uid, gid_t gid);

/**
 * Open the file, or create it. A process opens a file once, after it has been forked. Waits up to
 * 10 s for the lock of the directory.
 * @param pool  must outlive the environment
 */
apr_status_t ws_history_env_open(ws_history_env **lmdb, const ws_history_env_options *options,
                                 apr_pool_t *pool);

void ws_history_env_close(ws_history_env *lmdb);

/**
 * Begin a transaction. Many read transactions can run at a time, but only one write transaction. A
 * thread may have one transaction at a time. The caller ends it with ws_history_env_end().
 * [any thread]
 * @param txn  set to the transaction; NULL on failure
 * @return 0, or LMDB's error
 */
int ws_history_env_begin(ws_history_env *lmdb, int write, MDB_txn **txn);

/** Get a database by its index in options.names. */
MDB_dbi ws_history_env_base(const ws_history_env *lmdb, unsigned i);

/**
 * Commit if rc is 0, otherwise abort. If the file is damaged, rename it and create a new one.
 * @param rc  0 or LMDB's error
 * @return 0 after a commit; otherwise rc, or the error of the commit
 */
int ws_history_env_end(ws_history_env *lmdb, MDB_txn *txn, int rc);

/** Release the reader slots of killed processes. Such slots prevent the reuse of old pages. */
void ws_history_env_forget_the_dead(ws_history_env *lmdb);

#endif
