/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Supervises the programs of a child process in a thread. The thread waits for programs to end,
 * logs their standard error, and stops programs that are no longer needed. A connection's loop
 * cannot do this, because a program can take longer to stop than the connection stays open.
 */

#ifndef WS_EXEC_SUPERVISOR_H
#define WS_EXEC_SUPERVISOR_H

#include <poll.h>

#include "exec.h"

/**
 * A function that ws_run() calls after a program that belongs to a connection has ended.
 * @param c        NULL: the connection has ended too
 * @param program  the exec_program; the function owns a reference to it
 */
typedef void exec_ended(ws_conn *c, void *program);

/**
 * A program that is running or has ended. It is reference-counted, and the supervisor has a
 * reference until the program ends.
 */
typedef struct exec_program {
    struct exec_program *next; /**< next program in the supervisor's list */
    exec_supervisor *supervisor;
    pid_t pid;
    int pidfd, err;
    /** Standard output if the supervisor reads and discards it; otherwise -1. */
    int out;
    int *slot;                /**< see slots.h */
    const server_rec *server; /**< server whose log is used */
    char *who;                /**< client and path, for the log */
    /** Reference count; the supervisor's lock protects this field and those below. */
    int refs;
    int stopping;          /**< 1: its standard input has been closed to stop it */
    apr_time_t stopped_at; /**< time when its standard input was closed */
    int steps;             /**< number of stopping steps taken so far */
    int ended, status;     /**< whether the program has ended, and its status from waitpid(2) */
    ws_id conn;            /**< connection to notify of the end; 0: none */
    exec_ended *on_end;    /**< called on the connection's loop when the program has ended */
    char *line;            /**< incomplete line of standard error */
    apr_size_t line_len;
    apr_int64_t second;  /**< time of the last logged line, seconds */
    apr_uint32_t said;   /**< number of lines logged in that second */
    apr_uint32_t unsaid; /**< number of lines dropped in that second */
} exec_program;

/** Functions of a shared program that run on the supervisor's thread. The supervisor does not hold
 *  its lock when it calls them. */
typedef struct exec_side {
    /** Get the maximum number of descriptors to poll. */
    unsigned (*count)(void *data);
    /**
     * Fill in the descriptors, and lower *timeout (milliseconds, -1: none) if needed. @return their
     * number
     */
    int (*fill)(void *data, struct pollfd *fds, int *timeout);
    /** Handle the result of poll(), or the timeout. */
    void (*act)(void *data, const struct pollfd *fds, int n);
    /** Handle the end of a program. */
    void (*ended)(void *data, const exec_program *p);
    void *data;
} exec_side;

/** Create a supervisor. Its thread starts with the first program. @return NULL: out of memory */
exec_supervisor *exec_supervisor_new(const exec_config *config);

/** Start the thread if it is not running. @return whether it is running */
int exec_supervisor_run(exec_supervisor *k);

/** Stop all programs, and wait at most two seconds for them and for the thread. */
void exec_supervisor_stop(exec_supervisor *k);

/** Set the functions of a shared program. Must be called before the first program starts. */
void exec_supervisor_attend(exec_supervisor *k, const exec_side *side);

/**
 * Supervise a program from now on. Takes ownership of process->err, process->pidfd and the slot.
 * @param who  client and path, for the log
 * @return the program, with a reference for the caller; NULL: out of memory, or the thread cannot
 *         start. In this case, the program has been killed, and the caller still owns its pipes
 */
exec_program *exec_supervise(exec_supervisor *k, const exec_process *process, int *slot,
                             const server_rec *server, const char *who);

/**
 * Stop a program. The caller has closed its standard input, and the supervisor takes further steps
 * only if the program does not end by itself.
 * @param out  its standard output, which is read and discarded; or -1
 */
void exec_stop(exec_program *p, int out);

/**
 * Set the connection to notify when the program ends. Then ws_run() calls on_end with p, and passes
 * a reference to p. @return whether the program has already ended
 */
int exec_set_owner(exec_program *p, ws_id id, exec_ended *on_end);

void exec_release(exec_program *p);

/** Wake the supervisor's thread.  [any thread] */
void exec_wake(exec_supervisor *k);

/** Describe a status from waitpid(2). */
const char *exec_status_text(int status, char *text, apr_size_t size);

#endif
