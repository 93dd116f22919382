/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Starts, stops and polls a shared program (shared.h) on the supervisor's thread. Also adds
 * connections to the program.
 */

#include "shared_private.h"

#include <stdio.h>
#include <stdlib.h>

#include <apr_strings.h>
#include <http_log.h>
#include <util_script.h>

/* How often to check whether the owner ended before it accepted the connection, milliseconds. */
#define LOOK 200

/* How often to check for stalled peers, milliseconds. */
#define SWEEP 1000

/* ---- On the supervisor's thread ---- */

static unsigned shared_count(void *data)
{
    exec_shared *h = data;
    unsigned n;

    pthread_mutex_lock(&h->lock);
    n = 3 + exec_peers_count(h->peers);
    pthread_mutex_unlock(&h->lock);
    return n;
}

static int shared_waits_for_program(const exec_shared *h)
{
    return h->server_of_all && !h->stopping && !exec_shared_has_program(h)
           && (h->linked || h->members.count);
}

static int shared_fill(void *data, struct pollfd *fds, int *timeout)
{
    exec_shared *h = data;
    int n = 0, full;

    pthread_mutex_lock(&h->lock);
    full = exec_peers_full(h->peers);
    if (h->out >= 0 && !full) {
        fds[n++] = (struct pollfd){.fd = h->out, .events = POLLIN};
    }
    if (h->in >= 0 && outbox_left(&h->to)) {
        fds[n++] = (struct pollfd){.fd = h->in, .events = POLLOUT};
    }
    if (h->program && h->server_of_all) {
        fds[n++] = (struct pollfd){.fd = exec_server_listener(h->server_of_all), .events = POLLIN};
    }
    n += exec_peers_fill(h->peers, fds + n, outbox_left(&h->to) > EXEC_MARK);
    if (exec_peers_waiting(h->peers) && (*timeout < 0 || *timeout > SWEEP)) {
        *timeout = SWEEP;
    }
    if (shared_waits_for_program(h) && (*timeout < 0 || *timeout > LOOK)) {
        *timeout = LOOK;
    }
    pthread_mutex_unlock(&h->lock);
    return n;
}

static void shared_act_on(exec_shared *h, const struct pollfd *fd)
{
    if (fd->fd == h->out) {
        if (fd->revents) {
            exec_shared_take_output(h);
        }
    }
    else if (fd->fd == h->in) {
        if (fd->revents && outbox_write(&h->to, h->in) != 0) {
            exec_close_fd(&h->in); /* the program has closed its standard input */
            outbox_clear(&h->to);
        }
    }
    else if (h->server_of_all && fd->fd == exec_server_listener(h->server_of_all)) {
        if (fd->revents && h->program) {
            exec_shared_accept(h);
        }
    }
    else {
        exec_peers_act(&h->peers, fd, exec_shared_peer_says, exec_shared_peer_gone, h);
    }
}

static void shared_act(void *data, const struct pollfd *fds, int n)
{
    exec_shared *h = data;

    pthread_mutex_lock(&h->lock);
    for (int i = 0; i < n; i++) {
        shared_act_on(h, &fds[i]);
    }
    exec_peers_sweep(&h->peers, exec_shared_peer_gone, h);
    if (h->linked && (h->in < 0 || h->out < 0)) {
        exec_shared_lose_owner(h);
    }
    else if (shared_waits_for_program(h)) {
        exec_shared_try_again(h);
    }
    if (exec_shared_backlog(h) <= EXEC_MARK / 2) {
        exec_shared_resume(h);
    }
    pthread_mutex_unlock(&h->lock);
}

static void shared_ended(void *data, const exec_program *p)
{
    exec_shared *h = data;
    char text[64], reason[80];
    exec_program *over = NULL;

    pthread_mutex_lock(&h->lock);
    if (h->program == p) {
        int code = p->status ? WS_CLOSE_INTERNAL : WS_CLOSE_NORMAL;
        while (h->out >= 0 && exec_shared_take_output(h)) {
        }
        apr_snprintf(reason, sizeof(reason), "the program %s",
                     exec_status_text(p->status, text, sizeof(text)));
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, p->server,
                     "websocket: exec: %s: the shared program %s, with %" APR_SIZE_T_FMT
                     " connections",
                     p->who, text, h->members.count);
        exec_shared_tell_end(h, code, reason);
        exec_shared_close_all(h, code, reason);
        exec_shared_forget_pipes(h);
        over = h->program;
        h->program = NULL;
        if (h->server_of_all && !h->stopping) {
            exec_server_disown(h->server_of_all);
        }
    }
    pthread_mutex_unlock(&h->lock);
    if (over) {
        exec_release(over);
    }
}

/* ---- Called for connections ---- */

/* Create the environment variables of a shared program, which do not depend on a request. */
static char **shared_environment(apr_pool_t *pool)
{
    apr_table_t *e = apr_table_make(pool, 4);
    const char *path = getenv("PATH");

    apr_table_setn(e, "PATH", path ? path : DEFAULT_PATH);
    apr_table_setn(e, "GATEWAY_INTERFACE", "CGI/1.1");
    apr_table_setn(e, "SERVER_SOFTWARE", ap_get_server_banner());
    return ap_create_environment(pool, e);
}

