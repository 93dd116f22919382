/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Waits for programs, logs their standard error at a limited rate, and stops them in the steps
 * SIGINT, SIGTERM and SIGKILL.
 */

#include "supervisor.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <http_log.h>

#include "slots.h"

/* Longest line from standard error that is logged, bytes. */
#define LINE_SIZE 1024

/* Size of a read from standard error, or from output that is discarded, bytes. */
#define READ_SIZE 4096

/* Time between SIGTERM and SIGKILL when the child process ends, milliseconds. httpd kills a child 9
 * seconds after asking it to stop, and draining connections takes most of that time. */
#define CLOSE_GRACE 1000

/* The status (exit status 255) that is reported if another module has waited for the program. */
#define UNKNOWN_STATUS 0xFF00

struct exec_supervisor {
    const exec_config *config;
    exec_side side;
    pthread_mutex_t lock; /* protects all fields below */
    pthread_t thread;
    int running;
    int wake;
    int over; /* 1: the child process is stopping */
    exec_program *programs;
    unsigned count;
};

static const int signals[EXEC_STEPS] = {SIGINT, SIGTERM, SIGKILL};

/* ---- Standard error ---- */

static void supervisor_log_line(exec_program *p, apr_uint32_t most)
{
    apr_int64_t now = apr_time_sec(apr_time_now());

    if (now != p->second) {
        if (p->unsaid) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, p->server,
                         "websocket: exec: %s: %u lines of standard error were dropped", p->who,
                         p->unsaid);
        }
        p->second = now;
        p->said = p->unsaid = 0;
    }
    if (p->line_len == 0) {
        return;
    }
    if (p->said >= most) {
        p->unsaid++;
    }
    else {
        p->said++;
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, p->server, "websocket: exec: %s: %.*s", p->who,
                     (int)p->line_len, p->line);
    }
    p->line_len = 0;
}

static void supervisor_take_errors(exec_program *p, const char *data, apr_size_t len,
                                   apr_uint32_t most)
{
    for (; len; data++, len--) {
        if (*data == '\n' || p->line_len == LINE_SIZE) {
            supervisor_log_line(p, most);
        }
        if (*data != '\n') {
            p->line[p->line_len++] = *data;
        }
    }
}

static void supervisor_close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* Read the available bytes, up to a limit, so that a program that writes continuously does not
 * delay other programs. */
static void supervisor_read_errors(exec_program *p)
{
    char data[READ_SIZE];
    ssize_t n = 1;

    for (int i = 0; i < 16 && n > 0; i++) {
        n = read(p->err, data, sizeof(data));
        if (n > 0) {
            supervisor_take_errors(p, data, (apr_size_t)n, p->supervisor->config->lines);
        }
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        supervisor_close_fd(&p->err);
    }
}

static void supervisor_forget_output(exec_program *p)
{
    char data[READ_SIZE];
    ssize_t n = read(p->out, data, sizeof(data));

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        supervisor_close_fd(&p->out);
    }
}

/* ---- The end of a program ---- */

const char *exec_status_text(int status, char *text, apr_size_t size)
{
    if (WIFSIGNALED(status)) {
        snprintf(text, size, "was killed by signal %d", WTERMSIG(status));
    }
    else {
        snprintf(text, size, "has ended with status %d", WEXITSTATUS(status));
    }
    return text;
}

/* Release a reference. Called with the lock held. */
static void supervisor_unref(exec_program *p)
{
    if (--p->refs == 0) {
        free(p->line);
        free(p->who);
        free(p);
    }
}

void exec_release(exec_program *p)
{
    exec_supervisor *k = p->supervisor;

    pthread_mutex_lock(&k->lock);
    supervisor_unref(p);
    pthread_mutex_unlock(&k->lock);
}

/* Notify the program's connection of the end. Called with the lock held. */
static void supervisor_tell(exec_program *p)
{
    if (p->conn) {
        p->refs++;
        if (ws_run(p->conn, p->on_end, p) != WS_QUEUED) {
            supervisor_unref(p);
        }
    }
}

/* Reap the program if it has become a zombie, which its readable pidfd shows. Called with the lock
 * held. @return whether the program was a zombie */
