/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The first process: workers are forked, led from phase to phase, and summed up. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/wake.h"
#include "tools/wsbench/wsbench.h"

/* How long nothing may happen before the run is ended, seconds. */
#define PATIENCE 10

/* Descriptors of a worker that are no connections. */
#define OTHER_FILES 32u

board *shared;
SSL_CTX *tls;

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static void fail(const char *what)
{
    fprintf(stderr, "wsbench: %s\n", what);
    exit(1);
}

static void pause_for(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds,
                         .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* As many workers as the connections need descriptors. */
static void allow_files(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 2 * OTHER_FILES) {
        fail("too few open files are allowed (ulimit -n)");
    }
    while (opt.connections / opt.workers + OTHER_FILES > files.rlim_cur) {
        opt.workers++;
    }
}

static void prepare_tls(void)
{
    const ws_tls_files files = {.ca_file = opt.ca_file,
                                .insecure = opt.insecure,
                                .key_log = secure_getenv("SSLKEYLOGFILE")};
    char error[WS_TLS_ERROR];
    if (!(tls = ws_tls_context(&files, error))) {
        fail(error);
    }
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
}

static void fork_workers(void)
{
    size_t size = sizeof(board) + opt.workers * sizeof(worker_board);
    shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        fail("out of memory");
    }
    shared->workers = opt.workers;
    for (unsigned i = 0; i < opt.workers; i++) {
        if (ws_wake_create(&shared->worker[i].wake) != APR_SUCCESS) {
            fail(strerror(errno));
        }
    }
    fflush(NULL);
    for (unsigned i = 0; i < opt.workers; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            fail(strerror(errno));
        }
        if (pid == 0) {
            signal(SIGINT, SIG_IGN);
            signal(SIGTERM, SIG_DFL);
            worker_run(i);
        }
        shared->worker[i].pid = pid;
    }
}

/* ---- What the workers have done so far ---- */

static uint64_t sum(size_t field)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < opt.workers; i++) {
        n += *(volatile uint64_t *)((char *)&shared->worker[i] + field);
    }
    return n;
}

#define SUM(field) sum(offsetof(worker_board, field))

static int workers_live(void)
{
    for (unsigned i = 0; i < opt.workers; i++) {
        if (waitpid(shared->worker[i].pid, NULL, WNOHANG) == shared->worker[i].pid) {
            shared->worker[i].pid = 0;
            return 0;
        }
    }
    return 1;
}

/* All that happens, as one number: when it stands still, nothing does. */
static uint64_t progress(void)
{
    return SUM(opened) + SUM(failed) + SUM(messages) + SUM(closed);
}

static void show(const char *what)
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

/* @return 0 when over() is true; -1 if nothing happens any more, or the user has had enough */
static int wait_until(int (*over)(void), const char *what)
{
    uint64_t last = progress(), since = nanoseconds();
    while (!over()) {
        uint64_t n = progress();
        if (n != last) {
            last = n;
            since = nanoseconds();
        }
        else if (nanoseconds() - since > (uint64_t)PATIENCE * SECOND) {
            return -1;
        }
        if (interrupted || !workers_live()) {
            return -1;
        }
        show(what);
        pause_for(0.002);
    }
    return 0;
}

static bench_phase wanted_phase;

static int all_there(void)
{
    for (unsigned i = 0; i < opt.workers; i++) {
        if (__atomic_load_n(&shared->worker[i].phase, __ATOMIC_ACQUIRE) < (int)wanted_phase) {
            return 0;
        }
    }
    return 1;
}

static void enter(bench_phase phase)
{
    wanted_phase = phase;
    __atomic_store_n(&shared->phase, phase, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < opt.workers; i++) {
        ws_wake(shared->worker[i].wake);
    }
}

static int all_opened(void)
{
    unsigned all = opt.connections + (opt.mode == MODE_FAN);
    return SUM(opened) + SUM(failed) >= all;
}

static int all_greeted(void)
{
    return SUM(messages) + SUM(lost) >= SUM(opened);
}

static int all_idle(void)
{
    for (unsigned i = 0; i < opt.workers; i++) {
        if (!*(volatile int *)&shared->worker[i].idle) {
            return 0;
        }
    }
    return 1;
}

static uint64_t deadline, run_messages;
static int stalled;

/* The end of a time; or of all that happens in it, which is a mistake of the server's. */
static int time_over(void)
{
    static uint64_t last, since;
    uint64_t now = nanoseconds(), n = progress();
    if (n != last || since < run_messages) {
        last = n;
        since = now;
    }
    if (opt.mode != MODE_IDLE && now - since > (uint64_t)PATIENCE * SECOND) {
        stalled = 1;
    }
    return now >= deadline || stalled;
}

