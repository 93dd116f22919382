/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Handles requests of the control API about channels: lists channels, and publishes several
 * messages.
 */

#include "httpd/control.h"

#include <apr_encode.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "engine/json.h"
#include "httpd/access.h"
#include "httpd/channel_acl.h"
#include "httpd/channel_wait.h"
#include "httpd/config.h"
#include "httpd/json_answer.h"
#include "httpd/query.h"
#include "httpd/request_body.h"
#include "protocol/close.h"
#include "protocol/utf8.h"
#include "websocket_parse.h"

/* Maximum number of messages and channels in one request. */
#define ITEMS_MAX 1000

/* ---- GET /channels ---- */

typedef struct channel_sum {
    const char *name;
    apr_int64_t subscribers, members;
} channel_sum;

typedef struct channel_sums {
    apr_pool_t *pool;
    apr_hash_t *by_name;
    apr_array_header_t *all; /* array of channel_sum */
    /* The list is complete only up to this name; NULL: the whole list is complete. */
    const char *last;
} channel_sums;

static void channels_add(channel_sums *sums, const char *name, apr_int64_t subscribers,
                         apr_int64_t members)
{
    int *index = apr_hash_get(sums->by_name, name, APR_HASH_KEY_STRING);
    channel_sum *sum;
    if (index) {
        sum = &APR_ARRAY_IDX(sums->all, *index, channel_sum);
    }
    else {
        index = apr_palloc(sums->pool, sizeof(*index));
        *index = sums->all->nelts;
        sum = apr_array_push(sums->all);
        *sum = (channel_sum){.name = name};
        apr_hash_set(sums->by_name, name, APR_HASH_KEY_STRING, index);
    }
    sum->subscribers += subscribers;
    sum->members += members;
}

/* Parse a line: SUBSCRIBERS MEMBERS NAME. @return the name, or NULL: it is malformed */
static char *channels_line(char *line, apr_int64_t *subscribers, apr_int64_t *members)
{
    const char *at = ws_parse_digits(line, subscribers);
    at = at && *at == ' ' ? ws_parse_digits(at + 1, members) : NULL;
    return at && *at == ' ' && *subscribers <= APR_INT32_MAX && *members <= APR_INT32_MAX
                   && ws_channel_valid(at + 1)
               ? line + (at + 1 - line)
               : NULL;
}

/* Add the channels in an answer to the sums. @return 0: the answer is malformed */
static int channels_take(channel_sums *sums, const ws_rpc_answer *answer)
{
    int more = *answer->data == '+';
    const char *last = NULL;
    char *rest, *line = apr_strtok(answer->data, "\n", &rest);
    if (!line || (strcmp(line, "+") && strcmp(line, "-"))) {
        return 0;
    }
    while ((line = apr_strtok(NULL, "\n", &rest))) {
        apr_int64_t subscribers, members;
        char *name = channels_line(line, &subscribers, &members);
        if (!name) {
            return 0;
        }
        channels_add(sums, name, subscribers, members);
        last = name;
    }
    if (more && last && (!sums->last || strcmp(last, sums->last) < 0)) {
        sums->last = last;
    }
    return 1;
}

static int channels_compare(const void *a, const void *b)
{
    return strcmp(((const channel_sum *)a)->name, ((const channel_sum *)b)->name);
}

static void channels_write(ws_strbuf *t, channel_sums *sums, unsigned limit)
{
    const channel_sum *all = (const channel_sum *)sums->all->elts;
    unsigned n = 0, count = (unsigned)sums->all->nelts;
    const char *next = NULL;
    qsort(sums->all->elts, count, sizeof(channel_sum), channels_compare);
    ws_strbuf_puts(t, "{\"channels\":[");
    for (; n < count && n < limit && (!sums->last || strcmp(all[n].name, sums->last) <= 0); n++) {
        ws_strbuf_printf(t, "%s{\"channel\":", n ? "," : "");
        ws_strbuf_json(t, all[n].name, strlen(all[n].name));
        ws_strbuf_printf(t,
                         ",\"subscribers\":%" APR_INT64_T_FMT ",\"members\":%" APR_INT64_T_FMT "}",
                         all[n].subscribers, all[n].members);
        next = all[n].name;
    }
    ws_strbuf_puts(t, "],\"next\":");
    next = n < count || sums->last ? next : NULL;
    ws_strbuf_json(t, next, next ? strlen(next) : 0);
}

