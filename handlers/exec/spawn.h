/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Starts a program from a process with threads. */

#ifndef WS_EXEC_SPAWN_H
#define WS_EXEC_SPAWN_H

#include <sys/resource.h>
#include <sys/types.h>

typedef struct exec_start {
    char *const *argv; /**< argv[0] is its file */
    char *const *env;
    const char *directory;
    const struct rlimit *cpu, *mem, *nproc; /**< or NULL */
} exec_start;

/** A running program, and our ends of its pipes: non-blocking, close-on-exec. */
typedef struct exec_process {
    pid_t pid; /**< leads a new session and process group */
    int pidfd;
    int in, out, err;
} exec_process;

/** @return 0, or an error; *what is then set to the failed operation */
int exec_spawn(const exec_start *start, exec_process *process, const char **what);

#endif
