/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Supervises the programs of a child process in a thread: waits for them to end, logs their
 * standard error, and stops those that are no longer needed. A connection's loop cannot do
 * this, because a program can take longer to stop than the connection stays open.
 */

#ifndef WS_EXEC_KEEPER_H
#define WS_EXEC_KEEPER_H

#include <poll.h>

#include "exec.h"

/**
 * Called by ws_run() after a program that has a connection has ended.
 * @param c        NULL: the connection has ended too
 * @param program  with a reference
 */
typedef void exec_ended(ws_conn *c, void *program);

/**
 * A running or ended program. Reference-counted; the supervisor holds a reference until the program
 * ends.
 */
typedef struct exec_program {
    struct exec_program *next; /**< in the supervisor's list */
    exec_supervisor *supervisor;
    pid_t pid;
    int pidfd, err;
    int out;                  /**< standard output, if it is read only to be discarded; else -1 */
    int *slot;                /**< see slots.h */
    const server_rec *server; /**< for the log */
    char *who;                /**< client and path, for the log */
    int refs;                 /**< this field and those below: under the supervisor's lock */
    int stopping;             /**< its standard input has been closed to stop it */
    apr_time_t stopped_at;    /**< time when it was closed */
    int steps;                /**< number of stopping steps taken so far */
    int ended, status;        /**< status from waitpid(2) */
    ws_id conn;               /**< connection to notify of the end; 0: none */
    exec_ended *on_end;       /**< called on its loop */
    char *line;               /**< incomplete line of standard error */
    apr_size_t line_len;
    apr_int64_t second;  /**< time of the last logged line, seconds */
    apr_uint32_t said;   /**< lines logged in that second */
    apr_uint32_t unsaid; /**< lines dropped in that second */
} exec_program;

/** Work for a shared program on the supervisor's thread. Called without the supervisor's lock. */
typedef struct exec_side {
    /** Maximum number of descriptors to poll. */
    unsigned (*count)(void *data);
    /**
     * Fill in the descriptors, and lower *timeout (milliseconds, -1: none) if needed. @return their
     * number
     */
    int (*fill)(void *data, struct pollfd *fds, int *timeout);
    /** Called after polling or the timeout. */
    void (*act)(void *data, const struct pollfd *fds, int n);
    /** A program has ended. */
    void (*ended)(void *data, const exec_program *p);
    void *data;
} exec_side;

/** The thread starts with the first program. @return NULL: out of memory */
exec_supervisor *exec_supervisor_new(const exec_config *config);

/** Start the thread if it is not running. @return whether it is running */
int exec_supervisor_run(exec_supervisor *k);

/** Stop all programs, and wait for them and the thread: two seconds at most. */
void exec_supervisor_stop(exec_supervisor *k);

/** Set the work for a shared program. Call before the first program starts. */
void exec_supervisor_attend(exec_supervisor *k, const exec_side *side);

/**
 * Supervise a program from now on. Takes ownership of process->err, process->pidfd and the slot.
 * @param who  for the log
 * @return the process, with a reference for the caller; NULL: out of memory, or no thread. The
 *         program has then been killed, and the caller still owns its pipes
 */
exec_program *exec_supervise(exec_supervisor *k, const exec_process *process, int *slot,
                             const server_rec *server, const char *who);

/**
 * Stop a program, unless it ends because its standard input has been closed.
 * @param out  its standard output, which is read and discarded; or -1
 */
void exec_stop(exec_program *p, int out);

/**
 * Set the connection to notify when the program ends: ws_run() calls on_end with p, and a reference
 * to it. @return whether the program has ended already
 */
int exec_set_owner(exec_program *p, ws_id id, exec_ended *on_end);

void exec_release(exec_program *p);

/** Wake the supervisor's thread.  [any thread] */
void exec_wake(exec_supervisor *k);

/** Describe a status from waitpid(2). */
const char *exec_status_text(int status, char *text, apr_size_t size);

#endif
