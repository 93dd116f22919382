/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * SockJS sessions. A pair of sockets ("the pair") connects a session to the handler's connection in
 * the engine. The session is open as long as its own end of the pair is open. When the session is
 * closed, it answers the client's requests with the close code and reason until `delay`
 * (WebSocketSockJS) has passed. While no response to the client is open, the session does not read
 * from the pair. The send queue of the handler's connection then fills, and the back-pressure
 * policy of that connection applies.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockjs/session_state.h"

/* Number of buckets in a loop's hash table; the sessions in one bucket form a list. */
#define SESSION_BUCKETS 4096u

/* Size of one read from the pair, bytes. */
#define SESSION_PIECE (16 * 1024)

/* One table per loop. */
static ws_sockjs_session **session_tables[WS_LOOPS_MAX];

/* ---- The table ---- */

static ws_sockjs_session **session_link(ws_loop *loop, const ws_sockjs_key *key)
{
    ws_sockjs_session ***table = &session_tables[loop->index];
    if (!*table && !(*table = calloc(SESSION_BUCKETS, sizeof(**table)))) {
        return NULL;
    }
    return &(*table)[(key->low >> 8) % SESSION_BUCKETS];
}

ws_sockjs_session *ws_sockjs_find(ws_loop *loop, const ws_sockjs_key *key)
{
    ws_sockjs_session **link = session_link(loop, key), *s = link ? *link : NULL;
    while (s && (s->key.low != key->low || s->key.high != key->high)) {
        s = s->next;
    }
    return s;
}

ws_loop *ws_sockjs_loop(ws_engine *engine, const ws_sockjs_key *key)
{
    return &engine->loops[key->low % engine->options.loops];
}

/* ---- Closing ---- */

static void session_free(ws_handle *g)
{
    ws_sockjs_session *s = (ws_sockjs_session *)g;
    ws_tickets_release(s->ticket);
    ws_strbuf_free(&s->in);
    ws_strbuf_free(&s->reason);
    free(s);
}

/* Shut down the session's end of the pair for writing. Close it when the engine has closed the
 * other end, or after some seconds, so that the engine can still answer a Close frame. */
static void session_finish_pair(ws_sockjs_session *s)
{
    ws_sockjs_response *r;
    ws_handle_unwatch(&s->handle);
    r = ws_sockjs_response_new(s->handle.loop, s->fd, NULL, WS_SOCKJS_RAW);
    s->fd = -1;
    if (r) {
        r->to_engine = 1;
        ws_sockjs_response_finish(r);
    }
}

static void session_close_pair(ws_sockjs_session *s)
{
    if (s->fd >= 0) {
        ws_handle_unwatch(&s->handle);
        close(s->fd);
        s->fd = -1;
    }
    if (s->answer) {
        ws_sockjs_response_finish(s->answer);
        s->answer = NULL;
    }
}

static void session_forget_last(ws_sockjs_session *s)
{
    if (s->last) {
        s->last->ended = NULL;
        s->last = NULL;
    }
}

static void session_remove(ws_sockjs_session *s)
{
    ws_sockjs_session **link = session_link(s->handle.loop, &s->key);
    while (*link != s) {
        link = &(*link)->next;
    }
    *link = s->next;
    ws_timer_wheel_clear(&s->handle.loop->event.wheel, &s->alarm);
    session_close_pair(s);
    session_forget_last(s);
    if (s->response) {
        ws_sockjs_response_drop(s->response);
    }
    ws_handle_close(&s->handle);
}

static void session_alarm_in(ws_sockjs_session *s, apr_uint32_t ms)
{
    ws_timer_wheel_set(&s->handle.loop->event.wheel, &s->alarm, s->handle.loop->event.now + ms);
}

/* Start `delay`, in which the client has to send a request, unless it is still receiving the last
 * response. */
static void session_expect_request(ws_sockjs_session *s)
{
    if (s->last) {
        ws_timer_wheel_clear(&s->handle.loop->event.wheel, &s->alarm);
    }
    else if (!s->response) {
        session_alarm_in(s, s->options.delay);
    }
}

