/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Handles requests of the control API about one connection, or about all connections of a user. */

#include "httpd/control.h"

#include <apr_strings.h>
#include <cjson/cJSON.h>
#include <http_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "engine/json.h"
#include "httpd/json_answer.h"
/* ---- One connection ---- */

typedef struct control_target {
    ws_node node;
    ws_id id;
    const char *text; /* the id as it is written in the request */
} control_target;

/* Parse ID or SERVER-ID. @return 0: it is malformed */
static int control_read_id(const char *text, apr_size_t len, control_target *target)
{
    const ws_channels_options *o = ws_channels_options_of(ws_channels_current());
    target->node.server = o->self.server;
    if (len == 33 && text[16] == '-') {
        if (!ws_parse_hex(text, 16, &target->node.server)) {
            return 0;
        }
        text += 17;
        len -= 17;
    }
    if (len != 16 || !ws_parse_hex(text, len, &target->id)) {
        return 0;
    }
    target->node.process = (apr_uint32_t)(target->id >> 48);
    return 1;
}

/* Send a question to the process of a connection. @return its status */
static ws_rpc_status control_ask(request_rec *r, const control_target *target, ws_packet *question,
                                 ws_rpc_answer *answer)
{
    answer->node = target->node;
    question->id = target->id;
    if (!question->channel) {
        question->channel = "";
    }
    if (!target->id || !ws_rpc_alive(r->pool, &target->node)) {
        return WS_RPC_GONE;
    }
    ws_rpc_ask(r->pool, question, answer, 1);
    return answer->status;
}

static int control_send_pair(request_rec *r, const char *name, const char *value)
{
    ws_strbuf t = {0};
    ws_strbuf_printf(&t, "{\"%s\":", name);
    ws_strbuf_json(&t, value, strlen(value));
    ws_strbuf_puts(&t, "}");
    return ws_json_send(r, HTTP_OK, &t);
}

static void control_aws_text(ws_strbuf *t, const cJSON *info, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(info, name));
    ws_strbuf_json(t, text ? text : "", text ? strlen(text) : 0);
}

static int control_aws_info(request_rec *r, const ws_rpc_answer *answer)
{
    cJSON *info = cJSON_ParseWithLength(answer->data, answer->len);
    ws_strbuf t = {0};
    ws_strbuf_puts(&t, "{\"connectedAt\":");
    control_aws_text(&t, info, "start");
    ws_strbuf_puts(&t, ",\"identity\":{\"sourceIp\":");
    control_aws_text(&t, info, "address");
    ws_strbuf_puts(&t, ",\"userAgent\":");
    control_aws_text(&t, info, "agent");
    ws_strbuf_puts(&t, "},\"lastActiveAt\":");
    control_aws_text(&t, info, "active");
    ws_strbuf_puts(&t, "}");
    cJSON_Delete(info);
    return ws_json_send(r, HTTP_OK, &t);
}

static int control_get(request_rec *r, const control_target *target)
{
    ws_packet question = {.flags = WS_RPC_INFO};
    ws_rpc_answer answer;
    ws_rpc_status s = control_ask(r, target, &question, &answer);
    ws_strbuf t = {0};
    unsigned none;
    if (s == WS_RPC_OK && !ws_control_check_json(answer.data, answer.len, 0, &none)) {
        s = WS_RPC_WRONG;
    }
    if (s != WS_RPC_OK) {
        return ws_control_failed(r, s);
    }
    if (ws_control_is_aws(r)) {
        return control_aws_info(r, &answer);
    }
    ws_strbuf_add(&t, answer.data, answer.len);
    return ws_json_send(r, HTTP_OK, &t);
}

static int control_post(request_rec *r, const control_target *target)
{
    ws_packet question = {.flags = WS_RPC_SEND};
    ws_rpc_answer answer;
    ws_rpc_status s;
    int done, status = ws_control_read_message(r, &question, &done);
    if (done) {
        return status;
    }
    if ((s = control_ask(r, target, &question, &answer)) != WS_RPC_OK) {
        return ws_control_failed(r, s);
    }
    if (ws_control_is_aws(r)) {
        ap_set_content_length(r, 0);
        return OK;
    }
    return control_send_pair(r, "sent", target->text);
}

static int control_delete(request_rec *r, const control_target *target)
{
    const char *why, *text = ws_control_close_text(r, &why);
    ws_packet question = {.flags = WS_RPC_CLOSE, .data = text, .len = strlen(text)};
    ws_rpc_answer answer;
    ws_rpc_status s;
    if (why) {
        return ws_control_refuse(r, HTTP_BAD_REQUEST, why);
    }
    if ((s = control_ask(r, target, &question, &answer)) != WS_RPC_OK) {
        return ws_control_failed(r, s);
    }
    ws_control_log(r, "connection", target->text);
    if (ws_control_is_aws(r)) {
        r->status = HTTP_NO_CONTENT;
        return OK;
    }
    return control_send_pair(r, "closed", target->text);
}

