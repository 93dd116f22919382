/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Runs a program for each connection, or one program for all connections. The program reads and
 * writes messages on its standard input and output.
 *
 *     WebSocketHandler ws_exec.so "command=/path/program argument ..." [directory=/path]
 *         [framing=line|nul|length] [type=text|binary] [shared=on|server] [max=N] [longest=SIZE]
 *         [stderr=N|off] [stop=TIME,TIME,TIME]
 *
 * Reference: docs/bridges.md. The handler starts programs in on_request, on an httpd thread, which
 * may wait for the disk. The client therefore gets an HTTP status if the program cannot be started.
 * The connection's loop watches the program's pipes. The functions in supervisor.h wait for
 * programs and stop them. Those in shared.h handle shared programs.
 */

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_strings.h>
#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <util_script.h>

#include "exec.h"
#include "launch.h"
#include "programs.h"
#include "shared.h"
#include "supervisor.h"

/* Size of a read from a program, bytes, and maximum number of reads before other connections are
 * processed. */
#define READ_SIZE (32 * 1024)
#define ROUNDS 4

/* Maximum number of reads after the program has ended. It is limited, because processes that the
 * program has started may continue to write. */
#define LAST_ROUNDS 64

typedef struct session {
    exec_program *program;
    int in, out; /* ends of the program's pipes; -1: closed */
    ws_watch *in_watch, *out_watch;
    outbox to;  /* input that the program has not read */
    int waits;  /* 1: waiting for the pipe to accept the bytes in `to` */
    char *from; /* output that is not yet a complete message */
    apr_size_t from_len;
    int full;  /* 1: the client's queue is full, so on_drain continues the output */
    int ended; /* 1: the program has ended */
    int over;  /* 1: the connection is being closed */
    exec_config *config;
} session;

/* ---- Child processes ---- */

static apr_status_t exec_child_start(apr_pool_t *pchild, void *data, ws_location *here)
{
    exec_config *config = data;

    if (!(config->supervisor = exec_supervisor_new(config))) {
        return APR_ENOMEM;
    }
    if (config->shared && !(config->shared_program = exec_shared_new(config, here, pchild))) {
        exec_supervisor_stop(config->supervisor);
        return APR_ENOMEM;
    }
    return APR_SUCCESS;
}

static void exec_child_stop(void *data)
{
    exec_config *config = data;

    if (config->shared_program) {
        exec_shared_stop(config->shared_program);
    }
    exec_supervisor_stop(config->supervisor);
    if (config->shared_program) {
        exec_shared_free(config->shared_program);
    }
}

/* ---- The handshake ---- */

/* Set the path variables of a program as mod_cgi does. For PATH_TRANSLATED, httpd maps the part of
 * the path after the program's name to a file. */
static void exec_locate(request_rec *r, const exec_choice *choice)
{
    char *path_info = r->path_info;

    apr_table_unset(r->subprocess_env, "PATH_INFO");
    apr_table_unset(r->subprocess_env, "PATH_TRANSLATED");
    r->path_info = apr_pstrdup(r->pool, choice->path_info);
    ap_add_cgi_vars(r);
    r->path_info = path_info;
    apr_table_setn(r->subprocess_env, "SCRIPT_NAME", choice->script_name);
    apr_table_setn(r->subprocess_env, "SCRIPT_FILENAME", choice->file);
}

/* Create a CGI program's environment (RFC 3875), with variables from mod_ssl and SetEnv. */
static char **exec_environment(request_rec *r, ws_request *rq, const exec_choice *choice)
{
    const char *protocol = ws_request_protocol(rq);

    ap_add_common_vars(r);
    if (choice->script_name) {
        exec_locate(r, choice);
    }
    else {
        ap_add_cgi_vars(r);
    }
    /* mod_http2 adds this header because the stream has data, but the data is not the body of the
     * request. */
    apr_table_unset(r->subprocess_env, "HTTP_TRANSFER_ENCODING");
    if (!strcmp(ap_http_scheme(r), "https")) {
        apr_table_setn(r->subprocess_env, "HTTPS", "on");
    }
    if (protocol) {
        apr_table_setn(r->subprocess_env, "WEBSOCKET_PROTOCOL", protocol);
    }
    return ap_create_environment(r->pool, r->subprocess_env);
}

/* Choose the program for the request's path. @return 0, or the status to refuse with */
static int exec_choose(const exec_config *config, request_rec *r, ws_request *rq,
                       exec_choice *choice)
{
    const char *base = ws_request_location(rq);

    choice->file = config->argv[0];
    if (!config->programs) {
        if (base && !strncmp(r->uri, base, strlen(base))) {
            choice->script_name = base;
            choice->path_info = r->uri + strlen(base);
        }
        return 0;
    }
    if (!base) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "websocket: exec: a directory of programs is allowed outside of sections, in "
                      "a <VirtualHost>, or in a <Location> without wildcards");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!exec_programs_choose(r->pool, config->programs, config->folder, base, r->uri, choice)) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "websocket: exec: refused with 404: no program with that name in %s; "
                      "after adding one, reload httpd",
                      config->folder);
        return HTTP_NOT_FOUND;
    }
    return 0;
}

