/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Starts a program. fork() would copy httpd's page tables, and the child of a process with threads
 * may make only async-signal-safe calls. posix_spawn() avoids both problems, but cannot set limits.
 * So this file does what posix_spawn() does internally. The child shares httpd's memory while this
 * thread waits (CLONE_VM and CLONE_VFORK). It makes only system calls, takes no locks, and ends
 * with execve(2) or _exit(2). During this time all signals are blocked, so that none of httpd's
 * signal handlers runs in the child. Other threads continue.
 */

#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_SIZE (64 * 1024)

/* Limit of descriptors for programs. The module raises its own limit to the maximum, but programs
 * that close all possible descriptors or use select(2) need the usual limit. */
#define DESCRIPTORS 1024

typedef struct {
    const exec_start *start;
    int fd[3];
    struct rlimit descriptors;
    const char *what;
    int error;
} child_arg;

static void spawn_limit(int which, const struct rlimit *to)
{
    if (to) {
        setrlimit((__rlimit_resource_t)which, to);
    }
}

/* Run the program. This function runs in the child. It must not be instrumented, because
 * AddressSanitizer does not know its stack. */
__attribute__((no_sanitize_address)) static int spawn_run(void *arg)
{
    child_arg *c = arg;
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t none;

    setsid();
    c->what = "its pipes";
    for (int i = 0; i < 3; i++) {
        if (dup2(c->fd[i], i) < 0) {
            goto failed;
        }
    }
    /* The descriptors of this module are close-on-exec, but those of other modules may not be. */
    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    c->what = c->start->directory;
    if (chdir(c->start->directory) < 0) {
        goto failed;
    }
    spawn_limit(RLIMIT_CPU, c->start->cpu);
    spawn_limit(RLIMIT_AS, c->start->mem); /* on Linux, APR also applies RLimitMEM to this limit */
    spawn_limit(RLIMIT_NPROC, c->start->nproc);
    spawn_limit(RLIMIT_NOFILE, &c->descriptors);
    for (int i = 1; i < NSIG; i++) {
        sigaction(i, &normal, NULL); /* httpd ignores some signals, but the program must not */
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    c->what = c->start->argv[0];
    execve(c->start->argv[0], c->start->argv, c->start->env);
failed:
    c->error = errno;
    _exit(127);
}

static void spawn_close_both(int fd[2])
{
    if (fd[0] >= 0) {
        close(fd[0]);
        close(fd[1]);
    }
}

/* Create the pipes of a program. @param theirs  set to the program's ends. @return 0, or errno */
static int spawn_pipes(int pipes[3][2], int theirs[3])
{
    for (int i = 0; i < 3; i++) {
        int ours = i == 0;
        if (pipe2(pipes[i], O_CLOEXEC) < 0 || fcntl(pipes[i][ours], F_SETFL, O_NONBLOCK) < 0) {
            return errno;
        }
        theirs[i] = pipes[i][!ours];
    }
    return 0;
}

int exec_spawn(const exec_start *start, exec_process *process, const char **what)
{
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    child_arg c = {.start = start, .error = 0};
    sigset_t all, before;
    int error;
    char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    *what = "memory";
    if (stack == MAP_FAILED) {
        return errno;
    }
    *what = "its pipes";
    if (!(error = spawn_pipes(pipes, c.fd))) {
        getrlimit(RLIMIT_NOFILE, &c.descriptors);
        if (c.descriptors.rlim_cur > DESCRIPTORS) {
            c.descriptors.rlim_cur = DESCRIPTORS;
        }
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        process->pid = clone(spawn_run, stack + STACK_SIZE,
                             CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &c, &process->pidfd);
        error = process->pid < 0 ? errno : c.error;
        *what = process->pid < 0 ? "a process" : c.what;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (process->pid >= 0 && error) {
            close(process->pidfd);
            while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR) {
            }
        }
    }
    munmap(stack, STACK_SIZE);
    if (error) {
        for (int i = 0; i < 3; i++) {
            spawn_close_both(pipes[i]);
        }
        return error;
    }
    process->in = pipes[0][1];
    process->out = pipes[1][0];
    process->err = pipes[2][0];
    for (int i = 0; i < 3; i++) {
        close(c.fd[i]);
    }
    return 0;
}
