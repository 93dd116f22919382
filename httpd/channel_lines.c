/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Publishes several messages with one request, whose body has a JSON object on each line (NDJSON).
 * All lines are checked before the first message is published.
 */

#include "httpd/channel_publish.h"

#include <apr_encode.h>
#include <apr_strings.h>
#include <http_protocol.h>
#include <string.h>

#include "httpd/channel_request.h"
#include "httpd/json_answer.h"
#include "httpd/request_body.h"
#include "websocket_parse.h"

int ws_channel_has_lines(request_rec *r)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type");
    apr_size_t len = type ? strcspn(type, "; \t") : 0;
    return (len == 20 && !strncasecmp(type, "application/x-ndjson", len))
           || (len == 18 && !strncasecmp(type, "application/ndjson", len))
           || (len == 17 && !strncasecmp(type, "application/jsonl", len));
}

#ifdef WS_WITH_CJSON

#include <cjson/cJSON.h>
#include <stdlib.h>

/* Maximum number of lines in one request. */
#define LINES_MAX 1000

typedef struct line {
    ws_message *m;
    unsigned number;
    int id; /* 1: the message has an id */
} line;

static const char *lines_text(const cJSON *o, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
}

/* Read the members that describe a message. @return NULL, or the error */
static const char *lines_fields(apr_pool_t *p, const cJSON *o, ws_publication *how)
{
    static const char *const names[] = {"id", "key", "event", "channel", "encoding", NULL};
    const cJSON *ttl = cJSON_GetObjectItemCaseSensitive(o, "ttl");
    double seconds = cJSON_IsNumber(ttl) ? ttl->valuedouble : 0;
    *how = (ws_publication){.size = sizeof(*how),
                            .id = lines_text(o, "id"),
                            .key = lines_text(o, "key"),
                            .event = lines_text(o, "event")};
    if (ttl && !(seconds >= 1 && seconds <= WS_TTL_MAX && seconds == (apr_uint32_t)seconds)) {
        return apr_psprintf(p, "\"ttl\" must be a whole number of seconds from 1 to %d",
                            WS_TTL_MAX);
    }
    how->ttl = (apr_uint32_t)seconds;
    return ws_json_no_text(p, o, names);
}

/* Create a message from the object of a line. @return NULL, or the error */
static const char *lines_message(const cJSON *o, const char *channel, const ws_publication *how,
                                 ws_message **m)
{
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(o, "data");
    const char *encoding = lines_text(o, "encoding"), *text = cJSON_GetStringValue(data);
    char *made = NULL;
    apr_size_t len;
    ws_status s;
    if (!data || (encoding && (!text || strcmp(encoding, "base64")))) {
        return "\"data\" is missing, or its \"encoding\" is not base64";
    }
    if (encoding) {
        made = malloc(strlen(text) + 1);
        if (made
            && apr_decode_base64_binary((unsigned char *)made, text, APR_ENCODE_STRING,
                                        APR_ENCODE_NONE, &len)
                   != APR_SUCCESS) {
            free(made);
            return "\"data\" is not base64";
        }
    }
    else {
        made = text ? strdup(text) : cJSON_PrintUnformatted(data);
        len = made ? strlen(made) : 0;
    }
    s = made ? ws_message_create(channel, encoding ? WS_BINARY : WS_TEXT, made, len, how, m)
             : WS_FULL;
    free(made);
    return s < 0 ? ws_channel_problem(s) : NULL;
}

/* Parse a line.
 * @param fallback  the channel for a line that names none, or NULL
 * @return NULL, or the error */
