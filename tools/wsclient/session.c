/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Runs the connection on the loop, and passes data and events between the loop and the main thread.
 * Memory is bounded in both directions.
 */

#include "tools/wsclient/session.h"

#include <linux/sockios.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/wake.h"
#include "engine/conn.h"
#include "tools/wsclient/json.h"
#include "tools/wsclient/output.h"
#include "tools/wsclient/record.h"

/* Maximum number of bytes that are queued for the loop or that the loop has not acknowledged
 * yet. */
#define IN_FLIGHT_MAX (512 * 1024)

/* While this many bytes are waiting for the socket, do not read input. The number is a quarter of
 * the send queue's limit. When the queue has drained to this level, the engine calls on_drain. */
#define QUEUED_MAX (1024 * 1024)

/* Maximum time to wait for the reply to the client's last Close frame, milliseconds. */
#define GOODBYE 1000

/* Overhead that is counted for each message, bytes. */
#define OVERHEAD 64

static ws_client *client;
static int wake_fd; /* wakes the main thread */

/* Atomic. */
static int state;
static apr_size_t in_flight;
static ws_id id;

/* How often to check during the closing handshake, milliseconds. */
#define CLOSE_CHECK 200

/* Atomic; 1: the server has not replied to the client's Close frame. */
static int stuck;

/* The loop's thread uses these variables, and after this thread has ended, the main thread. */
static apr_uint64_t received;
static apr_size_t owed; /* part of in_flight that is released when the queue has drained */
static int exit_code;
static apr_time_t ping_sent;      /* time when /ping was sent; 0: no ping is open */
static apr_uint64_t wanted_bytes; /* size of the messages that --count has counted, bytes */
static struct {
    apr_uint64_t came;  /* number of bytes received */
    apr_size_t unsent;  /* least number of unsent bytes; SIZE_MAX: not checked yet */
    apr_uint32_t since; /* when one of them changed, loop time */
} closing;

ws_session_state ws_session_now(void)
{
    return (ws_session_state)__atomic_load_n(&state, __ATOMIC_ACQUIRE);
}

ws_exit ws_session_exit(void)
{
    return (ws_exit)exit_code;
}

static void session_set_state(ws_session_state s)
{
    __atomic_store_n(&state, s, __ATOMIC_RELEASE);
    ws_wake(wake_fd);
}

/* ---- Receiving ---- */

/* Count a message for --count. @return whether to output the message */
static int session_count_message(ws_conn *c, apr_size_t len, int last)
{
    const ws_cli *o = &ws_options;
    if (o->count && received == o->count) {
        return 0;
    }
    received += last != 0;
    /* On a terminal, do not wait until the user has read the output. */
    wanted_bytes += ws_options.terminal ? 0 : len + 1;
    if (o->count && received == o->count) {
        ws_close(c, WS_CLOSE_NORMAL, NULL);
    }
    return 1;
}

/* Output a message or a piece of a message. Short lines use a single write. */
static void session_write_out(ws_conn *c, ws_type type, const char *data, apr_size_t len, int last)
{
    char line[1024];
    int newline = last && type == WS_TEXT && ws_options.form == WS_FORM_LINES;
    if (newline && len < sizeof(line)) {
        memcpy(line, data, len);
        line[len] = '\n';
        ws_output_write(c, line, len + 1);
        return;
    }
    ws_output_write(c, data, len);
    if (newline) {
        ws_output_write(c, "\n", 1);
    }
}

/* Handle an assembled message. */

static void session_show_hex(ws_conn *c, const char *data, apr_size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(3 * len + 1), *out = text;
    if (!text) {
        ws_close(c, WS_CLOSE_INTERNAL, "out of memory");
        return;
    }
    for (apr_size_t i = 0; i < len; i++) {
        *out++ = digits[(unsigned char)data[i] >> 4];
        *out++ = digits[data[i] & 0xF];
        *out++ = ' ';
    }
    out[len ? -1 : 0] = '\n';
    if (ws_options.terminal) {
        ws_output_show(c, WS_TONE_MESSAGE, "<< ", text, len ? 3 * len - 1 : 0);
    }
    else {
        ws_output_write(c, text, len ? 3 * len : 1);
    }
    free(text);
}

static void session_on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    if (!session_count_message(c, len, 1)) {
        return;
    }
    ws_record_message('<', type, data, len, WS_FIRST | WS_LAST);
    if (ws_options.json) {
        ws_json_message(c, type, data, len);
    }
    else if (ws_options.form == WS_FORM_HEX || (type == WS_BINARY && ws_options.terminal)) {
        session_show_hex(c, data, len);
    }
    else if (ws_options.terminal) {
        ws_output_show(c, WS_TONE_MESSAGE, "< ", data, len);
    }
    else {
        session_write_out(c, type, data, len, 1);
    }
}

