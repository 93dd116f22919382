/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Writes WebSocketLog. A thread in the child writes the records, so loops never wait for a disk or
 * a program. When the buffer is full, records are dropped and counted. Each log in a database has a
 * separate thread, so a slow database does not delay logs in files.
 */

#include "httpd/connection_log.h"

#include <ap_provider.h>
#include <apr_portable.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <errno.h>
#include <http_core.h>
#include <http_log.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/log_format.h"
#include "base/thread.h"
#include "httpd/arguments.h"
#include "httpd/config.h"
#include "httpd/counters.h"
#include "httpd/log_provider.h"

APLOG_USE_MODULE(websocket);

/* Maximum size of the records that wait to be written, bytes. In each child, the limit applies to
 * all files and programs together, and separately to each log in a database (a store). */
#define WAITING_MAX (4 * 1024 * 1024)

/* How long a stopping child waits for the log's thread, milliseconds. */
#define EXIT_WAIT 1000

/** The target of a log: a file, a program that reads a pipe, or a store (a log in a database).
 *  Directives with the same name share one target. */
typedef struct target {
    /** Name in the directive, including the "|" of a program or the words of a store. */
    const char *name;
    int fd;
    ws_log_store *store; /**< NULL: a file or a program */
    const char *shown;   /**< how the error log names the target */
    int losing;          /**< 1: this child has logged that it is losing records */
} target;

struct ws_connection_log {
    target *target; /**< NULL: off */
    const ws_log_format *format;
};

const ws_connection_log ws_connection_log_off;

static apr_array_header_t *targets;     /* target * */
static const ws_log_provider *provider; /* provides stores; NULL: none is loaded */

void ws_connection_log_reset(apr_pool_t *pconf)
{
    targets = apr_array_make(pconf, 2, sizeof(target *));
}

/* ---- Configuration ---- */

static target *log_target_of(apr_pool_t *p, const char *name)
{
    target *t;
    for (int i = 0; i < targets->nelts; i++) {
        t = APR_ARRAY_IDX(targets, i, target *);
        if (!strcmp(t->name, name)) {
            return t;
        }
    }
    t = apr_pcalloc(p, sizeof(*t));
    t->name = t->shown = name;
    t->fd = -1;
    APR_ARRAY_PUSH(targets, target *) = t;
    return t;
}

/* Check whether a file can be written. @return the reason why it cannot, or NULL */
static const char *log_obstacle(apr_pool_t *p, const char *file)
{
    const char *folder = ap_make_dirstr_parent(p, file);
    apr_finfo_t info;
    if (apr_stat(&info, folder, APR_FINFO_TYPE, p) != APR_SUCCESS || info.filetype != APR_DIR) {
        return apr_psprintf(p, "\"%s\" cannot be written: create the directory %s", file, folder);
    }
    return apr_stat(&info, file, APR_FINFO_TYPE, p) == APR_SUCCESS && info.filetype == APR_DIR
               ? apr_psprintf(p, "\"%s\" is a directory: name a file in it", file)
               : NULL;
}

/* Check the program in a command, as ap_open_piped_log() reads it. The command may begin with "|".
 * If it begins with "$", a shell runs it, and only the shell can check it. httpd does not search
 * PATH: it looks up a relative path in its working directory, which is / in a daemon. */
static const char *log_program_obstacle(apr_pool_t *p, const char *command)
{
    const char *file, *found;
    apr_finfo_t info;
    int shell;
    command += *command == '|';
    shell = *command == '$';
    command += shell + strspn(command + shell, " \t");
    if (!*command) {
        return "takes a program after |, such as \"|/usr/bin/logger -t websocket\"";
    }
    file = found = ap_getword_conf(p, &command);
    if (shell) {
        return NULL;
    }
    if (*file != '/' && access(file, X_OK)) {
        found = apr_pstrcat(p, "/", file, NULL);
    }
    if (apr_stat(&info, found, APR_FINFO_TYPE, p) == APR_SUCCESS && info.filetype == APR_DIR) {
        return apr_psprintf(p, "%s cannot be run: it is a directory", file);
    }
    return access(found, X_OK) == 0 ? NULL
           : *file == '/'           ? apr_psprintf(p, "%s cannot be run: %s", file, strerror(errno))
                                    : apr_psprintf(p,
                                                   "%s cannot be run: httpd does not search PATH: write the "
                                                             "path of the program, or \"|$%s\" to use a shell",
                                                   file, file);
}

