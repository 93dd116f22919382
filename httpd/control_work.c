/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Executes requests of the control API in the process that has the connection. The connection's
 * loop executes the request and sends the answer.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "channels/subscriptions.h"
#include "engine/json.h"
#include "httpd/rpc.h"
#include "httpd/child.h"
#include "httpd/control.h"
#include "protocol/close.h"

/* Number of entries of its connection table that a loop examines without a break. */
#define SLOTS 256

/* Longest list in one answer, bytes. The next answer continues the list. */
#define LIST_TEXT (48 * 1024)

/* ---- Description ---- */

const char *ws_control_print_id(ws_id id, char text[static WS_CONTROL_ID])
{
    const ws_channels *h = ws_channels_current();
    const ws_channels_options *o = h ? ws_channels_options_of(h) : NULL;
    int n = o && o->remote
                ? snprintf(text, WS_CONTROL_ID, "%016" APR_UINT64_T_HEX_FMT "-", o->self.server)
                : 0;
    snprintf(text + n, (apr_size_t)(WS_CONTROL_ID - n), "%016" APR_UINT64_T_HEX_FMT, id);
    return text;
}

static void work_text(ws_strbuf *t, const char *name, const char *value)
{
    ws_strbuf_printf(t, ",\"%s\":", name);
    ws_strbuf_json(t, value, value ? strlen(value) : 0);
}

static void work_number(ws_strbuf *t, const char *name, apr_uint64_t n)
{
    ws_strbuf_printf(t, ",\"%s\":%" APR_UINT64_T_FMT, name, n);
}

static void work_put(ws_strbuf *t, const ws_conn *c)
{
    char id[WS_CONTROL_ID];
    ws_conn_info info;
    ws_conn_inspect(c, &info);
    ws_strbuf_printf(t, "{\"id\":\"%s\",\"start\":\"", ws_control_print_id(ws_conn_id(c), id));
    ws_strbuf_time(t, info.tally.start);
    ws_strbuf_puts(t, "\",\"active\":\"");
    ws_strbuf_time(t, apr_time_now() - apr_time_from_msec(info.silent));
    ws_strbuf_puts(t, "\"");
    work_text(t, "address", ws_peer(c));
    work_text(t, "user", ws_user(c));
    work_text(t, "vhost", ws_vhost(c));
    work_text(t, "uri", ws_uri(c));
    work_text(t, "subprotocol", ws_protocol(c));
    work_text(t, "handler", info.location->name);
    work_text(t, "agent", ws_header(c, "User-Agent"));
    work_number(t, "messages_in", info.tally.messages_in);
    work_number(t, "messages_out", info.tally.messages_out);
    work_number(t, "bytes_in", info.tally.bytes_in);
    work_number(t, "bytes_out", info.tally.bytes_out);
    work_number(t, "queued", info.tally.queued);
}

static void work_put_channel(const char *channel, void *arg)
{
    ws_strbuf *t = arg;
    ws_strbuf_puts(t, t->data[t->len - 1] == '[' ? "" : ",");
    ws_strbuf_json(t, channel, strlen(channel));
}

static void work_inform(ws_rpc *call, ws_conn *c)
{
    work_put(&call->text, c);
    ws_strbuf_puts(&call->text, ",\"channels\":[");
    if (!call->text.broken) {
        ws_subscriptions_of(c, work_put_channel, &call->text);
    }
    ws_strbuf_puts(&call->text, "]}");
}

/* ---- Actions ---- */

/* If the send queue is full, the message is refused and the connection stays open, so the caller
 * can retry. */
static ws_rpc_status work_send(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    apr_size_t queued = ws_queued(c);
    ws_status s;
    if (!ws_version(c)) { /* only an event stream has no version */
        return WS_RPC_UNSUPPORTED;
    }
    if (queued && queued + len > ws_conn_settings(c)->send_queue) {
        return WS_RPC_FULL;
    }
    s = ws_send(c, type, data, len);
    return s >= 0                            ? WS_RPC_OK
           : s == WS_FULL || s == WS_DROPPED ? WS_RPC_FULL
           : s == WS_UNSUPPORTED             ? WS_RPC_UNSUPPORTED
                                             : WS_RPC_GONE;
}

