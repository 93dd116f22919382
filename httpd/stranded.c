/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Serves stranded connections of a stopping child. Each gets a thread that blocks, as in an MPM
 *  without events. */

#include "httpd/stranded.h"

#include <ap_listen.h>
#include <ap_mpm.h>
#include <apr_portable.h>
#include <apr_support.h>
#include <apr_thread_mutex.h>
#include <fcntl.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_vhost.h>
#include <scoreboard.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/thread.h"

APLOG_USE_MODULE(websocket);

/* A connection counts as stranded when it has not started this long after the listeners were
 * closed, milliseconds. Too short a time does no harm: the worker or this file, whichever is first,
 * serves the connection. */
#define PATIENCE 1000
#define TICK 50

/* An accepted connection that pre_connection has not seen. Allocated from the connection's pool. */
typedef struct accepted {
    struct accepted *next, **link;
    apr_socket_t *socket;
    int ours; /**< this file serves it */
} accepted;

typedef struct served {
    struct served *next;
    apr_thread_t *thread;
    apr_pool_t *pool; /**< used by its thread */
    int fd, serving;  /**< both the client's socket; fd is for shutdown(2), -1: it has ended */
} served;

/* Size of a dummy for the event MPM's private record of a connection, bytes (216 in httpd 2.4.71).
 * The MPM stores the current request in it, and reads it only for connections in its queues. */
#define RECORD 2048

static server_rec *server;
static module *mpm;
static accept_function accept_of_httpd;
static apr_thread_mutex_t *lock; /* guards the variables below */
static apr_pool_t *pool;
static accepted *waiting;
static served *all;
static apr_thread_t *monitor;
static int looking, ended;
static int slot; /* in the scoreboard, set by the monitor: the parent writes it after the fork */

/* ---- Accepted connections ---- */

static void unlink_accepted(accepted *a)
{
    *a->link = a->next;
    if (a->next) {
        a->next->link = a->link;
    }
}

static apr_status_t forget(void *data)
{
    apr_thread_mutex_lock(lock);
    unlink_accepted(data);
    apr_thread_mutex_unlock(lock);
    return APR_SUCCESS;
}

static apr_status_t accept_and_note(void **csd, ap_listen_rec *lr, apr_pool_t *p)
{
    apr_status_t rv = accept_of_httpd(csd, lr, p);
    if (*csd) {
        accepted *a = apr_palloc(p, sizeof(*a));
        a->socket = *csd;
        a->ours = 0;
        apr_thread_mutex_lock(lock);
        a->next = waiting;
        a->link = &waiting;
        if (waiting) {
            waiting->link = &a->next;
        }
        waiting = a;
        apr_thread_mutex_unlock(lock);
        apr_pool_cleanup_register(p, a, forget, apr_pool_cleanup_null);
    }
    return rv;
}

/* Replace the accept functions. The MPM sets them after child_init, before it starts to accept. */
static void wrap_listeners(void)
{
    static int wrapped;
    if (__atomic_exchange_n(&wrapped, 1, __ATOMIC_RELAXED)) {
        return;
    }
    accept_of_httpd = ap_listeners->accept_func;
    for (ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
        if (lr->accept_func == accept_of_httpd) {
            __atomic_store_n(&lr->accept_func, accept_and_note, __ATOMIC_RELEASE);
        }
    }
}

int ws_stranded_begins(apr_socket_t *socket)
{
    accepted *a;
    if (!lock) {
        return 1;
    }
    wrap_listeners();
    apr_thread_mutex_lock(lock);
    for (a = waiting; a && a->socket != socket; a = a->next) {
    }
    if (a && !a->ours) {
        unlink_accepted(a);
        apr_pool_cleanup_kill(apr_socket_pool_get(socket), a, forget);
        a = NULL;
    }
    apr_thread_mutex_unlock(lock);
    return !a;
}

apr_status_t ws_stranded_child_init(apr_pool_t *pchild, server_rec *s, ws_engine_options *options)
{
    int async = 0;
    (void)pchild, (void)options;
    server = s;
    if (ap_mpm_query(AP_MPMQ_IS_ASYNC, &async) == APR_SUCCESS && async && ap_listeners
        && (mpm = ap_find_linked_module("event.c"))
        && apr_pool_create_unmanaged(&pool) == APR_SUCCESS
        && apr_thread_mutex_create(&lock, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS) {
        lock = NULL;
    }
    return APR_SUCCESS;
}

/* ---- Serving them ---- */

/* @return this child's index in the scoreboard, or -1 */
static int place(void)
{
    int limit = 0;
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &limit);
    for (int i = 0; i < limit; i++) {
        const process_score *child = ap_get_scoreboard_process(i);
        if (child && child->pid == getpid()) {
            return i;
        }
    }
    return -1;
}

