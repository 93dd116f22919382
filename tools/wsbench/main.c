/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Implements the main process, which forks the workers, leads them through the phases, and adds up
 * their results.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/wake.h"
#include "tools/wsbench/handshake.h"

/* Time without progress after which the run is aborted, seconds. */
#define PATIENCE 10

/* Number of a worker's descriptors that are not connections. */
#define OTHER_FILES 32u

static volatile sig_atomic_t interrupted;

static void bench_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static void bench_fail(const char *what)
{
    fprintf(stderr, "wsbench: %s\n", what);
    exit(1);
}

static void bench_pause_for(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds,
                         .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* Start enough workers for the limit on descriptors. */
static void bench_allow_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) {
        bench_fail(strerror(errno));
    }
    if (files.rlim_cur < files.rlim_max
        && setrlimit(RLIMIT_NOFILE, &(struct rlimit){files.rlim_max, files.rlim_max}) == 0) {
        files.rlim_cur = files.rlim_max; /* if this fails, keep the current limit */
    }
    if (files.rlim_cur < 2 * OTHER_FILES) {
        bench_fail("too few open files are allowed (ulimit -n)");
    }
    while (opt.connections / opt.workers + OTHER_FILES > files.rlim_cur) {
        opt.workers++;
    }
}

static void bench_fork_workers(void)
{
    if (board_create(opt.workers) < 0) {
        bench_fail(strerror(errno));
    }
    fflush(NULL);
    for (unsigned i = 0; i < opt.workers; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            bench_fail(strerror(errno));
        }
        if (pid == 0) {
            signal(SIGINT, SIG_IGN);
            signal(SIGTERM, SIG_DFL);
            worker_run(i);
        }
        board_shared->worker[i].pid = pid;
    }
}

/* ---- Progress of the workers ---- */

static uint64_t bench_sum(size_t field)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < opt.workers; i++) {
        n += *(volatile uint64_t *)((char *)&board_shared->worker[i] + field);
    }
    return n;
}

#define SUM(field) bench_sum(offsetof(worker_board, field))

static int bench_workers_live(void)
{
    for (unsigned i = 0; i < opt.workers; i++) {
        if (waitpid(board_shared->worker[i].pid, NULL, WNOHANG) == board_shared->worker[i].pid) {
            board_shared->worker[i].pid = 0;
            return 0;
        }
    }
    return 1;
}

/* Get the sum of all counters. If this sum does not change, no progress is made. */
static uint64_t bench_progress(void)
{
    return SUM(opened) + SUM(failed) + SUM(messages) + SUM(closed);
}

static void bench_show(const char *what)
{
    static uint64_t messages, at;
    uint64_t now = nanoseconds(), n = opt.mode == MODE_CONNECT ? SUM(closed) : SUM(messages);
    if (opt.quiet || now - at < SECOND / 4) {
        return;
    }
    fprintf(stderr, "\r\033[K%s: %llu of %u open", what,
            (unsigned long long)(SUM(opened) - SUM(lost) - SUM(closed)), opt.connections);
    if (at) {
        fprintf(stderr, ", %.0f %s a second", (double)(n - messages) * SECOND / (double)(now - at),
                opt.mode == MODE_CONNECT ? "handshakes" : "messages");
    }
    if (SUM(failed) + SUM(lost)) {
        fprintf(stderr, ", %llu lost", (unsigned long long)(SUM(failed) + SUM(lost)));
    }
    messages = n;
    at = now;
}

/* Wait until over() is true. @return 0: over() is true; -1: no progress was made, or the run was
 * interrupted */
static int bench_wait_until(int (*over)(void), const char *what)
{
    uint64_t last = bench_progress(), since = nanoseconds();
    while (!over()) {
        uint64_t n = bench_progress();
        if (n != last) {
            last = n;
            since = nanoseconds();
        }
        else if (nanoseconds() - since > (uint64_t)PATIENCE * SECOND) {
            return -1;
        }
        if (interrupted || !bench_workers_live()) {
            return -1;
        }
        bench_show(what);
        bench_pause_for(0.002);
    }
    return 0;
}

static bench_phase wanted_phase;

static int bench_all_there(void)
{
    for (unsigned i = 0; i < opt.workers; i++) {
        if (__atomic_load_n(&board_shared->worker[i].phase, __ATOMIC_ACQUIRE) < (int)wanted_phase) {
            return 0;
        }
    }
    return 1;
}

static void bench_enter(bench_phase phase)
{
    wanted_phase = phase;
    __atomic_store_n(&board_shared->phase, phase, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < opt.workers; i++) {
        ws_wake(board_shared->worker[i].wake);
    }
}

static int bench_all_opened(void)
{
    unsigned all = opt.connections + (opt.mode == MODE_FAN);
    return SUM(opened) + SUM(failed) >= all;
}

static int bench_all_greeted(void)
{
    return SUM(messages) + SUM(lost) >= SUM(opened);
}

static int bench_all_idle(void)
{
    for (unsigned i = 0; i < opt.workers; i++) {
        if (!*(volatile int *)&board_shared->worker[i].idle) {
            return 0;
        }
    }
    return 1;
}

static uint64_t deadline, run_messages;
static int stalled;