int exec_shared_ready(exec_shared *h, request_rec *r)
{
    int status = 0;

    pthread_mutex_lock(&h->lock);
    if (!h->server) { /* the first request's Location sets the resource limits */
        exec_how(&h->how, h->config, r);
        h->how.argv = h->config->argv;
        h->how.env = shared_environment(h->pool);
        h->server = r->server;
    }
    if (!h->program && !h->linked) {
        h->since = apr_time_now();
        status = exec_shared_get_program(h);
    }
    if (!status && exec_shared_backlog(h) > 4 * EXEC_MARK) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "websocket: exec: refused with 503: the shared program is not reading");
        status = HTTP_SERVICE_UNAVAILABLE;
    }
    pthread_mutex_unlock(&h->lock);
    exec_wake(h->config->supervisor);
    return status;
}

/* Replace control characters, because a decoded path may contain them. A TAB would separate the
 * fields of a tag, and other control characters would separate messages. */
static char *shared_printable(apr_pool_t *pool, const char *text)
{
    char *copy = apr_pstrdup(pool, text);

    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7F) {
            *c = '?';
        }
    }
    return copy;
}

void exec_shared_join(exec_shared *h, ws_conn *c)
{
    apr_pool_t *pool;
    int joined = 0;

    pthread_mutex_lock(&h->lock);
    if ((h->in >= 0 || h->server_of_all) && apr_pool_create_unmanaged(&pool) == APR_SUCCESS) {
        const char *text =
            apr_psprintf(pool, "%s\t%s\t%s\t%s", ws_peer(c),
                         ws_user(c) ? shared_printable(pool, ws_user(c)) : "",
                         shared_printable(pool, ws_uri(c)), ws_args(c) ? ws_args(c) : "");
        joined = exec_ids_add(&h->members, ws_conn_id(c), h->server_of_all ? text : NULL) == 0
                 && (!exec_shared_has_program(h)
                     || exec_shared_put(h, ws_conn_id(c), "open", text, strlen(text)) == 0);
        apr_pool_destroy(pool);
    }
    pthread_mutex_unlock(&h->lock);
    if (joined) {
        exec_wake(h->config->supervisor);
    }
    else {
        ws_close(c, WS_CLOSE_TRY_LATER, "the program has ended");
    }
}

void exec_shared_message(exec_shared *h, ws_conn *c, const char *data, apr_size_t len)
{
    int failed;

    if (!exec_fits(h->config->framing, data, len)) {
        ws_close(c, WS_CLOSE_UNSUPPORTED,
                 h->config->framing == EXEC_LINE ? "each message must be one line"
                                                 : "a message must not contain a NUL");
        return;
    }
    pthread_mutex_lock(&h->lock);
    failed = (h->in >= 0 || h->server_of_all)
             && exec_shared_put(h, ws_conn_id(c), "message", data, len) < 0;
    if (!failed && exec_shared_backlog(h) > EXEC_MARK
        && exec_ids_add(&h->paused, ws_conn_id(c), NULL) == 0) {
        ws_pause(c);
    }
    pthread_mutex_unlock(&h->lock);
    exec_wake(h->config->supervisor);
    if (failed) {
        ws_close(c, WS_CLOSE_INTERNAL, "out of memory");
    }
}

void exec_shared_leave(exec_shared *h, ws_conn *c, int code)
{
    char text[12];

    pthread_mutex_lock(&h->lock);
    if (exec_ids_find(&h->members, ws_conn_id(c))) {
        exec_ids_remove(&h->members, ws_conn_id(c));
        snprintf(text, sizeof(text), "%d", code);
        if (h->in >= 0 && exec_shared_has_program(h)) {
            exec_shared_put(h, ws_conn_id(c), "close", text, strlen(text));
        }
    }
    exec_ids_remove(&h->paused, ws_conn_id(c));
    pthread_mutex_unlock(&h->lock);
    exec_wake(h->config->supervisor);
}

/* ---- Start and stop ---- */

exec_shared *exec_shared_new(exec_config *config, ws_location *here, apr_pool_t *pool)
{
    exec_shared *h = calloc(1, sizeof(*h));
    exec_side side = {shared_count, shared_fill, shared_act, shared_ended, h};

    if (h) {
        h->config = config;
        h->here = here;
        h->pool = pool;
        h->server_of_all = config->server;
        h->in = h->out = -1;
        pthread_mutex_init(&h->lock, NULL);
        exec_supervisor_attend(config->supervisor, &side);
    }
    return h;
}

void exec_shared_stop(exec_shared *h)
{
    pthread_mutex_lock(&h->lock);
    h->stopping = 1;
    exec_close_fd(&h->in);
    if (h->program) {
        exec_stop(h->program, h->out);
        h->out = -1;
    }
    exec_close_fd(&h->out);
    h->linked = 0;
    exec_peers_close(&h->peers); /* so each peer tries to become the owner */
    pthread_mutex_unlock(&h->lock);
}

void exec_shared_free(exec_shared *h)
{
    if (h->server_of_all) {
        exec_server_disown(h->server_of_all);
    }
    pthread_mutex_destroy(&h->lock);
    exec_ids_clear(&h->members);
    exec_ids_clear(&h->paused);
    outbox_clear(&h->to);
    outbox_clear(&h->early);
    exec_input_clear(&h->from);
    free(h);
}