/* Handle a piece of a message that is streamed. */
static void session_on_frame(ws_conn *c, ws_type type, const char *data, apr_size_t len,
                             unsigned where)
{
    if (!session_count_message(c, len, where & WS_LAST)) {
        return;
    }
    session_write_out(c, type, data, len, where & WS_LAST);
}

/* ---- Opening and closing ---- */

int ws_session_stuck(void)
{
    return __atomic_load_n(&stuck, __ATOMIC_ACQUIRE);
}

/* Get the number of bytes that the server's kernel has not acknowledged. */
static apr_size_t session_unsent(ws_conn *c)
{
    int in_kernel;
    if (ioctl(c->source.fd, SIOCOUTQ, &in_kernel) < 0) {
        in_kernel = 0;
    }
    return ws_queued(c) + (apr_size_t)in_kernel;
}

/* Check the closing handshake. Unsent data precedes the client's Close frame, and the server may
 * send data after it. Each piece in either direction and the server's Close frame must follow the
 * previous piece within --close-timeout. Time during which standard output blocks is not counted.
 * Pings do not count as progress, and neither do their Pongs, because only a new minimum of the
 * unsent data does. */
static void session_watch_close(ws_conn *c, void *arg)
{
    apr_uint64_t came = wanted_bytes + (c->rare->message ? c->rare->message->len : 0);
    apr_size_t unsent = session_unsent(c);
    (void)arg;
    if (ws_state_of(c) == WS_OPEN) {
        return;
    }
    if (came != closing.came || unsent < closing.unsent || c->held) {
        closing.came = came;
        closing.unsent = unsent < closing.unsent ? unsent : closing.unsent;
        closing.since = c->loop->event.now;
    }
    else if (c->loop->event.now - closing.since >= ws_options.close_timeout
             && !ws_session_stuck()) {
        __atomic_store_n(&stuck, 1, __ATOMIC_RELEASE);
        ws_wake(wake_fd);
    }
}

static void session_on_open(ws_conn *c)
{
    const char *protocol = ws_protocol(c);
    __atomic_store_n(&id, ws_conn_id(c), __ATOMIC_RELEASE);
    closing.unsent = SIZE_MAX;
    ws_timer_start(c, CLOSE_CHECK, CLOSE_CHECK, session_watch_close, NULL);
    ws_record_connect(101, protocol);
    if (ws_options.json) {
        ws_json_open(c);
    }
    else if (ws_options.terminal && !ws_options.quiet) {
        ws_output_note(WS_TONE_NOTE, "connected to %s%s%s; Ctrl-D closes", ws_peer(c),
                       protocol ? ", subprotocol " : "", protocol ? protocol : "");
    }
    session_set_state(WS_SESSION_OPEN);
}

/* Show the round-trip time of /ping. */
static void session_on_pong(ws_conn *c, const char *data, apr_size_t len)
{
    (void)c;
    if (ping_sent && len) { /* other pongs are replies to the engine's pings */
        ws_output_note(WS_TONE_NOTE, "pong %.*s: %.1f ms", (int)len, data,
                       (double)(apr_time_now() - ping_sent) / 1000);
        ping_sent = 0;
    }
}

static void session_give_back(apr_size_t bytes)
{
    apr_size_t before = __atomic_fetch_sub(&in_flight, bytes, __ATOMIC_ACQ_REL);
    if (before >= IN_FLIGHT_MAX && before - bytes < IN_FLIGHT_MAX) {
        ws_wake(wake_fd);
    }
}

static void session_on_drain(ws_conn *c)
{
    (void)c;
    session_give_back(owed);
    owed = 0;
}

/* Whether the client will connect again. It does not if the user has closed the connection. */
static int session_will_reconnect(const ws_conn *c)
{
    return ws_options.to.reconnect && c->closed_by != WS_CLOSED_BY_CLIENT;
}