static const char *log_parse_file(cmd_parms *cmd, const char *where, target **t)
{
    const char *name = where, *error;
    if (*where != '|' && !(name = ap_server_root_relative(cmd->pool, where))) {
        return apr_psprintf(cmd->pool, "\"%s\" is not a valid path", where);
    }
    error =
        *where == '|' ? log_program_obstacle(cmd->pool, where + 1) : log_obstacle(cmd->pool, name);
    *t = error ? NULL : log_target_of(cmd->pool, name);
    return error;
}

static int log_is_url(const char *where)
{
    apr_size_t scheme =
        strspn(where, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-");
    return scheme && (!strncmp(where + scheme, "://", 3) || !strncmp(where, "unix:", 5));
}

static const char *log_parse_store(cmd_parms *cmd, const char *url, int count, char *const words[],
                                   target **t)
{
    const char *name = url, *shown, *error;
    ws_log_store *store;
    provider = ap_lookup_provider(WS_LOG_GROUP, "remote", WS_LOG_VERSION);
    if (!provider) {
        return "a log in Redis needs a module: add \"LoadModule websocket_redis_module "
               "modules/mod_websocket_redis.so\"";
    }
    if ((error = ws_find_repeated(cmd->pool, count, words, ws_compare_keys))
        || (error = provider->parse(cmd, url, count, words, &store, &shown))) {
        return error;
    }
    for (int i = 0; i < count; i++) {
        name = apr_pstrcat(cmd->pool, name, " ", words[i], NULL);
    }
    *t = log_target_of(cmd->pool, name);
    if (!(*t)->store) {
        (*t)->store = store;
        (*t)->shown = shown;
    }
    return NULL;
}

/* Remove the first format from the words, which are the arguments of the directive. If they contain
 * a second format, the parser refuses it later. */
static const char *log_take_format(int *count, char **words)
{
    const char *format = NULL;
    int n = 0;
    for (int i = 0; i < *count; i++) {
        int key = !strncmp(words[i], "sentinel=", 9); /* a password */
        if (!format && (!strcasecmp(words[i], "json") || (strchr(words[i], '%') && !key))) {
            format = words[i];
        }
        else {
            words[n++] = words[i];
        }
    }
    *count = n;
    return format ? format : WS_LOG_FORMAT_DEFAULT;
}

static const char *log_parse(cmd_parms *cmd, int argc, char *const argv[],
                             const ws_connection_log **log)
{
    ws_connection_log *l = apr_pcalloc(cmd->pool, sizeof(*l));
    int count = argc - 1;
    char **words;
    const char *format, *error;
    if (argc < 1) {
        return apr_pstrcat(cmd->pool, "takes ", cmd->cmd->errmsg, NULL);
    }
    if (!strcasecmp(argv[0], "off")) {
        *log = &ws_connection_log_off;
        return count ? "remove the argument after off" : NULL;
    }
    words = apr_pmemdup(cmd->pool, argv + 1, (apr_size_t)count * sizeof(*words));
    if (log_is_url(argv[0])) {
        format = log_take_format(&count, words);
        error = log_parse_store(cmd, argv[0], count, words, &l->target);
    }
    else {
        format = count ? words[0] : WS_LOG_FORMAT_DEFAULT;
        error = count > 1 ? "only one format is possible: put it in quotes"
                          : log_parse_file(cmd, argv[0], &l->target);
    }
    if (!error && !(error = ws_log_format_parse(cmd->pool, format, &l->format))) {
        *log = l;
    }
    return error;
}

const char *ws_connection_log_set(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    const char *error = log_parse(cmd, argc, argv, &((ws_dir_config *)config)->log);
    return error ? apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", error, NULL) : NULL;
}

/* Allocate the piped log from the process's pool. Then the pipe stays open across reloads, and
 * children of older generations can still write to it. httpd restarts the program if it exits. */
static piped_log *log_program_of(server_rec *s, const char *name)
{
    apr_pool_t *process = s->process->pool;
    const char *key = apr_pstrcat(s->process->pconf, "mod_websocket log ", name, NULL);
    piped_log *pl = NULL;
    apr_pool_userdata_get((void **)&pl, key, process);
    if (!pl && (pl = ap_open_piped_log(process, apr_pstrdup(process, name + 1)))) {
        apr_pool_userdata_set(pl, key, NULL, process);
    }
    return pl;
}

static int log_open_logs(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)plog, (void)ptemp;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK; /* httpd will read this configuration again */
    }
    for (int i = 0; i < targets->nelts; i++) {
        target *t = APR_ARRAY_IDX(targets, i, target *);
        apr_file_t *file = NULL;
        apr_status_t rv = APR_SUCCESS;
        if (t->store) {
            continue;
        }
        if (*t->name == '|') {
            piped_log *pl = log_program_of(s, t->name);
            file = pl ? ap_piped_log_write_fd(pl) : NULL;
        }
        else {
            rv = apr_file_open(&file, t->name, APR_WRITE | APR_APPEND | APR_CREATE | APR_LARGEFILE,
                               APR_OS_DEFAULT, pconf);
        }
        if (rv != APR_SUCCESS || !file) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP, rv, s,
                         "websocket: WebSocketLog cannot be opened: %s", t->name);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        apr_os_file_get(&t->fd, file);
    }
    return OK;
}

