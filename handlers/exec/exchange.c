/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Passes messages between a shared program and its connections, and decides which process runs the
 *  program. With shared=server, one of httpd's child processes, the owner, runs the program.
 *  Otherwise this process runs it. */

#include "shared_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <apr_strings.h>
#include <http_log.h>

#include "line.h"
#include "websocket_parse.h"

/* Minimum time between two starts of the program, microseconds. It matters if the program ends
 * immediately. */
#define PAUSE APR_USEC_PER_SEC

/* Time during which a failed start is repeated if connections are waiting, microseconds. */
#define RETRY_MAX (5 * APR_USEC_PER_SEC)

void exec_close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* ---- To the program; called with the lock held ---- */

/* Get the framing. Between processes, each message follows its length, so that any message can be
 * sent. */
static exec_framing exchange_framing_of(const exec_shared *h)
{
    return h->linked ? EXEC_LENGTH : h->config->framing;
}

int exec_shared_has_program(const exec_shared *h)
{
    return h->program || (h->linked && h->greeted);
}

int exec_shared_put(exec_shared *h, ws_id id, const char *kind, const char *text, apr_size_t len)
{
    char *line = malloc(64 + len);
    int n, rv;

    if (!line) {
        return -1;
    }
    n = snprintf(line, 64, "%016" APR_UINT64_T_HEX_FMT "\t%s\t", id, kind);
    memcpy(line + n, text, len);
    rv = exec_shared_has_program(h)
             ? exec_put(&h->to, exchange_framing_of(h), line, (apr_size_t)n + len)
             : exec_put(&h->early, EXEC_LENGTH, line, (apr_size_t)n + len);
    free(line);
    return rv;
}

static void exchange_resume(ws_conn *c, void *arg)
{
    (void)arg;
    if (c) {
        ws_resume(c);
    }
}

apr_size_t exec_shared_backlog(const exec_shared *h)
{
    return outbox_left(&h->to) + outbox_left(&h->early);
}

void exec_shared_resume(exec_shared *h)
{
    while (h->paused.count) {
        ws_run(h->paused.all[--h->paused.count].id, exchange_resume, NULL);
    }
}

/* ---- From the program; called with the lock held ---- */

static void exchange_complain(exec_shared *h, const char *line, apr_size_t len)
{
    if (!h->complained) {
        h->complained = 1;
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, h->server,
                     "websocket: exec: shared %s: the program wrote a line that is neither ID TAB "
                     "message TAB "
                     "text nor ID TAB close TAB code: %.*s",
                     h->config->argv[0], len < 100 ? (int)len : 100, line);
    }
}

static void exchange_send_to(exec_shared *h, ws_id id, const char *text, apr_size_t len)
{
    char *fixed = h->config->type == WS_TEXT ? exec_fix_utf8(text, &len) : NULL;

    if (id == 0) {
        ws_broadcast(h->here, h->config->type, fixed ? fixed : text, len, 0);
    }
    else {
        ws_send_to(id, h->config->type, fixed ? fixed : text, len);
    }
    free(fixed);
}

static void exchange_close_it(ws_id id, const char *text, apr_size_t len)
{
    char words[4 + 1 + 123 + 1];
    apr_int64_t code;
    const char *reason = exec_line_close(text, len, words, sizeof(words), &code);

    ws_close_id(id, (int)code, reason);
}

void exec_shared_close_all(exec_shared *h, int code, const char *reason)
{
    for (apr_size_t i = 0; i < h->members.count; i++) {
        ws_close_id(h->members.all[i].id, code, reason);
    }
    exec_ids_clear(&h->members);
    h->paused.count = 0;
}

/* Send all "open" lines to a new program or owner, then the messages that have been queued in the
 * meantime. */
