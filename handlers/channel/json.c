/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Creates and prints the JSON objects of the subprotocol channel.v1.json. */

#include "json.h"

#include <apr_base64.h>
#include <apr_encode.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#include "websocket_parse.h"

/* Largest number of messages or seconds that a client can request. */
#define COUNT_MAX 1000000000.0

void json_position(cJSON *o, ws_position p)
{
    char text[WS_POSITION_SIZE];
    if (p.epoch) {
        cJSON_AddStringToObject(o, "position", ws_print_position(p, text));
    }
}

void json_data(cJSON *o, ws_type type, const char *data, apr_size_t len)
{
    char *text = malloc((len + 2) / 3 * 4 + len + 1);
    if (!text) {
        return;
    }
    if (type == WS_TEXT && !memchr(data, 0, len)) {
        memcpy(text, data, len);
        text[len] = 0;
    }
    else {
        apr_base64_encode_binary(text, (const unsigned char *)data, (int)len);
        cJSON_AddStringToObject(o, "encoding", "base64");
    }
    cJSON_AddStringToObject(o, "data", text);
    free(text);
}

cJSON *json_answer(const char *type, const char *channel)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "type", type);
    if (channel) {
        cJSON_AddStringToObject(o, "channel", channel);
    }
    return o;
}

void json_member(cJSON *o, ws_id id, const char *user, const char *data, apr_size_t len)
{
    char text[24];
    apr_snprintf(text, sizeof(text), "%016" APR_UINT64_T_HEX_FMT, id);
    cJSON_AddStringToObject(o, "member", text);
    if (user) {
        cJSON_AddStringToObject(o, "user", user);
    }
    json_data(o, WS_TEXT, data, len);
}

void json_message(cJSON *o, const ws_event *e)
{
    json_data(o, e->type, e->data, e->len);
    if (e->event) {
        cJSON_AddStringToObject(o, "event", e->event);
    }
    if (e->key) {
        cJSON_AddStringToObject(o, "key", e->key);
    }
    if (e->wildcard) {
        cJSON_AddStringToObject(o, "wildcard", e->wildcard);
    }
    json_position(o, e->position);
}

cJSON *json_event(const ws_event *e)
{
    static const char *const types[] = {"",     "message", "subscribed", "gap",
                                        "join", "leave",   "members"};
    cJSON *o = json_answer(types[e->kind], e->channel);
    if (e->kind == WS_EVENT_MESSAGE) {
        json_message(o, e);
    }
    if (e->kind == WS_EVENT_JOIN || e->kind == WS_EVENT_LEAVE) {
        json_member(o, e->id, e->user, e->data, e->len);
    }
    if (e->kind == WS_EVENT_LIVE) {
        json_position(o, e->position);
    }
    return o;
}

#define TEXT(name)                                                                                 \
    {                                                                                              \
        name, cJSON_String, name " must be a string"                                               \
    }
#define FLAG(name)                                                                                 \
    {                                                                                              \
        name, cJSON_False | cJSON_True, name " must be true or false"                              \
    }

const char *json_wrong_member(const cJSON *o)
{
    static const struct {
        const char *name;
        int types;
        const char *error;
    } members[] = {{"id", cJSON_Number | cJSON_String, "id must be a number or a string"},
                   TEXT("channel"),
                   TEXT("idempotency_key"),
                   TEXT("key"),
                   TEXT("event"),
                   TEXT("member"),
                   TEXT("token"),
                   FLAG("watch"),
                   FLAG("snapshot")};
    for (unsigned i = 0; i < sizeof(members) / sizeof(*members); i++) {
        const cJSON *member = cJSON_GetObjectItemCaseSensitive(o, members[i].name);
        if (member && !(member->type & members[i].types)) {
            return members[i].error;
        }
    }
    return NULL;
}

int json_count(const cJSON *value, apr_uint32_t *n)
{
    double d = cJSON_IsNumber(value) ? value->valuedouble : 0;
    *n = d >= 1 && d <= COUNT_MAX ? (apr_uint32_t)d : 0;
    return *n && *n == d;
}

int json_bytes(const cJSON *o, ws_type *type, char **data, apr_size_t *len)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(o, "data");
    const cJSON *encoding = cJSON_GetObjectItemCaseSensitive(o, "encoding");
    *type = encoding ? WS_BINARY : WS_TEXT;
    if (encoding) {
        const char *text = cJSON_GetStringValue(value);
        const char *how = cJSON_GetStringValue(encoding);
        return text && how && !strcmp(how, "base64") && (*data = malloc(strlen(text) + 1))
               && apr_decode_base64_binary((unsigned char *)*data, text, APR_ENCODE_STRING,
                                           APR_ENCODE_NONE, len)
                      == APR_SUCCESS;
    }
    *data = cJSON_IsString(value) ? strdup(value->valuestring)
            : value               ? cJSON_PrintUnformatted(value)
                                  : strdup("");
    *len = *data ? strlen(*data) : 0;
    return *data != NULL;
}

char *json_print(cJSON *o, const cJSON *number)
{
    char *text;
    if (number) {
        cJSON_AddItemToObject(o, "id", cJSON_Duplicate(number, 0));
    }
    text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return text;
}

cJSON *json_error(const char *channel, const char *error)
{
    cJSON *o = json_answer("error", channel);
    cJSON_AddStringToObject(o, "error", error);
    return o;
}

const char *status_words(ws_status s)
{
    switch (s) {
    case WS_BAD_NAME:
        return "no such channel";
    case WS_FORBIDDEN:
        return "not allowed";
    case WS_LIMIT:
        return "too many channels";
    case WS_TOO_BIG:
        return "too big";
    case WS_BAD_TEXT:
        return "no UTF-8";
    case WS_UNCERTAIN:
        return WS_UNCERTAIN_TEXT;
    case WS_MISPLACED:
        return "no such position";
    case WS_FULL:
        return "try again later";
    case WS_UNSUPPORTED:
        return "no history";
    case WS_GONE:
        return "not subscribed";
    default:
        return "not possible";
    }
}
