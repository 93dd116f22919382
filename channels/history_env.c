/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Opens the LMDB file of histories, inspects it, and runs its transactions. If the file is damaged,
 * it is renamed and a new one is created, because a lost history is better than a stopped server.
 */

#include "channels/history_env.h"

#include <apr_strings.h>
#include <apr_thread_rwlock.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Maximum number of concurrent read transactions, in all processes together. */
#define READERS_MAX 1024

/* With MDB_NOTLS, a reader slot belongs to a transaction, not to a thread. */
#define FLAGS (MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD)
#define MODE 0600

/* Maximum time to wait for the lock of the directory, and maximum time for the inspection of a
 * file, seconds. Any process of httpd's user can hold the lock or block the inspection. */
#define LOCK_TIME 10
#define INSPECTION_TIME 15

/* Pause between two attempts to take the lock or to find out that a process has ended,
 * microseconds. */
#define PAUSE 1000

/* Exit status of the process that inspects a file. */
enum { IN_ORDER = 0, SET_ASIDE = 1, HOPELESS = 2 };

/* Results of env_in_a_process() that are not a status of waitpid(2). */
enum { FAILED = -1, TIMED_OUT = -2 };

struct ws_history_env {
    ws_history_env_options options;
    const char *data, *lock_file, *damaged;
    apr_time_t said; /**< when an error was last logged; atomic */
    apr_thread_rwlock_t
        *lock;    /**< held for reading by transactions, and for writing while env changes */
    MDB_env *env; /**< NULL when reopening has failed */
    MDB_dbi base[WS_HISTORY_ENV_BASES];
    dev_t device; /**< device and inode identify the data file, to detect its replacement */
    ino_t inode;
};

static void env_say(const ws_history_env *m, ws_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void env_say(const ws_history_env *m, ws_log_level level, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    m->options.log(level, text);
}

static int env_is_damage(int rc)
{
    switch (rc) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        return 1;
    }
    return 0;
}

static void env_init(ws_history_env *m, const ws_history_env_options *options, apr_pool_t *pool)
{
    m->options = *options;
    m->data = apr_pstrcat(pool, options->directory, "/data.mdb", NULL);
    m->lock_file = apr_pstrcat(pool, options->directory, "/lock.mdb", NULL);
    m->damaged = apr_pstrcat(pool, m->data, ".damaged", NULL);
}

/* ---- Opening ---- */

static int env_replaced(const ws_history_env *m)
{
    struct stat there;
    return stat(m->data, &there) < 0 || there.st_ino != m->inode || there.st_dev != m->device;
}

static void env_close_env(ws_history_env *m)
{
    if (m->env) {
        mdb_env_close(m->env);
        m->env = NULL;
    }
}

/* Lock the directory. The data file and LMDB's lock file belong together. The lock prevents a
 * process from opening one of them while another process replaces both.
 * @return a descriptor, which the caller closes to unlock the directory; -1: an error, in errno */
static int env_lock_directory(const ws_history_env *m)
{
    int fd = open(m->options.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    apr_time_t until = apr_time_now() + apr_time_from_sec(LOCK_TIME);
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EINTR && (errno != EWOULDBLOCK || apr_time_now() > until)) {
            int error = errno;
            env_say(m, WS_LOG_ERROR, "history: cannot lock %s within %d s: %s",
                    m->options.directory, LOCK_TIME, strerror(error));
            close(fd);
            errno = error;
            return -1;
        }
        apr_sleep(PAUSE);
    }
    return fd;
}

/* Rename the file, unless another process has already done so. Processes that have it open detect
 * the change by the inode. */
