/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "shared.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <apr_strings.h>
#include <http_log.h>
#include <util_script.h>

#include "supervisor.h"
#include "websocket_parse.h"

/* A client that has something to say waits while more than this waits for the program, bytes; while four
 * times as much does, no new one comes in. */
#define MARK (256 * 1024)

/* Read from the program at a time, bytes. */
#define READ_SIZE (64 * 1024)

/* A program that ends at once is not started again before this, microseconds. */
#define PAUSE APR_USEC_PER_SEC

#define ID_SIZE 17

/* Ids of connections, in no order. There are as many as there are connections of one line: looking through
 * them costs less than the message does. */
typedef struct {
    ws_id *ids;
    apr_size_t count, size;
} id_list;

struct exec_hub {
    exec_config *config;
    ws_location *here;
    pthread_mutex_t lock; /* of all below */
    exec_program *program;
    int in, out; /* -1: closed */
    outbox to;
    char *from;
    apr_size_t from_len;
    id_list members, paused;
    apr_time_t started;
    int complained; /* of what the program has written */
};

static int list_find(const id_list *l, ws_id id, apr_size_t *at)
{
    for (*at = 0; *at < l->count && l->ids[*at] != id; ++*at) {
    }
    return *at < l->count;
}

static int list_add(id_list *l, ws_id id)
{
    if (l->count == l->size) {
        apr_size_t size = l->size ? l->size * 2 : 16;
        ws_id *more = realloc(l->ids, size * sizeof(*more));
        if (!more) {
            return -1;
        }
        l->ids = more;
        l->size = size;
    }
    l->ids[l->count++] = id;
    return 0;
}

static void list_remove(id_list *l, ws_id id)
{
    apr_size_t at;

    if (list_find(l, id, &at)) {
        l->ids[at] = l->ids[--l->count];
    }
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* ---- To the program; under the lock ---- */

/* @return 0; -1 when there is no memory */
static int put(exec_hub *h, ws_id id, const char *kind, const char *text, apr_size_t len)
{
    char *line = malloc(64 + len);
    int n, rv;

    if (!line) {
        return -1;
    }
    n = snprintf(line, 64, "%016" APR_UINT64_T_HEX_FMT "\t%s\t", id, kind);
    memcpy(line + n, text, len);
    rv = exec_put(&h->to, h->config->framing, line, (apr_size_t)n + len);
    free(line);
    return rv;
}

static void resume(ws_conn *c, void *arg)
{
    (void)arg;
    if (c) {
        ws_resume(c);
    }
}

static void let_them_speak(exec_hub *h)
{
    while (h->paused.count) {
        ws_run(h->paused.ids[--h->paused.count], resume, NULL);
    }
}

/* ---- From the program; under the lock ---- */

static void complain(exec_hub *h, const char *line, apr_size_t len)
{
    if (!h->complained) {
        h->complained = 1;
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, h->program->server,
            "websocket: exec: %s: the program writes what is not ID TAB message TAB text, or "
            "ID TAB close TAB code: %.*s",
            h->program->who, len < 100 ? (int)len : 100, line);
    }
}

static void send_to(exec_hub *h, ws_id id, const char *text, apr_size_t len)
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

static void close_it(ws_id id, const char *text, apr_size_t len)
{
    char words[4 + 1 + 123 + 1], *reason = words, after;
    apr_int64_t code = WS_CLOSE_NORMAL;
    size_t digits;

    len = len < sizeof(words) - 1 ? len : sizeof(words) - 1;
    memcpy(words, text, len);
    words[len] = '\0';
    digits = strcspn(words, " ");
    after = words[digits];
    words[digits] = '\0';
    if (!ws_parse_count(NULL, words, 1000, 4999, &code)) {
        reason += digits + (after == ' ');
    }
    else { /* all of it is the reason */
        words[digits] = after;
    }
    ws_close_id(id, (int)code, reason);
}

static void take_message(exec_hub *h, const char *line, apr_size_t len)
{
    const char *kind = memchr(line, '\t', len), *text;
    apr_size_t id_len, kind_len, at;
    ws_id id = 0;
    int all;

    if (!kind || !(text = memchr(kind + 1, '\t', len - (apr_size_t)(kind + 1 - line)))) {
        complain(h, line, len);
        return;
    }
    id_len = (apr_size_t)(kind++ - line);
    kind_len = (apr_size_t)(text++ - kind);
    all = id_len == 1 && *line == '*';
    if (!all && !ws_parse_id(line, id_len, &id)) {
        complain(h, line, len);
        return;
    }
    len -= (apr_size_t)(text - line);
    if (!all && !list_find(&h->members, id, &at)) {
        return; /* it has gone meanwhile */
    }
    if (kind_len == 7 && !memcmp(kind, "message", 7)) {
        send_to(h, id, text, len);
    }
    else if (kind_len == 5 && !memcmp(kind, "close", 5) && !all) {
        close_it(id, text, len);
    }
    else {
        complain(h, line, len);
    }
}