static void exchange_announce(exec_shared *h)
{
    outbox early = h->early;
    const char *data;
    apr_size_t len;
    apr_ssize_t n;
    exec_line l;

    h->early = (outbox){NULL, 0, 0};
    for (apr_size_t i = 0; i < h->members.count; i++) {
        const exec_id *m = &h->members.all[i];
        exec_shared_put(h, m->id, "open", m->text ? m->text : "", m->text ? strlen(m->text) : 0);
    }
    while ((n = exec_get(EXEC_LENGTH, early.data + early.pos, outbox_left(&early), 0,
                         outbox_left(&early), &data, &len))
           > 0) {
        if (exec_line_read(data, len, &l) && exec_line_is(&l, "message")
            && exec_ids_find(&h->members, l.id)) {
            exec_put(&h->to, exchange_framing_of(h), data, len);
        }
        early.pos += (apr_size_t)n;
    }
    outbox_clear(&early);
}

/* Handle a line about the owner itself. @return whether the line is about the owner */
static int exchange_take_word_of_owner(exec_shared *h, const exec_line *l)
{
    char words[160];
    apr_int64_t code;

    if (!h->linked || l->id) {
        return 0;
    }
    if (!h->greeted) {
        h->greeted = 1;
        exchange_announce(h);
    }
    if (exec_line_is(l, "end")) {
        const char *reason = exec_line_close(l->text, l->len, words, sizeof(words), &code);
        exec_shared_close_all(h, (int)code, reason);
    }
    return exec_line_is(l, "end") || exec_line_is(l, "hello");
}

/* As the owner, pass a line to the other processes. @return whether another process may have the
 * connection */
static int exchange_pass_on(exec_shared *h, ws_id id, const char *data, apr_size_t len)
{
    int passed = 0;

    for (exec_peer *p = h->peers; p; p = p->next) {
        if (!p->leaving && (!id || exec_ids_find(&p->ids, id))) {
            exec_peer_put(p, data, len);
            passed = id != 0;
        }
    }
    return passed;
}

static void exchange_take_message(void *arg, const char *data, apr_size_t len)
{
    exec_shared *h = arg;
    int known;
    exec_line l;

    if (!exec_line_read(data, len, &l)) {
        exchange_complain(h, data, len);
        return;
    }
    known = (exec_line_is(&l, "message") || (exec_line_is(&l, "close") && l.id));
    if (exchange_take_word_of_owner(h, &l)) {
        return;
    }
    if (!known) {
        exchange_complain(h, data, len);
        return;
    }
    if (exchange_pass_on(h, l.id, data, len) || (l.id && !exec_ids_find(&h->members, l.id))) {
        return; /* the connection belongs to another process, or has ended */
    }
    if (exec_line_is(&l, "message")) {
        exchange_send_to(h, l.id, l.text, l.len);
    }
    else {
        exchange_close_it(l.id, l.text, l.len);
    }
}

int exec_shared_take_output(exec_shared *h)
{
    apr_size_t longest = h->linked ? (apr_size_t)1 << 30 : h->config->longest;
    int rv = exec_input_take(&h->from, h->out, exchange_framing_of(h), longest,
                             exchange_take_message, h);

    if (rv == -2 && h->program) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, h->server,
                     "websocket: exec: %s: the program wrote a message of more than %u bytes "
                     "(longest=): stopping it",
                     h->program->who, h->config->longest);
        exec_close_fd(&h->in);
        exec_stop(h->program, h->out);
        h->out = -1;
        h->from.len = 0;
    }
    else if (rv < 0) {
        exec_close_fd(&h->out);
    }
    return rv > 0 && h->out >= 0;
}

/* ---- Getting a program; called with the lock held ---- */

void exec_shared_forget_pipes(exec_shared *h)
{
    exec_close_fd(&h->in);
    exec_close_fd(&h->out);
    outbox_clear(&h->to);
    exec_input_clear(&h->from);
    h->linked = h->greeted = 0;
}