int ws_control_list_channels(request_rec *r)
{
    const char *prefix = ws_argument(r, "prefix"), *after = ws_argument(r, "next");
    channel_sums sums = {r->pool, apr_hash_make(r->pool),
                         apr_array_make(r->pool, 64, sizeof(channel_sum)), NULL};
    ws_packet question = {.flags = WS_RPC_CHANNELS, .channel = ""};
    ws_rpc_answer *answers;
    unsigned limit, count;
    ws_strbuf t = {0};
    ws_node *nodes;
    int all;

    if (!ws_control_limit(r, &limit)) {
        return ws_control_refuse(r, HTTP_BAD_REQUEST, "limit must be a number from 1 to 1000");
    }
    if ((prefix && *prefix && !ws_channel_valid(prefix)) || (after && !ws_channel_valid(after))) {
        return ws_control_refuse(r, HTTP_BAD_REQUEST,
                                 "prefix or next is not the beginning of a "
                                 "channel name");
    }
    all = ws_rpc_nodes(r->pool, &nodes, &count);
    answers = apr_pcalloc(r->pool, (count + 1) * sizeof(*answers));
    for (unsigned i = 0; i < count; i++) {
        answers[i].node = nodes[i];
    }
    ws_control_words(r, &question, prefix ? prefix : "", after ? after : "",
                     apr_psprintf(r->pool, "%u", limit), (char *)NULL);
    ws_rpc_ask(r->pool, &question, answers, count);
    for (unsigned i = 0; i < count; i++) {
        if (answers[i].status == WS_RPC_OK && !channels_take(&sums, &answers[i])) {
            answers[i].status = WS_RPC_WRONG;
        }
    }
    channels_write(&t, &sums, limit);
    ws_strbuf_puts(&t, ",\"missing\":");
    all &= !ws_control_missing(&t, answers, count);
    ws_strbuf_printf(&t, ",\"complete\":%s}", all ? "true" : "false");
    return ws_json_send(r, HTTP_OK, &t);
}

/* ---- POST /publish/ ---- */

typedef struct publish_item {
    const char *channel;
    const char *id; /* id of the message, or NULL */
    /* The Close frame's code, a space and the reason; NULL: the item is a message. */
    const char *close;
    ws_type type;
    const char *data;
    apr_size_t len;
} publish_item;