/* As an MPM without events does. mod_http2 has to be called again when input arrives. */
static void *APR_THREAD_FUNC serve(apr_thread_t *self, void *arg)
{
    served *s = arg;
    apr_socket_t *socket = NULL;
    ap_sb_handle_t *score;
    conn_rec *c;

    ap_create_sb_handle(&score, s->pool, slot < 0 ? 0 : slot, 0);
    apr_os_sock_put(&socket, &s->serving, s->pool);
    c = ap_run_create_connection(s->pool, server, socket, s->fd, score,
                                 apr_bucket_alloc_create(s->pool));
    if (c) {
        ap_log_cerror(
            APLOG_MARK, APLOG_INFO, 0, c,
            "websocket: this child has to go, and httpd had forgotten a connection that it "
            "had accepted: it is served");
        ap_set_module_config(c->conn_config, mpm, apr_pcalloc(s->pool, RECORD));
        c->current_thread = self;
        c->clogging_input_filters = 1; /* modules must block: no MPM waits for events of c */
        ap_process_connection(c, socket);
        while (!c->aborted && c->keepalive == AP_CONN_KEEPALIVE
               && strncmp(ap_get_protocol(c), "h2", 2) == 0
               && apr_wait_for_io_or_timeout(NULL, socket, 1) == APR_SUCCESS) {
            ap_run_process_connection(c);
        }
        ap_lingering_close(c);
        ap_update_child_status(score, SERVER_GRACEFUL, NULL);
    }
    apr_thread_mutex_lock(lock);
    close(s->fd);
    s->fd = -1;
    apr_thread_mutex_unlock(lock);
    apr_pool_destroy(s->pool);
    return NULL;
}

/* Take the socket out of httpd's apr_socket_t. A worker may be about to use that descriptor, so it
 * is replaced by an unconnected socket.
 * @return the socket, or -1 */
static int take(apr_socket_t *from)
{
    apr_os_sock_t theirs;
    int nowhere = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = -1;
    if (nowhere >= 0 && apr_os_sock_get(&theirs, from) == APR_SUCCESS
        && (fd = fcntl(theirs, F_DUPFD_CLOEXEC, 3)) >= 0) {
        dup3(nowhere, theirs, O_CLOEXEC);
    }
    if (nowhere >= 0) {
        close(nowhere);
    }
    return fd;
}

static void rescue(accepted *a)
{
    served *s = apr_pcalloc(pool, sizeof(*s));
    if ((s->serving = take(a->socket)) < 0) {
        return;
    }
    a->ours = 1;
    s->fd = fcntl(s->serving, F_DUPFD_CLOEXEC, 3);
    if (apr_pool_create_unmanaged(&s->pool) == APR_SUCCESS
        && ws_thread_create(&s->thread, serve, s, pool) == APR_SUCCESS) {
        s->next = all;
        all = s;
        return;
    }
    close(s->serving);
    close(s->fd);
}

static void *APR_THREAD_FUNC look(apr_thread_t *self, void *arg)
{
    (void)self, (void)arg;
    slot = place();
    for (int ms = 0; ms < PATIENCE && !__atomic_load_n(&ended, __ATOMIC_RELAXED);) {
        apr_sleep(apr_time_from_msec(TICK));
        /* event.c sets quiescing when it stops accepting. */
        ms += slot < 0 || ap_get_scoreboard_process(slot)->quiescing ? TICK : 0;
    }
    apr_thread_mutex_lock(lock);
    for (accepted *a = waiting; a && !ended; a = a->next) {
        rescue(a);
    }
    looking = 0;
    apr_thread_mutex_unlock(lock);
    return NULL;
}

void ws_stranded_look(void)
{
    if (!lock) {
        return;
    }
    apr_thread_mutex_lock(lock);
    if (!monitor && !ended) {
        looking = ws_thread_create(&monitor, look, NULL, pool) == APR_SUCCESS;
    }
    apr_thread_mutex_unlock(lock);
}

unsigned ws_stranded_count(void)
{
    unsigned count = 0;
    if (lock) {
        apr_thread_mutex_lock(lock);
        for (accepted *a = waiting; a; a = a->next) {
            count += looking;
        }
        for (served *s = all; s; s = s->next) {
            count += s->fd >= 0;
        }
        apr_thread_mutex_unlock(lock);
    }
    return count;
}

int ws_stranded_child_stop(void)
{
    apr_status_t rv;
    if (!lock) {
        return 1;
    }
    apr_thread_mutex_lock(lock);
    __atomic_store_n(&ended, 1, __ATOMIC_RELAXED);
    for (served *s = all; s; s = s->next) {
        if (s->fd >= 0) {
            shutdown(s->fd, SHUT_RDWR);
        }
    }
    apr_thread_mutex_unlock(lock);
    if (monitor) {
        apr_thread_join(&rv, monitor);
    }
    /* The monitor has ended, so the list does not change. */
    for (served *s = all; s; s = s->next) {
        apr_thread_join(&rv, s->thread);
    }
    return 1;
}
