/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Starts a program from a process with threads. */

#ifndef WS_EXEC_SPAWN_H
#define WS_EXEC_SPAWN_H

#include <sys/resource.h>
#include <sys/types.h>

typedef struct exec_start {
    char *const *argv; /**< argv[0] is the program's file */
    char *const *env;
    const char *directory;
    const struct rlimit *cpu, *mem, *nproc; /**< resource limits, or NULL */
} exec_start;

/** A running program, and httpd's ends of its pipes, which are non-blocking and close-on-exec. */
typedef struct exec_process {
    pid_t pid; /**< pid of the program, which leads a new session and process group */
    int pidfd;
    int in, out, err;
} exec_process;

/** Start a program. @return 0, or an errno, and *what is set to the operation that failed */
int exec_spawn(const exec_start *start, exec_process *process, const char **what);

#endif