static int supervisor_reap(exec_supervisor *k, exec_program *p)
{
    int status;
    pid_t waited;
    char text[64];

    /* Send SIGHUP to the program's process group, as a terminal does at the end of a session. This
     * is safe, because the kernel does not reuse the id until waitpid(2) has been called. */
    kill(-p->pid, SIGHUP);
    waited = waitpid(p->pid, &status, WNOHANG);
    if (waited < 0 && errno == ECHILD) {
        status = UNKNOWN_STATUS;
    }
    else if (waited != p->pid) {
        return 0;
    }
    if (p->err >= 0) {
        supervisor_read_errors(p);
    }
    supervisor_log_line(p, k->config->lines);
    if (p->unsaid) {
        p->second = 0;
        supervisor_log_line(p, k->config->lines);
    }
    ap_log_error(APLOG_MARK, p->steps == EXEC_STEPS ? APLOG_WARNING : APLOG_DEBUG, 0, p->server,
                 "websocket: exec: %s: the program %s%s", p->who,
                 exec_status_text(status, text, sizeof(text)),
                 p->steps == EXEC_STEPS ? ": it had not stopped when asked to" : "");
    supervisor_close_fd(&p->pidfd);
    supervisor_close_fd(&p->err);
    supervisor_close_fd(&p->out);
    exec_slot_set(p->slot, 0);
    p->status = status;
    p->ended = 1;
    supervisor_tell(p);
    return 1;
}

/* Take the stopping steps that are due. @return milliseconds until the next step; -1: no step will
 * follow */
static int supervisor_step(const exec_supervisor *k, exec_program *p, apr_time_t now)
{
    apr_int64_t gone = apr_time_as_msec(now - p->stopped_at);

    if (!p->stopping) {
        return -1;
    }
    if (k->over && p->steps < 2) {
        kill(-p->pid, SIGTERM);
        p->steps = 2;
        p->stopped_at = now;
        gone = 0;
    }
    while (p->steps < EXEC_STEPS) {
        apr_int64_t due = k->over ? CLOSE_GRACE : k->config->stop_at[p->steps];
        if (gone < due) {
            return (int)(due - gone);
        }
        kill(-p->pid, signals[p->steps++]);
    }
    return -1;
}

/* ---- The thread ---- */

