/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Passes HTTP requests to their sessions, in tasks that run on the loop of the session. A request
 * brings messages from the client, or a response that is open for messages to the client.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sockjs/session_state.h"

/* ---- Responses ---- */

typedef struct attach_task {
    ws_task task;
    ws_sockjs_key key;
    int fd;
    SSL *ssl;
    ws_sockjs_request request;
    char head[];
} attach_task;

static void requests_unknown(ws_sockjs_response *r)
{
    if (r->kind != WS_SOCKJS_ANSWER) {
        ws_sockjs_response_put(r, "c[1006,\"Session not found\"]");
    }
    ws_sockjs_response_finish(r);
}

static void requests_answer_later(ws_sockjs_session *s, ws_sockjs_response *r)
{
    if (s->answer || s->fd < 0 || !ws_sockjs_session_waits(s)) {
        ws_sockjs_response_finish(r);
        return;
    }
    /* The messages have been accepted, so it does not matter if the client disconnects before it
     * receives the answer. */
    s->answer = r;
}

static void requests_answer_gone(ws_sockjs_response *r)
{
    ws_sockjs_session *s = r->owner;
    if (s && s->answer == r) {
        s->answer = NULL;
    }
    ws_sockjs_response_drop(r);
}

static void requests_attached(ws_loop *loop, ws_task *task)
{
    attach_task *t = (attach_task *)task;
    ws_sockjs_session *s = ws_sockjs_find(loop, &t->key);
    ws_sockjs_response *r = ws_sockjs_response_new(loop, t->fd, t->ssl, t->request.kind);
    if (r) {
        r->chunked = (unsigned char)t->request.chunked;
        memcpy(r->callback, t->request.callback, sizeof(r->callback));
        if (r->kind != WS_SOCKJS_ANSWER) {
            ws_sockjs_response_head(r, t->head, t->request.head_len);
            ws_sockjs_response_prelude(r);
        }
    }
    if (r && r->kind == WS_SOCKJS_ANSWER) {
        r->owner = s;
        r->gone = r->drained = requests_answer_gone;
        r->chunked = 0;
        ws_sockjs_response_head(r, t->head, t->request.head_len);
    }
    if (r && !s) {
        requests_unknown(r);
    }
    else if (r && r->kind == WS_SOCKJS_ANSWER) {
        requests_answer_later(s, r);
    }
    else if (r) {
        ws_sockjs_session_attach(s, r);
    }
    free(t);
}

void ws_sockjs_attach(ws_engine *engine, const ws_sockjs_key *key, const ws_sockjs_request *request,
                      int fd, SSL *ssl)
{
    attach_task *t = ws_task_new(sizeof(*t) + request->head_len, requests_attached);
    if (t) {
        t->key = *key;
        t->fd = fd;
        t->ssl = ssl;
        t->request = *request;
        memcpy(t->head, request->head, request->head_len);
        if (ws_loop_post(ws_sockjs_loop(engine, key), &t->task) == 0) {
            return;
        }
        free(t);
    }
    SSL_free(ssl);
    close(fd);
}

/* ---- Messages ---- */

typedef struct input_task {
    ws_task task;
    ws_sockjs_key key;
    ws_strbuf frames;
    void (*done)(void *arg, int status);
    void *arg;
} input_task;

static void requests_input(ws_loop *loop, ws_task *task)
{
    input_task *t = (input_task *)task;
    ws_sockjs_session *s = ws_sockjs_find(loop, &t->key);
    int status = WS_SOCKJS_UNKNOWN;
    if (s && s->greeted) {
        status = ws_sockjs_session_input(s, &t->frames);
    }
    else {
        ws_strbuf_free(&t->frames);
    }
    t->done(t->arg, status);
    free(t);
}

void ws_sockjs_input(ws_engine *engine, const ws_sockjs_key *key, ws_strbuf *frames,
                     void (*done)(void *arg, int status), void *arg)
{
    input_task *t = ws_task_new(sizeof(*t), requests_input);
    if (t) {
        t->key = *key;
        t->frames = *frames;
        t->done = done;
        t->arg = arg;
        if (ws_loop_post(ws_sockjs_loop(engine, key), &t->task) == 0) {
            return;
        }
        free(t);
    }
    ws_strbuf_free(frames);
    done(arg, WS_SOCKJS_FULL);
}