static const char *publish_text(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* Read a ws-message whose action is "close". @return NULL, or the error */
static const char *publish_read_close(apr_pool_t *p, const cJSON *format, publish_item *item)
{
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(format, "code");
    const char *reason = publish_text(format, "reason");
    int n = code ? code->valueint : WS_CLOSE_NORMAL;
    if ((code && !cJSON_IsNumber(code)) || !ws_close_code_valid(n)) {
        return "\"code\" is not valid in a Close frame";
    }
    if (reason && strlen(reason) > WS_REASON_MAX) {
        return "\"reason\" is longer than 123 bytes";
    }
    item->close = apr_psprintf(p, "%d %s", n, reason ? reason : "");
    return NULL;
}

/* Read a ws-message. @return NULL, or the error */
static const char *publish_read_format(apr_pool_t *p, const cJSON *format, publish_item *item)
{
    static const char *const texts[] = {"action", "content", "content-bin", "reason", NULL};
    const char *wrong = ws_json_no_text(p, format, texts);
    const char *action = publish_text(format, "action");
    const char *content = publish_text(format, "content");
    const char *binary = publish_text(format, "content-bin");
    if (wrong) {
        return wrong;
    }
    if (action && !strcmp(action, "close")) {
        return publish_read_close(p, format, item);
    }
    if (action && strcmp(action, "send")) {
        return "the \"action\" of a ws-message must be \"send\" or \"close\"";
    }
    if (!content == !binary) {
        return "a ws-message must have either \"content\" or \"content-bin\"";
    }
    item->type = content ? WS_TEXT : WS_BINARY;
    item->data = content;
    item->len = content ? strlen(content) : 0;
    if (binary) {
        item->data = (const char *)apr_pdecode_base64_binary(p, binary, APR_ENCODE_STRING,
                                                             APR_ENCODE_NONE, &item->len);
    }
    if (!item->data) {
        return "\"content-bin\" is not base64";
    }
    return item->len > WS_PUBLISH_MAX ? "a message is larger than 16 MiB" : NULL;
}

static const char *publish_add(request_rec *r, apr_array_header_t *items, const publish_item *item,
                               const char *channel)
{
    if (!channel || !ws_channel_valid(channel)) {
        return "\"channel\" must have 1 to 200 of A-Z a-z 0-9 - _ . ~ : / @ + = !";
    }
    if (ws_channelrule_decides(ws_dir_config_of(r)->may[WS_MAY_PUBLISH])
        && !ws_access_request_may(r, WS_MAY_PUBLISH, channel)) {
        return "WebSocketPublish does not allow publishing to this channel";
    }
    if (items->nelts >= ITEMS_MAX) {
        return "a request may have at most 1,000 messages and channels";
    }
    *(publish_item *)apr_array_push(items) = *item;
    APR_ARRAY_IDX(items, items->nelts - 1, publish_item).channel = channel;
    return NULL;
}

/* Read an item, which names one or more channels. @return NULL, or the error */
static const char *publish_read_item(request_rec *r, const cJSON *json, apr_array_header_t *items)
{
    const cJSON *formats = cJSON_GetObjectItemCaseSensitive(json, "formats"), *channel;
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(formats ? formats : json, "ws-message");
    const cJSON *channels = cJSON_GetObjectItemCaseSensitive(json, "channels");
    static const char *const texts[] = {"id", "channel", NULL};
    publish_item item = {.id = publish_text(json, "id")};
    const char *wrong = ws_json_no_text(r->pool, json, texts);
    if (wrong) {
        return wrong;
    }
    if (!cJSON_IsObject(format)) {
        return "an item has no \"ws-message\" in its \"formats\"";
    }
    if (item.id && (!*item.id || strlen(item.id) > WS_ONCE_MAX)) {
        return "\"id\" must have 1 to 255 bytes";
    }
    if ((wrong = publish_read_format(r->pool, format, &item))) {
        return wrong;
    }
    if (!channels) {
        return publish_add(r, items, &item, publish_text(json, "channel"));
    }
    if (!cJSON_IsArray(channels) || !cJSON_GetArraySize(channels)) {
        return "\"channels\" must be a list of names";
    }
    cJSON_ArrayForEach(channel, channels)
    {
        if ((wrong = publish_add(r, items, &item, cJSON_GetStringValue(channel)))) {
            return wrong;
        }
    }
    return NULL;
}

static const char *publish_read(request_rec *r, const char *data, apr_size_t len, cJSON **json,
                                apr_array_header_t *items)
{
    const cJSON *list, *item;
    const char *wrong = NULL;
    if (!ws_utf8_valid(data, len) || !(*json = cJSON_ParseWithLength(data, len))) {
        return "the body is not JSON in UTF-8";
    }
    if (ws_json_has_nul(data, len)) { /* cJSON would truncate the text */
        return "a string contains \\u0000: send it as \"content-bin\"";
    }
    list = cJSON_GetObjectItemCaseSensitive(*json, "items");
    if (!cJSON_IsArray(list) || !cJSON_GetArraySize(list)) {
        return "the body must be an object with the list \"items\"";
    }
    cJSON_ArrayForEach(item, list)
    {
        if ((wrong = publish_read_item(r, item, items))) {
            return wrong;
        }
    }
    return NULL;
}

static void publish_done(const ws_published *what, void *arg)
{
    ws_channel_part *part = arg;
    char text[WS_POSITION_SIZE];
    ws_strbuf *t;
    if (what->status < 0) {
        ws_channel_part_fail(part, what->status == WS_UNCERTAIN);
        return;
    }
    t = ws_channel_part_begin(part);
    if (what->position.epoch) {
        ws_strbuf_printf(t, ",\"position\":\"%s\"", ws_print_position(what->position, text));
    }
    ws_strbuf_printf(t, ",\"receivers\":%u", what->receivers);
    if (what->missed) {
        ws_strbuf_printf(t, ",\"missed\":%u", what->missed);
    }
    if (what->duplicate) {
        ws_strbuf_puts(t, ",\"duplicate\":true");
    }
    ws_channel_part_end(part);
}

static void publish_message(ws_channel_wait *w, const publish_item *item)
{
    ws_message *m = ws_message_new(item->channel, item->type, item->data, item->len);
    ws_channel_part *part = m ? ws_channel_part_new(w, item->channel, m) : NULL;
    if (m) {
        m->trusted = 1;
    }
    if (m && item->id) {
        ws_message_identify(m, item->id);
    }
    if (!part) {
        ws_channel_wait_fail(w);
    }
    else if (ws_publish_message(m, publish_done, part) < 0) {
        ws_channel_part_fail(part, 0);
    }
    if (m) {
        ws_message_unref(m);
    }
}

/* Close the connections that are subscribed to a channel. @return the HTTP status */
static int publish_close(request_rec *r, const publish_item *item, ws_strbuf *t)
{
    ws_packet question = {.flags = WS_RPC_CLOSE_CHANNEL,
                          .channel = item->channel,
                          .channel_len = (unsigned)strlen(item->channel),
                          .data = item->close,
                          .len = strlen(item->close)};
    ws_control_counts counts = ws_control_ask_all(r, &question);
    ws_strbuf_puts(t, "{\"channel\":");
    ws_strbuf_json(t, item->channel, strlen(item->channel));
    ws_strbuf_printf(t, ",\"closed\":%" APR_INT64_T_FMT ",\"missing\":", counts.done);
    ws_control_missing(t, counts.answers, counts.count);
    ws_strbuf_puts(t, "}");
    return counts.complete ? HTTP_OK : HTTP_GATEWAY_TIME_OUT;
}

/* Publish the messages in order, then close the connections. */
static int publish_all(request_rec *r, const apr_array_header_t *items)
{
    unsigned ids = 0, closes = 0;
    ws_channel_wait *w;
    ws_strbuf t = {0};
    int status;
    for (int i = 0; i < items->nelts; i++) {
        ids += APR_ARRAY_IDX(items, i, publish_item).id != NULL;
    }
    if (!(w = ws_channel_wait_new(ids == (unsigned)items->nelts))) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    for (int i = 0; i < items->nelts; i++) {
        if (!APR_ARRAY_IDX(items, i, publish_item).close) {
            publish_message(w, &APR_ARRAY_IDX(items, i, publish_item));
        }
    }
    ws_strbuf_puts(&t, "{\"published\":");
    status = ws_channel_wait_end(r, w, &t);
    ws_strbuf_puts(&t, ",\"closed\":[");
    for (int i = 0; i < items->nelts && status == HTTP_OK; i++) {
        const publish_item *item = &APR_ARRAY_IDX(items, i, publish_item);
        if (item->close) {
            ws_strbuf_puts(&t, closes++ ? "," : "");
            status = publish_close(r, item, &t);
        }
    }
    ws_strbuf_puts(&t, "]}");
    return ws_json_send(r, status, &t);
}

int ws_control_publish(request_rec *r)
{
    apr_array_header_t *items = apr_array_make(r->pool, 8, sizeof(publish_item));
    const char *data, *why;
    cJSON *json = NULL;
    apr_size_t len;
    int status = ws_body_read(r, &data, &len, &why);
    if (status != OK) {
        return why ? ws_control_refuse(r, status, why) : status;
    }
    if ((why = publish_read(r, data, len, &json, items))) {
        status = ws_control_refuse(r, HTTP_BAD_REQUEST, why);
    }
    else {
        status = publish_all(r, items);
    }
    cJSON_Delete(json);
    return status;
}