static void run_for(double seconds, const char *what)
{
    run_messages = nanoseconds();
    deadline = run_messages + (uint64_t)(seconds * SECOND);
    while (!time_over() && !interrupted && workers_live()) {
        show(what);
        pause_for(0.002);
    }
}

/* Processor time of each worker; the greatest of it. */
static double workers_cpu(double *each)
{
    double all = 0;
    for (unsigned i = 0; i < opt.workers; i++) {
        each[i] = shared->worker[i].pid ? server_cpu(shared->worker[i].pid) : 0;
        all += each[i];
    }
    return all;
}

static void measure(result *r)
{
    double *before = calloc(opt.workers, sizeof(double));
    double *after = calloc(opt.workers, sizeof(double));
    double own, cpu;
    uint64_t messages, bytes, closed, start;
    if (!before || !after) {
        fail("out of memory");
    }
    enter(PHASE_MEASURE);
    wait_until(all_there, "running");
    own = workers_cpu(before);
    cpu = server_cpu(opt.pid);
    start = nanoseconds();
    messages = SUM(messages);
    bytes = SUM(bytes);
    closed = SUM(closed);
    run_for(opt.seconds, "measuring");
    r->seconds = (double)(nanoseconds() - start) / SECOND;
    r->messages = SUM(messages) - messages;
    r->bytes = SUM(bytes) - bytes;
    r->closed = SUM(closed) - closed;
    r->server_cpu = server_cpu(opt.pid);
    r->server_cpu = cpu < 0 || r->server_cpu < 0 ? -1 : r->server_cpu - cpu;
    r->own_cpu = workers_cpu(after) - own;
    for (unsigned i = 0; i < opt.workers; i++) {
        if (after[i] - before[i] > r->busiest_cpu) {
            r->busiest_cpu = after[i] - before[i];
        }
    }
    free(before);
    free(after);
}

static void run(result *r)
{
    r->memory_before = server_memory(opt.pid);
    int opened = wait_until(all_opened, "opening") == 0;
    if (opened && SUM(opened) > 0) {
        enter(PHASE_GREET);
        if (wait_until(all_there, "opening") < 0
            || (opt.mode == MODE_IDLE && wait_until(all_greeted, "first echoes") < 0)) {
            stalled = !interrupted;
        }
        if (opt.mode == MODE_FAN) {
            pause_for(0.3); /* a subscription may take effect behind its handshake */
        }
        shared->start = nanoseconds();
        enter(PHASE_RUN);
        run_for(opt.warm_up, "warming up");
        measure(r);
        r->memory = server_memory(opt.pid);
        enter(PHASE_DRAIN);
        if (wait_until(all_idle, "waiting for the last") < 0) {
            stalled = !interrupted;
        }
    }
    else if (SUM(opened) > 0) {
        stalled = !interrupted;
    }
    if (!opt.quiet) {
        fputs("\r\033[K", stderr);
    }
    enter(PHASE_STOP);
    for (unsigned i = 0; i < opt.workers; i++) {
        if (shared->worker[i].pid) {
            waitpid(shared->worker[i].pid, NULL, 0);
        }
    }
}

static const char *problem_of(void)
{
    for (unsigned i = 0; i < opt.workers; i++) {
        if (shared->worker[i].problem[0]) {
            return shared->worker[i].problem;
        }
        if (!shared->worker[i].pid) {
            return "a worker ended before its time";
        }
    }
    return stalled ? "nothing came for 10 seconds" : NULL;
}

int main(int argc, char **argv)
{
    static result whole;
    result *r = &whole;
    options_read(argc, argv);
    /* A second one ends the program at once. */
    sigaction(SIGINT, &(struct sigaction){.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND},
              NULL);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND},
              NULL);
    signal(SIGPIPE, SIG_IGN);
    allow_files();
    prepare_tls();
    payload_make();
    fork_workers();
    r->server_cpu = r->memory_before = r->memory = -1;
    run(r);
    r->opened = SUM(opened);
    r->failed = SUM(failed);
    r->lost = SUM(lost);
    r->wrong = SUM(wrong);
    for (unsigned i = 0; i < opt.workers; i++) {
        histogram_merge(&r->latency, &shared->worker[i].latency);
    }
    r->problem = problem_of();
    r->interrupted = interrupted;
    report(r);
    if (interrupted) {
        return 130;
    }
    return r->failed || r->lost || r->wrong || r->problem ? 1 : 0;
}