void ws_connection_log_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_open_logs(log_open_logs, NULL, NULL, APR_HOOK_MIDDLE);
}

/* ---- Writing ---- */

typedef struct record {
    struct record *next;
    target *target;
    apr_size_t len;
    char data[];
} record;

/* Its APR objects have an unmanaged pool, which is never destroyed: when the pool of the child is
 * destroyed, the thread may still be waiting for a target. */
static struct {
    apr_thread_mutex_t *lock; /* protects the fields below; NULL: no log */
    apr_thread_cond_t *more;
    apr_thread_cond_t *done;
    record *first, **end;
    apr_size_t waiting; /* bytes, including the record that is being written */
    int ending, ended;
    apr_thread_t *thread;
} list;

static server_rec *main_server;

/* Use one write(2) per record. Records from several processes then do not mix in a file. In a pipe,
 * this is true for records of up to PIPE_BUF bytes. */
static int log_write_record(const record *r)
{
    apr_size_t done = 0;
    while (done < r->len) {
        ssize_t n = write(r->target->fd, r->data + done, r->len - done);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        done += n > 0 ? (apr_size_t)n : 0;
    }
    return 0;
}

/* Count a lost record, and log the first one of several. The caller holds the lock. */
static void log_lost(target *t, apr_status_t why, const char *text)
{
    ws_counters_add(WS_COUNT_LOG_LOST);
    if (!t->losing) {
        t->losing = 1;
        ap_log_error(APLOG_MARK, APLOG_ERR, why, main_server,
                     "websocket: records of WebSocketLog are lost: %s: %s", t->shown, text);
    }
}

static void *APR_THREAD_FUNC run(apr_thread_t *thread, void *data)
{
    (void)thread, (void)data;
    apr_thread_mutex_lock(list.lock);
    for (;;) {
        record *r = list.first;
        int error;
        if (!r) {
            if (list.ending) {
                break;
            }
            apr_thread_cond_wait(list.more, list.lock);
            continue;
        }
        if (!(list.first = r->next)) {
            list.end = &list.first;
        }
        apr_thread_mutex_unlock(list.lock);
        error = log_write_record(r);
        apr_thread_mutex_lock(list.lock);
        if (error) {
            log_lost(r->target, error, "cannot be written");
        }
        else if (!list.first) { /* the list is empty, so log the next loss again */
            r->target->losing = 0;
        }
        list.waiting -= r->len;
        free(r);
    }
    list.ended = 1;
    apr_thread_cond_signal(list.done);
    apr_thread_mutex_unlock(list.lock);
    return NULL;
}

/* A store's records do not end with a newline. */
static void log_store_write(target *t, const ws_strbuf *text)
{
    apr_size_t len = text->len && text->data[text->len - 1] == '\n' ? text->len - 1 : text->len;
    if (text->broken || provider->write(t->store, text->data, len) < 0) {
        apr_thread_mutex_lock(list.lock);
        log_lost(t, 0, text->broken ? "out of memory" : "4 MiB of records wait to be written");
        apr_thread_mutex_unlock(list.lock);
    }
}