/* Whether the time is over, or all connections have ended because the server has failed. */
static int bench_time_over(void)
{
    static uint64_t last, since;
    uint64_t now = nanoseconds(), n = bench_progress();
    if (n != last || since < run_messages) {
        last = n;
        since = now;
    }
    if (opt.mode != MODE_IDLE && now - since > (uint64_t)PATIENCE * SECOND) {
        stalled = 1;
    }
    return now >= deadline || stalled;
}

static void bench_run_for(double seconds, const char *what)
{
    run_messages = nanoseconds();
    deadline = run_messages + (uint64_t)(seconds * SECOND);
    while (!bench_time_over() && !interrupted && bench_workers_live()) {
        bench_show(what);
        bench_pause_for(0.002);
    }
}

/* Get the CPU time of each worker. @return their sum */
static double bench_workers_cpu(double *each)
{
    double all = 0;
    for (unsigned i = 0; i < opt.workers; i++) {
        each[i] = board_shared->worker[i].pid ? server_cpu(board_shared->worker[i].pid) : 0;
        all += each[i];
    }
    return all;
}

static void bench_measure(result *r)
{
    double *before = calloc(opt.workers, sizeof(double));
    double *after = calloc(opt.workers, sizeof(double));
    double own, cpu;
    uint64_t messages, bytes, closed, start;
    if (!before || !after) {
        bench_fail("out of memory");
    }
    bench_enter(PHASE_MEASURE);
    bench_wait_until(bench_all_there, "running");
    own = bench_workers_cpu(before);
    cpu = server_cpu(opt.pid);
    start = nanoseconds();
    messages = SUM(messages);
    bytes = SUM(bytes);
    closed = SUM(closed);
    bench_run_for(opt.seconds, "measuring");
    r->seconds = (double)(nanoseconds() - start) / SECOND;
    r->messages = SUM(messages) - messages;
    r->bytes = SUM(bytes) - bytes;
    r->closed = SUM(closed) - closed;
    r->server_cpu = server_cpu(opt.pid);
    r->server_cpu = cpu < 0 || r->server_cpu < 0 ? -1 : r->server_cpu - cpu;
    r->own_cpu = bench_workers_cpu(after) - own;
    for (unsigned i = 0; i < opt.workers; i++) {
        if (after[i] - before[i] > r->busiest_cpu) {
            r->busiest_cpu = after[i] - before[i];
        }
    }
    free(before);
    free(after);
}

static void bench_run(result *r)
{
    r->memory_before = server_memory(opt.pid);
    int opened = bench_wait_until(bench_all_opened, "opening") == 0;
    if (opened && SUM(opened) > 0) {
        bench_enter(PHASE_GREET);
        if (bench_wait_until(bench_all_there, "opening") < 0
            || (opt.mode == MODE_IDLE && bench_wait_until(bench_all_greeted, "first echoes") < 0)) {
            stalled = !interrupted;
        }
        if (opt.mode == MODE_FAN) {
            /* Wait, because a subscription may take effect after its handshake. */
            bench_pause_for(0.3);
        }
        board_shared->start = nanoseconds();
        bench_enter(PHASE_RUN);
        bench_run_for(opt.warm_up, "warming up");
        bench_measure(r);
        r->memory = server_memory(opt.pid);
        bench_enter(PHASE_DRAIN);
        if (bench_wait_until(bench_all_idle, "waiting for the last messages") < 0) {
            stalled = !interrupted;
        }
    }
    else if (!opened) {
        stalled = !interrupted;
    }
    if (!opt.quiet) {
        fputs("\r\033[K", stderr);
    }
    bench_enter(PHASE_STOP);
    for (unsigned i = 0; i < opt.workers; i++) {
        if (board_shared->worker[i].pid) {
            waitpid(board_shared->worker[i].pid, NULL, 0);
        }
    }
}

static const char *bench_problem_of(void)
{
    for (unsigned i = 0; i < opt.workers; i++) {
        if (board_shared->worker[i].problem[0]) {
            return board_shared->worker[i].problem;
        }
        if (!board_shared->worker[i].pid) {
            return "a worker has ended too early";
        }
    }
    return stalled ? "no progress for 10 seconds" : NULL;
}

int main(int argc, char **argv)
{
    static result whole;
    result *r = &whole;
    const char *error;
    options_read(argc, argv);
    /* a second signal terminates the program */
    sigaction(SIGINT,
              &(struct sigaction){.sa_handler = bench_interrupt, .sa_flags = (int)SA_RESETHAND},
              NULL);
    sigaction(SIGTERM,
              &(struct sigaction){.sa_handler = bench_interrupt, .sa_flags = (int)SA_RESETHAND},
              NULL);
    signal(SIGPIPE, SIG_IGN);
    bench_allow_files();
    if ((error = socket_prepare_tls())) {
        bench_fail(error);
    }
    handshake_prepare();
    payload_make();
    bench_fork_workers();
    r->server_cpu = r->memory_before = r->memory = -1;
    bench_run(r);
    r->opened = SUM(opened);
    r->failed = SUM(failed);
    r->lost = SUM(lost);
    r->wrong = SUM(wrong);
    for (unsigned i = 0; i < opt.workers; i++) {
        histogram_merge(&r->latency, &board_shared->worker[i].latency);
    }
    r->problem = bench_problem_of();
    r->interrupted = interrupted;
    report_print(r);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        bench_fail("cannot write the report");
    }
    if (interrupted) {
        return 130;
    }
    return r->failed || r->lost || r->wrong || r->problem ? 1 : 0;
}
