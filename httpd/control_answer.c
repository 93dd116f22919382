/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines functions that all requests of the control API share, for errors, arguments, messages,
 *  and questions to all processes. */

#include "httpd/control.h"

#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "engine/json.h"
#include "httpd/json_answer.h"
#include "httpd/query.h"
#include "httpd/request_body.h"
#include "protocol/close.h"
#include "protocol/utf8.h"

APLOG_USE_MODULE(websocket);

#define LIMIT_DEFAULT 100

/* A note in requests that use a path of AWS API Gateway. The SDKs of AWS use these paths and expect
 * the responses of AWS API Gateway. */
#define AWS_NOTE "websocket-control-aws"

/* ---- Errors ---- */

void ws_control_set_aws(request_rec *r)
{
    apr_table_setn(r->notes, AWS_NOTE, "1");
}

int ws_control_is_aws(request_rec *r)
{
    return apr_table_get(r->notes, AWS_NOTE) != NULL;
}

static const char *control_aws_error(int status)
{
    switch (status) {
    case HTTP_GONE:
        return "GoneException";
    case HTTP_FORBIDDEN:
        return "ForbiddenException";
    case HTTP_REQUEST_ENTITY_TOO_LARGE:
        return "PayloadTooLargeException";
    case HTTP_BAD_REQUEST:
        return "BadRequestException";
    default:
        return status >= 500 ? "ServiceUnavailableException" : "BadRequestException";
    }
}

static int control_refuse_aws(request_rec *r, int status, const char *why)
{
    ws_strbuf t = {0};
    int discarded = ws_json_discard(r, status);
    if (discarded != OK) {
        return discarded;
    }
    apr_table_setn(r->err_headers_out, "x-amzn-ErrorType", control_aws_error(status));
    ws_strbuf_puts(&t, "{\"message\":");
    ws_strbuf_json(&t, why, strlen(why));
    ws_strbuf_puts(&t, "}");
    return ws_json_send(r, status, &t);
}

int ws_control_refuse(request_rec *r, int status, const char *why)
{
    if (!ws_control_is_aws(r)) {
        return ws_json_refuse(r, "control", status, why);
    }
    status = status == HTTP_NOT_FOUND ? HTTP_GONE : status;
    return control_refuse_aws(r, status, why);
}

int ws_control_later(request_rec *r, const char *why)
{
    apr_table_setn(r->err_headers_out, "Retry-After", "1");
    return ws_control_refuse(r, HTTP_SERVICE_UNAVAILABLE, why);
}

int ws_control_failed(request_rec *r, ws_rpc_status s)
{
    switch (s) {
    case WS_RPC_GONE:
    case WS_RPC_ENDED:
        return ws_control_refuse(r, HTTP_NOT_FOUND, "no such connection");
    case WS_RPC_NOTHING:
        return ws_control_refuse(r, HTTP_NOT_FOUND,
                                 "the connection is not subscribed to this channel");
    case WS_RPC_FULL:
        return ws_control_later(r, "the client's send queue is full (WebSocketSendQueue)");
    case WS_RPC_BUSY:
        return ws_control_later(r, "the connection's process is overloaded");
    case WS_RPC_FORBIDDEN:
        return ws_control_refuse(r, HTTP_FORBIDDEN,
                                 "WebSocketSubscribe does not allow this subscription");
    case WS_RPC_LIMIT:
        return ws_control_refuse(
            r, HTTP_CONFLICT,
            "more channels than WebSocketSubscriptions or WebSocketChannels allows");
    case WS_RPC_UNSUPPORTED:
        return ws_control_refuse(r, HTTP_CONFLICT,
                                 "this connection cannot receive such messages: its version has "
                                 "no binary messages, or it is an event stream");
    case WS_RPC_LATE:
        return ws_control_refuse(r, HTTP_GATEWAY_TIME_OUT,
                                 "the connection's process does not answer: unknown whether the "
                                 "request was executed");
    default:
        return ws_control_refuse(r, HTTP_BAD_GATEWAY,
                                 "the connection's process does not support this request: it runs "
                                 "another release of mod_websocket");
    }
}

/* ---- Arguments ---- */

void ws_control_words(request_rec *r, ws_packet *question, ...)
{
    ws_strbuf t = {0};
    const char *word;
    va_list words;
    va_start(words, question);
    while ((word = va_arg(words, const char *))) {
        ws_strbuf_add(&t, word, strlen(word) + 1);
    }
    va_end(words);
    question->data = apr_pmemdup(r->pool, t.data, t.len);
    question->len = t.len;
    ws_strbuf_free(&t);
}

int ws_control_limit(request_rec *r, unsigned *limit)
{
    const char *text = ws_argument(r, "limit");
    apr_int64_t n = LIMIT_DEFAULT;
    if (text && ws_parse_count(NULL, text, 1, WS_CONTROL_PAGE_MAX, &n)) {
        return 0;
    }
    *limit = (unsigned)n;
    return 1;
}

