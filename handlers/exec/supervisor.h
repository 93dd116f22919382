/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The keeper of a child process's programs: a thread that waits for their ends, writes what they say on
 * standard error into the log, and stops those that nobody needs any more. A program outlives its
 * connection for as long as stopping it takes; so this is no affair of the connection's loop.
 */

#ifndef WS_EXEC_KEEPER_H
#define WS_EXEC_KEEPER_H

#include <poll.h>

#include "exec.h"

/** A program that runs, or has ended. Counted: the keeper has a reference until its end. */
typedef struct exec_program {
    struct exec_program *next; /**< of the keeper's */
    exec_keeper *keeper;
    pid_t pid;
    int pidfd, err;
    int out;                  /**< what it writes, when nobody reads that any more; else -1 */
    int *slot;                /**< see slots.h */
    const server_rec *server; /**< whose log */
    char *who;                /**< for the log: client and path */
    int refs;                 /**< this and all below: under the keeper's lock */
    int stopping;             /**< its standard input was closed on purpose */
    apr_time_t stopped_at;    /**< then */
    int steps;                /**< of stopping it that have been taken */
    int ended, status;        /**< status: as of waitpid(2) */
    ws_id conn;               /**< that is to be told of the end, 0: not yet, or none */
    char *line;               /**< of standard error, that has not ended */
    apr_size_t line_len;
    apr_int64_t second;  /**< of the last line that was logged */
    apr_uint32_t said;   /**< lines in it */
    apr_uint32_t unsaid; /**< lines that were not logged */
} exec_program;

/** What the keeper's thread does for a shared program, beside its own affairs; it holds no lock then. */
typedef struct exec_side {
    /** How many of fds it needs at most. */
    unsigned (*count)(void *data);
    /** Fill them in, and lower *timeout (milliseconds, -1: none) if need be. @return how many */
    int (*fill)(void *data, struct pollfd *fds, int *timeout);
    /** They have been polled, or the time is over. */
    void (*act)(void *data, const struct pollfd *fds, int n);
    /** A program has ended. */
    void (*ended)(void *data, const exec_program *p);
    void *data;
} exec_side;

/** @return NULL when there is no memory; its thread is made with the first program */
exec_keeper *exec_keeper_new(const exec_config *config);

/** Make the thread, if there is none. @return whether it runs */
int exec_keeper_run(exec_keeper *k);

/** Stop all programs, wait until they have ended, and the thread with them: two seconds at most. */
void exec_keeper_stop(exec_keeper *k);

/** For a shared program; before the first. */
void exec_keeper_attend(exec_keeper *k, const exec_side *side);

/**
 * Keep a program from now on. Takes process->err and pidfd, and the slot.
 * @param who  for the log
 * @return with a reference for the caller; NULL when there is no memory or no thread: then the program
 *         has been killed, and its pipes are still the caller's
 */
exec_program *exec_keep(exec_keeper *k, const exec_process *process, int *slot,
                        const server_rec *server, const char *who);

/**
 * Its standard input has been closed: stop it if it does not end by that.
 * @param out  its standard output, which is read on and forgotten; or -1
 */
void exec_stop(exec_program *p, int out);

/** Name the connection that is told, by ws_run() of fn with p, when it ends. @return whether it has */
int exec_set_owner(exec_program *p, ws_id id);

void exec_release(exec_program *p);

/** Wake the keeper's thread.  [any thread] */
void exec_wake(exec_keeper *k);

/** What has become of a program, in words. */
const char *exec_status_text(int status, char *text, apr_size_t size);

/** What ws_run() calls at the end of a program that has a connection; arg: the program, with a
 *  reference. */
void exec_on_end(ws_conn *c, void *arg);

#endif