/* @return whether there may be more */
static int take_output(exec_hub *h)
{
    char *more = realloc(h->from, h->from_len + READ_SIZE);
    apr_size_t done = 0, len;
    apr_ssize_t n = 0;
    const char *start;
    ssize_t got;

    if (!more) {
        return 0;
    }
    h->from = more;
    got = read(h->out, h->from + h->from_len, READ_SIZE);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            close_fd(&h->out);
        }
        return 0;
    }
    h->from_len += (apr_size_t)got;
    while (done < h->from_len
           && (n = exec_get(h->config->framing, h->from + done, h->from_len - done, 0,
                            h->config->longest, &start, &len))
                  > 0) {
        take_message(h, start, len);
        done += (apr_size_t)n;
    }
    if (n < 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, h->program->server,
                     "websocket: exec: %s: the program writes a message of more than %u bytes "
                     "(longest=): it is stopped",
                     h->program->who, h->config->longest);
        close_fd(&h->in);
        exec_stop(h->program, h->out);
        h->out = -1;
        done = h->from_len;
    }
    h->from_len -= done;
    memmove(h->from, h->from + done, h->from_len);
    return h->out >= 0;
}

/* ---- On the keeper's thread ---- */

static int fill(void *data, struct pollfd *fds)
{
    exec_hub *h = data;
    int n = 0;

    pthread_mutex_lock(&h->lock);
    if (h->out >= 0) {
        fds[n++] = (struct pollfd){.fd = h->out, .events = POLLIN};
    }
    if (h->in >= 0 && outbox_left(&h->to)) {
        fds[n++] = (struct pollfd){.fd = h->in, .events = POLLOUT};
    }
    pthread_mutex_unlock(&h->lock);
    return n;
}

static void act(void *data, const struct pollfd *fds, int n)
{
    exec_hub *h = data;

    pthread_mutex_lock(&h->lock);
    for (int i = 0; i < n; i++) {
        if (fds[i].revents && (fds[i].events & POLLIN) && h->out >= 0) {
            take_output(h);
        }
        if (fds[i].revents && (fds[i].events & POLLOUT) && h->in >= 0
            && outbox_write(&h->to, h->in) != 0) {
            close_fd(&h->in); /* it reads no more */
            outbox_clear(&h->to);
        }
    }
    if (outbox_left(&h->to) <= MARK / 2) {
        let_them_speak(h);
    }
    pthread_mutex_unlock(&h->lock);
}

static void ended(void *data, const exec_program *p)
{
    exec_hub *h = data;
    char text[64], reason[80];
    exec_program *over = NULL;

    pthread_mutex_lock(&h->lock);
    if (h->program == p) {
        while (h->out >= 0 && take_output(h)) {
        }
        apr_snprintf(reason, sizeof(reason), "the program %s",
                     exec_status_text(p->status, text, sizeof(text)));
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, p->server,
                     "websocket: exec: %s: the shared program %s, with %" APR_SIZE_T_FMT
                     " connections",
                     p->who, text, h->members.count);
        while (h->members.count) {
            ws_close_id(h->members.ids[--h->members.count],
                        p->status ? WS_CLOSE_INTERNAL : WS_CLOSE_NORMAL, reason);
        }
        h->paused.count = 0;
        close_fd(&h->in);
        close_fd(&h->out);
        outbox_clear(&h->to);
        free(h->from);
        h->from = NULL;
        h->from_len = 0;
        over = h->program;
        h->program = NULL;
    }
    pthread_mutex_unlock(&h->lock);
    if (over) {
        exec_release(over);
    }
}

/* ---- For connections ---- */

/* What concerns no single request. */
static char **environment(request_rec *r)
{
    apr_table_t *e = apr_table_make(r->pool, 4);
    const char *path = getenv("PATH");

    apr_table_setn(e, "PATH", path ? path : DEFAULT_PATH);
    apr_table_setn(e, "GATEWAY_INTERFACE", "CGI/1.1");
    apr_table_setn(e, "SERVER_SOFTWARE", ap_get_server_banner());
    return ap_create_environment(r->pool, e);
}