const char *ws_control_argument(request_rec *r, const char *name)
{
    const char *value = ws_argument(r, name);
    return value ? value : "";
}

const char *ws_control_close_text(request_rec *r, const char **why)
{
    const char *code = ws_argument(r, "code"), *reason = ws_control_argument(r, "reason");
    apr_int64_t n = WS_CLOSE_NORMAL;
    *why = NULL;
    if (code && (ws_parse_count(NULL, code, 1000, 4999, &n) || !ws_close_code_valid((int)n))) {
        *why = "invalid code: a Close frame can have 1000 to 1003, 1007 to 1014 and 3000 to 4999";
    }
    else if (strlen(reason) > WS_REASON_MAX) {
        *why = "the reason is longer than 123 bytes";
    }
    else if (!ws_utf8_valid(reason, strlen(reason))) {
        *why = "the reason is not UTF-8";
    }
    return apr_psprintf(r->pool, "%d %s", (int)n, reason);
}

/* ---- Messages and responses ---- */

void ws_control_log(request_rec *r, const char *what, const char *whom)
{
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "websocket: control: closed %s %s for %s", what,
                  ap_escape_logitem(r->pool, whom), r->user ? r->user : r->useragent_ip);
}

/* Check data from another process, which is untrusted. @return whether it is JSON of this type */
int ws_control_check_json(const char *data, apr_size_t len, int array, unsigned *items)
{
    cJSON *json = cJSON_ParseWithLength(data, len);
    int right = array ? cJSON_IsArray(json) : cJSON_IsObject(json);
    *items = array && right ? (unsigned)cJSON_GetArraySize(json) : 0;
    cJSON_Delete(json);
    return right;
}

/* Read a message from the body. @return OK; else the value for the handler to return, and *done
 * is set */
int ws_control_read_message(request_rec *r, ws_packet *question, int *done)
{
    const char *why;
    int status;
    *done = 1;
    question->type = ws_body_type(r);
    if (!question->type) {
        return ws_control_refuse(r, HTTP_UNSUPPORTED_MEDIA_TYPE, "text must be UTF-8");
    }
    if ((status = ws_body_read(r, &question->data, &question->len, &why)) != OK) {
        return why ? ws_control_refuse(r, status, why) : status;
    }
    if (ws_control_is_aws(r)) {
        question->type = ws_utf8_valid(question->data, question->len) ? WS_TEXT : WS_BINARY;
    }
    if (question->type == WS_TEXT && !ws_utf8_valid(question->data, question->len)) {
        return ws_control_refuse(r, HTTP_BAD_REQUEST, "the text is not UTF-8");
    }
    *done = 0;
    return OK;
}

int ws_control_not_allowed(request_rec *r, const char *allow)
{
    apr_table_setn(r->err_headers_out, "Allow", allow);
    return ws_control_refuse(r, HTTP_METHOD_NOT_ALLOWED, "method not allowed, see Allow");
}

unsigned ws_control_missing(ws_strbuf *t, const ws_rpc_answer *answers, unsigned count)
{
    unsigned missing = 0;
    ws_strbuf_puts(t, "[");
    for (unsigned i = 0; i < count; i++) {
        if (answers[i].status != WS_RPC_OK && answers[i].status != WS_RPC_ENDED) {
            ws_strbuf_printf(t, "%s{\"server\":\"%016" APR_UINT64_T_HEX_FMT "\",\"process\":%u}",
                             missing++ ? "," : "", answers[i].node.server, answers[i].node.process);
        }
    }
    ws_strbuf_puts(t, "]");
    return missing;
}

static int control_add_counts(ws_control_counts *sums, const char *data)
{
    apr_int64_t n[3];
    for (int i = 0; i < 3; i++) {
        if (!(data = ws_parse_digits(data, &n[i])) || n[i] > APR_INT32_MAX
            || *data++ != (i < 2 ? ' ' : '\0')) {
            return 0;
        }
    }
    sums->done += n[0];
    sums->full += n[1];
    sums->failed += n[2];
    return 1;
}

ws_control_counts ws_control_ask_all(request_rec *r, ws_packet *question)
{
    ws_control_counts sums = {0};
    ws_node *nodes;
    sums.complete = ws_rpc_nodes(r->pool, &nodes, &sums.count);
    sums.answers = apr_pcalloc(r->pool, (sums.count + 1) * sizeof(*sums.answers));
    for (unsigned i = 0; i < sums.count; i++) {
        sums.answers[i].node = nodes[i];
    }
    if (!question->channel) {
        question->channel = "";
    }
    ws_rpc_ask(r->pool, question, sums.answers, sums.count);
    for (unsigned i = 0; i < sums.count; i++) {
        ws_rpc_answer *a = &sums.answers[i];
        if (a->status == WS_RPC_OK && !control_add_counts(&sums, a->data)) {
            a->status = WS_RPC_WRONG;
        }
        sums.complete &= a->status == WS_RPC_OK || a->status == WS_RPC_ENDED;
    }
    return sums;
}