/* Close a connection. @param text  a code, a space and a reason */
static ws_rpc_status work_close(ws_conn *c, const char *text)
{
    apr_int64_t code;
    const char *reason = ws_parse_digits(text, &code);
    if (!reason || *reason != ' ' || code > 4999 || !ws_close_code_valid((int)code)
        || strlen(reason + 1) > WS_REASON_MAX) {
        return WS_RPC_WRONG;
    }
    return ws_close(c, (int)code, reason + 1) < 0 ? WS_RPC_GONE : WS_RPC_OK;
}

static ws_rpc_status work_subscribe(ws_conn *c, const char *channel)
{
    switch (ws_subscribe_unasked(c, channel, NULL)) {
    case WS_QUEUED:
        return WS_RPC_OK;
    case WS_FORBIDDEN:
        return WS_RPC_FORBIDDEN;
    case WS_LIMIT:
        return WS_RPC_LIMIT;
    case WS_FULL:
        return WS_RPC_BUSY;
    case WS_BAD_NAME:
        return WS_RPC_WRONG;
    default:
        return WS_RPC_GONE;
    }
}

static ws_rpc_status work_do(ws_rpc *call, ws_conn *c)
{
    switch (call->kind) {
    case WS_RPC_INFO:
        work_inform(call, c);
        return call->text.broken ? WS_RPC_BUSY : WS_RPC_OK;
    case WS_RPC_SEND:
        return ws_message_valid(call->type, call->data, call->len)
                   ? work_send(c, call->type, call->data, call->len)
                   : WS_RPC_WRONG;
    case WS_RPC_CLOSE:
        return work_close(c, call->data);
    case WS_RPC_SUBSCRIBE:
        return work_subscribe(c, call->channel);
    case WS_RPC_UNSUBSCRIBE:
        return ws_unsubscribe(c, call->channel) < 0 ? WS_RPC_NOTHING : WS_RPC_OK;
    default:
        return WS_RPC_WRONG;
    }
}

/* Whether the connection belongs to a client and can send messages. */
static int work_is_open(const ws_conn *c)
{
    return ws_conn_state(c) == WS_OPEN && ws_conn_location(c);
}

static void work_on_one(ws_engine *e, unsigned loop, void *arg)
{
    ws_rpc *call = arg;
    ws_conn *c = ws_engine_find(e, loop, call->id);
    ws_rpc_status s;
    if (ws_rpc_drop_late(call)) {
        return;
    }
    s = c && work_is_open(c) ? work_do(call, c) : WS_RPC_GONE;
    ws_rpc_answer_with(call, s, call->text.data, s == WS_RPC_OK ? call->text.len : 0);
}

/* ---- All connections ---- */

static int work_is(const char *wanted, const char *value)
{
    return !*wanted || (value && !strcmp(wanted, value));
}

static int work_uri_is(const char *wanted, const char *uri)
{
    apr_size_t len = strlen(wanted);
    return len && wanted[len - 1] == '*' ? !strncmp(wanted, uri, len - 1) : work_is(wanted, uri);
}

static int work_matches(const ws_rpc *call, const ws_conn *c, const ws_channel *ch)
{
    return work_is_open(c) && work_is(call->user, ws_user(c)) && work_is(call->vhost, ws_vhost(c))
           && work_uri_is(call->uri, ws_uri(c)) && (!ch || ws_sub_find(c, ch));
}

static void work_count(ws_rpc *call, ws_rpc_status s)
{
    *(s == WS_RPC_OK ? &call->done : s == WS_RPC_FULL ? &call->full : &call->failed) += 1;
}

