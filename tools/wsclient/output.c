/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Writes messages and notes. If output is slow, the connection is paused, so that memory is
 *  bounded. */

#include "tools/wsclient/output.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "base/wake.h"
#include "protocol/printable.h"
#include "tools/wsclient/options.h"

/* Maximum size of the output that is buffered for the terminal, bytes. If more is buffered, the
 * connection is paused. */
#define SHOWN_MAX (1 << 20)

/* Output that standard output has not accepted. The loop's thread uses it, and after this thread
 * has ended, the main thread. */
static ws_strbuf kept;
static apr_size_t kept_pos;
static ws_watch *watch;
static int is_file;     /* 1: standard output is a file, so writes do not block */
static int is_terminal; /* 1: standard output is a terminal, so replace control characters */
static char half[4];    /* the first bytes of an incomplete UTF-8 character */
static apr_size_t half_len;
static int error;   /* atomic; errno of the first failed write */
static int wake_fd; /* wakes the main thread */

/* Protects the terminal's buffer. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ws_strbuf shown;
static ws_id paused; /* the paused connection, or 0 */

void ws_output_init(int fd)
{
    struct stat st;
    wake_fd = fd;
    is_file = fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode);
    is_terminal = isatty(STDOUT_FILENO);
}

int ws_output_error(void)
{
    return __atomic_load_n(&error, __ATOMIC_ACQUIRE);
}

/* ---- Standard output ---- */

static int output_takes_more(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return is_file || poll(&p, 1, 0) > 0;
}

/* Write without blocking. If poll() reports a pipe as writable, it accepts PIPE_BUF bytes.
 * O_NONBLOCK is not set, because it would affect other processes that share the pipe. @return bytes
 * written */
static apr_size_t output_write_some(const char *data, apr_size_t len)
{
    apr_size_t done = 0;
    while (done < len && output_takes_more()) {
        apr_size_t most = is_file ? len - done : PIPE_BUF;
        ssize_t n = write(STDOUT_FILENO, data + done, len - done < most ? len - done : most);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            __atomic_store_n(&error, errno, __ATOMIC_RELEASE);
            ws_wake(wake_fd);
            return len; /* after an error, discard the output */
        }
        done += n > 0 ? (apr_size_t)n : 0;
    }
    return done;
}

static void output_on_ready(ws_conn *c, int fd, unsigned events, void *arg)
{
    (void)fd, (void)events, (void)arg;
    kept_pos += output_write_some(kept.data + kept_pos, kept.len - kept_pos);
    if (kept_pos == kept.len) {
        kept.len = kept_pos = 0;
        ws_watch_set(c, watch, 0);
        ws_resume(c);
    }
}

static void output_keep(const char *data, apr_size_t len)
{
    ws_strbuf_add(&kept, data, len);
    if (kept.broken) {
        __atomic_store_n(&error, ENOMEM, __ATOMIC_RELEASE);
    }
}

static void output_write_all(ws_conn *c, const void *data, apr_size_t len)
{
    apr_size_t done = kept.len || ws_output_error() ? 0 : output_write_some(data, len);
    if (done == len || ws_output_error()) {
        return;
    }
    output_keep((const char *)data + done, len - done);
    if (!c) {
        return; /* ws_output_end() will write the rest */
    }
    if (watch) {
        ws_watch_set(c, watch, WS_WRITABLE);
    }
    else {
        watch = ws_watch_start(c, STDOUT_FILENO, WS_WRITABLE, output_on_ready, NULL);
    }
    if (watch) {
        ws_pause(c);
    }
}

/* Write printable text. Messages may arrive in pieces, so keep an incomplete character for the next
 * piece. */
static void output_write_printable(ws_conn *c, const char *data, apr_size_t len)
{
    char *text = malloc(half_len + len), *out = malloc(WS_PRINTABLE_MAX * (half_len + len) + 1);
    apr_size_t whole = half_len + len;
    int acts;
    if (text && out) {
        memcpy(text, half, half_len);
        memcpy(text + half_len, data, len);
        for (apr_size_t tail = whole > 3 ? whole - 3 : 0; tail < whole; tail++) {
            if (!ws_printable_next(text + tail, whole - tail, &acts)) {
                half_len = whole - tail;
                memcpy(half, text + tail, half_len); /* 3 bytes at most */
                whole = tail;
                break;
            }
            half_len = 0;
        }
        output_write_all(c, out,
                         ws_printable(out, WS_PRINTABLE_MAX * whole + 1, text, whole, "\n\t"));
    }
    free(text);
    free(out);
}

void ws_output_write(ws_conn *c, const void *data, apr_size_t len)
{
    if (!is_terminal) {
        output_write_all(c, data, len);
    }
    else if (len > 0) {
        output_write_printable(c, data, len);
    }
}

void ws_output_end(void)
{
    watch = NULL; /* the watch has ended together with its connection */
    while (kept_pos < kept.len && !ws_output_error()) {
        struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
        poll(&p, 1, -1);
        kept_pos += output_write_some(kept.data + kept_pos, kept.len - kept_pos);
    }
    ws_strbuf_free(&kept);
    kept = (ws_strbuf){0};
}

/* ---- The terminal ---- */

static const char *output_colour(ws_tone tone)
{
    static const char *const codes[] = {"", "\33[32m", "\33[2m", "\33[36m", "\33[35m", "\33[31m"};
    return ws_options.colour ? codes[tone] : "";
}

void ws_output_show(ws_conn *c, ws_tone tone, const char *mark, const char *data, apr_size_t len)
{
    char *text = malloc(WS_PRINTABLE_MAX * len + 1);
    if (!text) {
        return;
    }
    len = ws_printable(text, WS_PRINTABLE_MAX * len + 1, data, len, "\n\t");
    pthread_mutex_lock(&lock);
    ws_strbuf_puts(&shown, output_colour(tone));
    ws_strbuf_puts(&shown, mark);
    ws_strbuf_add(&shown, text, len);
    ws_strbuf_puts(&shown, *output_colour(tone) ? "\33[m\n" : "\n");
    if (c && shown.len > SHOWN_MAX && !paused) {
        paused = ws_conn_id(c);
        ws_pause(c);
    }
    pthread_mutex_unlock(&lock);
    free(text);
    ws_wake(wake_fd);
}

static void output_go_on(ws_conn *c, void *arg)
{
    (void)arg;
    if (c) {
        ws_resume(c);
    }
}

char *ws_output_take(void)
{
    char *text;
    ws_id id;
    pthread_mutex_lock(&lock);
    if (shown.len) {
        ws_strbuf_add(&shown, "", 1); /* add a NUL */
    }
    text = shown.data;
    id = paused;
    shown = (ws_strbuf){0};
    paused = 0;
    pthread_mutex_unlock(&lock);
    if (id) {
        ws_run(id, output_go_on, NULL);
    }
    return text;
}

void ws_output_note(ws_tone tone, const char *format, ...)
{
    char text[4096], line[WS_PRINTABLE_MAX * sizeof(text)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    /* a note is a single line even if it quotes server data */
    ws_printable(line, sizeof(line), text, strlen(text), "");
    if (ws_options.terminal) {
        ws_output_show(NULL, tone, "", line, strlen(line));
    }
    else {
        fprintf(stderr, "%s%s%s\n", output_colour(tone), line, *output_colour(tone) ? "\33[m" : "");
    }
}