static const char *lines_take(request_rec *r, const char *text, apr_size_t len,
                              const char *fallback, line *l)
{
    const char *end = NULL, *why = NULL, *channel;
    cJSON *o = cJSON_ParseWithLengthOpts(text, len, &end, 0);
    ws_publication how;
    apr_array_header_t *names = apr_array_make(r->pool, 1, sizeof(const char *));
    if (!cJSON_IsObject(o) || end != text + len) {
        why = "expected an object with \"channel\", \"data\" and optionally \"id\", \"key\", "
              "\"event\", \"ttl\" and \"encoding\"";
    }
    else if (ws_json_has_nul(text, len)) { /* cJSON would truncate the text */
        why = "a text has U+0000: send it as base64";
    }
    else if (!(why = lines_fields(r->pool, o, &how))) {
        channel = lines_text(o, "channel") ? lines_text(o, "channel") : fallback;
        APR_ARRAY_PUSH(names, const char *) = channel;
        if (!channel || !ws_channel_valid(channel)) {
            why = "no valid channel name";
        }
        else if (!(why = ws_channel_forbidden(r, WS_MAY_PUBLISH, names))) {
            why = lines_message(o, channel, &how, &l->m);
            l->id = how.id != NULL;
        }
    }
    cJSON_Delete(o);
    return why;
}

static void lines_release(const apr_array_header_t *lines)
{
    for (int i = 0; i < lines->nelts; i++) {
        ws_message_unref(APR_ARRAY_IDX(lines, i, line).m);
    }
}

/* Parse all lines. @return NULL; or the error, after freeing all messages */
static const char *lines_read(request_rec *r, const char *data, apr_size_t len,
                              const char *fallback, apr_array_header_t *lines)
{
    unsigned number = 0;
    const char *end = data + len, *why = NULL;
    while (data < end && !why) {
        const char *eol = memchr(data, '\n', (apr_size_t)(end - data));
        apr_size_t n = (apr_size_t)((eol ? eol : end) - data);
        line l = {.number = number + 1};
        apr_size_t text = n && data[n - 1] == '\r' ? n - 1 : n;
        if (lines->nelts == LINES_MAX) {
            why = "more than 1000 lines";
        }
        else if (text && !(why = lines_take(r, data, text, fallback, &l))) {
            APR_ARRAY_PUSH(lines, line) = l;
        }
        number++;
        data += n + 1;
    }
    if (!why && !lines->nelts) {
        why = "no message";
    }
    if (why) {
        lines_release(lines);
        return apr_psprintf(r->pool, "line %u: %s", number, why);
    }
    return NULL;
}

int ws_channel_publish_lines(request_rec *r, const apr_array_header_t *names)
{
    apr_array_header_t *lines = apr_array_make(r->pool, 16, sizeof(line));
    const char *data, *why;
    apr_size_t len;
    int status = ws_body_read(r, &data, &len, &why), ids = 1;
    ws_channel_wait *w;
    if (status != OK) {
        return why ? ws_json_refuse(r, "channels", status, why) : status;
    }
    if (names->nelts > 1) {
        return ws_json_refuse(
            r, "channels", HTTP_BAD_REQUEST,
            "the URL names several channels; name one channel, or one in each line");
    }
    why = lines_read(r, data, len, names->nelts ? APR_ARRAY_IDX(names, 0, const char *) : NULL,
                     lines);
    if (why) {
        return ws_json_refuse(r, "channels", HTTP_BAD_REQUEST, why);
    }
    for (int i = 0; i < lines->nelts; i++) {
        ids &= APR_ARRAY_IDX(lines, i, line).id;
    }
    if (!(w = ws_channel_wait_new(ids))) {
        lines_release(lines);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    for (int i = 0; i < lines->nelts; i++) {
        const line *l = &APR_ARRAY_IDX(lines, i, line);
        l->m->by = r->user ? strdup(r->user) : NULL;
        ws_channel_publish_one(w, l->m->channel, l->m, l->number);
    }
    return ws_channel_answer(r, w, "published");
}

#else

int ws_channel_publish_lines(request_rec *r, const apr_array_header_t *names)
{
    (void)names;
    return ws_json_refuse(
        r, "channels", HTTP_UNSUPPORTED_MEDIA_TYPE,
        "this server was built without cJSON: send one message with each request");
}

#endif