static void work_visit(ws_rpc *call, ws_conn *c)
{
    switch (call->kind) {
    case WS_RPC_LIST:
        ws_strbuf_puts(&call->text, call->done++ ? "," : "");
        work_put(&call->text, c);
        ws_strbuf_puts(&call->text, "}");
        break;
    case WS_RPC_SEND_USER:
        work_count(call, work_send(c, call->type, call->rest,
                                   call->len - (apr_size_t)(call->rest - call->data)));
        break;
    default:
        work_count(call, work_close(c, call->rest));
    }
}

static int work_is_enough(const ws_rpc *call)
{
    return call->kind == WS_RPC_LIST
           && (call->done >= call->most || call->text.len >= LIST_TEXT || call->text.broken);
}

static void work_finish(ws_rpc *call, int all)
{
    ws_strbuf answer = {0};
    ws_rpc_status s;
    if (call->kind != WS_RPC_LIST) {
        ws_strbuf_printf(&answer, "%u %u %u", call->done, call->full, call->failed);
    }
    else {
        if (all) {
            ws_strbuf_puts(&answer, "-\n[");
        }
        else {
            ws_strbuf_printf(&answer, "%u %u\n[", call->loop, call->slot);
        }
        ws_strbuf_add(&answer, call->text.data, call->text.len);
        ws_strbuf_puts(&answer, "]");
    }
    s = answer.broken || call->text.broken ? WS_RPC_BUSY : WS_RPC_OK;
    ws_rpc_answer_with(call, s, answer.data, s == WS_RPC_OK ? answer.len : 0);
    ws_strbuf_free(&answer);
}

/* Process the next connections of the current loop. @return 1 at the end of the loop's
 * connections */
static int work_look(ws_engine *e, ws_rpc *call, const ws_channel *ch)
{
    for (unsigned until = call->slot + SLOTS; call->slot < until && !work_is_enough(call);
         call->slot++) {
        int end;
        const ws_conn *seen = ws_engine_at(e, call->loop, call->slot, &end);
        ws_conn *c = seen ? ws_engine_find(e, call->loop, ws_conn_id(seen)) : NULL;
        if (end) {
            return 1;
        }
        if (c && work_matches(call, c, ch)) {
            work_visit(call, c);
        }
    }
    return 0;
}

static void work_walk(ws_engine *e, unsigned loop, void *arg)
{
    ws_rpc *call = arg;
    ws_channels *h = ws_channels_current();
    unsigned len = (unsigned)strlen(call->channel);
    ws_channel *ch = NULL;
    int end;
    (void)loop;
    /* Drop a late question only before the first connection has been processed. After that, the
     * counts must be reported. */
    if (!call->loop && !call->slot && ws_rpc_drop_late(call)) {
        return;
    }
    if (len && h) {
        ch = ws_channel_find(h, call->channel, len, ws_channel_hash(call->channel, len));
    }
    end = (len && !ch) || work_look(e, call, ch);
    if (ch) {
        ws_channel_unref(h, ch);
    }
    if (end) {
        call->loop++;
        call->slot = 0;
    }
    if (work_is_enough(call) || call->loop >= ws_engine_loops(e)) {
        work_finish(call, call->loop >= ws_engine_loops(e));
    }
    else if (ws_engine_on_loop(e, call->loop, work_walk, call) < 0) {
        ws_rpc_answer_with(call, WS_RPC_BUSY, NULL, 0);
    }
}

/* ---- Channels ---- */

static void work_list_channels(ws_rpc *call)
{
    ws_channel_count *all = NULL;
    int more = 0, n = ws_channels_list(call->user, call->uri, call->most, &all, &more);
    ws_strbuf_puts(&call->text, more ? "+\n" : "-\n");
    for (int i = 0; i < n; i++) {
        ws_strbuf_printf(&call->text, "%u %u %s\n", all[i].subscribers, all[i].members,
                         all[i].name);
    }
    free(all);
    if (n < 0 || call->text.broken) {
        ws_rpc_answer_with(call, WS_RPC_BUSY, NULL, 0);
    }
    else {
        ws_rpc_answer_with(call, WS_RPC_OK, call->text.data, call->text.len);
    }
}

/* ---- Questions ---- */

