/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Carries a response between processes. A client's TLS connection cannot move to the process that
 * has the session. The process that accepted the connection therefore copies the bytes of the
 * response from the session's process to the client. The copying runs on the event loop and needs
 * no thread.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/handoff.h"
#include "sockjs/session.h"

/* Size of one read, bytes. */
#define CARRY_PIECE (16 * 1024)

typedef struct carrier {
    ws_handle handle; /**< must be first; connected to the session's process */
    int fd;
    ws_sockjs_response *to;
    int ending; /**< `to` is finished; the client may still receive its last bytes */
} carrier;

static void carry_free(ws_handle *g)
{
    free(g);
}

static void carry_end(carrier *w)
{
    ws_loop *loop = w->handle.loop;
    ws_handle_close(&w->handle);
    close(w->fd);
    ws_loop_left(loop, 0);
}

static void carry_client_gone(ws_sockjs_response *r)
{
    carrier *w = r->owner;
    ws_sockjs_response_drop(r);
    carry_end(w);
}

static void carry_ended(ws_sockjs_response *r)
{
    carry_end(r->owner);
}

/* Finish the response. When the client has received it, the session's process sees the end of its
 * connection. */
static void carry_finish(carrier *w)
{
    ws_handle_unwatch(&w->handle);
    w->ending = 1;
    w->to->ended = carry_ended;
    ws_sockjs_response_finish(w->to);
}

static void carry_ready(ws_source *g, const ws_ready *ready)
{
    carrier *w = (carrier *)g;
    char buf[CARRY_PIECE];
    (void)ready;
    while (!ws_sockjs_response_blocked(w->to)) {
        apr_ssize_t n = recv(w->fd, buf, sizeof(buf), 0);
        if (n < 0 && errno == EAGAIN) {
            ws_handle_watch(&w->handle, w->fd, WS_READABLE);
            return;
        }
        if (n <= 0) {
            carry_finish(w);
            return;
        }
        ws_sockjs_response_head(w->to, buf, (apr_size_t)n);
        if (ws_sockjs_response_flush(w->to) < 0) {
            carry_client_gone(w->to);
            return;
        }
    }
    ws_handle_unwatch(&w->handle); /* carry_drained() continues */
}

static void carry_drained(ws_sockjs_response *r)
{
    carry_ready(r->owner, NULL);
}

static void carry_stop(ws_handle *g)
{
    carrier *w = (carrier *)g;
    ws_sockjs_response *to = w->to;
    to->ended = NULL;
    if (!w->ending) {
        ws_sockjs_response_finish(to);
    }
    carry_end(w);
}

typedef struct carry_task {
    ws_task task;
    carrier *w;
    int client;
    SSL *ssl;
} carry_task;

static void carry_begin(ws_loop *loop, ws_task *task)
{
    carry_task *t = (carry_task *)task;
    carrier *w = t->w;
    w->to = ws_sockjs_response_new(loop, t->client, t->ssl, WS_SOCKJS_RAW);
    free(t);
    ws_handle_open(loop, &w->handle);
    if (!w->to) {
        carry_end(w);
        return;
    }
    w->to->owner = w;
    w->to->gone = carry_client_gone;
    w->to->drained = carry_drained;
    if (ws_sockjs_response_flush(w->to) < 0) { /* this also watches the client */
        carry_client_gone(w->to);
        return;
    }
    carry_ready(&w->handle.source, NULL);
}

void ws_sockjs_carry(ws_engine *engine, int fd, int client, SSL *ssl)
{
    ws_loop *loop = ws_engine_least_busy(engine);
    carrier *w = calloc(1, sizeof(*w));
    carry_task *t = ws_task_new(sizeof(*t), carry_begin);
    ws_loop_entered(loop, 0); /* a draining child then waits for the carrier */
    if (w && t) {
        w->fd = fd;
        w->handle.source.ready = carry_ready;
        w->handle.stop = carry_stop;
        w->handle.release = carry_free;
        *t = (carry_task){t->task, w, client, ssl};
        if (ws_loop_post(loop, &t->task) == 0) {
            /* cppcheck-suppress memleak -- the task owns it */
            return;
        }
    }
    ws_loop_left(loop, 0);
    free(w);
    free(t);
    SSL_free(ssl);
    close(client);
    close(fd);
}
