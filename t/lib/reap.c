/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * reap COMMAND [ARGUMENT...]
 *
 * Runs COMMAND, and ends every process that it has started, directly or through others. This
 * happens when COMMAND ends in any way, when reap receives SIGTERM, SIGINT, SIGHUP or SIGQUIT,
 * and when reap's parent ends. It finds daemons as well: a subreaper (prctl(2)) becomes the
 * parent of every orphan below it. The exit status is COMMAND's.
 *
 * Temporary files go into a separate folder (TMPDIR). reap removes it, unless COMMAND fails.
 *
 * reap runs as two processes, one the parent of the other, because SIGKILL may end either.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GRACE = 5000, TICK = 20 }; /* milliseconds */

static sigset_t signals;

static void die(const char *what)
{
    perror(what);
    exit(127);
}

/** Read the name of a process. @return its parent; 0: the process does not exist */
static pid_t parent_of(const char *pid, char name[64])
{
    char path[64], text[512];
    int parent = 0;
    snprintf(path, sizeof(path), "/proc/%.16s/stat", pid);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    text[n] = 0;
    if (f) {
        fclose(f);
    }
    /* A name may contain blanks and parentheses. */
    char *begin = strchr(text, '('), *end = strrchr(text, ')');
    if (begin && end && sscanf(end, ") %*c %d", &parent) == 1) {
        snprintf(name, 64, "%.*s", (int)(end - begin - 1), begin + 1);
    }
    return parent;
}

/** Send a signal to each child, or none if signal is 0. With tell, print each child.
 *  @return the number of children */
static int children(int signal, int tell)
{
    DIR *proc = opendir("/proc");
    struct dirent *e;
    char name[64];
    int n = 0;
    while (proc && (e = readdir(proc))) {
        if (atoi(e->d_name) > 0 && parent_of(e->d_name, name) == getpid()) {
            n++;
            if (tell) {
                fprintf(stderr, "# left behind and ended: process %s, %s\n", e->d_name, name);
            }
            if (signal) {
                kill(atoi(e->d_name), signal);
            }
        }
    }
    if (proc) {
        closedir(proc);
    }
    return n;
}

/** Collect the status of all children that have ended. If child is among them, store its status.
 *  @return whether child is among them */
static int take(pid_t child, int *status)
{
    int s, found = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &s, WNOHANG)) > 0) {
        if (pid == child) {
            *status = s;
            found = 1;
        }
    }
    return found;
}

static void tick(void)
{
    nanosleep(&(struct timespec){0, TICK * 1000000}, NULL);
}

/** End the remaining processes: wait up to `grace` milliseconds, then kill them. The children of a
 *  process that ends become children of reap. */
static void end_all(int grace, int tell)
{
    int status;
    for (int ms = 0; take(0, &status), children(0, 0) && ms < grace; ms += TICK) {
        tick();
    }
    while (take(0, &status), children(SIGKILL, tell)) {
        tick();
        tell = 0;
    }
}

/** Wait until child has ended or reap receives a signal. @return the status of child, or a status
 *  that says that this signal has ended the process */
static int wait_for(pid_t child)
{
    int status = 0;
    while (!take(child, &status)) {
        int signal = sigwaitinfo(&signals, NULL);
        if (signal > 0 && signal != SIGCHLD) {
            return signal;
        }
    }
    return status;
}

/** End in the same way as the process with this status: with its exit status or by its signal. */
static void end_as(int status)
{
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        sigprocmask(SIG_UNBLOCK, &signals, NULL);
        raise(WTERMSIG(status));
    }
    exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

/** Fork. The kernel sends this signal to the new process when its parent ends. @return as fork() */
static pid_t fork_bound(int signal)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, signal);
        if (getppid() != parent) {
            _exit(127);
        }
    }
    return pid;
}

static void run(char **command)
{
    static const int usual[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD, SIGPIPE};
    for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++) {
        signal(usual[i], SIG_DFL); /* a shell lets its background processes ignore some signals */
    }
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
    execvp(command[0], command);
    die(command[0]);
}

static void remove_folder(const char *folder)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", folder, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
}

static char *make_folder(void)
{
    static char folder[256];
    const char *at = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%.200s/mod_websocket-XXXXXX", at && *at ? at : "/tmp");
    if (!mkdtemp(folder) || chmod(folder, 0755)) { /* httpd's user reads files there */
        die(folder);
    }
    setenv("TMPDIR", folder, 1);
    return folder;
}

static int inner(char **command)
{
    pid_t child = fork_bound(SIGKILL);
    if (child == 0) {
        run(command);
    }
    int status = wait_for(child);
    int itself = WIFEXITED(status);
    end_all(itself ? GRACE : 0, itself);
    return status;
}

int main(int argc, char **argv)
{
    pid_t parent = getppid();
    if (argc < 2) {
        fputs("reap COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    sigemptyset(&signals);
    for (const int *s = (const int[]){SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD, 0}; *s; s++) {
        sigaddset(&signals, *s);
    }
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    char *folder = make_folder();
    pid_t child = fork_bound(SIGTERM);
    if (child == 0) {
        prctl(PR_SET_CHILD_SUBREAPER, 1); /* children do not inherit this attribute */
        end_as(inner(argv + 1));
    }
    int status = getppid() == parent ? wait_for(child) : SIGTERM;
    end_all(0, 0);
    if ((status == 0 || WIFSIGNALED(status)) && !getenv("WS_TEST_KEEP")) {
        remove_folder(folder);
    }
    else {
        fprintf(stderr, "# kept: %s\n", folder);
    }
    end_as(status);
}