/* Create the arguments of a program. The first argument is its file. */
static char **exec_with_file(apr_pool_t *pool, char *const *argv, const char *file)
{
    char **copy;
    apr_size_t n = 0;

    while (argv[n]) {
        n++;
    }
    copy = apr_pmemdup(pool, argv, (n + 1) * sizeof(*argv));
    copy[0] = (char *)file;
    return copy;
}

/* Release the session. This runs when the connection's pool is destroyed, after on_close or after a
 * failed handshake. */
static apr_status_t exec_end_session(void *data)
{
    session *s = data;

    if (s->in >= 0) {
        close(s->in);
    }
    outbox_clear(&s->to);
    free(s->from);
    exec_stop(s->program, s->out);
    exec_release(s->program);
    return APR_SUCCESS;
}

static int exec_on_request(ws_request *rq, void *data)
{
    exec_config *config = data;
    request_rec *r = ws_request_rec(rq);
    exec_choice choice = {NULL, NULL, ""};
    exec_start how;
    exec_process process;
    apr_pool_t *pool;
    session *s;
    int *slot, status;

    if (config->shared_program) {
        return exec_shared_ready(config->shared_program, r);
    }
    if (!(pool = ws_request_pool(rq))) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if ((status = exec_choose(config, r, rq, &choice)) != 0) {
        return status;
    }
    exec_how(&how, config, r);
    how.argv = exec_with_file(r->pool, config->argv, choice.file);
    how.env = exec_environment(r, rq, &choice);
    if ((status = exec_launch(config, &how, r->server, &process, &slot)) != 0) {
        return status;
    }
    s = apr_pcalloc(pool, sizeof(*s));
    s->config = config;
    s->in = process.in;
    s->out = process.out;
    s->program = exec_supervise(config->supervisor, &process, slot, r->server,
                                apr_psprintf(r->pool, "[client %s] %s", r->useragent_ip, r->uri));
    if (!s->program) {
        close(s->in);
        close(s->out);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    apr_pool_cleanup_register(pool, s, exec_end_session, apr_pool_cleanup_null);
    ws_request_set_data(rq, s);
    return 0;
}

/* ---- From the client to the program ---- */

static void exec_watch_what_is_wanted(ws_conn *c, session *s)
{
    if (s->in_watch) {
        ws_watch_set(c, s->in_watch, s->waits ? WS_WRITABLE : 0);
    }
    if (s->out_watch) {
        ws_watch_set(c, s->out_watch, s->full ? 0 : WS_READABLE);
    }
}

static void exec_close_watched(ws_conn *c, ws_watch **watch, int *fd)
{
    if (*watch) {
        ws_watch_stop(c, *watch);
        *watch = NULL;
    }
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void exec_give(ws_conn *c, session *s)
{
    int waited = s->waits, error = outbox_write(&s->to, s->in);

    if (error) { /* the program has closed its standard input, but may still write */
        ws_conn_log(c, WS_LOG_DEBUG, "the program has closed its standard input");
        outbox_clear(&s->to);
        exec_close_watched(c, &s->in_watch, &s->in);
    }
    s->waits = outbox_left(&s->to) > 0;
    if (s->waits && !waited) {
        ws_pause(c);
    }
    else if (!s->waits && waited) {
        ws_resume(c);
    }
    exec_watch_what_is_wanted(c, s);
}

static void exec_on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    exec_config *config = ws_config(c);
    session *s = ws_data(c);

    if (type != config->type) {
        ws_close(c, WS_CLOSE_UNSUPPORTED,
                 config->type == WS_TEXT ? "text only, please" : "binary messages only, please");
        return;
    }
    if (config->shared_program) {
        exec_shared_message(config->shared_program, c, data, len);
        return;
    }
    if (s->in < 0) {
        return;
    }
    if (exec_put(&s->to, config->framing, data, len) < 0) {
        ws_close(c, WS_CLOSE_INTERNAL, "out of memory");
        return;
    }
    if (!s->waits) {
        exec_give(c, s);
    }
}

static void exec_on_writable(ws_conn *c, int fd, unsigned events, void *arg)
{
    (void)fd, (void)events;
    exec_give(c, arg);
}

/* ---- From the program to the client ---- */

/* Send complete messages, until the client's queue is full. */
static void exec_deliver(ws_conn *c, session *s, int over)
{
    const exec_config *config = s->config;
    apr_size_t done = 0;

    while (!s->full && !s->over && done < s->from_len) {
        const char *start;
        char *fixed;
        apr_size_t len;
        ws_status status;
        apr_ssize_t n = exec_get(config->framing, s->from + done, s->from_len - done, over,
                                 config->longest, &start, &len);
        if (n == 0) {
            break;
        }
        if (n < 0) {
            ws_conn_log(c, WS_LOG_ERROR,
                        "the program wrote a message of more than %u bytes "
                        "(longest=)",
                        config->longest);
            ws_close(c, WS_CLOSE_INTERNAL, "a message of the program is too long");
            s->over = 1;
            break;
        }
        fixed = config->type == WS_TEXT ? exec_fix_utf8(start, &len) : NULL;
        status = ws_send(c, config->type, fixed ? fixed : start, len);
        free(fixed);
        s->full = status == WS_QUEUED;
        done += (apr_size_t)n;
    }
    s->from_len -= done;
    if (s->from_len == 0) {
        free(s->from);
        s->from = NULL;
    }
    else if (done) {
        memmove(s->from, s->from + done, s->from_len);
    }
}

/* Read more output. @return the same as read(2) */
static ssize_t exec_read_more(session *s)
{
    char *more = realloc(s->from, s->from_len + READ_SIZE);
    ssize_t n;

    if (!more) {
        errno = ENOMEM;
        return -1;
    }
    s->from = more;
    n = read(s->out, s->from + s->from_len, READ_SIZE);
    if (n > 0) {
        s->from_len += (apr_size_t)n;
    }
    return n;
}

/* Read available output, until the client's queue is full. */
static void exec_take(ws_conn *c, session *s)
{
    int rounds = s->ended ? LAST_ROUNDS : ROUNDS;
    ssize_t n = 1;

    exec_deliver(c, s, s->out < 0);
    while (s->out >= 0 && !s->full && !s->over && rounds-- > 0 && (n = exec_read_more(s)) > 0) {
        exec_deliver(c, s, 0);
    }
    /* After the program has ended, do not wait for the end of the pipe, because other processes may
     * still have it open. */
    if (s->out >= 0 && !s->full && !s->over
        && (s->ended || n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))) {
        exec_close_watched(c, &s->out_watch, &s->out);
        exec_deliver(c, s, 1);
    }
    exec_watch_what_is_wanted(c, s);
}