static void session_response_ended(ws_sockjs_response *r)
{
    ws_sockjs_session *s = r->owner;
    s->last = NULL;
    session_expect_request(s);
}

/* Stop reading from the pair because no response accepts bytes. */
static void session_rest(ws_sockjs_session *s)
{
    if (s->fd >= 0 && ws_sockjs_session_waits(s)) {
        ws_handle_watch(&s->handle, s->fd, WS_WRITABLE);
    }
    else {
        ws_handle_unwatch(&s->handle);
    }
}

static void session_detach(ws_sockjs_session *s)
{
    ws_sockjs_response *r = s->response;
    s->response = NULL;
    session_rest(s);
    session_forget_last(s);
    s->last = r;
    r->ended = session_response_ended;
    session_expect_request(s);
    ws_sockjs_response_finish(r);
}

static void session_put_close(const ws_sockjs_session *s, ws_sockjs_response *r)
{
    ws_strbuf t = {NULL, 0, 0, 0};
    ws_sockjs_cut cut = {.count = 0};
    ws_strbuf_printf(&t, "c[%d,\"", s->code);
    ws_sockjs_escape(&t, &cut, 0, s->reason.data, s->reason.len);
    ws_strbuf_puts(&t, "\"]");
    ws_strbuf_add(&t, "", 1);
    ws_sockjs_response_put(r, t.broken ? "c[1011,\"\"]" : t.data);
    if (r->conn && s->code == WS_CLOSE_ABNORMAL) {
        ws_abort(r->conn);
    }
    else if (r->conn) {
        ws_close(r->conn, s->code, NULL);
    }
    ws_strbuf_free(&t);
}

/* Report the close to the client. If a frame has been sent in part, abort the response. */
static void session_tell_close(ws_sockjs_session *s)
{
    if (!s->response) {
        session_expect_request(s);
        return;
    }
    if (s->array) {
        s->array = 0;
        s->response->out.broken = 1;
    }
    else {
        session_put_close(s, s->response);
    }
    session_detach(s);
}

static void session_close(ws_sockjs_session *s, int code, const char *reason, apr_size_t len)
{
    ws_strbuf answer = {NULL, 0, 0, 0};
    unsigned char payload[WS_CONTROL_MAX] = {(unsigned char)(code >> 8), (unsigned char)code};
    int sent = code == WS_CLOSE_NO_STATUS ? 0 : 2 + (int)len;
    s->code = code;
    ws_strbuf_add(&s->reason, reason, len);
    if (len) {
        memcpy(payload + 2, reason, len);
    }
    if (s->fd >= 0 && code != WS_CLOSE_ABNORMAL) {
        ws_sockjs_client_frame(&answer, WS_FIN | WS_OP_CLOSE, payload, (apr_size_t)sent);
        if (ws_sockjs_session_input(s, &answer) == WS_SOCKJS_TAKEN) {
            session_finish_pair(s);
        }
    }
    session_close_pair(s);
    session_tell_close(s);
}

void ws_sockjs_session_gone(ws_sockjs_session *s, int code, const char *reason, apr_size_t len)
{
    static const char why[] = "Connection interrupted";
    ws_sockjs_response *r = s->response;
    s->response = NULL;
    s->array = 0;
    ws_sockjs_response_drop(r);
    if (code == WS_CLOSE_ABNORMAL) {
        session_close_pair(s);
        s->code = WS_CLOSE_PROTOCOL_ERROR;
        ws_strbuf_add(&s->reason, why, sizeof(why) - 1);
        session_tell_close(s);
    }
    else {
        session_close(s, code, reason, len);
    }
}

static void session_response_gone(ws_sockjs_response *r)
{
    ws_sockjs_session_gone(r->owner, WS_CLOSE_ABNORMAL, NULL, 0);
}

/* ---- To the client ---- */

static void session_response_drained(ws_sockjs_response *r)
{
    ws_sockjs_session_pump(r->owner);
}

/* Whether the response is complete. */
static int session_response_full(const ws_sockjs_session *s)
{
    const ws_sockjs_response *r = s->response;
    return r->sent && !s->array && !r->conn
           && (r->kind <= WS_SOCKJS_JSONP || r->sent >= s->options.response);
}

