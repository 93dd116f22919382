/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Serves stranded connections, which a stopping child has accepted but not started to process.
 * After the MPM's threads have ended, this code searches the descriptor table for such connections.
 * core_pre_connection() in core.c makes each socket non-blocking, but accept4(2) does not. A
 * blocking socket with a listener's port therefore belongs to a connection that was never started.
 * Each such connection gets a thread that blocks, as in an MPM without events.
 */

#include "httpd/stranded.h"

#include <ap_listen.h>
#include <ap_mpm.h>
#include <apr_portable.h>
#include <apr_support.h>
#include <dirent.h>
#include <fcntl.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_log.h>
#include <http_protocol.h>
#include <netinet/in.h>
#include <pthread.h>
#include <scoreboard.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/thread.h"

APLOG_USE_MODULE(websocket);

typedef struct stranded_conn {
    struct stranded_conn *next;
    apr_thread_t *thread;
    apr_pool_t *pool; /**< pool for the thread of the connection */
    server_rec *server;
    module *mpm;
    /** Both are descriptors of the client's socket. The thread uses `serving`. shutdown(2) uses
     *  `fd`, which is -1 if the connection has ended. */
    int fd, serving;
} stranded_conn;

/* Size of a dummy for the event MPM's private record of a connection, bytes (216 in httpd 2.4.71).
 * The MPM stores the current request in it, but reads it only for connections in its queues. */
#define RECORD 2048

static pthread_mutex_t stranded_lock = PTHREAD_MUTEX_INITIALIZER; /* protects fd */
static stranded_conn *stranded_all;

/* ---- Finding stranded connections ---- */

static int stranded_is_listener(apr_port_t port)
{
    for (const ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
        if (lr->bind_addr && lr->bind_addr->port == port) {
            return 1;
        }
    }
    return 0;
}

static int stranded_is(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    socklen_t len = sizeof(at), flag_len = sizeof(int);
    int listens = 1, flags = fcntl(fd, F_GETFL);
    if (flags < 0 || flags & O_NONBLOCK || getsockname(fd, &at.any, &len) < 0
        || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &flag_len) < 0 || listens) {
        return 0;
    }
    return (at.any.sa_family == AF_INET && stranded_is_listener(ntohs(at.v4.sin_port)))
           || (at.any.sa_family == AF_INET6 && stranded_is_listener(ntohs(at.v6.sin6_port)));
}

/* Take the socket out of httpd's apr_socket_t. The apr_socket_t gets an unconnected socket instead,
 * because its pool closes the descriptor when the child exits. @return the socket, or -1 */
static int stranded_take(int from)
{
    int unconnected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = -1;
    if (unconnected >= 0 && (fd = fcntl(from, F_DUPFD_CLOEXEC, 3)) >= 0
        && dup3(unconnected, from, O_CLOEXEC) < 0) {
        close(fd);
        fd = -1;
    }
    if (unconnected >= 0) {
        close(unconnected);
    }
    return fd;
}

/* ---- Serving stranded connections ---- */

/* Get this child's index in the scoreboard, or 0 if it is unknown. */
static int stranded_slot(void)
{
    int limit = 0;
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &limit);
    for (int i = 0; i < limit; i++) {
        const process_score *child = ap_get_scoreboard_process(i);
        if (child && child->pid == getpid()) {
            return i;
        }
    }
    return 0;
}

/* Process a connection as an MPM without events does. mod_http2 must be called again when input
 * arrives. */
static void *APR_THREAD_FUNC stranded_run(apr_thread_t *self, void *arg)
{
    stranded_conn *s = arg;
    apr_socket_t *socket = NULL;
    ap_sb_handle_t *score;
    conn_rec *c;

    ap_create_sb_handle(&score, s->pool, stranded_slot(), 0);
    apr_os_sock_put(&socket, &s->serving, s->pool);
    c = ap_run_create_connection(s->pool, s->server, socket, s->fd, score,
                                 apr_bucket_alloc_create(s->pool));
    if (c) {
        ap_log_cerror(
            APLOG_MARK, APLOG_INFO, 0, c,
            "websocket: this stopping child had accepted a connection without starting to "
            "process it: the connection is served now");
        ap_set_module_config(c->conn_config, s->mpm, apr_pcalloc(s->pool, RECORD));
        c->current_thread = self;
        /* Force modules to block, since no MPM waits for events on c. */
        c->clogging_input_filters = 1;
        ap_process_connection(c, socket);
        while (!c->aborted && c->keepalive == AP_CONN_KEEPALIVE
               && strncmp(ap_get_protocol(c), "h2", 2) == 0
               && apr_wait_for_io_or_timeout(NULL, socket, 1) == APR_SUCCESS) {
            ap_run_process_connection(c);
        }
        ap_lingering_close(c);
        ap_update_child_status(score, SERVER_GRACEFUL, NULL);
    }
    pthread_mutex_lock(&stranded_lock);
    close(s->fd);
    s->fd = -1;
    pthread_mutex_unlock(&stranded_lock);
    apr_pool_destroy(s->pool);
    return NULL;
}

static void stranded_start(server_rec *server, module *mpm, int from, apr_pool_t *p)
{
    stranded_conn *s = apr_pcalloc(p, sizeof(*s));
    s->server = server;
    s->mpm = mpm;
    if ((s->serving = stranded_take(from)) < 0) {
        return;
    }
    s->fd = fcntl(s->serving, F_DUPFD_CLOEXEC, 3);
    if (s->fd >= 0 && apr_pool_create_unmanaged(&s->pool) == APR_SUCCESS
        && ws_thread_create(&s->thread, stranded_run, s, p) == APR_SUCCESS) {
        s->next = stranded_all;
        stranded_all = s;
        return;
    }
    close(s->serving);
    if (s->fd >= 0) {
        close(s->fd);
    }
}

/* Find all stranded connections. Call it before the first of them is served, because serving adds
 * descriptors.
 * @return int * */
static apr_array_header_t *stranded_find(apr_pool_t *p)
{
    apr_array_header_t *found = apr_array_make(p, 4, sizeof(int));
    DIR *table = opendir("/proc/self/fd");
    const struct dirent *entry;
    while (table && (entry = readdir(table))) {
        int fd = atoi(entry->d_name);
        if (*entry->d_name != '.' && stranded_is(fd)) {
            APR_ARRAY_PUSH(found, int) = fd;
        }
    }
    if (table) {
        closedir(table);
    }
    return found;
}

void ws_stranded_serve(server_rec *s)
{
    module *mpm = ap_find_linked_module("event.c");
    const apr_array_header_t *found;
    apr_pool_t *p;
    if (!mpm || apr_pool_create_unmanaged(&p) != APR_SUCCESS) {
        return;
    }
    found = stranded_find(p);
    for (int i = 0; i < found->nelts; i++) {
        stranded_start(s, mpm, APR_ARRAY_IDX(found, i, int), p);
    }
}

unsigned ws_stranded_count(void)
{
    unsigned count = 0;
    pthread_mutex_lock(&stranded_lock);
    for (const stranded_conn *s = stranded_all; s; s = s->next) {
        count += s->fd >= 0;
    }
    pthread_mutex_unlock(&stranded_lock);
    return count;
}

int ws_stranded_child_stop(void)
{
    apr_status_t rv;
    pthread_mutex_lock(&stranded_lock);
    for (const stranded_conn *s = stranded_all; s; s = s->next) {
        if (s->fd >= 0) {
            shutdown(s->fd, SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&stranded_lock);
    for (const stranded_conn *s = stranded_all; s; s = s->next) {
        apr_thread_join(&rv, s->thread);
    }
    return 1;
}