static int control_subscribe(request_rec *r, const control_target *target, const char *channel)
{
    int put = r->method_number == M_PUT;
    ws_packet question = {.flags = put ? WS_RPC_SUBSCRIBE : WS_RPC_UNSUBSCRIBE,
                          .channel = channel,
                          .channel_len = (unsigned)strlen(channel)};
    ws_rpc_answer answer;
    ws_rpc_status s;
    if (!put && r->method_number != M_DELETE) {
        return ws_control_not_allowed(r, "PUT, DELETE");
    }
    if (!ws_channel_valid(channel)) {
        return ws_control_refuse(r, HTTP_BAD_REQUEST,
                                 "a channel name must have 1 to 200 of A-Z a-z 0-9 - _ . ~ : / @ "
                                 "+ = !");
    }
    s = control_ask(r, target, &question, &answer);
    return s != WS_RPC_OK ? ws_control_failed(r, s)
                          : control_send_pair(r, put ? "subscribed" : "unsubscribed", channel);
}

/* Handle a request about one connection. @param path  ID, or ID/channels/NAME */
int ws_control_connection(request_rec *r, const char *path)
{
    apr_size_t len = strcspn(path, "/");
    control_target target;
    target.text = apr_pstrmemdup(r->pool, path, len);
    if (!control_read_id(path, len, &target)) {
        return ws_control_refuse(
            r, HTTP_BAD_REQUEST,
            "an id must have 16 hexadecimal digits, optionally preceded by 16 digits for the "
            "server and \"-\"");
    }
    if (path[len] && !ws_control_is_aws(r) && !strncmp(path + len, "/channels/", 10)) {
        return control_subscribe(r, &target, path + len + 10);
    }
    if (path[len]) {
        return ws_control_refuse(r, HTTP_NOT_FOUND, "no such path");
    }
    switch (r->method_number) {
    case M_GET:
        return control_get(r, &target);
    case M_POST:
        return control_post(r, &target);
    case M_DELETE:
        return control_delete(r, &target);
    default:
        return ws_control_not_allowed(r, "GET, HEAD, POST, DELETE");
    }
}

/* ---- Users ---- */

static int control_answer_counts(request_rec *r, const char *name, const ws_control_counts *sums)
{
    ws_strbuf t = {0};
    int status = HTTP_OK;
    if (!sums->complete) {
        status = HTTP_GATEWAY_TIME_OUT;
    }
    else if (sums->full || sums->failed) {
        status = HTTP_SERVICE_UNAVAILABLE;
        /* If part of the work has been done, the client must not repeat the request. */
        if (!sums->done) {
            apr_table_setn(r->err_headers_out, "Retry-After", "1");
        }
    }
    ws_strbuf_printf(&t,
                     "{\"%s\":%" APR_INT64_T_FMT ",\"full\":%" APR_INT64_T_FMT
                     ",\"failed\":%" APR_INT64_T_FMT ",\"complete\":%s,\"missing\":",
                     name, sums->done, sums->full, sums->failed, sums->complete ? "true" : "false");
    ws_control_missing(&t, sums->answers, sums->count);
    ws_strbuf_puts(&t, "}");
    return ws_json_send(r, status, &t);
}

/* Append bytes after the words of a question. */
static void control_append(request_rec *r, ws_packet *question, const char *data, apr_size_t len)
{
    char *all = apr_palloc(r->pool, question->len + len + 1);
    memcpy(all, question->data, question->len);
    memcpy(all + question->len, data, len);
    question->data = all;
    question->len += len;
}

int ws_control_user(request_rec *r, const char *user)
{
    const char *vhost = ws_control_argument(r, "vhost"), *why, *data;
    int closes = r->method_number == M_DELETE, done = 0, status;
    ws_packet question = {.flags = closes ? WS_RPC_CLOSE_USER : WS_RPC_SEND_USER};
    ws_control_counts sums;
    apr_size_t len;
    if (!*user) {
        return ws_control_refuse(r, HTTP_BAD_REQUEST, "name a user");
    }
    if (!closes && r->method_number != M_POST) {
        return ws_control_not_allowed(r, "POST, DELETE");
    }
    if (closes) {
        question.data = ws_control_close_text(r, &why);
        question.len = strlen(question.data);
        if (why) {
            return ws_control_refuse(r, HTTP_BAD_REQUEST, why);
        }
        ws_control_log(r, "all connections of user", user);
    }
    else if ((status = ws_control_read_message(r, &question, &done)), done) {
        return status;
    }
    data = question.data;
    len = question.len;
    ws_control_words(r, &question, user, vhost, (char *)NULL);
    control_append(r, &question, data, len);
    sums = ws_control_ask_all(r, &question);
    return control_answer_counts(r, closes ? "closed" : "sent", &sums);
}