/* Get the word at *at, and advance *at past its NUL. @return NULL: the data has ended */
static const char *work_word(const ws_rpc *call, const char **at)
{
    const char *word = *at, *end = call->data + call->len;
    const char *nul = word < end ? memchr(word, 0, (apr_size_t)(end - word)) : NULL;
    *at = nul ? nul + 1 : end;
    return nul ? word : NULL;
}

/* Parse a word as a number. @return -1: it is not a number from 0 to max */
static apr_int64_t work_number_of(const char *word, apr_int64_t max)
{
    apr_int64_t n;
    const char *end = word ? ws_parse_digits(word, &n) : NULL;
    return end && !*end && n <= max ? n : -1;
}

/* Parse the data of a question. @return 0: it is malformed */
static int work_read(ws_rpc *call)
{
    const char *at = call->data;
    apr_int64_t loop, slot, most;
    call->user = call->uri = call->vhost = "";
    switch (call->kind) {
    case WS_RPC_LIST:
        call->user = work_word(call, &at);
        call->uri = work_word(call, &at);
        call->vhost = work_word(call, &at);
        loop = work_number_of(work_word(call, &at), WS_LOOPS_MAX);
        slot = work_number_of(work_word(call, &at), APR_INT32_MAX / 2);
        most = work_number_of(work_word(call, &at), WS_CONTROL_PAGE_MAX);
        call->loop = (unsigned)loop;
        call->slot = (unsigned)slot;
        call->most = (unsigned)most;
        return call->user && call->uri && call->vhost && loop >= 0 && slot >= 0 && most > 0;
    case WS_RPC_CHANNELS:
        call->user = work_word(call, &at); /* the prefix */
        call->uri = work_word(call, &at);  /* the name after which the list starts */
        most = work_number_of(work_word(call, &at), WS_CONTROL_PAGE_MAX);
        call->most = (unsigned)most;
        return call->user && call->uri && most > 0;
    case WS_RPC_SEND_USER:
    case WS_RPC_CLOSE_USER:
        call->user = work_word(call, &at);
        call->vhost = work_word(call, &at);
        call->rest = at;
        return call->user && *call->user && call->vhost
               && (call->kind == WS_RPC_CLOSE_USER
                   || ws_message_valid(call->type, at, call->len - (apr_size_t)(at - call->data)));
    case WS_RPC_CLOSE_CHANNEL:
        call->rest = at;
        return *call->channel;
    default:
        return 1;
    }
}

static void work_start(ws_rpc *call, ws_engine *e)
{
    int one = call->id != 0, loop = one ? ws_engine_loop_of(e, call->id) : (int)call->loop;
    if (one && loop < 0) {
        ws_rpc_answer_with(call, WS_RPC_GONE, NULL, 0);
    }
    else if (!one && call->loop >= ws_engine_loops(e)) {
        work_finish(call, 1);
    }
    else if (ws_engine_on_loop(e, (unsigned)loop, one ? work_on_one : work_walk, call) < 0) {
        ws_rpc_answer_with(call, WS_RPC_BUSY, NULL, 0);
    }
}

static void work_carry_out(ws_rpc *call)
{
    ws_engine *e = ws_child_engine();
    int walks = call->kind == WS_RPC_LIST || call->kind == WS_RPC_SEND_USER
                || call->kind == WS_RPC_CLOSE_USER || call->kind == WS_RPC_CLOSE_CHANNEL;
    if (!work_read(call) || (!walks && call->kind != WS_RPC_CHANNELS && !call->id)
        || (walks && call->id)) {
        ws_rpc_answer_with(call, WS_RPC_WRONG, NULL, 0);
    }
    else if (!e) {
        ws_rpc_answer_with(call, WS_RPC_BUSY, NULL, 0); /* this process is starting or stopping */
    }
    else if (call->kind == WS_RPC_CHANNELS) {
        work_list_channels(call);
    }
    else {
        work_start(call, e);
    }
}

void ws_control_work_register(apr_pool_t *p)
{
    (void)p;
    ws_rpc_on(work_carry_out);
}