static void session_on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    /* If the peer's Close frame has arrived, all data has arrived. Otherwise some data may be
     * missing. */
    int whole = c->discard_input, closed_by_server = c->closed_by == WS_CLOSED_BY_SERVER;
    int normal =
        code == WS_CLOSE_NORMAL || code == WS_CLOSE_GOING_AWAY || code == WS_CLOSE_NO_STATUS;
    int missing = ws_options.count && received < ws_options.count;

    if (closed_by_server || code == WS_CLOSE_ABNORMAL) {
        ws_record_close('<', code, reason, len);
    }
    exit_code = whole && normal && !missing ? WS_EXIT_DONE : WS_EXIT_CLOSED;
    if (ws_options.json) {
        ws_json_close(c, code, reason, len, whole);
    }
    else if (!whole && !ws_options.quiet) {
        ws_output_note(WS_TONE_BAD, ws_session_stuck()
                                        ? "wsclient: the server did not answer our Close frame"
                                        : "wsclient: the connection broke");
    }
    else if (!ws_options.quiet && (!normal || ws_options.terminal)) {
        ws_output_note(
            normal ? WS_TONE_NOTE : WS_TONE_BAD, "%s%s closed the connection: %d%s%.*s",
            ws_options.terminal ? "" : "wsclient: ", closed_by_server ? "the server" : "we", code,
            len ? " " : "", (int)len, reason);
    }
    else if (missing && !ws_options.quiet) {
        ws_output_note(WS_TONE_BAD,
                       "wsclient: the connection was closed after %" APR_UINT64_T_FMT
                       " messages of %" APR_UINT64_T_FMT,
                       received, ws_options.count);
    }
    session_give_back(owed);
    owed = 0;
    __atomic_store_n(&id, 0, __ATOMIC_RELEASE);
    session_set_state(session_will_reconnect(c) ? WS_SESSION_CONNECTING : WS_SESSION_OVER);
}

static int session_on_reconnect(void *data, apr_uint32_t delay, const char *reason, int status)
{
    (void)data;
    if (status) {
        ws_record_connect(status, NULL);
    }
    if (!ws_options.quiet) {
        ws_output_note(WS_TONE_NOTE, "wsclient: %s; connecting again in %.1f s", reason,
                       delay / 1000.0);
    }
    return 1;
}

static void session_show_headers(ws_tone tone, const char *mark, const char *text)
{
    while (*text) {
        size_t line = strcspn(text, "\r\n");
        ws_output_note(tone, "%s%.*s", mark, (int)line, text);
        text += line;
        text += *text == '\r';
        text += *text == '\n';
    }
}

static void session_show_body(const ws_response *r)
{
    const char *text = r->body, *end = r->body + r->body_len;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        ws_output_note(WS_TONE_IN, "%.*s", (int)(stop - text - (stop > text && stop[-1] == '\r')),
                       text);
        text = stop + 1;
    }
    if (r->body_cut) {
        ws_output_note(WS_TONE_NOTE, "wsclient: the body continues");
    }
}

static void session_on_response(void *data, const ws_response *r)
{
    /* 1: the previous response was an interim response, so the request has been shown. */
    static int interim;
    (void)data;
    if (r->status >= 300) {
        ws_json_refused(r);
    }
    if (!ws_options.verbose) {
        return;
    }
    if (!interim) {
        session_show_headers(WS_TONE_OUT, "> ", r->request);
    }
    interim = r->status < 200 && r->status != 101;
    ws_output_note(WS_TONE_IN, "< %d %s", r->status, r->reason);
    for (const char *const *h = r->headers; *h; h += 2) {
        ws_output_note(WS_TONE_IN, "< %s: %s", h[0], h[1]);
    }
    session_show_body(r);
}

static void session_on_failure(void *data, const char *reason, int status)
{
    (void)data;
    if (status) {
        ws_record_connect(status, NULL);
    }
    if (ws_options.json) {
        ws_json_failure(reason, status);
    }
    else {
        ws_output_note(WS_TONE_BAD, "wsclient: %s", reason);
    }
    exit_code = WS_EXIT_NO_SERVER;
    session_set_state(WS_SESSION_OVER);
}

static void session_on_log(ws_log_level level, const ws_conn *c, const char *text)
{
    (void)c;
    if (level == WS_LOG_TRACE && !strncmp(text, "in: ", 4)) {
        ws_output_note(WS_TONE_IN, "<- %s", text + 4);
    }
    else if (level == WS_LOG_TRACE && !strncmp(text, "out: ", 5)) {
        ws_output_note(WS_TONE_OUT, "-> %s", text + 5);
    }
    else if (level <= WS_LOG_WARNING) {
        ws_output_note(WS_TONE_BAD, "wsclient: %s", text);
    }
}

