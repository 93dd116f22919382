/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Answers the request "history" with a page of stored messages, newest first. */

#include "history.h"

#include "websocket_parse.h"

/* Number of messages per page if the request does not set it. */
#define LIMIT 100

static void history_read(const char *channel, const ws_history_part *part, void *arg)
{
    request *q = arg;
    cJSON *o, *list;
    if (part->status != APR_SUCCESS) {
        q->text = json_print(json_error(channel, status_words(WS_FULL)), q->number);
        channel_answer_later(q);
        return;
    }
    o = json_answer("history", channel);
    list = cJSON_AddArrayToObject(o, "messages");
    for (apr_size_t i = 0; i < part->count; i++) {
        cJSON *m = cJSON_CreateObject();
        json_message(m, &part->events[i]);
        cJSON_AddItemToArray(list, m);
    }
    cJSON_AddBoolToObject(o, "more", part->more);
    cJSON_AddBoolToObject(o, "gap", part->gap);
    json_position(o, part->head);
    q->text = json_print(o, q->number);
    channel_answer_later(q);
}

ws_status channel_history(ws_conn *c, const char *channel, const cJSON *o, const cJSON *number)
{
    const cJSON *before = cJSON_GetObjectItemCaseSensitive(o, "before");
    const cJSON *limit = cJSON_GetObjectItemCaseSensitive(o, "limit");
    ws_position at = {0, 0};
    apr_uint32_t n = LIMIT;
    request *q;
    ws_status s;
    if ((before && (!cJSON_IsString(before) || !ws_parse_position(before->valuestring, &at)))
        || (limit && !json_count(limit, &n))) {
        return WS_MISPLACED;
    }
    if (!(q = channel_request_new(c, channel, number, 1))) {
        return WS_FULL;
    }
    s = ws_read_history(channel, at, n > WS_HISTORY_LIMIT ? WS_HISTORY_LIMIT : n, history_read, q);
    if (s < 0) {
        channel_request_end(c, q);
    }
    return s == WS_MISPLACED ? WS_UNSUPPORTED : s;
}