static void exec_close_if_over(ws_conn *c, session *s)
{
    int status = s->program->status;
    char text[64], reason[80];

    if (!s->ended || s->out >= 0 || s->full || s->over) {
        return;
    }
    s->over = 1;
    exec_status_text(status, text, sizeof(text));
    ws_conn_log(c, status ? WS_LOG_INFO : WS_LOG_DEBUG, "the program %s", text);
    apr_snprintf(reason, sizeof(reason), "the program %s", text);
    ws_close(c, status ? WS_CLOSE_INTERNAL : WS_CLOSE_NORMAL, reason);
}

static void exec_on_readable(ws_conn *c, int fd, unsigned events, void *arg)
{
    (void)fd, (void)events;
    exec_take(c, arg);
}

static void exec_on_drain(ws_conn *c)
{
    exec_config *config = ws_config(c);
    session *s = ws_data(c);

    if (!config->shared_program) {
        s->full = 0;
        exec_take(c, s);
        exec_close_if_over(c, s);
    }
}

/* ---- Opening and closing ---- */

static void exec_on_end(ws_conn *c, void *arg)
{
    if (c) {
        session *s = ws_data(c);

        s->ended = 1;
        exec_take(c, s);
        exec_close_if_over(c, s);
    }
    exec_release(arg);
}

static void exec_on_open(ws_conn *c)
{
    exec_config *config = ws_config(c);
    session *s = ws_data(c);

    if (config->type == WS_BINARY && ws_version(c) > 13) {
        ws_close(c, WS_CLOSE_UNSUPPORTED, "this version has no binary messages");
        return;
    }
    if (config->shared_program) {
        exec_shared_join(config->shared_program, c);
        return;
    }
    s->in_watch = ws_watch_start(c, s->in, 0, exec_on_writable, s);
    s->out_watch = ws_watch_start(c, s->out, WS_READABLE, exec_on_readable, s);
    if (!s->in_watch || !s->out_watch) {
        ws_close(c, WS_CLOSE_INTERNAL, "out of memory");
        return;
    }
    if (exec_set_owner(s->program, ws_conn_id(c), exec_on_end)) {
        s->ended = 1;
        exec_take(c, s);
        exec_close_if_over(c, s);
    }
}

static void exec_on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    exec_config *config = ws_config(c);

    (void)reason, (void)len;
    if (config->shared_program) {
        exec_shared_leave(config->shared_program, c, code);
    }
    else {
        apr_pool_cleanup_run(ws_pool(c), ws_data(c), exec_end_session);
    }
}

WS_HANDLER(exec) = {.configure = exec_configure,
                    .repeatable_keys = "",
                    .start = exec_child_start,
                    .stop = exec_child_stop,
                    .on_request = exec_on_request,
                    .on_open = exec_on_open,
                    .on_message = exec_on_message,
                    .on_drain = exec_on_drain,
                    .on_close = exec_on_close};
