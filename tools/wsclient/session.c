/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "tools/wsclient/session.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/wake.h"
#include "engine/conn.h"
#include "tools/wsclient/json.h"
#include "tools/wsclient/output.h"
#include "tools/wsclient/record.h"

/* Bytes that may be on their way to the loop, or wait there. */
#define IN_FLIGHT_MAX (512 * 1024)

/* With so many waiting for the socket, no more are asked for; on_drain comes at a quarter of the send
 * queue, which is this much too. */
#define QUEUED_MAX (1024 * 1024)

/* An answer to our last Close frame is waited for, milliseconds. */
#define GOODBYE 1000

/* What a message costs besides its bytes. */
#define OVERHEAD 64

static ws_client *client;
static int wake_fd = -1;

/* Atomic. */
static int state;
static apr_size_t in_flight;
static ws_id id;

/* The loop's, and the main thread's when that is over. */
static apr_uint64_t received;
static apr_size_t owed; /* of in_flight: given back when the queue has drained */
static int exit_code;

ws_session_state ws_session_now(void)
{
    return (ws_session_state)__atomic_load_n(&state, __ATOMIC_ACQUIRE);
}

ws_exit ws_session_exit(void)
{
    return (ws_exit)exit_code;
}

int ws_session_fd(void)
{
    return wake_fd;
}

void ws_session_wake(void)
{
    ws_wake(wake_fd);
}

void ws_session_woken(void)
{
    ws_woken(wake_fd);
}

static void set_state(ws_session_state s)
{
    __atomic_store_n(&state, s, __ATOMIC_RELEASE);
    ws_session_wake();
}

/* ---- In ---- */

/* @return whether the message is wanted */
static int count_message(ws_conn *c, int last)
{
    const ws_cli *o = &ws_options;
    if (o->count && received == o->count) {
        return 0;
    }
    received += last != 0;
    if (o->count && received == o->count) {
        ws_close(c, WS_CLOSE_NORMAL, NULL);
    }
    return 1;
}

/* A message, or a piece of one. Short lines leave in one call. */
static void write_out(ws_conn *c, ws_type type, const char *data, apr_size_t len, int last)
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

/* Whole messages. */

static void show_hex(ws_conn *c, const char *data, apr_size_t len)
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

static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    if (!count_message(c, 1)) {
        return;
    }
    ws_record_message('<', type, data, len, WS_FIRST | WS_LAST);
    if (ws_options.json) {
        ws_json_message(c, type, data, len);
    }
    else if (ws_options.form == WS_FORM_HEX || (type == WS_BINARY && ws_options.terminal)) {
        show_hex(c, data, len);
    }
    else if (ws_options.terminal) {
        ws_output_show(c, WS_TONE_MESSAGE, "< ", data, len);
    }
    else {
        write_out(c, type, data, len, 1);
    }
}

/* Those of any size, as they come. */
static void on_frame(ws_conn *c, ws_type type, const char *data, apr_size_t len, unsigned where)
{
    if (!count_message(c, where & WS_LAST)) {
        return;
    }
    write_out(c, type, data, len, where & WS_LAST);
}

/* ---- Beginning and end ---- */

static void on_open(ws_conn *c)
{
    const char *protocol = ws_protocol(c);
    __atomic_store_n(&id, ws_conn_id(c), __ATOMIC_RELEASE);
    ws_record_connect(101, protocol);
    if (ws_options.json) {
        ws_json_open(c);
    }
    else if (ws_options.terminal && !ws_options.quiet) {
        ws_output_note(WS_TONE_NOTE, "connected to %s%s%s; Ctrl-D closes", ws_peer(c),
                       protocol ? ", subprotocol " : "", protocol ? protocol : "");
    }
    set_state(WS_SESSION_OPEN);
}

static void give_back(apr_size_t bytes)
{
    apr_size_t before = __atomic_fetch_sub(&in_flight, bytes, __ATOMIC_ACQ_REL);
    if (before >= IN_FLIGHT_MAX && before - bytes < IN_FLIGHT_MAX) {
        ws_session_wake();
    }
}

static void on_drain(ws_conn *c)
{
    (void)c;
    give_back(owed);
    owed = 0;
}

static void on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    /* Behind the peer's Close frame nothing is heard: without one, something may be missing. */
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
        ws_output_note(WS_TONE_BAD, "wsclient: the connection broke");
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
    set_state(WS_SESSION_OVER);
}

static void on_failure(void *data, const char *reason, int status)
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
    set_state(WS_SESSION_OVER);
}

static void on_log(ws_log_level level, const ws_conn *c, const char *text)
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

const char *ws_session_start(void)
{
    static const ws_handler streaming = {.flags = WS_ANY_SIZE | WS_HEAR_OUT,
                                         .on_open = on_open,
                                         .on_drain = on_drain,
                                         .on_close = on_close,
                                         .on_frame = on_frame};
    static const ws_handler whole = {.flags = WS_HEAR_OUT,
                                     .on_open = on_open,
                                     .on_message = on_message,
                                     .on_drain = on_drain,
                                     .on_close = on_close};
    const ws_cli *o = &ws_options;
    const ws_client_options options = {.size = sizeof(options),
                                       .loops = 1,
                                       .log = on_log,
                                       .log_level = o->frames ? WS_LOG_TRACE : WS_LOG_WARNING};
    int streams = !o->json && !o->record && !o->terminal && o->form != WS_FORM_HEX;
    if (ws_wake_create(&wake_fd) != APR_SUCCESS) {
        return strerror(errno);
    }
    if (ws_client_create(&client, &options) != APR_SUCCESS) {
        return "no event loop";
    }
    ws_options.to.handler = streams ? &streaming : &whole;
    ws_options.to.on_failure = on_failure;
    return ws_connect(NULL, &ws_options.to) ? NULL : "out of memory";
}

/* ---- Out ---- */

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

static void do_send(ws_conn *c, void *arg)
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
            give_back(b->len + OVERHEAD);
        }
        else {
            owed += b->len + OVERHEAD;
        }
    }
    free(b);
}

void ws_session_send(ws_type type, unsigned where, const char *data, apr_size_t len)
{
    block *b = malloc(sizeof(*b) + len);
    if (!b) {
        ws_session_close(WS_CLOSE_INTERNAL);
        return;
    }
    b->type = type;
    b->where = where;
    b->len = len;
    memcpy(b->data, data, len);
    __atomic_add_fetch(&in_flight, len + OVERHEAD, __ATOMIC_ACQ_REL);
    if (ws_run(__atomic_load_n(&id, __ATOMIC_ACQUIRE), do_send, b) != WS_QUEUED) {
        free(b);
    }
}

static void do_close(ws_conn *c, void *arg)
{
    if (c && ws_close(c, (int)(apr_uintptr_t)arg, NULL) == WS_QUEUED) {
        ws_record_close('>', (int)(apr_uintptr_t)arg, "", 0);
    }
}

void ws_session_close(int code)
{
    ws_run(__atomic_load_n(&id, __ATOMIC_ACQUIRE), do_close, (void *)(apr_uintptr_t)code);
}

void ws_session_leave(void)
{
    if (__atomic_load_n(&id, __ATOMIC_ACQUIRE) && ws_session_now() != WS_SESSION_OVER) {
        ws_session_close(WS_CLOSE_GOING_AWAY);
        ws_client_wait(client, GOODBYE);
    }
    ws_client_free(client);
    if (wake_fd >= 0) {
        close(wake_fd);
    }
}