/* Note that a record has been written or lost, see ws_log_provider.  [the store's thread] */
static void log_store_done(void *arg, const char *why, int last)
{
    target *t = arg;
    apr_thread_mutex_lock(list.lock);
    if (why) {
        log_lost(t, 0, why);
    }
    else if (last) {
        t->losing = 0;
    }
    apr_thread_mutex_unlock(list.lock);
}

static void log_stores_start(apr_pool_t *pchild, server_rec *s)
{
    for (int i = 0; i < targets->nelts; i++) {
        target *t = APR_ARRAY_IDX(targets, i, target *);
        apr_status_t rv = t->store
                              ? provider->start(t->store, pchild, s, WAITING_MAX, log_store_done, t)
                              : APR_SUCCESS;
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                         "websocket: cannot create the thread of WebSocketLog %s: its records are "
                         "lost",
                         t->shown);
        }
    }
}

static void log_stores_stop(void)
{
    for (int i = 0; i < targets->nelts; i++) {
        target *t = APR_ARRAY_IDX(targets, i, target *);
        if (t->store) {
            provider->stop(t->store);
        }
    }
}

void ws_connection_log_on_end(const ws_conn *c, const char *why)
{
    ws_strbuf t = {0};
    ws_conn_info report;
    const ws_connection_log *log;
    record *r;

    ws_conn_inspect(c, &report);
    log = report.settings->log;
    if (!log || !list.lock) {
        return;
    }
    ws_log_format_write(log->format, c, why, &t);
    if (log->target->store) {
        log_store_write(log->target, &t);
        ws_strbuf_free(&t);
        return;
    }
    r = t.broken ? NULL : malloc(sizeof(*r) + t.len);
    if (r) {
        r->next = NULL;
        r->target = log->target;
        r->len = t.len;
        memcpy(r->data, t.data, t.len);
    }
    ws_strbuf_free(&t);

    apr_thread_mutex_lock(list.lock);
    if (!r || list.waiting + r->len > WAITING_MAX) {
        log_lost(log->target, 0, r ? "does not keep up with the writes" : "out of memory");
        free(r);
    }
    else {
        list.waiting += r->len;
        *list.end = r;
        list.end = &r->next;
        apr_thread_cond_signal(list.more);
    }
    apr_thread_mutex_unlock(list.lock);
}

apr_status_t ws_connection_log_child_init(apr_pool_t *pchild, server_rec *s,
                                          ws_engine_options *options)
{
    apr_thread_mutex_t *lock;
    apr_pool_t *pool;
    apr_status_t rv;
    main_server = s;
    list.end = &list.first;
    options->on_end = ws_connection_log_on_end;
    if (!targets->nelts) {
        return APR_SUCCESS;
    }
    if ((rv = apr_pool_create_unmanaged(&pool)) == APR_SUCCESS
        && (rv = apr_thread_mutex_create(&lock, APR_THREAD_MUTEX_DEFAULT, pool)) == APR_SUCCESS
        && (rv = apr_thread_cond_create(&list.more, pool)) == APR_SUCCESS
        && (rv = apr_thread_cond_create(&list.done, pool)) == APR_SUCCESS) {
        list.lock = lock;
        rv = ws_thread_create(&list.thread, run, NULL, pool);
    }
    if (rv != APR_SUCCESS) {
        list.lock = NULL;
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "websocket: cannot create the thread of WebSocketLog: this child writes no "
                     "records");
        return APR_SUCCESS;
    }
    log_stores_start(pchild, s);
    return APR_SUCCESS;
}

int ws_connection_log_child_stop(void)
{
    apr_time_t until = apr_time_now() + apr_time_from_msec(EXIT_WAIT), left;
    apr_status_t rv;
    int ended;
    if (!list.lock) {
        return 1;
    }
    apr_thread_mutex_lock(list.lock);
    list.ending = 1;
    apr_thread_cond_signal(list.more);
    while (!list.ended && (left = until - apr_time_now()) > 0) {
        apr_thread_cond_timedwait(list.done, list.lock, left);
    }
    ended = list.ended;
    apr_thread_mutex_unlock(list.lock);
    if (ended) {
        apr_thread_join(&rv, list.thread);
    }
    log_stores_stop();
    return 1;
}