static int exchange_start_program(exec_shared *h)
{
    apr_time_t now = apr_time_now(),
               started = h->server_of_all ? exec_server_started(h->server_of_all) : h->started;
    exec_process process;
    int *slot, status;

    if (now - started < PAUSE) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, h->server,
                     "websocket: exec: refused with 503: the shared program has just ended");
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if ((status = exec_launch(h->config, &h->how, h->server, &process, &slot)) != 0) {
        return status;
    }
    h->program = exec_supervise(h->config->supervisor, &process, slot, h->server,
                                apr_psprintf(h->pool, "shared %s", h->config->argv[0]));
    if (!h->program) {
        close(process.in);
        close(process.out);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    h->in = process.in;
    h->out = process.out;
    h->started = now;
    if (h->server_of_all) {
        exec_server_set_started(h->server_of_all, now);
    }
    h->complained = 0;
    return 0;
}

static int exchange_link_to_owner(exec_shared *h)
{
    int fd = exec_server_connect(h->server_of_all);

    if (fd < 0 || (h->in = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0
        || !exec_supervisor_run(h->config->supervisor)) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, h->server,
                     "websocket: exec: the process that has the shared program cannot be reached");
        exec_close_fd(&fd);
        exec_close_fd(&h->in);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    h->out = fd;
    h->linked = 1;
    return 0;
}

int exec_shared_get_program(exec_shared *h)
{
    int status, own = !h->server_of_all || exec_server_own(h->server_of_all);

    if (h->linked && !own) {
        return 0;
    }
    exec_shared_forget_pipes(h);
    if (!own) {
        return exchange_link_to_owner(h);
    }
    status = exchange_start_program(h);
    if (!status) {
        exchange_announce(h);
    }
    else if (h->server_of_all) {
        exec_server_disown(h->server_of_all);
    }
    return status;
}

void exec_shared_try_again(exec_shared *h)
{
    int status = exec_shared_get_program(h);

    if (status && (status != HTTP_SERVICE_UNAVAILABLE || apr_time_now() - h->since > RETRY_MAX)) {
        exec_shared_close_all(h, WS_CLOSE_INTERNAL, "the program cannot be started");
        outbox_clear(&h->early);
    }
}

void exec_shared_lose_owner(exec_shared *h)
{
    exec_shared_forget_pipes(h);
    h->since = apr_time_now();
    if (h->members.count) {
        ap_log_error(
            APLOG_MARK, APLOG_INFO, 0, h->server,
            "websocket: exec: shared %s: its process has ended; another process starts the "
            "program again and takes over %" APR_SIZE_T_FMT " connections of this process",
            h->config->argv[0], h->members.count);
        exec_shared_try_again(h);
    }
}

/* ---- Other processes; called with the lock held ---- */

/* Handle a line from a peer, which is a message, or opens or closes a connection. */
void exec_shared_peer_says(void *arg, exec_peer *p, const char *data, apr_size_t len)
{
    exec_shared *h = arg;
    exec_line l;

    if (!h->program || p->leaving || !exec_line_read(data, len, &l) || !l.id
        || !exec_fits(h->config->framing, data, len)) {
        return;
    }
    if (exec_line_is(&l, "open") && exec_ids_add(&p->ids, l.id, NULL) < 0) {
        return;
    }
    if (exec_line_is(&l, "close")) {
        exec_ids_remove(&p->ids, l.id);
    }
    if (h->in >= 0) {
        exec_put(&h->to, h->config->framing, data, len);
    }
}

void exec_shared_peer_gone(void *arg, exec_peer *p)
{
    exec_shared *h = arg;
    char text[12];

    snprintf(text, sizeof(text), "%d", WS_CLOSE_ABNORMAL);
    for (apr_size_t i = 0; h->in >= 0 && h->program && i < p->ids.count; i++) {
        exec_shared_put(h, p->ids.all[i].id, "close", text, strlen(text));
    }
}

void exec_shared_accept(exec_shared *h)
{
    int fd;

    while ((fd = exec_server_accept(h->server_of_all)) >= 0) {
        exec_peer_add(&h->peers, fd);
    }
}

void exec_shared_tell_end(exec_shared *h, int code, const char *reason)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "*\tend\t%d %s", code, reason);

    for (exec_peer *p = h->peers; p; p = p->next) {
        exec_peer_put(p, text, (apr_size_t)n);
        p->leaving = 1;
    }
}