static void env_set_aside(ws_history_env *m, ino_t inode, const char *why)
{
    struct stat there;
    int fd = env_lock_directory(m);
    if (fd >= 0 && stat(m->data, &there) == 0 && there.st_ino == inode) {
        unlink(m->lock_file);
        if (rename(m->data, m->damaged) < 0) {
            unlink(m->data);
        }
        env_say(m, WS_LOG_ERROR, "history: %s was damaged (%s): renamed to %s, and created again",
                m->data, why, m->damaged);
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Rename the file, so that the next process does not fail in the same way. LMDB calls this function
 * before it aborts the process. */
static void env_failed_assertion(MDB_env *env, const char *why)
{
    ws_history_env *m = mdb_env_get_userctx(env);
    env_set_aside(m, m->inode, why);
}

static int env_open_bases(ws_history_env *m)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(m->env, NULL, 0, &txn);
    if (rc) {
        return rc;
    }
    for (unsigned i = 0; !rc && m->options.names[i]; i++) {
        rc = mdb_dbi_open(txn, m->options.names[i], MDB_CREATE, &m->base[i]);
    }
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

static int env_try_open(ws_history_env *m)
{
    struct stat there;
    int fd, rc, directory = env_lock_directory(m);

    if (directory < 0) {
        return errno;
    }
    if ((rc = mdb_env_create(&m->env))) {
        m->env = NULL;
        close(directory);
        return rc;
    }
    mdb_env_set_userctx(m->env, m);
    mdb_env_set_assert(m->env, env_failed_assertion);
    mdb_env_set_maxdbs(m->env, WS_HISTORY_ENV_BASES);
    mdb_env_set_maxreaders(m->env, READERS_MAX);
    mdb_env_set_mapsize(m->env, m->options.size);
    if (!(rc = mdb_env_open(m->env, m->options.directory, FLAGS, MODE))
        && !(rc = mdb_env_get_fd(m->env, &fd)) && fstat(fd, &there) < 0) {
        rc = errno;
    }
    if (!rc) {
        m->inode = there.st_ino;
        m->device = there.st_dev;
        mdb_reader_check(m->env, NULL);
        rc = env_open_bases(m);
    }
    if (rc) {
        env_close_env(m);
    }
    close(directory);
    return rc;
}

static int env_open_env(ws_history_env *m)
{
    int rc = MDB_PANIC;
    for (int i = 0; i < 3; i++) {
        struct stat before;
        ino_t inode = stat(m->data, &before) == 0 ? before.st_ino : 0;
        rc = env_try_open(m);
        if (env_is_damage(rc)) {
            if (inode) {
                env_set_aside(m, inode, mdb_strerror(rc));
            }
            continue;
        }
        if (!rc && env_replaced(m)) { /* replaced between env_try_open() and now */
            env_close_env(m);
            continue;
        }
        break;
    }
    return rc;
}

apr_status_t ws_history_env_open(ws_history_env **lmdb, const ws_history_env_options *options,
                                 apr_pool_t *pool)
{
    ws_history_env *m = apr_pcalloc(pool, sizeof(*m));
    apr_status_t rv;
    int rc;

    env_init(m, options, pool);
    if ((rv = apr_thread_rwlock_create(&m->lock, pool)) != APR_SUCCESS) {
        return rv;
    }
    if ((rc = env_open_env(m))) {
        env_say(m, WS_LOG_ERROR, "history: cannot open %s: %s", m->data, mdb_strerror(rc));
        return rc > 0 ? rc : APR_EGENERAL;
    }
    *lmdb = m;
    return APR_SUCCESS;
}

void ws_history_env_close(ws_history_env *m)
{
    env_close_env(m);
    apr_thread_rwlock_destroy(m->lock);
}

/* Reopen the file after another file has replaced it, or after its map has grown. */
static int env_open_again(ws_history_env *m, int even_if_the_same)
{
    int rc = 0;
    apr_thread_rwlock_wrlock(m->lock);
    if (!m->env || even_if_the_same || env_replaced(m)) {
        env_close_env(m);
        rc = env_open_env(m);
    }
    apr_thread_rwlock_unlock(m->lock);
    return rc;
}

/* ---- Transactions ---- */

int ws_history_env_begin(ws_history_env *m, int write, MDB_txn **txn)
{
    apr_time_t now;
    int rc = 0;
    *txn = NULL;
    for (int i = 0; i < 3; i++) {
        apr_thread_rwlock_rdlock(m->lock);
        if (m->env && !env_replaced(m)) {
            rc = mdb_txn_begin(m->env, NULL, write ? 0 : MDB_RDONLY, txn);
            if (!rc) {
                return 0; /* ws_history_env_end() releases the lock */
            }
            *txn = NULL;
            if (rc == MDB_READERS_FULL) {
                mdb_reader_check(m->env, NULL);
            }
            apr_thread_rwlock_unlock(m->lock);
            if (rc == MDB_MAP_RESIZED) { /* a process with another configured size has resized it */
                rc = env_open_again(m, 1);
            }
            else if (rc != MDB_READERS_FULL) {
                break;
            }
        }
        else {
            apr_thread_rwlock_unlock(m->lock);
            rc = env_open_again(m, 0);
        }
        if (rc && rc != MDB_READERS_FULL) {
            break;
        }
    }
    if (!rc) {
        rc = EBUSY;
    }
    now = apr_time_now();
    if (now - __atomic_exchange_n(&m->said, now, __ATOMIC_RELAXED) > apr_time_from_sec(1)) {
        env_say(m, WS_LOG_ERROR, "history: cannot use %s: %s", m->data, mdb_strerror(rc));
    }
    return rc;
}

MDB_dbi ws_history_env_base(const ws_history_env *m, unsigned i)
{
    return m->base[i];
}

int ws_history_env_end(ws_history_env *m, MDB_txn *txn, int rc)
{
    ino_t inode = m->inode;
    if (rc) {
        mdb_txn_abort(txn);
    }
    else {
        rc = mdb_txn_commit(txn);
    }
    apr_thread_rwlock_unlock(m->lock);
    if (env_is_damage(rc)) {
        env_set_aside(m, inode, mdb_strerror(rc));
        env_open_again(m, 0);
    }
    return rc;
}

void ws_history_env_forget_the_dead(ws_history_env *m)
{
    apr_thread_rwlock_rdlock(m->lock);
    if (m->env) {
        mdb_reader_check(m->env, NULL);
    }
    apr_thread_rwlock_unlock(m->lock);
}

/* ---- Inspecting, in a separate process ---- */

/* Read every byte of the file. If the file is damaged, this may crash. @return 0, or LMDB's
 * error */
static int env_read_through(ws_history_env *m)
{
    MDB_txn *txn;
    int rc = env_try_open(m);

    if (rc || (rc = mdb_txn_begin(m->env, NULL, MDB_RDONLY, &txn))) {
        return rc;
    }
    for (unsigned i = 0; !rc && m->options.names[i]; i++) {
        MDB_cursor *cursor;
        MDB_val key, value;
        if ((rc = mdb_cursor_open(txn, m->base[i], &cursor))) {
            break;
        }
        while (!(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
            for (size_t at = 0; at < value.mv_size; at++) {
                (void)((const volatile unsigned char *)value.mv_data)[at];
            }
        }
        rc = rc == MDB_NOTFOUND ? 0 : rc;
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return rc;
}

/* Wait for a process. If it has not ended after `limit` seconds, kill it.
 * @return its status as from waitpid(2), FAILED or TIMED_OUT */
static int env_wait(pid_t pid, int limit)
{
    apr_time_t until = apr_time_now() + apr_time_from_sec(limit);
    int status, late = 0;
    pid_t ended;
    while ((ended = waitpid(pid, &status, late ? 0 : WNOHANG)) != pid) {
        if (ended < 0 && errno != EINTR) {
            return FAILED;
        }
        if (!late && apr_time_now() > until) {
            late = 1;
            kill(pid, SIGKILL);
        }
        apr_sleep(PAUSE);
    }
    return late ? TIMED_OUT : status;
}

/* Fork a process that calls fn and exits with its result. The kernel kills it when this process
 * ends, unless it changes its user. @return see env_wait() */
static int env_in_a_process(int (*fn)(ws_history_env *m), ws_history_env *m, int limit)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(fn(m) & 0xFF);
    }
    return pid > 0 ? env_wait(pid, limit) : FAILED;
}

/* Only some of LMDB's errors, which are negative, mean damage. System errors, which are positive,
 * never do. */
static int env_verdict(ws_history_env *m)
{
    int rc = env_read_through(m);
    if (rc && !env_is_damage(rc)) {
        env_say(m, WS_LOG_ERROR, "history: cannot open %s: %s", m->data, mdb_strerror(rc));
        return HOPELESS;
    }
    return rc ? SET_ASIDE : IN_ORDER;
}

static int env_inspect(ws_history_env *m)
{
    struct stat there;
    int status;
    if (stat(m->data, &there) < 0) {
        return errno == ENOENT ? IN_ORDER : HOPELESS;
    }
    /* The process that waits for this one ends it in time. */
    status = env_in_a_process(env_verdict, m, 2 * INSPECTION_TIME);
    /* A crash does not always end the process with a signal, because a sanitizer catches the signal
     * and exits with a special status. */
    if (status >= 0 && (WIFSIGNALED(status) || WEXITSTATUS(status) > HOPELESS)) {
        env_set_aside(m, there.st_ino, "it cannot be read");
        return SET_ASIDE;
    }
    if (status >= 0 && WEXITSTATUS(status) == SET_ASIDE) {
        env_set_aside(m, there.st_ino, "its pages are inconsistent");
        return SET_ASIDE;
    }
    return status < 0 ? HOPELESS : WEXITSTATUS(status);
}

static uid_t as_user;
static gid_t as_group;

static int env_inspect_as_user(ws_history_env *m)
{
    if ((as_group && (setgroups(1, &as_group) < 0 || setgid(as_group) < 0))
        || (as_user && setuid(as_user) < 0)) {
        return HOPELESS;
    }
    return env_inspect(m);
}

apr_status_t ws_history_env_inspect(const ws_history_env_options *options, uid_t uid, gid_t gid)
{
    apr_pool_t *pool;
    ws_history_env m = {.env = NULL};
    apr_status_t rv = APR_SUCCESS;
    int status;

    if (apr_pool_create_unmanaged(&pool) != APR_SUCCESS) {
        return APR_ENOMEM;
    }
    env_init(&m, options, pool);
    as_user = uid;
    as_group = gid;
    status = env_in_a_process(env_inspect_as_user, &m, INSPECTION_TIME);
    if (status == TIMED_OUT) {
        env_say(&m, WS_LOG_WARNING,
                "history: checking %s has been stopped after %d s: the file is used unchecked. It "
                "is too large to check, or another process of httpd's user blocks the check",
                m.data, INSPECTION_TIME);
    }
    else if (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == HOPELESS) {
        env_say(&m, WS_LOG_ERROR, "history: cannot use %s: check its type, owner and mode", m.data);
        rv = APR_EGENERAL;
    }
    apr_pool_destroy(pool);
    return rv;
}
