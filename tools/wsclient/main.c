/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * wsclient is a WebSocket client for terminals and pipes. The main thread reads input, and the
 * loop's thread handles the connection.
 */

#include <apr_general.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/wake.h"
#include "tools/wsclient/input.h"
#include "tools/wsclient/output.h"
#include "tools/wsclient/record.h"
#include "tools/wsclient/session.h"
#include "tools/wsclient/terminal.h"

static volatile sig_atomic_t interrupted;

/* Wakes this thread: the signal handlers, the session and the output use it. */
static int wake_fd;

static void client_on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
    ws_wake(wake_fd);
}

static void client_set_signals(void)
{
    struct sigaction end = {.sa_handler = client_on_signal, .sa_flags = (int)SA_RESETHAND};
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGINT, &end, NULL); /* a second SIGINT terminates the program immediately */
    sigaction(SIGTERM, &end, NULL);
}

static long client_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- Input of an open connection ---- */

static void client_say(const char *error)
{
    ws_output_note(WS_TONE_BAD, "wsclient: input: %s", error);
}

/* Read input if it is readable, and send it. @return WS_EXIT_DONE, or WS_EXIT_IO */
static ws_exit client_take_input(int readable)
{
    const char *error = ws_input_messages();
    if (error) {
        client_say(error);
        return WS_EXIT_IO;
    }
    if (ws_options.terminal) {
        if (readable) {
            ws_terminal_read();
        }
        return WS_EXIT_DONE;
    }
    if (ws_options.message_count) {
        return WS_EXIT_DONE;
    }
    if ((error = readable ? ws_input_read() : ws_input_send())) {
        client_say(error);
        return WS_EXIT_IO;
    }
    return WS_EXIT_DONE;
}

static int client_input_wanted(void)
{
    return ws_options.terminal ? ws_session_now() == WS_SESSION_OPEN && !ws_terminal_over()
                               : ws_input_wanted();
}

static int client_input_over(void)
{
    return ws_options.terminal ? ws_terminal_over() : ws_input_over();
}

static void client_show(void)
{
    char *text = ws_output_take();
    if (text) {
        ws_terminal_show(text);
        free(text);
    }
}

/* ---- Main loop ---- */

/* Wait for input, session events, or the end of --timeout. @return whether input is readable */
static int client_wait_for_something(long until)
{
    struct pollfd fds[2] = {{.fd = wake_fd, .events = POLLIN},
                            {.fd = client_input_wanted() ? STDIN_FILENO : -1, .events = POLLIN}};
    long left = until ? until - client_now_ms() : -1;
    if (until && left < 0) {
        left = 0;
    }
    if (poll(fds, 2, (int)left) <= 0) {
        return 0;
    }
    if (fds[0].revents) {
        ws_woken(wake_fd);
    }
    return fds[1].revents != 0;
}

/* Check whether the program must end early. @return WS_EXIT_DONE: continue; otherwise the exit
 * status */
static ws_exit client_must_end(long until)
{
    if (interrupted) {
        return WS_EXIT_INTERRUPT;
    }
    if (until && client_now_ms() >= until) {
        if (!ws_options.quiet) {
            ws_output_note(WS_TONE_BAD, "wsclient: timeout");
        }
        return WS_EXIT_TIMEOUT;
    }
    if (ws_session_stuck()) {
        return WS_EXIT_CLOSED;
    }
    if (ws_output_error()) {
        if (ws_output_error() != EPIPE) { /* report no error if the reader has closed the pipe */
            ws_output_note(WS_TONE_BAD, "wsclient: output: %s", strerror(ws_output_error()));
        }
        return WS_EXIT_IO;
    }
    return WS_EXIT_DONE;
}

static ws_exit client_run(void)
{
    long until = ws_options.timeout ? client_now_ms() + (long)ws_options.timeout : 0;
    int prompted = 0, closing = 0;
    for (;;) {
        int readable = client_wait_for_something(until);
        ws_exit end = client_must_end(until);
        if (ws_session_now() == WS_SESSION_OPEN && ws_options.terminal && !prompted) {
            client_show();
            ws_terminal_start();
            prompted = 1;
        }
        client_show();
        if (end == WS_EXIT_DONE && ws_session_now() == WS_SESSION_OVER) {
            return ws_session_exit();
        }
        if (end == WS_EXIT_DONE && ws_session_now() == WS_SESSION_OPEN && !closing) {
            end = client_take_input(readable);
        }
        if (end != WS_EXIT_DONE) {
            return end;
        }
        /* if --count is set, wait for the remaining messages */
        if (!closing && client_input_over() && !ws_options.stay
            && (!ws_options.count || ws_options.terminal)) {
            ws_session_close(WS_CLOSE_NORMAL, "");
            closing = 1;
        }
    }
}

/* Open descriptors 0 to 2 if the caller has closed them, so that no socket gets one of these
 * numbers. */
static void client_open_standard(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO) {
    }
    if (fd >= 0) {
        close(fd);
    }
}

int main(int argc, char *argv[])
{
    apr_pool_t *pool;
    const char *error;
    ws_exit end;

    client_open_standard();
    apr_initialize();
    atexit(apr_terminate);
    apr_pool_create(&pool, NULL);
    ws_options_read(argc, argv, pool);
    if (ws_wake_create(&wake_fd) != APR_SUCCESS) {
        fprintf(stderr, "wsclient: %s\n", strerror(errno));
        return WS_EXIT_NO_SERVER;
    }
    ws_output_init(wake_fd);
    if (ws_options.record && ws_record_open(ws_options.record) < 0) {
        fprintf(stderr, "wsclient: %s: %s\n", ws_options.record, strerror(errno));
        return WS_EXIT_IO;
    }
    client_set_signals();
    if ((error = ws_session_start(wake_fd))) {
        fprintf(stderr, "wsclient: %s\n", error);
        return WS_EXIT_NO_SERVER;
    }
    end = client_run();
    ws_session_leave();
    if (end != WS_EXIT_IO) {
        ws_output_end();
    }
    ws_terminal_end();
    client_show();
    if (ws_output_error() && (end == WS_EXIT_DONE || end == WS_EXIT_CLOSED)) {
        end = WS_EXIT_IO;
    }
    if (ws_record_end() < 0) {
        fprintf(stderr, "wsclient: %s: not all of it could be written\n", ws_options.record);
        end = WS_EXIT_IO;
    }
    return end;
}