const char *ws_session_start(int fd)
{
    static const ws_handler streaming = {.flags = WS_ANY_SIZE | WS_HEAR_OUT,
                                         .on_open = session_on_open,
                                         .on_drain = session_on_drain,
                                         .on_pong = session_on_pong,
                                         .on_close = session_on_close,
                                         .on_frame = session_on_frame};
    static const ws_handler whole = {.flags = WS_HEAR_OUT,
                                     .on_open = session_on_open,
                                     .on_message = session_on_message,
                                     .on_drain = session_on_drain,
                                     .on_pong = session_on_pong,
                                     .on_close = session_on_close};
    const ws_cli *o = &ws_options;
    const ws_client_options options = {.size = sizeof(options),
                                       .loops = 1,
                                       .log = session_on_log,
                                       .log_level = o->frames ? WS_LOG_TRACE : WS_LOG_WARNING};
    int streams = !o->json && !o->record && !o->terminal && o->form != WS_FORM_HEX;
    wake_fd = fd;
    if (ws_client_create(&client, &options) != APR_SUCCESS) {
        return "no event loop";
    }
    ws_options.to.handler = streams ? &streaming : &whole;
    ws_options.to.on_failure = session_on_failure;
    ws_options.to.on_response = session_on_response;
    ws_options.to.on_reconnect = session_on_reconnect;
    return ws_connect(NULL, &ws_options.to) ? NULL : "out of memory";
}

/* ---- Sending ---- */

typedef struct block {
    ws_type type;
    unsigned where;
    apr_size_t len;
    char data[];
} block;

int ws_session_takes(void)
{
    return ws_session_now() == WS_SESSION_OPEN
           && __atomic_load_n(&in_flight, __ATOMIC_ACQUIRE) < IN_FLIGHT_MAX;
}

static void session_do_send(ws_conn *c, void *arg)
{
    block *b = arg;
    if (c) {
        ws_status s = b->where == (WS_FIRST | WS_LAST)
                          ? ws_send(c, b->type, b->data, b->len)
                          : ws_send_part(c, b->type, b->data, b->len, b->where);
        if (s >= 0) {
            ws_record_message('>', b->type, b->data, b->len, b->where);
        }
        if (ws_queued(c) < QUEUED_MAX) {
            session_give_back(b->len + OVERHEAD);
        }
        else {
            owed += b->len + OVERHEAD;
        }
    }
    else {
        session_give_back(b->len + OVERHEAD);
    }
    free(b);
}

void ws_session_send(ws_type type, unsigned where, const char *data, apr_size_t len)
{
    block *b = malloc(sizeof(*b) + len);
    if (!b) {
        ws_session_close(WS_CLOSE_INTERNAL, "");
        return;
    }
    b->type = type;
    b->where = where;
    b->len = len;
    memcpy(b->data, data, len);
    __atomic_add_fetch(&in_flight, len + OVERHEAD, __ATOMIC_ACQ_REL);
    if (ws_run(__atomic_load_n(&id, __ATOMIC_ACQUIRE), session_do_send, b) != WS_QUEUED) {
        session_give_back(len + OVERHEAD);
        free(b);
    }
}

static void session_do_close(ws_conn *c, void *arg)
{
    block *b = arg;
    if (c && ws_close(c, (int)b->type, b->data) == WS_QUEUED) {
        ws_record_close('>', (int)b->type, b->data, b->len);
    }
    free(b);
}

static void session_do_ping(ws_conn *c, void *arg)
{
    block *b = arg;
    if (c && ws_ping(c, b->data, b->len) >= 0) {
        ping_sent = apr_time_now();
    }
    free(b);
}

/* Run a function on the loop with a NUL-terminated text and a number. */
static void session_run_with(void (*fn)(ws_conn *c, void *arg), int number, const char *text)
{
    size_t len = strlen(text);
    block *b = malloc(sizeof(*b) + len + 1);
    if (!b) {
        return;
    }
    b->type = (ws_type)number;
    b->len = len;
    strcpy(b->data, text);
    if (ws_run(__atomic_load_n(&id, __ATOMIC_ACQUIRE), fn, b) != WS_QUEUED) {
        free(b);
    }
}

void ws_session_ping(const char *text)
{
    session_run_with(session_do_ping, 0, *text ? text : "ping");
}

void ws_session_close(int code, const char *reason)
{
    session_run_with(session_do_close, code, reason);
}

void ws_session_leave(void)
{
    if (__atomic_load_n(&id, __ATOMIC_ACQUIRE)) {
        ws_session_close(WS_CLOSE_GOING_AWAY, "");
        ws_client_wait(client, ws_session_stuck() ? 0 : GOODBYE);
    }
    ws_client_free(client);
}