/* Under the lock. */
static int start_program(exec_hub *h, request_rec *r)
{
    exec_process process;
    int *slot, status;

    if (apr_time_now() - h->started < PAUSE) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "websocket: exec: refused with 503: the shared program has just ended");
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if ((status = exec_launch(h->config, r, h->config->argv[0], environment(r), &process, &slot))
        != 0) {
        return status;
    }
    h->program = exec_keep(h->config->keeper, &process, slot, r->server,
                           apr_psprintf(r->pool, "shared %s", h->config->argv[0]));
    if (!h->program) {
        close(process.in);
        close(process.out);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    h->in = process.in;
    h->out = process.out;
    h->started = apr_time_now();
    h->complained = 0;
    exec_wake(h->config->keeper);
    return 0;
}

int exec_hub_ready(exec_hub *h, request_rec *r)
{
    int status = 0;

    pthread_mutex_lock(&h->lock);
    if (!h->program) {
        status = start_program(h, r);
    }
    else if (outbox_left(&h->to) > 4 * MARK) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "websocket: exec: refused with 503: the shared program does not read");
        status = HTTP_SERVICE_UNAVAILABLE;
    }
    pthread_mutex_unlock(&h->lock);
    return status;
}

/* Fields of a tag are told by TABs, and messages by what framing= says: a decoded path may have them. */
static char *printable(apr_pool_t *pool, const char *text)
{
    char *copy = apr_pstrdup(pool, text);

    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7F) {
            *c = '?';
        }
    }
    return copy;
}

void exec_hub_join(exec_hub *h, ws_conn *c)
{
    apr_pool_t *pool;
    int joined = 0;

    pthread_mutex_lock(&h->lock);
    if (h->in >= 0 && apr_pool_create_unmanaged(&pool) == APR_SUCCESS) {
        const char *text = apr_psprintf(pool, "%s\t%s\t%s\t%s", ws_peer(c),
                                        ws_user(c) ? printable(pool, ws_user(c)) : "",
                                        printable(pool, ws_uri(c)), ws_args(c) ? ws_args(c) : "");
        joined = list_add(&h->members, ws_conn_id(c)) == 0
                 && put(h, ws_conn_id(c), "open", text, strlen(text)) == 0;
        apr_pool_destroy(pool);
    }
    pthread_mutex_unlock(&h->lock);
    if (joined) {
        exec_wake(h->config->keeper);
    }
    else {
        ws_close(c, WS_CLOSE_TRY_LATER, "the program has ended");
    }
}

void exec_hub_message(exec_hub *h, ws_conn *c, const char *data, apr_size_t len)
{
    int failed;

    if (!exec_fits(h->config->framing, data, len)) {
        ws_close(c, WS_CLOSE_UNSUPPORTED,
                 h->config->framing == EXEC_LINE ? "one line a message, please"
                                                 : "no NUL in a message, please");
        return;
    }
    pthread_mutex_lock(&h->lock);
    failed = h->in >= 0 && put(h, ws_conn_id(c), "message", data, len) < 0;
    if (!failed && outbox_left(&h->to) > MARK && list_add(&h->paused, ws_conn_id(c)) == 0) {
        ws_pause(c);
    }
    pthread_mutex_unlock(&h->lock);
    exec_wake(h->config->keeper);
    if (failed) {
        ws_close(c, WS_CLOSE_INTERNAL, "out of memory");
    }
}

void exec_hub_leave(exec_hub *h, ws_conn *c, int code)
{
    char text[12];
    apr_size_t at;

    pthread_mutex_lock(&h->lock);
    if (list_find(&h->members, ws_conn_id(c), &at)) {
        list_remove(&h->members, ws_conn_id(c));
        snprintf(text, sizeof(text), "%d", code);
        if (h->in >= 0) {
            put(h, ws_conn_id(c), "close", text, strlen(text));
        }
    }
    list_remove(&h->paused, ws_conn_id(c));
    pthread_mutex_unlock(&h->lock);
    exec_wake(h->config->keeper);
}

/* ---- Beginning and end ---- */

exec_hub *exec_hub_new(exec_config *config, ws_location *here)
{
    exec_hub *h = calloc(1, sizeof(*h));
    exec_side side = {fill, act, ended, h};

    if (h) {
        h->config = config;
        h->here = here;
        h->in = h->out = -1;
        pthread_mutex_init(&h->lock, NULL);
        exec_keeper_attend(config->keeper, &side);
    }
    return h;
}

void exec_hub_stop(exec_hub *h)
{
    pthread_mutex_lock(&h->lock);
    close_fd(&h->in);
    if (h->program) {
        exec_stop(h->program, h->out);
        h->out = -1;
    }
    pthread_mutex_unlock(&h->lock);
}

void exec_hub_free(exec_hub *h)
{
    pthread_mutex_destroy(&h->lock);
    free(h->members.ids);
    free(h->paused.ids);
    outbox_clear(&h->to);
    free(h->from);
    free(h);
}