static int supervisor_sooner(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

/* Fill in the descriptors to poll. Called with the lock held. @return number of descriptors */
static unsigned supervisor_fill(exec_supervisor *k, struct pollfd *fds, int *timeout)
{
    unsigned n = 0;
    apr_time_t now = apr_time_now();

    fds[n++] = (struct pollfd){.fd = k->wake, .events = POLLIN};
    for (exec_program *p = k->programs; p; p = p->next) {
        *timeout = supervisor_sooner(*timeout, supervisor_step(k, p, now));
        fds[n++] = (struct pollfd){.fd = p->pidfd, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = p->err, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = p->out, .events = POLLIN};
    }
    return n;
}

/*
 * Handle the result of poll(). Called with the lock held. Programs that were added after
 * supervisor_fill() are at the front of the list and have not been polled.
 * @return the programs that have ended
 */
static exec_program *supervisor_look(exec_supervisor *k, const struct pollfd *fds, unsigned n)
{
    exec_program **link = &k->programs, *p, *dead = NULL;
    unsigned i = 1;

    for (unsigned added = k->count - (n - 1) / 3; added; added--) {
        link = &(*link)->next;
    }
    for (; i < n && (p = *link); i += 3) {
        if (fds[i + 1].revents && p->err >= 0) {
            supervisor_read_errors(p);
        }
        if (fds[i + 2].revents && p->out >= 0) {
            supervisor_forget_output(p);
        }
        if (fds[i].revents && supervisor_reap(k, p)) {
            *link = p->next;
            k->count--;
            p->next = dead;
            dead = p;
            continue;
        }
        link = &p->next;
    }
    return dead;
}

static void *supervisor_run(void *arg)
{
    exec_supervisor *k = arg;
    exec_program *dead, *p;
    struct pollfd *fds = NULL;
    apr_uint64_t woken;

    pthread_mutex_lock(&k->lock);
    while (!k->over || k->programs) {
        int timeout = -1, beside = 0;
        unsigned n = 0, sides = 0;
        struct pollfd *more;

        /* Unlock, because the shared program's lock must be taken before this lock. */
        pthread_mutex_unlock(&k->lock);
        sides = k->side.count ? k->side.count(k->side.data) : 0;
        pthread_mutex_lock(&k->lock);
        if ((more = realloc(fds, (k->count * 3 + 1 + sides) * sizeof(*fds)))) {
            fds = more;
            n = supervisor_fill(k, fds, &timeout);
        }
        pthread_mutex_unlock(&k->lock);
        if (more) {
            beside = sides ? k->side.fill(k->side.data, fds + n, &timeout) : 0;
            poll(fds, n + (unsigned)beside, timeout);
        }
        else {
            usleep(100 * 1000); /* no memory is left, so try again later */
        }
        while (read(k->wake, &woken, sizeof(woken)) > 0) {
        }
        if (more && sides) {
            k->side.act(k->side.data, fds + n, beside);
        }
        pthread_mutex_lock(&k->lock);
        dead = more ? supervisor_look(k, fds, n) : NULL;
        pthread_mutex_unlock(&k->lock);
        while ((p = dead)) {
            dead = p->next;
            if (k->side.ended) {
                k->side.ended(k->side.data, p);
            }
            exec_release(p);
        }
        pthread_mutex_lock(&k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    free(fds);
    return NULL;
}

void exec_wake(exec_supervisor *k)
{
    apr_uint64_t one = 1;

    while (write(k->wake, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

/* Start the thread if it is not running. Called with the lock held. */
static int supervisor_start_thread(exec_supervisor *k)
{
    sigset_t all, before;

    if (!k->running) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        k->running = pthread_create(&k->thread, NULL, supervisor_run, k) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return k->running;
}

/* ---- Interface ---- */

int exec_supervisor_run(exec_supervisor *k)
{
    int runs;

    pthread_mutex_lock(&k->lock);
    runs = !k->over && supervisor_start_thread(k);
    pthread_mutex_unlock(&k->lock);
    return runs;
}

exec_supervisor *exec_supervisor_new(const exec_config *config)
{
    exec_supervisor *k = calloc(1, sizeof(*k));

    if (!k || (k->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
        free(k);
        return NULL;
    }
    k->config = config;
    pthread_mutex_init(&k->lock, NULL);
    return k;
}

void exec_supervisor_attend(exec_supervisor *k, const exec_side *side)
{
    k->side = *side;
}

void exec_supervisor_stop(exec_supervisor *k)
{
    pthread_mutex_lock(&k->lock);
    k->over = 1;
    for (exec_program *p = k->programs; p; p = p->next) {
        p->stopping = 1;
    }
    pthread_mutex_unlock(&k->lock);
    if (k->running) {
        exec_wake(k);
        pthread_join(k->thread, NULL);
    }
    close(k->wake);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

exec_program *exec_supervise(exec_supervisor *k, const exec_process *process, int *slot,
                             const server_rec *server, const char *who)
{
    exec_program *p = calloc(1, sizeof(*p));
    int kept = 0;

    if (p && (p->line = malloc(LINE_SIZE)) && (p->who = strdup(who))) {
        p->supervisor = k;
        p->pid = process->pid;
        p->pidfd = process->pidfd;
        p->err = process->err;
        p->out = -1;
        p->slot = slot;
        p->server = server;
        p->refs = 2;
        pthread_mutex_lock(&k->lock);
        if ((kept = !k->over && supervisor_start_thread(k))) {
            p->next = k->programs;
            k->programs = p;
            k->count++;
            exec_slot_set(slot, p->pid);
        }
        pthread_mutex_unlock(&k->lock);
    }
    if (kept) {
        exec_wake(k);
        return p;
    }
    if (p) {
        free(p->line);
        free(p->who);
        free(p);
    }
    kill(-process->pid, SIGKILL);
    while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    close(process->pidfd);
    close(process->err);
    exec_slot_set(slot, 0);
    return NULL;
}

void exec_stop(exec_program *p, int out)
{
    exec_supervisor *k = p->supervisor;

    pthread_mutex_lock(&k->lock);
    if (p->ended) {
        supervisor_close_fd(&out);
    }
    else {
        p->out = out;
        p->stopping = 1;
        p->stopped_at = apr_time_now();
    }
    p->conn = 0;
    pthread_mutex_unlock(&k->lock);
    exec_wake(k);
}

int exec_set_owner(exec_program *p, ws_id id, exec_ended *on_end)
{
    int ended;

    pthread_mutex_lock(&p->supervisor->lock);
    p->conn = id;
    p->on_end = on_end;
    ended = p->ended;
    pthread_mutex_unlock(&p->supervisor->lock);
    return ended;
}