/* Write the response's bytes, or detach a complete response. @return whether the pump continues */
static int session_settle(ws_sockjs_session *s)
{
    if (!s->response) {
        return 0;
    }
    if (session_response_full(s)) {
        session_detach(s);
        return 0;
    }
    if (ws_sockjs_response_flush(s->response) < 0) {
        session_response_gone(s->response);
        return 0;
    }
    return s->fd >= 0;
}

/* Read from the pair. @return bytes read; 0: no data yet, or the session is closed */
static apr_ssize_t session_read(ws_sockjs_session *s, char *buf)
{
    apr_ssize_t n;
    do {
        n = recv(s->fd, buf, SESSION_PIECE, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        return n;
    }
    if (n == 0 || errno != EAGAIN) {
        static const char why[] = "Connection lost";
        session_close(s, WS_CLOSE_ABNORMAL, why, sizeof(why) - 1);
    }
    else if (ws_handle_watch(&s->handle, s->fd,
                             WS_READABLE | (ws_sockjs_session_waits(s) ? WS_WRITABLE : 0u))
             != APR_SUCCESS) {
        session_close(s, WS_CLOSE_INTERNAL, NULL, 0);
    }
    return 0;
}

/* @return 0; -1: the session is closed */
static int session_decode(ws_sockjs_session *s, const char *data, apr_size_t len)
{
    ws_sockjs_control control = {.code = 0};
    ws_sockjs_decode(s, data, len, &control);
    if (control.pongs.len) {
        ws_sockjs_session_input(s, &control.pongs);
    }
    if (control.code) {
        session_close(s, control.code, control.reason, control.reason_len);
        return -1;
    }
    return 0;
}

void ws_sockjs_session_pump(ws_sockjs_session *s)
{
    char buf[SESSION_PIECE];
    while (session_settle(s)) {
        apr_ssize_t n;
        if (ws_sockjs_response_blocked(s->response)) {
            session_rest(s);
            return;
        }
        if ((n = session_read(s, buf)) <= 0 || session_decode(s, buf, (apr_size_t)n) < 0) {
            return;
        }
    }
}

void ws_sockjs_session_attach(ws_sockjs_session *s, ws_sockjs_response *r)
{
    if (s->response || s->fd < 0) {
        if (s->response) {
            ws_sockjs_response_put(r, "c[2010,\"Another connection still open\"]");
        }
        else {
            session_put_close(s, r);
        }
        ws_sockjs_response_finish(r);
        return;
    }
    s->response = r;
    r->owner = s;
    r->gone = session_response_gone;
    r->drained = session_response_drained;
    session_alarm_in(s, s->options.heartbeat);
    if (!s->greeted) {
        s->greeted = 1;
        ws_sockjs_response_put(r, "o");
    }
    ws_sockjs_session_pump(s);
}

static void session_alarm(ws_alarm *a)
{
    ws_sockjs_session *s = (ws_sockjs_session *)((char *)a - offsetof(ws_sockjs_session, alarm));
    if (!s->response) {
        session_remove(s);
        return;
    }
    session_alarm_in(s, s->options.heartbeat);
    if (!s->array && !ws_sockjs_response_blocked(s->response)) {
        ws_sockjs_response_put(s->response, "h");
        ws_sockjs_session_pump(s);
    }
}

/* ---- To the handler ---- */

/* Write the queued frames to the pair. @return 0; -1: the pair is broken */
static int session_write(ws_sockjs_session *s)
{
    while (ws_sockjs_session_waits(s)) {
        apr_ssize_t n = send(s->fd, s->in.data + s->in_pos, s->in.len - s->in_pos, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? 0 : -1;
        }
        s->in_pos += n > 0 ? (apr_size_t)n : 0;
    }
    ws_strbuf_free(&s->in);
    s->in = (ws_strbuf){NULL, 0, 0, 0};
    s->in_pos = 0;
    if (s->answer) {
        ws_sockjs_response_finish(s->answer);
        s->answer = NULL;
    }
    if (s->response && s->response->conn) {
        ws_resume(s->response->conn);
    }
    return 0;
}

static void session_watch_writes(ws_sockjs_session *s)
{
    unsigned reads =
        s->handle.source.watched > 0 ? (unsigned)s->handle.source.watched & WS_READABLE : 0u;
    unsigned events = reads | (ws_sockjs_session_waits(s) ? WS_WRITABLE : 0u);
    if (events) {
        ws_handle_watch(&s->handle, s->fd, events);
    }
    else {
        ws_handle_unwatch(&s->handle);
    }
}

int ws_sockjs_session_input(ws_sockjs_session *s, ws_strbuf *frames)
{
    apr_size_t waits = s->in.len - s->in_pos;
    int full = waits > s->settings->max_message || frames->broken;
    if (s->fd < 0 || full) {
        ws_strbuf_free(frames);
        return s->fd < 0 ? WS_SOCKJS_UNKNOWN : WS_SOCKJS_FULL;
    }
    if (waits) {
        ws_strbuf_add(&s->in, frames->data, frames->len);
        ws_strbuf_free(frames);
    }
    else {
        ws_strbuf_free(&s->in);
        s->in = *frames;
        s->in_pos = 0;
    }
    if (s->in.broken || session_write(s) < 0) {
        return WS_SOCKJS_UNKNOWN; /* the next read detects the end of the pair */
    }
    session_watch_writes(s);
    return ws_sockjs_session_waits(s) ? WS_SOCKJS_WAITS : WS_SOCKJS_TAKEN;
}

/* ---- Both directions ---- */

static void session_ready(ws_source *g, const ws_ready *ready)
{
    ws_sockjs_session *s = (ws_sockjs_session *)g;
    if (ready->events & (WS_WRITABLE | WS_BROKEN)) {
        if (session_write(s) < 0) {
            ws_strbuf_free(&s->in);
            s->in = (ws_strbuf){NULL, 0, 0, 0};
            s->in_pos = 0;
        }
        session_watch_writes(s);
    }
    if (s->response) {
        ws_sockjs_session_pump(s);
    }
}

static void session_stop(ws_handle *g)
{
    ws_sockjs_session *s = (ws_sockjs_session *)g;
    if (s->response && s->fd >= 0) {
        ws_sockjs_session_pump(s); /* the pair may contain the engine's Close frame */
    }
    session_remove(s);
}

typedef struct session_task {
    ws_task task;
    ws_sockjs_session *s;
} session_task;

static void session_begin(ws_loop *loop, ws_task *task)
{
    ws_sockjs_session *s = ((session_task *)task)->s, **link = session_link(loop, &s->key);
    free(task);
    ws_handle_open(loop, &s->handle);
    if (!link || __atomic_load_n(&loop->engine->stopping, __ATOMIC_ACQUIRE)) {
        close(s->fd);
        ws_handle_close(&s->handle);
        return;
    }
    s->next = *link;
    *link = s;
    session_alarm_in(s, s->options.delay);
}

static int session_post(ws_engine *engine, ws_sockjs_session *s)
{
    session_task *t = ws_task_new(sizeof(*t), session_begin);
    if (t) {
        t->s = s;
        if (ws_loop_post(ws_sockjs_loop(engine, &s->key), &t->task) < 0) {
            free(t);
            t = NULL;
        }
    }
    return t ? 0 : -1;
}

int ws_sockjs_open(ws_engine *engine, const ws_sockjs_key *key, const ws_sockjs_options *options,
                   int fd, const ws_settings *settings, ws_ticket *ticket)
{
    ws_sockjs_session *s = calloc(1, sizeof(*s));
    if (!s) {
        close(fd);
        ws_tickets_release(ticket);
        return -1;
    }
    s->key = *key;
    s->options = *options;
    s->settings = settings;
    s->ticket = ticket;
    s->fd = fd;
    s->handle.source.ready = session_ready;
    s->handle.stop = session_stop;
    s->handle.release = session_free;
    s->alarm.fn = session_alarm;
    if (session_post(engine, s) < 0) {
        close(fd);
        session_free(&s->handle);
        return -1;
    }
    return 0;
}
